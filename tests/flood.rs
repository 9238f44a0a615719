//! Frames of every kind in great number, with every invariant held.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use std::time::Instant;

use rand::{SeedableRng, rngs::StdRng};
use turnout::base::Nanos;
use turnout::sim::Site;
use turnout::sim::bulk::{Bulk, Every};
use turnout::sim::seeds::seeds;
use turnout::sim::traffic::{self, Dice, Traffic};

/// Frames of one run.
const RUN: u64 = 100_000;

/// Frames in all; `TURNOUT_PACKETS=24000000` for a long run.
fn packets() -> u64 {
    std::env::var("TURNOUT_PACKETS").ok().and_then(|n| n.parse().ok()).unwrap_or(4 * RUN)
}

fn run(seed: u64, frames: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let workers = 1 + dice.throw(3) as usize;
    let site = Site::new(&traffic::profile(seed as usize), workers).unwrap();
    let mut bulk = Bulk::new(site, Every::SOME);
    let mut traffic = Traffic::default();
    for n in 0..frames {
        bulk.site().use_queue(dice.throw(workers as u32) as usize);
        let (iface, frame) = traffic.frame(&mut dice, bulk.view());
        traffic.learn(bulk.put(iface, &frame));
        if n % 64 == 63 {
            // Most often a moment; now and then long enough for timers, and a link goes or comes.
            let span = match dice.throw(200) {
                0 => Nanos::from_s(60 + u64::from(dice.throw(400))),
                1..10 => Nanos::from_s(5),
                _ => Nanos::from_ms(1),
            };
            traffic.learn(bulk.pass(span));
            let link = ["lan", "isp1", "isp2"][dice.throw(3) as usize];
            match dice.throw(100) {
                0 => bulk.site().set_link(link, false),
                1..9 => bulk.site().set_link(link, true),
                9 => bulk.site().set_silent(link, true),
                10..18 => bulk.site().set_silent(link, false),
                _ => {}
            }
        }
        if !bulk.faults().is_empty() {
            break;
        }
    }
    let counters = bulk.site().counters();
    if let Err(faults) = bulk.drain() {
        panic!("seed {seed}: {faults}\n{counters:?}");
    }
}

#[test]
fn x_1_to_x_9_hold_whatever_comes_in_whatever_order() {
    let started = Instant::now();
    let mut runs = 0;
    for seed in seeds(packets().div_ceil(RUN)) {
        run(seed, RUN);
        runs += 1;
    }
    let (frames, s) = (runs * RUN, started.elapsed().as_secs_f64());
    println!("{frames} frames in {s:.0} s, {:.0} a second", frames as f64 / s);
}
