//! `events`: what has happened, one line each, and `--follow` as it happens.
//!
//! A line is flushed as soon as it is whole. Following ends with exit status 0 by Ctrl-C, which is the way to end it, and
//! when the reader of stdout goes away, even if nothing happens that could be written.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use serde_json::Value;

use super::Error;
use super::args::EventArgs;
use super::output::{Colour, NOTHING, Screen, nanos, number, plain, text, wrap};
use crate::manage::protocol::{Request, ask};

pub(super) fn events(args: &EventArgs, screen: &mut Screen) -> Result<(), Error> {
    if args.follow {
        end_on_interrupt()?;
        end_without_reader()?;
    }
    let mut result = Ok(());
    let mut none = true;
    let epoch = epoch();
    ask(&args.talk.socket, &Request::Events { follow: args.follow }, |event| {
        none = false;
        result = if args.talk.json {
            screen.json(&event).map_err(Error::from)
        } else {
            show(&event, epoch, screen)
        };
        if args.follow && result.is_ok() {
            result = screen.flush().map_err(Error::from);
        }
        result.is_ok()
    })?;
    if none && !args.talk.json {
        screen.line("no events")?;
    }
    result
}

/// The main thread waits for the router, so another one waits for Ctrl-C.
fn end_on_interrupt() -> Result<(), Error> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT])?;
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(0);
        }
    })?;
    Ok(())
}

/// Nothing is asked of stdout, so `poll` returns for an error or a hang-up only.
fn end_without_reader() -> Result<(), Error> {
    std::thread::Builder::new().name("reader".to_owned()).spawn(|| {
        let stdout = io::stdout();
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        loop {
            let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if fds[0].revents().is_some_and(|what| what.intersects(gone)) => std::process::exit(0),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                // a write will tell
                Err(_) => return,
            }
        }
    })?;
    Ok(())
}

fn show(event: &Value, epoch: SystemTime, screen: &mut Screen) -> Result<(), Error> {
    let kind = text(event, "kind");
    let colour = match kind.as_str() {
        "failover" => Some(Colour::Red),
        "failback" => Some(Colour::Green),
        "wan_state" | "link" | "wan_admin" => Some(Colour::Yellow),
        _ => None,
    };
    let at = number(event, "at_ns").map_or(NOTHING.to_owned(), |ns| moment(epoch, ns));
    let indent = at.chars().count() + 1;
    for (index, line) in wrap(&format!("{at} {kind} {}", details(event)), indent).into_iter().enumerate() {
        let line = match colour {
            Some(_) if index == 0 => line.replacen(&kind, &screen.paint(colour, &kind), 1),
            _ => line,
        };
        screen.line(&line)?;
    }
    Ok(())
}

/// From where to where and why first, then times as spans, then all the rest by name.
fn details(event: &Value) -> String {
    let Some(fields) = event.as_object() else { return plain(event) };
    let mut words = Vec::new();
    let said = |key: &str| fields.get(key).filter(|value| !value.is_null()).map(plain);
    words.extend(said("wan").or_else(|| said("interface")));
    if fields.contains_key("from") || fields.contains_key("to") {
        words.push(format!("{} -> {}", text(event, "from"), text(event, "to")));
    }
    words.extend(said("cause").or_else(|| said("reason")).map(|why| format!("({why})")));
    if let Some(detected) = number(event, "detected_ns") {
        for (key, name) in [("published_ns", "published"), ("applied_ns", "applied")] {
            if let Some(span) = number(event, key).and_then(|at| at.checked_sub(detected)) {
                words.push(format!("{name} +{}", nanos(span).replace(' ', "")));
            }
        }
        if let Some(span) = number(event, "last_ok_ns").and_then(|at| detected.checked_sub(at)) {
            words.push(format!("last sign of life {} before", nanos(span).replace(' ', "")));
        }
    }
    for (key, value) in fields {
        let told = match key.as_str() {
            "at_ns" | "seq" | "kind" | "from" | "to" | "wan" | "detected_ns" | "published_ns"
            | "applied_ns" | "last_ok_ns" | "generation" => true,
            "interface" => said("wan").is_none(),
            "cause" => true,
            "reason" => said("cause").is_none(),
            _ => value.is_null(),
        };
        if !told {
            words.push(match (key.strip_suffix("_ns"), value.as_u64()) {
                (Some(name), Some(span)) => format!("{name}={}", nanos(span).replace(' ', "")),
                _ => format!("{}={}", plain(&Value::String(key.clone())), plain(value)),
            });
        }
    }
    words.join(" ")
}

/// The moment from which the router's monotonic clock counts, which is this machine's.
pub(super) fn epoch() -> SystemTime {
    let monotonic = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from);
    SystemTime::now().checked_sub(monotonic.unwrap_or_default()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The time of day, in UTC.
pub(super) fn moment(epoch: SystemTime, ns: u64) -> String {
    // What lies beyond the year 9999 has no such form.
    let at = epoch.checked_add(Duration::from_nanos(ns)).filter(|_| ns < u64::MAX / 4);
    at.map_or(NOTHING.to_owned(), |at| humantime::format_rfc3339_millis(at).to_string().replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::printed;
    use super::*;
    use serde_json::json;

    fn told(event: &Value) -> Vec<String> {
        printed(event, |event, screen| show(event, SystemTime::UNIX_EPOCH, screen))
    }

    #[test]
    fn a_failover_says_from_where_to_where_why_and_how_fast() {
        let event = json!({"at_ns": 1_700_000_000_123_456_789u64, "seq": 4, "kind": "failover", "from": "isp1",
            "to": "isp2", "cause": "gateway silent", "detected_ns": 1_000_000_000u64,
            "published_ns": 1_000_020_000u64, "applied_ns": 1_000_350_000u64, "moved": 12});
        assert_eq!(
            told(&event),
            [
                "2023-11-14 22:13:20.123Z failover isp1 -> isp2 (gateway silent) published",
                "                         +20.0us applied +350.0us moved=12",
            ]
        );
    }

    #[test]
    fn other_events_are_their_fields_and_odd_ones_do_no_harm() {
        let event = json!({"at_ns": 5_250_000_000u64, "seq": 1, "kind": "link", "wan": "isp1", "up": false});
        assert_eq!(told(&event), ["1970-01-01 00:00:05.250Z link isp1 up=false"]);
        let event = json!({"at_ns": 192_000_000_000u64, "kind": "wan_state", "wan": "isp1", "from": "up",
            "to": "down", "reason": "link lost", "outage_ns": 1_500_000u64});
        assert_eq!(
            told(&event),
            ["1970-01-01 00:03:12.000Z wan_state isp1 up -> down (link lost) outage=1.5ms"]
        );
        assert_eq!(told(&json!({})), ["- -"]);
        for odd in
            [json!(null), json!([1]), json!("x".repeat(300)), json!({"kind": 7, "from": null, "at_ns": -1})]
        {
            told(&odd);
        }
        let wide =
            json!({"at_ns": u64::MAX, "kind": "k".repeat(100), "a": "b ".repeat(100), "c": {"d": [1, 2]}});
        told(&wide);
    }
}
