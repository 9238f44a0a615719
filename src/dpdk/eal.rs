//! Starting DPDK's environment layer (EAL), once a process, and registering worker threads with it.
//!
//! Many routers run side by side: no shared configuration, no telemetry socket, a file prefix of the process's own.
//! With hugepages the memory is anonymous (`--in-memory`): nothing stays behind after a kill -9.
//!
//! Who outlives whom: every handle (pool, port, queue, worker guard) holds an `Arc<EalInner>`, directly or through
//! another, and the EAL is cleaned up when the last one goes. An `Mbuf` holds nothing, for the sake of its size: a pool
//! that is dropped while mbufs of it are still out is leaked, and the EAL with it (`pool.rs`), so an mbuf's memory
//! is mapped for as long as the mbuf exists.

use std::collections::HashSet;
use std::ffi::{CString, c_char};
use std::fs;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::error::{DpdkError, errno, text};
use super::ffi;
use super::pool::Census;

/// Whether packet memory lies in hugepages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hugepages {
    /// If enough are free.
    #[default]
    Auto,
    /// Or do not start.
    Required,
    /// Not even if there are.
    Never,
}

/// How the EAL starts.
#[derive(Clone, Debug)]
pub struct EalConfig {
    /// The core that the calling thread is pinned to.
    pub manager_core: usize,
    /// The cores that workers will register for; judged at start.
    pub worker_cores: Vec<usize>,
    /// Where packet memory lies.
    pub hugepages: Hugepages,
    /// Packet memory in MB. 8192 mbufs fit in 64.
    pub memory_mb: usize,
    /// The PCI addresses that may be probed; with none PCI is left alone.
    pub pci: Vec<String>,
    /// Further EAL options.
    pub extra: Vec<String>,
}

impl Default for EalConfig {
    fn default() -> EalConfig {
        EalConfig {
            manager_core: 0,
            worker_cores: Vec::new(),
            hugepages: Hugepages::Auto,
            memory_mb: 128,
            pci: Vec::new(),
            extra: Vec::new(),
        }
    }
}

/// The running EAL.
pub struct Eal {
    pub(super) inner: Arc<EalInner>,
}

pub(super) struct EalInner {
    allowed: Vec<usize>,
    prefix: String,
    /// The ports that are open, so that each has one owner.
    pub(super) open: Mutex<HashSet<Device>>,
    /// The pools that there are, and who needs that to be one.
    pub(super) census: Mutex<Census>,
    /// DPDK's interrupt thread may look at its memory to the end of the process.
    pub(super) watched: AtomicBool,
}

/// What a port is to the machine: two names of one interface are one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Device {
    /// By DPDK's number.
    Ethdev(u16),
    /// By the number of its Linux interface.
    Linux(u32),
}

/// Of the EAL's files and folders, before the process id.
const PREFIX: &str = "turnout-";

