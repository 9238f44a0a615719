//! What the router says of itself, followed over its control socket.
//!
//! One thread follows the events, another asks for the WANs and the status five times a second; both end with the router, or when
//! the watch is dropped and the next answer comes. Shapes are read with tolerance: a field that is missing is unknown,
//! never an error, so that the view goes on with routers that know more or less.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Deserialize;
use serde_json::Value;

use super::clock;
use super::story::Answer;
use crate::base::Nanos;
use crate::manage::protocol::{Request, ask, ask_one};

const POLL: Duration = Duration::from_millis(200);

/// A WAN as the router sees it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct WanState {
    /// Its name.
    pub name: String,
    /// `probing`, `up`, `degraded` or `down`.
    pub state: String,
    /// The carrier.
    pub link: Option<bool>,
    /// Whether new sessions go there.
    pub carrying: Option<bool>,
    /// The probes' round trip.
    pub rtt_us: Option<f64>,
    /// The probes' loss.
    pub loss_percent: Option<f64>,
    /// Sessions on it.
    pub sessions: Option<u64>,
    /// Packets received.
    pub rx_packets: Option<u64>,
    /// Packets sent.
    pub tx_packets: Option<u64>,
    /// Why it is in this state.
    pub reason: Option<String>,
}

/// One look at the router.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// When.
    pub at: Nanos,
    /// Its WANs.
    pub wans: Vec<WanState>,
    /// Its live sessions, if it told.
    pub sessions: Option<u64>,
    /// Its role, if it is a member of a pair.
    pub role: Option<String>,
}

impl Look {
    /// A member of a pair, drawn as a line is: what all its WANs carry is its own.
    pub fn member(self, name: &str) -> Look {
        let sum = |of: fn(&WanState) -> Option<u64>| Some(self.wans.iter().filter_map(of).sum());
        let state = WanState {
            name: name.to_owned(),
            carrying: Some(self.role.as_deref() == Some("active")),
            sessions: self.sessions,
            rx_packets: sum(|wan| wan.rx_packets),
            tx_packets: sum(|wan| wan.tx_packets),
            state: self.role.clone().unwrap_or_default(),
            ..WanState::default()
        };
        // Each has all sessions: the sum would be twice as many.
        let sessions = self.sessions.filter(|_| state.carrying == Some(true));
        Look { wans: vec![state], sessions, ..self }
    }
}

/// An event of the router.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened by the router's stamp, or when it was heard if there is none.
    pub at: Nanos,
    /// The whole of it.
    pub value: Value,
}

impl Event {
    /// Reads an event; the router's own stamp of the decision is preferred to the one of the report.
    pub fn read(value: Value, now: Nanos) -> Event {
        let stamp = |key| value.get(key).and_then(Value::as_u64).filter(|at| *at != 0 && *at <= now.0);
        let at = stamp("detected_ns").or_else(|| stamp("at_ns")).map_or(now, Nanos);
        Event { at, value }
    }

