//! The race: frames of open sessions as fast as they go, counted where they come out.

use serde_json::{Value, json};

use super::frames::Belt;
use super::line::{Line, Spare};
use crate::bench::Direction;
use crate::dpdk::tsc;

/// Before counting starts, in thousandths of a second.
const WARM_MS: u64 = 500;

/// What was counted.
#[derive(Clone, Debug)]
pub struct Count {
    /// Which way the frames went
    pub direction: Direction,
    /// Length of a frame without its check sequence
    pub bytes: usize,
    /// Sessions that the frames belong to
    pub sessions: u32,
    /// How long it was counted
    pub seconds: f64,
    /// Frames that the ports took
    pub sent: u64,
    /// Frames that came out at the other port
    pub received: u64,
    /// Share of the time in which frames were moved, 0 to 1. The rest was spent on full and on empty queues: on waiting
    /// for the other side
    pub busy: f64,
    /// Share of the bursts that a full queue did not take whole, 0 to 1
    pub held_up: f64,
}

impl Count {
    /// Million frames a second that came out.
    pub fn mpps(&self) -> f64 {
        self.received as f64 / self.seconds / 1e6
    }

    /// Million frames a second that the generator would reach if it never had to wait.
    pub fn ceiling(&self) -> f64 {
        self.mpps() / self.busy.max(0.001)
    }

    /// As JSON, one object.
    pub fn json(&self) -> Value {
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
        json!({
            "direction": name(self.direction),
            "sessions": self.sessions,
            "packet_bytes": self.bytes,
            "seconds": round(self.seconds),
            "sent": self.sent,
            "received": self.received,
            "mpps_sent": round(self.sent as f64 / self.seconds / 1e6),
            "mpps": round(self.mpps()),
            "generator_busy": round(self.busy),
            "generator_held_up": round(self.held_up),
            "generator_ceiling_mpps": round(self.ceiling()),
        })
    }
}

/// One line for people.
impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>4}  {} sessions, {} bytes, {:.1} s: sent {}, received {}, {:.2} Mpps; generator {:.0} % busy, ceiling {:.1} Mpps",
            name(self.direction),
            self.sessions,
            self.bytes,
            self.seconds,
            self.sent,
            self.received,
            self.mpps(),
            self.busy * 100.0,
            self.ceiling(),
        )
    }
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
        Direction::Both => "both",
    }
}

#[derive(Default)]
struct Tally {
    sent: u64,
    received: u64,
    busy: u64,
    bursts: u64,
    held_up: u64,
}

/// Sends the belts of this direction, by the port they start from, for so many seconds.
pub(super) fn race(
    lines: &mut [Line; 2],
    belts: &mut [Belt; 2],
    (direction, sessions, bytes, seconds): (Direction, u32, usize, f64),
    tsc_hz: u64,
) -> Count {
    turn_for(lines, belts, direction, tsc_hz * WARM_MS / 1000);
    let (tally, cycles) = turn_for(lines, belts, direction, (seconds * tsc_hz as f64) as u64);
    Count {
        direction,
        bytes,
        sessions,
        seconds: cycles as f64 / tsc_hz as f64,
        sent: tally.sent,
        received: tally.received,
        busy: tally.busy as f64 / cycles as f64,
        held_up: tally.held_up as f64 / tally.bursts.max(1) as f64,
    }
}

fn turn_for(lines: &mut [Line; 2], belts: &mut [Belt; 2], direction: Direction, cycles: u64) -> (Tally, u64) {
    let feeds = [direction != Direction::Down, direction != Direction::Up];
    let mut tally = Tally::default();
    let mut spare = Spare::new();
    let start = tsc();
    let mut last = start;
    // Time since the last look was spent on moving frames, or on finding none to move.
    let mut spent = |tally: &mut Tally, moved: bool| {
        let at = tsc();
        if moved {
            tally.busy += at.wrapping_sub(last);
        }
        last = at;
        at
    };
    loop {
        let mut at = start;
        for (way, line) in lines.iter_mut().enumerate() {
            if feeds[way] {
                let (sent, all) = line.feed(&mut belts[way], &mut spare);
                tally.sent += sent as u64;
                tally.bursts += 1;
                tally.held_up += u64::from(!all);
                spent(&mut tally, sent > 0);
            }
            let came = line.receive(&mut spare, |_| {});
            tally.received += came as u64;
            at = spent(&mut tally, came > 0);
        }
        if at.wrapping_sub(start) >= cycles {
            return (tally, at.wrapping_sub(start));
        }
    }
}
