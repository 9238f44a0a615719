//! The traffic of one WAN as a sensor: it tells when a busy line falls silent, and decides nothing.
//!
//! Fed about every millisecond with how many user packets the WAN has received and sent so far. A line that received
//! `BUSY` packets in the second before its last one, that is still sent to, and on which nothing has come for longer than
//! `SHORTEST` and `FACTOR` times its own largest gap of the last `MEMORY` seconds, is silent. Told once; then
//! something has to come first. A false alarm teaches: the gap that it ended with is the next measure.

use crate::base::Nanos;

/// Packets in a second that make a line busy.
const BUSY: u64 = 50;
/// A shorter silence is none.
const SHORTEST: Nanos = Nanos::from_ms(50);
/// A longer gap is none of a busy line: nobody used it, or it was dead.
const LONGEST: Nanos = Nanos::from_s(1);
/// Times the largest gap.
const FACTOR: u64 = 4;
/// Gaps are kept for so many seconds.
const MEMORY: u64 = 10;
/// What is sent right after the last packet may be its answer.
const SETTLE: Nanos = Nanos::from_ms(10);
/// Slots of `BUSY`'s second.
const SLOTS: u64 = 10;

/// What is remembered of a line.
#[derive(Clone, Debug, Default)]
pub struct Sensor {
    received: u64,
    /// When the last packet was seen to have come; nothing is known before the first.
    last: Option<Nanos>,
    /// Tenths of seconds, and what came in each.
    slots: [(u64, u64); SLOTS as usize],
    /// Seconds, and the largest gap that ended in each.
    gaps: [(u64, u64); MEMORY as usize],
    /// What had been sent when the last packet came.
    sent: u64,
    /// When the first packet was sent since then.
    asked: Option<Nanos>,
    /// When it was fed last.
    fed: Nanos,
    /// It was busy when the last packet came.
    busy: bool,
    /// What had been sent when the silence had settled.
    mark: Option<u64>,
    told: bool,
}

impl Sensor {
    /// Takes in the counts so far. True if the line has just fallen silent.
    pub fn feed(&mut self, now: Nanos, received: u64, sent: u64) -> bool {
        let came = received.wrapping_sub(self.received);
        self.received = received;
        let before = std::mem::replace(&mut self.fed, now);
        if came == 0 && sent != self.sent {
            self.asked.get_or_insert(before);
        }
        if came > 0 {
            self.heard(now, came, sent);
            return false;
        }
        let Some(last) = self.last.filter(|_| self.busy && !self.told) else { return false };
        let silent = now.since(last);
        if silent >= SETTLE && self.mark.is_none() {
            self.mark = Some(sent);
        }
        let speaks = self.mark.is_some_and(|mark| sent != mark);
        let gap = self.largest(now).saturating_mul(FACTOR);
        self.told = speaks && silent > SHORTEST.max(Nanos(gap));
        self.told
    }

    fn heard(&mut self, now: Nanos, came: u64, sent: u64) {
        let tenth = now.as_ms() / 100;
        if let Some(slot) = self.slots.get_mut((tenth % SLOTS) as usize) {
            *slot = (tenth, if slot.0 == tenth { slot.1.saturating_add(came) } else { came });
        }
        let second = now.as_s();
        // the gap of a line that was idle says nothing of it when it is busy, nor does a pause in which nobody spoke
        self.sent = sent;
        if let Some(length) = self.asked.take().filter(|_| self.busy).map(|asked| now.since(asked))
            && length < LONGEST
            && let Some(gap) = self.gaps.get_mut((second % MEMORY) as usize)
        {
            *gap = (second, if gap.0 == second { gap.1.max(length.0) } else { length.0 });
        }
        let lately = self.slots.iter().filter(|slot| slot.0 + SLOTS > tenth);
        self.busy = lately.map(|slot| slot.1).fold(0, u64::saturating_add) >= BUSY;
        (self.last, self.mark, self.told) = (Some(now), None, false);
    }

    fn largest(&self, now: Nanos) -> u64 {
        let second = now.as_s();
        self.gaps.iter().filter(|gap| gap.0 + MEMORY > second).map(|gap| gap.1).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds until it tells, from when nothing comes any more; `None` within 10 s.
    fn until_told(sensor: &mut Sensor, from: u64, sends: bool) -> Option<u64> {
        let received = sensor.received;
        (1..10_000).find(|ms| sensor.feed(Nanos::from_ms(from + ms), received, if sends { *ms } else { 0 }))
    }

    fn busy(every: u64, for_ms: u64) -> (Sensor, u64) {
        let mut sensor = Sensor::default();
        let mut received = 0;
        for ms in 0..for_ms {
            received += u64::from(ms % every == 0);
            assert!(!sensor.feed(Nanos::from_ms(ms), received, ms), "while packets come, at {ms}");
        }
        (sensor, for_ms - 1 - (for_ms - 1) % every)
    }

    #[test]
    fn a_busy_line_is_silent_after_50_ms_or_four_of_its_gaps() {
        for (every, want) in [(1, Some(51)), (5, Some(51)), (15, Some(61)), (20, Some(81)), (25, None)] {
            let (mut sensor, last) = busy(every, 5_000);
            assert_eq!(until_told(&mut sensor, last, true), want, "a packet every {every} ms");
        }
    }

    #[test]
    fn nobody_speaks_so_nobody_need_answer() {
        let (mut sensor, last) = busy(1, 2_000);
        assert_eq!(until_told(&mut sensor, last, false), None);
    }

    #[test]
    fn the_pause_of_a_line_that_nobody_used_is_no_gap_of_it() {
        let (mut sensor, last) = busy(1, 2_000);
        let (received, sent) = (sensor.received, sensor.sent);
        for ms in 1..=3_000 {
            assert!(!sensor.feed(Nanos::from_ms(last + ms), received, sent), "nobody speaks");
        }
        // one stray packet is no use of a line
        let _ = sensor.feed(Nanos::from_ms(last + 3_001), received, sent + 1);
        let (back, sent) = (last + 3_001 + 4_000, sent + 1);
        for ms in 1..=1_000 {
            assert!(!sensor.feed(Nanos::from_ms(back + ms), received + ms, sent + ms));
        }
        assert_eq!(until_told(&mut sensor, back + 1_000, true), Some(51), "not four times the pause");
    }

    #[test]
    fn it_tells_once_and_learns_from_a_false_alarm() {
        let (mut sensor, last) = busy(1, 2_000);
        assert_eq!(until_told(&mut sensor, last, true), Some(51));
        assert_eq!(until_told(&mut sensor, last + 51, true), None, "told already");
        let mut now = last + 60;
        for _ in 0..100 {
            now += 1;
            let received = sensor.received + 1;
            assert!(!sensor.feed(Nanos::from_ms(now), received, 0));
        }
        assert_eq!(until_told(&mut sensor, now, true), Some(61 * 4 + 1), "61 ms were no death");
    }
}
