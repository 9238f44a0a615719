//! `turnout sessions kill`: sessions that the operator ends, on all workers. Each walks its table a few slots a turn; when the last one
//! is through, whoever has asked is told how many there were, and an event keeps it.

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};

use super::protocol::SessionFilter;
use super::report::protocol_name;
use super::{Answer, Manager};
use crate::base::{Nanos, WanId};
use crate::engine::{KILLS, ToWorker};
use crate::nat::kill::{Kill, Which};

/// A walk under way.
#[derive(Debug)]
struct Walk {
    id: u64,
    /// Workers that are not through
    missing: usize,
    killed: u64,
    filter: Value,
    answer: Sender<Value>,
}

/// The walks, and how many there have been.
#[derive(Debug, Default)]
pub(super) struct Kills {
    walks: Vec<Walk>,
    last: u64,
}

impl Manager {
    pub(super) fn kill(&mut self, filter: &SessionFilter, all: bool) -> Answer {
        match self.which(filter, all).and_then(|which| self.begin_kill(which, filter)) {
            Ok(answer) => Answer::Slowly(answer),
            Err(why) => Answer::Refused(why),
        }
    }

    /// A filter as the workers understand it.
    fn which(&self, filter: &SessionFilter, all: bool) -> Result<Which, String> {
        let SessionFilter { inside, outside, wan, protocol, limit: _ } = filter;
        let some = inside.is_some() || outside.is_some() || wan.is_some() || protocol.is_some();
        if some == all {
            return Err("say which sessions to end, by a filter, or --all".into());
        }
        let names = self.wan_names();
        let wan_of = |name: &String| {
            let found = names.iter().position(|known| known == name);
            let none = || format!("no WAN is called {name}; there are {}", names.join(", "));
            found.map(|at| WanId(at as u8)).ok_or_else(none)
        };
        let protocol_of = |name: &String| {
            let found = (0..=u8::MAX).find(|number| protocol_name(*number) == *name);
            found.ok_or_else(|| format!("no protocol is called {name}"))
        };
        Ok(Which {
            inside: *inside,
            outside: *outside,
            wan: wan.as_ref().map(wan_of).transpose()?,
            protocol: protocol.as_ref().map(protocol_of).transpose()?,
        })
    }

    fn begin_kill(&mut self, which: Which, filter: &SessionFilter) -> Result<Receiver<Value>, String> {
        let room = self.lanes.iter().all(|lane| lane.end.to_worker.slots() > 0);
        if !room || self.kills.walks.len() >= KILLS {
            return Err("the workers are too busy to end sessions; try again".into());
        }
        self.kills.last += 1;
        let id = self.kills.last;
        for lane in &mut self.lanes {
            // There is room.
            let _ = lane.end.to_worker.push(ToWorker::Kill(Box::new(Kill::new(id, which))));
        }
        let (answer, asker) = bounded(1);
        let filter = json!({
            "inside": filter.inside, "outside": filter.outside, "wan": filter.wan, "protocol": filter.protocol,
        });
        self.kills.walks.push(Walk { id, missing: self.lanes.len(), killed: 0, filter, answer });
        Ok(asker)
    }

    /// A worker is through.
    pub(super) fn killed(&mut self, kill: &Kill, now: Nanos) {
        let walks = &mut self.kills.walks;
        let Some(at) = walks.iter().position(|walk| walk.id == kill.id) else { return };
        let walk = &mut walks[at];
        (walk.killed, walk.missing) = (walk.killed + kill.killed, walk.missing - 1);
        if walk.missing > 0 {
            return;
        }
        let walk = walks.swap_remove(at);
        self.event(now, "sessions_killed", json!({ "killed": walk.killed, "filter": walk.filter }));
        // Nobody may be waiting any more.
        let _ = walk.answer.try_send(json!({ "killed": walk.killed }));
    }
}