/// rte_eal_init works once, also if it failed.
static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts DPDK (`rte_eal_init`) and pins the calling thread to the manager's core; threads it makes later inherit
    /// that. Takes 0.1 to 0.4 s. DPDK's log goes to stderr with `TURNOUT_EAL_LOG` set; without it only what is critical,
    /// as a failed call is told in one line by our own error.
    pub fn start(config: &EalConfig) -> Result<Eal, DpdkError> {
        let allowed = allowed_cores();
        for &core in std::iter::once(&config.manager_core).chain(&config.worker_cores) {
            check_core(core, &allowed)?;
        }
        let prefix = format!("{PREFIX}{}", std::process::id());
        let args = arguments(config, &prefix, free_hugepages_mb())?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(DpdkError::StartedTwice);
        }
        sweep();
        let verbose = std::env::var_os("TURNOUT_EAL_LOG").is_some();
        if !verbose {
            // SAFETY: sets a global integer before the EAL runs and before it has threads.
            unsafe { ffi::rte_log_set_global_level(ffi::TURNOUT_LOG_CRIT) };
        }
        // The EAL may keep pointers into its arguments: once a process, they live for ever.
        let mut argv: Vec<*mut c_char> = args.into_iter().map(CString::into_raw).collect();
        let argc = argv.len() as i32;
        argv.push(std::ptr::null_mut());
        let argv = argv.leak();
        let result = {
            let _quiet = StdoutAside::new();
            // SAFETY: argv has argc NUL-terminated strings and a final null, all writable (getopt permutes them) and
            // leaked, so they outlive the call; STARTED lets this be reached once.
            unsafe { ffi::rte_eal_init(argc, argv.as_mut_ptr()) }
        };
        if result < 0 {
            let code = errno();
            return Err(DpdkError::Start { text: text(code), code });
        }
        Ok(Eal {
            inner: Arc::new(EalInner {
                allowed,
                prefix,
                open: Mutex::default(),
                census: Mutex::default(),
                watched: AtomicBool::new(false),
            }),
        })
    }

    /// Pins the calling thread to `core` and makes it one of DPDK's (`rte_thread_register`), which gives it a cache of
    /// its own in every pool. The guard undoes the registration and stays on its thread.
    pub fn register_worker(&self, core: usize) -> Result<LcoreGuard, DpdkError> {
        check_core(core, &self.inner.allowed)?;
        let failed = |text: String| DpdkError::Worker { core, text };
        let mut set = CpuSet::new();
        set.set(core).map_err(|e| failed(e.to_string()))?;
        sched_setaffinity(Pid::from_raw(0), &set).map_err(|e| failed(e.to_string()))?;
        // SAFETY: `self` proves that the EAL runs; the call touches this thread's own variables and, under DPDK's
        // lock, the table of lcores.
        if unsafe { ffi::rte_thread_register() } != 0 {
            return Err(failed(text(errno())));
        }
        Ok(LcoreGuard { _eal: Arc::clone(&self.inner), _here: PhantomData })
    }

    /// A second handle, for a thread that registers itself.
    pub fn share(&self) -> Eal {
        Eal { inner: Arc::clone(&self.inner) }
    }
}

impl Drop for EalInner {
    fn drop(&mut self) {
        if !self.watched.load(Ordering::Acquire) {
            // SAFETY: the last handle goes: no port, pool or registered thread is left (each holds an Arc), and a leaked
            // pool leaks its Arc too, so then this is never reached. The EAL was started, once, and is cleaned up once.
            unsafe { ffi::rte_eal_cleanup() };
        }
        for base in runtime_folders() {
            // Empty by now; the EAL leaves the folder itself.
            let _ = fs::remove_dir(base.join(&self.prefix));
        }
    }
}

/// Where the EAL makes a folder for each process: as root, and as a user.
fn runtime_folders() -> [PathBuf; 2] {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| "/tmp".into(), PathBuf::from);
    [PathBuf::from("/var/run/dpdk"), own.join("dpdk")]
}

/// Removes the (empty) folders of routers that were killed.
fn sweep() {
    for entry in runtime_folders().iter().filter_map(|base| fs::read_dir(base).ok()).flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|n| n.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// A thread that DPDK knows as one of its own; `!Send`, as the thread itself must leave.
pub struct LcoreGuard {
    _eal: Arc<EalInner>,
    _here: PhantomData<*const ()>,
}

impl Drop for LcoreGuard {
    fn drop(&mut self) {
        // SAFETY: the guard is neither Send nor Clone: this is the thread that registered, and it does so once. The
        // EAL still runs, as the guard holds it.
        unsafe { ffi::rte_thread_unregister() };
    }
}

/// The EAL's command line, the program's name first.
fn arguments(config: &EalConfig, prefix: &str, free_mb: usize) -> Result<Vec<CString>, DpdkError> {
    let huge = match config.hugepages {
        Hugepages::Never => false,
        Hugepages::Auto => free_mb >= config.memory_mb,
        Hugepages::Required if free_mb >= config.memory_mb => true,
        Hugepages::Required => {
            let needed_mb = config.memory_mb;
            return Err(DpdkError::Hugepages { free_mb, needed_mb, pages: needed_mb.div_ceil(2) });
        }
    };
    let mut args: Vec<String> = vec!["turnout".into(), "-l".into(), config.manager_core.to_string()];
    args.extend(["--file-prefix".into(), prefix.into(), "-m".into(), config.memory_mb.to_string()]);
    args.push("--no-telemetry".into());
    if huge {
        args.push("--in-memory".into());
    } else {
        // 22.11 refuses --no-huge together with --in-memory.
        args.extend(["--no-huge".into(), "--no-shconf".into()]);
    }
    if std::env::var_os("TURNOUT_EAL_LOG").is_none() {
        args.push("--log-level=critical".into());
    }
    if config.pci.is_empty() {
        args.push("--no-pci".into());
    }
    for address in &config.pci {
        args.extend(["-a".into(), address.clone()]);
    }
    for option in &config.extra {
        // These print and exit, or stop the parsing.
        if matches!(option.as_str(), "-h" | "--help" | "-v" | "--version" | "--") {
            return Err(DpdkError::Option(option.clone()));
        }
        args.push(option.clone());
    }
    args.into_iter().map(|a| CString::new(a.as_str()).map_err(|_| DpdkError::Nul(a))).collect()
}

/// Free hugepages of all sizes together, in MB.
fn free_hugepages_mb() -> usize {
    let Ok(sizes) = fs::read_dir("/sys/kernel/mm/hugepages") else { return 0 };
    let free_kb = |entry: fs::DirEntry| -> Option<usize> {
        let kb: usize =
            entry.file_name().to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let free: usize =
            fs::read_to_string(entry.path().join("free_hugepages")).ok()?.trim().parse().ok()?;
        Some(kb * free)
    };
    sizes.flatten().filter_map(free_kb).sum::<usize>() / 1024
}

fn allowed_cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()
}

