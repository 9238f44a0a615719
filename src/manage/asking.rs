//! What the router is asked, by the control socket or a simulation, and its answers.

use rtrb::RingBuffer;
use serde_json::json;

use super::report::RowContext;
use super::{Answer, Manager, ROWS, pair, protocol};
use crate::base::Nanos;
use crate::engine::ToWorker;
use crate::profile::Profile;

impl Manager {
    /// Answers a question.
    pub fn ask(&mut self, request: protocol::Request, now: Nanos) -> Answer {
        use protocol::Request;
        match request {
            Request::Status => Answer::Items(vec![self.status(now)]),
            Request::Wans => Answer::Items(vec![self.wans_json(now)]),
            Request::Neighbors => Answer::Items(vec![self.neighbors_json(now)]),
            Request::Counters => Answer::Items(vec![self.counters_json()]),
            Request::Latency => Answer::Items(vec![self.latency_json()]),
            Request::Events { follow: false } => Answer::Items(self.events.past()),
            Request::Events { follow: true } => {
                let (past, next) = self.events.follow();
                Answer::Follow(past, next)
            }
            Request::Sessions(_) => self.list(now),
            Request::Kill { filter, all } => self.kill(&filter, all),
            Request::Why => {
                let why = self.stories.json(&self.totals(), &self.group_names(), &self.wan_names());
                Answer::Items(vec![why])
            }
            Request::Explain { packet, assume, interface } => {
                self.explain(&packet, &assume, interface.as_deref(), now)
            }
            // With the file that the asking thread has read: `ask_to_reload`.
            Request::Reload { .. } => Answer::Refused("a profile is missing".into()),
            Request::Confirm => self.confirm(now),
            Request::Wan { name, admin, force } => self.operator(&name, admin, force, now),
            Request::Cluster => {
                self.cluster_json(now).map_or_else(pair::none, |pair| Answer::Items(vec![pair]))
            }
            Request::Prefer { member } => self.prefer(&member, now),
            Request::Yield => self.yield_role(false, now),
            Request::YieldNow => self.yield_role(true, now),
        }
    }

    /// Answers a question for a reload.
    pub fn ask_to_reload(&mut self, profile: Profile, confirm_s: Option<u64>, now: Nanos) -> Answer {
        match self.reload(profile, confirm_s.map(Nanos::from_s), now) {
            Ok(changed) => Answer::Items(vec![json!({ "changed": changed, "confirm_s": confirm_s })]),
            Err(why) => Answer::Refused(why),
        }
    }

    /// A profile that was to be taken up is none.
    pub fn refuse_reload(&mut self, why: &str, now: Nanos) {
        self.event(now, "reload", json!({ "error": why }));
    }

    fn list(&mut self, now: Nanos) -> Answer {
        let mut rows = Vec::new();
        for lane in &mut self.lanes {
            let (to, from) = RingBuffer::new(ROWS);
            if lane.end.to_worker.push(ToWorker::List(to)).is_err() {
                return Answer::Refused("a worker is too busy to list its sessions; try again".into());
            }
            rows.push(from);
        }
        let wan_names = self.wan_names();
        Answer::Rows(rows, RowContext { wan_names, now })
    }
}