    /// A text field.
    pub fn text(&self, key: &str) -> &str {
        self.value.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// It says that this member of a pair has the role now.
    pub fn takes_role(&self) -> bool {
        self.text("kind") == "cluster_role" && self.text("to") == "active"
    }

    /// What it means for the traffic of `wan`: left, or returned to.
    pub fn answer(&self, wan: &str) -> Option<Answer> {
        match self.text("kind") {
            "failover" if self.text("from") == wan => Some(Answer::Failover),
            "failover" if self.text("to") == wan => Some(Answer::Failback),
            "failback" if self.text("to") == wan => Some(Answer::Failback),
            _ => None,
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let (kind, from, to) = (self.text("kind"), self.text("from"), self.text("to"));
        let because = |key| match self.text(key) {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        match kind {
            "wan_state" => format!("{} {from} -> {to}{}", self.text("wan"), because("reason")),
            "failover" => format!("FAILOVER {from} -> {to}{}", because("cause")),
            "failback" => format!("FAILBACK {from} -> {to}"),
            "link" => {
                let up = self.value.get("up").and_then(Value::as_bool).unwrap_or(false);
                format!("{} link {}", self.text("interface"), if up { "up" } else { "down" })
            }
            "cluster_role" => format!("ROLE {from} -> {to}{}", because("cause")),
            "" => "an event without a kind".into(),
            other => {
                let subject = ["interface", "wan", "address"].map(|key| self.text(key));
                let subject: Vec<&str> = subject.into_iter().filter(|text| !text.is_empty()).collect();
                format!("{other} {}", subject.join(" ")).trim_end().to_owned()
            }
        }
    }
}

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    /// The events as they come.
    pub events: Receiver<Event>,
    /// The looks as they come; those that nobody took are dropped.
    pub looks: Receiver<Look>,
    over: Arc<AtomicBool>,
}

impl Watch {
    /// Starts to watch the router on `socket`.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(socket: &Path) -> std::io::Result<Watch> {
        let over = Arc::new(AtomicBool::new(false));
        let (tell, events) = bounded(1024);
        let (path, ended) = (socket.to_path_buf(), over.clone());
        thread::Builder::new().name("demo-events".into()).spawn(move || {
            // The end of the stream is the end of the router; the story notices that by itself.
            let _ = ask(&path, &Request::Events { follow: true }, |value| {
                let event = Event::read(value, clock::now());
                !ended.load(Ordering::Relaxed) && tell.try_send(event).is_ok()
            });
        })?;
        let (tell, looks) = bounded(8);
        let (path, ended) = (socket.to_path_buf(), over.clone());
        thread::Builder::new().name("demo-looks".into()).spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                look(&path, &tell);
                thread::sleep(POLL);
            }
        })?;
        Ok(Watch { events, looks, over })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn look(socket: &Path, tell: &Sender<Look>) {
    let Ok(Value::Array(wans)) = ask_one(socket, &Request::Wans) else { return };
    let at = clock::now();
    let wans = wans.into_iter().filter_map(|wan| serde_json::from_value(wan).ok()).collect();
    let status = ask_one(socket, &Request::Status).unwrap_or_default();
    let sessions = status.pointer("/sessions/live").and_then(Value::as_u64);
    let role = status.pointer("/cluster/role").and_then(Value::as_str).map(str::to_owned);
    let _ = tell.try_send(Look { at, wans, sessions, role });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_stamp_of_the_decision_is_preferred_and_a_missing_one_is_now() {
        let now = Nanos(1000);
        assert_eq!(Event::read(json!({"at_ns": 900, "detected_ns": 800}), now).at, Nanos(800));
        assert_eq!(Event::read(json!({"at_ns": 900}), now).at, Nanos(900));
        assert_eq!(Event::read(json!({"at_ns": 5000}), now).at, now, "a stamp from the future");
        assert_eq!(Event::read(json!({}), now).at, now);
    }

    #[test]
    fn events_answer_for_the_wan_they_are_about() {
        let event = |value| Event::read(value, Nanos(1));
        let failover = event(json!({"kind": "failover", "from": "isp1", "to": "isp2", "cause": "link"}));
        assert_eq!(failover.answer("isp1"), Some(Answer::Failover));
        assert_eq!(failover.line(), "FAILOVER isp1 -> isp2 (link)");
        let failback = event(json!({"kind": "failback", "from": "isp2", "to": "isp1"}));
        assert_eq!(failback.answer("isp1"), Some(Answer::Failback));
        let link = event(json!({"kind": "link", "interface": "isp1", "up": false}));
        assert_eq!((link.answer("isp1"), link.line().as_str()), (None, "isp1 link down"));
        let role =
            json!({"kind": "cluster_role", "from": "standby", "to": "active", "cause": "partner_lost"});
        assert!(event(role.clone()).takes_role() && !link.takes_role());
        assert_eq!(event(role).line(), "ROLE standby -> active (partner_lost)");
        assert_eq!(event(json!({"kind": "reload"})).line(), "reload");
        assert_eq!(event(json!(7)).line(), "an event without a kind");
    }

    #[test]
    fn a_member_is_the_sum_of_its_wans() {
        let wan = |rx| WanState { rx_packets: Some(rx), ..WanState::default() };
        let look = |role: &str| Look {
            wans: vec![wan(3), wan(4), WanState::default()],
            sessions: Some(9),
            role: Some(role.into()),
            ..Look::default()
        };
        let active = look("active").member("a");
        let [line] = active.wans.as_slice() else { panic!("{active:?}") };
        assert_eq!((line.name.as_str(), line.carrying, line.rx_packets), ("a", Some(true), Some(7)));
        assert_eq!((active.sessions, look("standby").member("b").sessions), (Some(9), None));
    }

    #[test]
    fn a_wan_with_missing_fields_is_read() {
        let wan: WanState =
            serde_json::from_value(json!({"name": "isp1", "rtt_us": null, "new": 1})).unwrap();
        assert_eq!((wan.name.as_str(), wan.rtt_us, wan.carrying), ("isp1", None, None));
    }
}
