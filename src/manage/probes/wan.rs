//! One WAN's side of the probes: its targets, its stack, its BFD session.

use std::net::Ipv4Addr;

use super::bfd::{self, Act, Session};
use super::target::Target;
use super::tcp::{Stack, Verdict};
use super::{Output, Way, packets};
use crate::base::{Nanos, WanId};
use crate::path::answers::BFD_PORT;

/// The next hop of a BFD session that has none is asked for so often.
const RETRY: Nanos = Nanos::from_s(1);

#[derive(Debug)]
pub(super) struct BfdSide {
    pub(super) session: Session,
    /// The way, and what is repeated by it
    pub(super) said: Option<(Way, [u8; bfd::LEN], Nanos, u8)>,
    pub(super) port: u16,
    pub(super) due: Nanos,
}

#[derive(Debug, Default)]
pub(super) struct Wan {
    pub(super) timeout: Nanos,
    pub(super) targets: Vec<Target>,
    pub(super) stack: Option<Stack>,
    pub(super) next_port: u16,
    pub(super) bfd: Option<BfdSide>,
}

/// Says what a probe has shown.
pub(super) fn tell(
    id: WanId,
    target: usize,
    round: u32,
    verdict: Verdict,
    at: Nanos,
    out: &mut dyn FnMut(Output),
) {
    match verdict {
        Ok(()) => out(Output::Reply(id, target as u8, round, at)),
        Err(why) => out(Output::Failed(id, target as u8, round, why)),
    }
}

impl Wan {
    /// Lets the stack go on; what it has heard last came in at `at`.
    pub(super) fn turn(&mut self, id: WanId, now: Nanos, at: Nanos, out: &mut dyn FnMut(Output)) {
        let Some(stack) = self.stack.as_mut().filter(|stack| !stack.is_idle()) else { return };
        let mut frames = Vec::new();
        let verdicts = stack.turn(now, &mut frames);
        frames.into_iter().for_each(|frame| out(Output::Send(id, frame, None)));
        for ((target, round), verdict) in verdicts {
            let target = usize::from(target);
            if self.targets.get_mut(target).is_some_and(|asked| asked.connection(round)) {
                tell(id, target, round, verdict, at, out);
            }
        }
    }

    pub(super) fn bfd_heard(
        &mut self,
        id: WanId,
        from: Ipv4Addr,
        data: &[u8],
        at: Nanos,
        out: &mut dyn FnMut(Output),
    ) {
        let Some(side) = self.bfd.as_mut().filter(|side| side.session.config().peer == from) else { return };
        for act in side.session.heard(data, at) {
            match act {
                Act::Says(says) => out(Output::Bfd(id, says)),
                Act::Answer(answer) => {
                    if let Some((way, mac)) =
                        side.said.as_ref().and_then(|(way, ..)| Some((way, way.next_mac?)))
                    {
                        let frame = packets::udp_on_link(way, mac, from, (side.port, BFD_PORT), &answer);
                        out(Output::Send(id, frame, None));
                    }
                }
            }
        }
        // What is said may be another thing now.
        side.due = at;
    }

    pub(super) fn bfd_tick(
        &mut self,
        id: WanId,
        now: Nanos,
        ways: &dyn Fn(WanId, Ipv4Addr) -> Option<Way>,
        out: &mut dyn FnMut(Output),
    ) {
        let Some(side) = &mut self.bfd else { return };
        for act in side.session.tick(now) {
            if let Act::Says(says) = act {
                out(Output::Bfd(id, says));
                side.due = now;
            }
        }
        if now < side.due {
            return;
        }
        side.due = now + RETRY;
        let peer = side.session.config().peer;
        let way = ways(id, peer);
        if let Some(way) = way.filter(|way| way.confirm) {
            out(Output::Resolve(id, way.next_hop));
        }
        // A neighbour that is not found for a moment is spoken to where it was.
        let way = way.filter(|way| way.next_mac.is_some()).or(side.said.map(|(way, ..)| way));
        let Some((way, mac)) = way.and_then(|way| Some((Way { confirm: false, ..way }, way.next_mac?)))
        else {
            return;
        };
        let said = side.session.says().map(|(data, every, most)| (way, data, every, most));
        if said == side.said {
            return;
        }
        let frame = |(way, data, every, most): (Way, [u8; bfd::LEN], Nanos, u8)| {
            (packets::udp_on_link(&way, mac, peer, (side.port, BFD_PORT), &data), every, most)
        };
        out(Output::Repeat(id, said.map(frame)));
        side.said = said;
    }
}
