//! What a site says when it is asked, as the control socket would; and how its ports fare.

use std::sync::Arc;

use serde_json::Value;

use super::site::Site;
use crate::base::{IfaceId, Nanos};
use crate::manage::hooks::Hooks;
use crate::manage::log::Lines;
use crate::manage::protocol::Request;
use crate::manage::status_http::Endpoint;
use crate::manage::writer::Writer;
use crate::manage::{Answer, journal};
use crate::packet::VecBuf;
use crate::path::View;
use crate::profile;

impl Site {
    /// What it says as a member of a pair goes to this endpoint.
    pub fn answer_at(&mut self, endpoint: Endpoint) {
        self.manager.answer_at(endpoint);
    }

    /// The link goes or comes, with all interfaces of the port, and the manager is told.
    pub fn set_link(&mut self, link: &str, up: bool) {
        let port = self.layout.port(self.iface(link).index());
        for at in self.layout.clone().interfaces(port) {
            self.wires.borrow_mut()[at].down = !up;
            self.manager.link(self.now, IfaceId(at as u8), up);
        }
        self.settle();
    }

    /// From now on frames in receive queue `queue` of the router: which worker sees them first.
    pub fn use_queue(&mut self, queue: usize) {
        self.queue = queue;
    }

    /// The link stays up, but nothing answers any more; or all is well again.
    pub fn set_silent(&mut self, link: &str, silent: bool) {
        let iface = self.iface(link);
        self.wires.borrow_mut()[iface.index()].silent = silent;
    }

    /// So many more frames can be sent on a link, until `None` lifts the limit.
    pub fn set_room(&mut self, link: &str, room: Option<usize>) {
        let iface = self.iface(link);
        self.wires.borrow_mut()[iface.index()].room = room.unwrap_or(usize::MAX);
    }

    /// Puts a frame on the port of a link as it is, whatever tag belongs there.
    pub fn put_as_is(&mut self, link: &str, frame: &[u8]) {
        let (iface, queue) = (self.iface(link), self.queue);
        if let Some(queue) = self.wires.borrow_mut()[iface.index()].as_is.get_mut(queue) {
            queue.push_back(VecBuf::new(frame));
        }
        self.settle();
    }

    /// Asks the manager, as the control socket does. What is refused is an error.
    ///
    /// # Errors
    /// The router's refusal.
    pub fn ask(&mut self, request: Request) -> Result<Value, String> {
        for lcore in &mut self.lcores {
            lcore.show(self.now);
        }
        let answer = self.manager.ask(request, self.now);
        self.settle();
        match answer {
            Answer::Items(mut items) if items.len() == 1 => Ok(items.remove(0)),
            Answer::Items(items) => Ok(Value::Array(items)),
            Answer::Follow(past, _) => Ok(Value::Array(past)),
            Answer::Later(answer) => answer.try_recv().map_err(|e| e.to_string()),
            Answer::Slowly(answer) => {
                for _ in 0..100_000 {
                    if let Ok(item) = answer.try_recv() {
                        return Ok(item);
                    }
                    self.settle();
                }
                Err("the workers are at it for too long".into())
            }
            Answer::Taken(_, kept) => Ok(kept),
            Answer::Refused(why) => Err(why),
            Answer::Rows(rings, context) => {
                let mut rows = Vec::new();
                for mut ring in rings {
                    for _ in 0..100_000 {
                        while let Ok(row) = ring.pop() {
                            rows.push(context.json(&row));
                        }
                        if ring.is_abandoned() {
                            break;
                        }
                        self.settle();
                    }
                }
                Ok(Value::Array(rows))
            }
        }
    }

    /// Asks the manager and gives the answer as it is, for a socket to pass on.
    pub fn question(&mut self, request: Request) -> Answer {
        self.lcores.iter_mut().for_each(|lcore| lcore.show(self.now));
        let answer = self.manager.ask(request, self.now);
        self.settle();
        answer
    }

    /// Has all workers read another view from now on, of which the manager knows nothing: it stands until that publishes one.
    pub fn edit_view(&mut self, edit: impl FnOnce(&mut View)) {
        let mut view = self.view().clone();
        edit(&mut view);
        let view = Arc::new(view.indexed());
        for lcore in &mut self.lcores {
            lcore.take(view.clone(), self.now);
        }
    }

    /// The time.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Takes up another profile, as a reload does.
    ///
    /// # Errors
    /// The profile's mistakes, or what needs a restart.
    pub fn reload(&mut self, text: &str, confirm: Option<Nanos>) -> Result<Vec<String>, String> {
        let profile = profile::load(text, "sim.yaml").map_err(|e| e.to_string())?;
        let changed = self.manager.reload(profile, confirm, self.now)?;
        self.settle();
        Ok(changed)
    }

    /// What the WANs' machines are told goes into a journal in `folder` from now on, as long as the writer lives.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn keep_journal(&mut self, folder: &std::path::Path) -> std::io::Result<Writer> {
        let wans = self.view().wans.iter().map(|link| self.names[link.iface.index()].clone()).collect();
        let (journal, pages) = journal::connect(wans);
        self.manager.keep_journal(journal);
        pages.start(folder)
    }

    /// These hear of events from now on: real programs, in real time.
    pub fn call_hooks(&mut self, hooks: Hooks) {
        self.manager.call_hooks(hooks);
    }

    /// The router is to end: whether it waits for nobody.
    pub fn leave(&mut self) -> bool {
        self.manager.leave(self.now)
    }

    /// Whether it needs to wait no more.
    pub fn left(&self) -> bool {
        self.manager.left()
    }

    /// Its last word as a member of a pair, sent.
    pub fn farewell(&mut self) {
        self.manager.farewell(self.now);
        self.turn();
    }

    /// Lets time pass in one step.
    pub fn leap(&mut self, span: Nanos) {
        self.now += span;
        self.settle();
    }

    /// Takes up the overrides of an earlier run.
    pub fn restore(&mut self, overrides: &Value) {
        self.manager.restore(overrides, self.now);
        self.settle();
    }

    /// From now on each send on a link takes so long, within its turn. Latencies show it; no timer does.
    pub fn set_send_takes(&mut self, link: &str, span: Nanos) {
        let iface = self.iface(link);
        self.wires.borrow_mut()[iface.index()].send_takes = span;
    }

    /// The lines that the log of mappings has got since the last time, worker by worker; the time of day begins with the clock.
    pub fn log(&mut self) -> Vec<Value> {
        let Some(logs) = &mut self.log else { return Vec::new() };
        let lines = Lines::new(&logs.wan_names);
        let mut text = Vec::new();
        for (worker, ring) in logs.from.iter_mut().enumerate() {
            while let Ok(record) = ring.pop() {
                lines.line(&mut text, worker, &record);
            }
        }
        serde_json::Deserializer::from_slice(&text).into_iter().map_while(Result::ok).collect()
    }

    /// The events of a kind so far.
    pub fn events(&mut self, kind: &str) -> Vec<Value> {
        match self.ask(Request::Events { follow: false }) {
            Ok(Value::Array(all)) => all.into_iter().filter(|e| e["kind"] == kind).collect(),
            Ok(one) if one["kind"] == kind => vec![one],
            _ => Vec::new(),
        }
    }
}
