//! The tools that change Linux interfaces (`ip`, `tc`, `nft`, `ethtool`), as child processes, and what this process may
//! do. Children run in the calling thread's network namespace.

use std::io::Write;
use std::process::{Command, Stdio};

use super::linux::LinuxError;

/// Runs `tool` with `input` on stdin; its stdout.
pub(super) fn run(tool: &'static str, args: &[&str], input: &str) -> Result<String, LinuxError> {
    let line = || std::iter::once(tool).chain(args.iter().copied()).collect::<Vec<_>>().join(" ");
    let failed = |text: String| LinuxError::Command { command: line(), text };
    // A service's PATH may lack the sbin folders.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/usr/bin:/bin";
    let mut child = Command::new(tool)
        .args(args)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => LinuxError::Missing { tool, package: package(tool) },
            _ => failed(e.to_string()),
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that does not read closes the pipe: no error of ours.
        let _ = stdin.write_all(input.as_bytes());
    }
    let answer = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if answer.status.success() {
        return Ok(String::from_utf8_lossy(&answer.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&answer.stderr);
    let text = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
    Err(failed(if text.is_empty() { answer.status.to_string() } else { text }))
}

fn package(tool: &str) -> &'static str {
    match tool {
        "nft" => "nftables",
        "ethtool" => "ethtool",
        _ => "iproute2",
    }
}

/// Fails unless this thread has CAP_NET_ADMIN and CAP_NET_RAW.
pub(super) fn require_capabilities(ifname: &str) -> Result<(), LinuxError> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    // Unknown is as good as granted: the calls that follow will say.
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX);
    for (bit, capability) in [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW")] {
        if bits & (1 << bit) == 0 {
            return Err(LinuxError::Permission { ifname: ifname.into(), capability });
        }
    }
    Ok(())
}