fn check_core(core: usize, allowed: &[usize]) -> Result<(), DpdkError> {
    if allowed.contains(&core) { Ok(()) } else { Err(DpdkError::Core { core, allowed: ranges(allowed) }) }
}

/// `0-3,8` for people.
fn ranges(cores: &[usize]) -> String {
    let mut out: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match out.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => out.push((core, core)),
        }
    }
    let text = |&(a, b): &(usize, usize)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    out.iter().map(text).collect::<Vec<_>>().join(",")
}

/// While it lives, stdout goes where stderr goes: the EAL prints its usage there on a bad option, and our stdout is
/// read by programs.
struct StdoutAside(Option<OwnedFd>);

impl StdoutAside {
    fn new() -> StdoutAside {
        let saved = nix::unistd::dup(std::io::stdout()).ok();
        let elsewhere: Option<OwnedFd> = match std::env::var_os("TURNOUT_EAL_LOG") {
            Some(_) => nix::unistd::dup(std::io::stderr()).ok(),
            None => fs::OpenOptions::new().write(true).open("/dev/null").ok().map(OwnedFd::from),
        };
        if let (Some(_), Some(fd)) = (&saved, elsewhere) {
            let _ = nix::unistd::dup2_stdout(fd);
        }
        StdoutAside(saved)
    }
}

impl Drop for StdoutAside {
    fn drop(&mut self) {
        if let Some(fd) = self.0.take() {
            let _ = nix::unistd::dup2_stdout(fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(config: &EalConfig, free_mb: usize) -> Result<String, DpdkError> {
        let args = arguments(config, "p", free_mb)?;
        Ok(args.iter().map(|a| a.to_str().unwrap()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn memory_comes_from_hugepages_only_where_enough_are_free() {
        let mut config = EalConfig { memory_mb: 64, ..EalConfig::default() };
        assert!(line(&config, 63).unwrap().contains("--no-huge --no-shconf"));
        let huge = line(&config, 64).unwrap();
        assert!(huge.contains("--in-memory") && !huge.contains("--no-huge"));
        config.hugepages = Hugepages::Never;
        assert!(line(&config, 64).unwrap().contains("--no-huge"));
        config.hugepages = Hugepages::Required;
        let text = line(&config, 10).unwrap_err().to_string();
        assert!(text.contains("vm.nr_hugepages=32"), "{text}");
    }

    #[test]
    fn options_that_exit_are_refused_and_pci_is_left_alone_unless_named() {
        let mut config = EalConfig::default();
        assert!(line(&config, 0).unwrap().contains("--no-pci"));
        config.pci = vec!["0000:03:00.0".into()];
        let text = line(&config, 0).unwrap();
        assert!(text.contains("-a 0000:03:00.0") && !text.contains("--no-pci"));
        config.extra = vec!["--help".into()];
        assert!(matches!(line(&config, 0), Err(DpdkError::Option(_))));
    }

    #[test]
    fn cores_are_shown_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        let text = check_core(9, &[0, 1]).unwrap_err().to_string();
        assert!(text.contains("core 9") && text.contains("0-1"), "{text}");
    }
}
