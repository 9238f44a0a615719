//! What the management thread has a worker send: ARP, the router's own probes, and what is sent again and again; and back to it
//! what has come in for them.

use super::frames::Repeat;
use super::rings::ToManager;
use super::{Lcore, Ports};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{DropReason, PacketBuf, Stat};

/// Frames sent in one turn.
const FRAMES: usize = 64;
/// The shortest time between two of the same.
const SHORTEST: Nanos = Nanos::from_ms(1);

/// What is sent again and again, by WAN.
#[derive(Debug)]
pub(super) struct Repeats {
    all: Vec<Option<(Nanos, Repeat)>>,
    /// None is due before then
    pub(super) due: Nanos,
    /// State of a xorshift generator, never 0
    lot: u64,
}

impl Repeats {
    pub(super) fn new(wans: usize, seed: u64) -> Repeats {
        Repeats { all: vec![None; wans], due: Nanos::NEVER, lot: seed | 1 }
    }

    pub(super) fn set(&mut self, wan: WanId, repeat: Option<Repeat>, now: Nanos) {
        if let Some(place) = self.all.get_mut(wan.index()) {
            *place = repeat.map(|repeat| (now, repeat));
            self.find_due();
        }
    }

    fn find_due(&mut self) {
        self.due = self.all.iter().flatten().map(|(at, _)| *at).min().unwrap_or(Nanos::NEVER);
    }

    /// One that is due; it is due again later.
    fn next(&mut self, now: Nanos) -> Option<Repeat> {
        let (at, repeat) = self.all.iter_mut().flatten().find(|(at, _)| *at <= now)?;
        self.lot ^= self.lot << 13;
        self.lot ^= self.lot >> 7;
        self.lot ^= self.lot << 17;
        let every = repeat.every.max(SHORTEST).0;
        let span = u64::from(repeat.most_percent.clamp(76, 100)) - 75;
        let least = every / 4 * 3;
        *at = now + Nanos(least + every / 100 * span / 1000 * (self.lot % 1001));
        let repeat = *repeat;
        self.find_due();
        Some(repeat)
    }
}

impl<B: PacketBuf> Lcore<B> {
    /// Sends a frame at once, what waits before it; tells when, if it is a probe.
    pub(super) fn send<P: Ports<Buf = B>>(
        &mut self,
        ports: &mut P,
        iface: IfaceId,
        frame: &[u8],
        probe: Option<(WanId, u64)>,
        now: Nanos,
    ) {
        self.router.counters.add(Stat::Originated, 1);
        let Some(mut buf) = ports.alloc().filter(|_| iface.index() < self.interfaces) else {
            return self.router.counters.drop(DropReason::NoBuffer);
        };
        if !buf.resize(frame.len()) {
            return self.router.counters.drop(DropReason::NoBuffer);
        }
        buf.bytes_mut().copy_from_slice(frame);
        // What waits goes first: then the one frame more that is sent is this one.
        self.transmit(ports);
        self.router.out[iface.index()].put(buf);
        let before = self.router.counters.get(Stat::Sent);
        self.transmit(ports);
        if let (Some((wan, tag)), true) = (probe, self.router.counters.get(Stat::Sent) > before) {
            self.tell(ToManager::ProbeSent { wan, tag, at: now });
        }
    }

    /// Sends the frames that the management thread has for it, and what is due again: when it has said so, and every millisecond.
    pub(super) fn send_frames<P: Ports<Buf = B>>(&mut self, ports: &mut P, now: Nanos) {
        // Room for what is told of each first.
        let room = self.end.to_manager.slots().min(FRAMES);
        for _ in 0..room {
            let Ok(out) = self.end.frames.from_manager.pop() else { break };
            self.send(ports, out.iface, out.frame.bytes(), out.probe, now);
        }
        self.beat(ports, now);
        while self.repeats.due <= now
            && let Some(repeat) = self.repeats.next(now)
        {
            self.send(ports, repeat.iface, &repeat.frame, None, now);
        }
    }

    /// Gives the management thread what has come in for the router's own probes.
    #[cold]
    pub(super) fn tell_answers(&mut self) {
        for answer in self.router.answers.drain(..) {
            if !self.end.frames.put(answer.from, answer.at, answer.buf.bytes()) {
                self.router.counters.add(Stat::AnswersLost, 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::frames::REPEAT_LEN;

    fn repeat(every_ms: u64, most_percent: u8) -> Repeat {
        Repeat { iface: IfaceId(1), every: Nanos::from_ms(every_ms), most_percent, frame: [0; REPEAT_LEN] }
    }

    fn gaps(most_percent: u8) -> (u64, u64) {
        let mut repeats = Repeats::new(2, 42);
        repeats.set(WanId(1), Some(repeat(300, most_percent)), Nanos::from_s(1));
        let (mut last, mut gaps) = (None, Vec::new());
        for us in 1_000_000..300_000_000 {
            let now = Nanos::from_us(us);
            if repeats.due <= now && repeats.next(now).is_some() {
                gaps.extend(last.map(|last| us - last));
                last = Some(us);
            }
        }
        (gaps.iter().min().copied().unwrap(), gaps.iter().max().copied().unwrap())
    }

    #[test]
    fn a_repeated_packet_leaves_at_75_to_100_percent_of_its_interval() {
        let (least, most) = gaps(100);
        assert!((225_000..227_000).contains(&least) && (298_000..=300_000).contains(&most), "{least} {most}");
        let (least, most) = gaps(90);
        assert!((225_000..227_000).contains(&least) && (268_000..=270_000).contains(&most), "{least} {most}");
    }

    #[test]
    fn another_takes_the_place_of_the_one_before_and_none_ends_it() {
        let mut repeats = Repeats::new(2, 7);
        repeats.set(WanId(0), Some(repeat(10, 100)), Nanos::ZERO);
        assert!(repeats.next(Nanos::ZERO).is_some() && repeats.next(Nanos::ZERO).is_none());
        // The new one at once.
        repeats.set(WanId(0), Some(repeat(20, 100)), Nanos::from_ms(1));
        assert_eq!(repeats.next(Nanos::from_ms(1)).map(|r| r.every), Some(Nanos::from_ms(20)));
        repeats.set(WanId(0), None, Nanos::from_ms(2));
        repeats.set(WanId(9), Some(repeat(1, 100)), Nanos::from_ms(2));
        assert_eq!((repeats.due, repeats.next(Nanos::from_s(9))), (Nanos::NEVER, None));
    }
}
