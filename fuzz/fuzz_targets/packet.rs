//! One frame into any port of a router that has live state of every kind: sessions, mappings, strangers, forwards, addresses of
//! hosts' own, untranslated flows, hairpins. The oracle of `turnout::sim::bulk` judges all that follows.
//!
//! The first byte says which profile and which port. The router lives on from input to input, as making one takes far longer than a
//! frame; it is made anew every so often, and when something is found what it was given last is told.
#![no_main]
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use rand::{SeedableRng, rngs::StdRng};
use turnout::base::{IfaceId, Nanos};
use turnout::sim::Site;
use turnout::sim::bulk::{Bulk, Every};
use turnout::sim::traffic::{self, PROFILES, Traffic};

/// Inputs that one router gets.
const LIVES: u64 = 20_000;
/// What it was given last.
const LAST: usize = 16;

struct Subject {
    bulk: Bulk,
    last: VecDeque<(IfaceId, Vec<u8>)>,
}

thread_local! {
    static SUBJECTS: RefCell<Vec<Option<Subject>>> = RefCell::new((0..PROFILES.len()).map(|_| None).collect());
}

/// A router that has had traffic of every kind.
fn made(profile: usize) -> Subject {
    let site = Site::new(&traffic::profile(profile), 2).expect("a good profile");
    let mut bulk = Bulk::new(site, Every { digest: 4, answer: 8, audit: 64 });
    let (mut dice, mut traffic) = (StdRng::seed_from_u64(1), Traffic::default());
    for n in 0..2000 {
        let (iface, frame) = traffic.frame(&mut dice, bulk.view());
        traffic.learn(bulk.put(iface, &frame));
        if n % 64 == 0 {
            bulk.pass(Nanos::from_ms(1));
        }
    }
    Subject { bulk, last: VecDeque::new() }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((how, frame)) = bytes.split_first() else { return };
    let (profile, iface) = (usize::from(how >> 4) % PROFILES.len(), IfaceId((how & 15) % 3));
    SUBJECTS.with_borrow_mut(|all| {
        let subject = &mut all[profile];
        if subject.as_ref().is_some_and(|s| s.bulk.count() > LIVES) {
            subject.take().map(|s| s.bulk.drain()).transpose().expect("nothing is left");
        }
        let Subject { bulk, last } = subject.get_or_insert_with(|| made(profile));
        // For the port, whatever the frame says, in half of the cases.
        let mut frame = frame.to_vec();
        if how & 8 == 0 && frame.len() >= 14 {
            frame[..6].copy_from_slice(&bulk.view().ifaces[iface.index()].mac.0);
            frame[6] &= 0xfe;
        }
        bulk.put(iface, &frame);
        last.push_back((iface, frame));
        if last.len() > LAST {
            last.pop_front();
        }
        if bulk.count().is_multiple_of(16) {
            bulk.pass(Nanos::from_ms(7));
        }
        assert!(
            bulk.faults().is_empty(),
            "{}\nprofile {profile}, last: {last:02x?}",
            bulk.faults().join("\n")
        );
    });
});
