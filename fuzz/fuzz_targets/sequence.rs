//! A byte string read as a whole life of a router: a profile, then frames from all sides that know what the router has done, raw
//! frames, time, links that fail. The oracle of `turnout::sim::bulk` judges every frame, and at the end nothing may be left.
//!
//! To make a site takes longer than an input's life: it is used again for the next one, after all its timers have run out.
#![no_main]
#![forbid(unsafe_code)]

use std::cell::RefCell;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use turnout::base::{IfaceId, Nanos};
use turnout::sim::Site;
use turnout::sim::bulk::{Bulk, Every};
use turnout::sim::traffic::{self, Dice, Traffic};

/// So long a site is used: each life lasts a day, and nanoseconds in 64 bits end after 584 years.
const ERA: Nanos = Nanos::from_s(100 * 365 * 86_400);
/// Steps of one input.
const STEPS: usize = 300;
const LINKS: [&str; 3] = ["lan", "isp1", "isp2"];

struct Bytes<'a>(Unstructured<'a>);

impl Dice for Bytes<'_> {
    fn throw(&mut self, sides: u32) -> u32 {
        self.0.int_in_range(0..=sides.max(1) - 1).unwrap_or(0)
    }
}

thread_local! {
    static SITES: RefCell<Vec<Option<Bulk>>> = RefCell::new((0..8).map(|_| None).collect());
}

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Bytes(Unstructured::new(bytes));
    let (profile, workers) = (dice.throw(4) as usize, 1 + dice.throw(2) as usize);
    SITES.with_borrow_mut(|all| {
        let site = &mut all[profile * 2 + workers - 1];
        site.take_if(|bulk| bulk.site().now() > ERA);
        let site = site.get_or_insert_with(|| {
            let site = Site::new(&traffic::profile(profile), workers).expect("a good profile");
            Bulk::new(site, Every { digest: 1, answer: 3, audit: 16 })
        });
        live(site, workers, &mut dice);
    });
});

fn live(bulk: &mut Bulk, workers: usize, dice: &mut Bytes<'_>) {
    let mut traffic = Traffic::default();
    for _ in 0..STEPS {
        if dice.0.is_empty() {
            break;
        }
        match dice.throw(16) {
            0 => {
                let span = [1, 10, 1000, 6000, 60_000, 300_000][dice.throw(6) as usize];
                traffic.learn(bulk.pass(Nanos::from_ms(span)));
            }
            1 => {
                let (link, up) = (LINKS[dice.throw(3) as usize], dice.throw(3) > 0);
                bulk.site().set_link(link, up);
            }
            2 => {
                let (iface, len) = (IfaceId(dice.throw(3) as u8), dice.throw(200) as usize);
                let mut frame = bulk.view().ifaces[iface.index()].mac.0.to_vec();
                let len = len.min(dice.0.len());
                frame.extend_from_slice(dice.0.bytes(len).unwrap_or_default());
                traffic.learn(bulk.put(iface, &frame));
            }
            _ => {
                bulk.site().use_queue(dice.throw(workers as u32) as usize);
                let (iface, frame) = traffic.frame(dice, bulk.view());
                traffic.learn(bulk.put(iface, &frame));
            }
        }
    }
    bulk.rest().unwrap_or_else(|faults| panic!("{faults}"));
}
