//! What a test asks of two members in the weather: who is active, how their sessions stand, which of them a packet passes that reaches both.

use std::net::Ipv4Addr;

use crate::base::{Mac, Nanos};
use crate::cluster::sync::{LogStatus, SyncState};
use crate::cluster::{ClusterView, Preference, Role};
use crate::manage::protocol::Request;

use super::frames::Packet;
use super::twins::Twins;

impl Twins {
    /// The pair as a member sees it, and how its sessions stand; `None`: it does not run.
    pub fn view(&self, at: usize) -> Option<(ClusterView, LogStatus)> {
        let site = self.members.get(at).filter(|_| !self.dead[at])?;
        site.manager.pair(site.now)
    }

    /// Who is active: by number.
    pub fn active(&self) -> Vec<usize> {
        let is = |at: &usize| self.view(*at).is_some_and(|(view, _)| view.member.role == Role::Active);
        (0..2).filter(is).collect()
    }

    /// One is active, and the other one has all its sessions. Gives the active one.
    pub fn whole(&self) -> Option<usize> {
        let &[active] = self.active().as_slice() else { return None };
        let (log, copy) = (self.view(active)?.1, self.view(1 - active)?.1);
        let all = log.state == SyncState::Following && copy.state == SyncState::Whole;
        (all && log.behind == 0 && copy.behind == 0).then_some(active)
    }

    /// The management thread of a member stands still for so long; its workers go on.
    pub fn stall(&mut self, at: usize, span: Nanos) {
        self.stalled[at] = self.now() + span;
        self.watch();
    }

    /// The operator prefers a member. False: the one that is asked does not run, or stands still.
    pub fn prefer(&mut self, at: usize, member: &str) -> bool {
        self.word(at, Request::Prefer { member: member.into() })
    }

    /// The operator wants another one to have the role. False: that is refused.
    pub fn give_up(&mut self, at: usize) -> bool {
        self.word(at, Request::Yield)
    }

    fn word(&mut self, at: usize, word: Request) -> bool {
        if self.dead[at] || self.stalled[at] > self.now() {
            return false;
        }
        if let Some(referee) = &mut self.referee {
            referee.spoke = self.members[0].now;
        }
        let taken = self.members[at].ask(word).is_ok();
        self.watch();
        taken
    }

    /// A packet from inside comes to both members, as from a switch that floods, to a MAC and on to a server. Gives who sends it on, and from where it
    /// is seen to be.
    pub fn flood(&mut self, link: &str, to: Mac, packet: &Packet) -> [Option<(Ipv4Addr, u16)>; 2] {
        let server = packet.ip.dst;
        let passed = [0, 1].map(|at| {
            if self.dead[at] || self.stalled[at] > self.now() {
                return None;
            }
            let mut frame = self.members[at].frame_of(link, packet);
            frame.iter_mut().zip(to.0).for_each(|(byte, mac)| *byte = mac);
            let out = self.send_raw(at, link, &frame);
            out.into_iter().find(|(by, seen)| by != link && seen.ip.dst == server).map(|(_, seen)| seen.src())
        });
        let (now, both) = (self.now(), passed.iter().all(Option::is_some));
        if let Some(referee) = &mut self.referee {
            referee.probed(now, both);
        }
        passed
    }

    /// The newest preference that was ever on a disk; `None`: none was.
    pub fn newest(&self) -> Option<Preference> {
        Some(self.referee.as_ref()?.newest()?.preference)
    }

    /// Take-overs so far, and how often there were two active.
    pub fn seen(&self) -> [u32; 2] {
        self.referee.as_ref().map_or([0; 2], |referee| referee.seen)
    }

    /// All that was found wrong so far, the members' own books among it.
    pub fn faults(&mut self) -> Vec<String> {
        let Some(mut referee) = self.referee.take() else { return Vec::new() };
        for at in (0..2).filter(|at| !self.dead[*at]) {
            referee.bury(&mut self.members[at]);
        }
        let faults = referee.faults().to_vec();
        self.referee = Some(referee);
        faults
    }
}
