//! What others have captured, given to the router: every frame of every capture of a folder into every port, as it is and with the
//! port's own address in it, so that it gets past the first check. Every invariant holds, whatever it was.
//!
//! `TURNOUT_CAPTURES` names the folder, which is searched with all that is below it; without it `tests/captures` is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

#[path = "captures/pcap.rs"]
mod pcap;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use turnout::base::{IfaceId, Nanos};
use turnout::sim::bulk::{Bulk, Every};
use turnout::sim::{Site, traffic};

const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");

/// All files in a folder and below, in order.
fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, all) } else { all.push(path) }
    }
}

/// Gives a capture to every port of a site.
fn replay(bulk: &mut Bulk, frames: &[&[u8]]) {
    for iface in (0..3).map(IfaceId) {
        let own = bulk.view().ifaces[iface.index()].mac.0;
        for (n, frame) in frames.iter().enumerate() {
            bulk.put(iface, frame);
            let mut ours = frame.to_vec();
            if let Some(dst) = ours.first_chunk_mut() {
                *dst = own;
            }
            bulk.put(iface, &ours);
            if n % 64 == 63 {
                bulk.pass(Nanos::from_ms(1));
            }
        }
    }
    bulk.pass(Nanos::from_ms(1));
}

#[test]
fn x_9_and_x_1_every_capture_passes_into_every_port() {
    let given = std::env::var_os("TURNOUT_CAPTURES");
    let folder = given.as_ref().map_or(PathBuf::from(OWN), PathBuf::from);
    let (mut all, mut count) = (Vec::new(), 0);
    files(&folder, &mut all);
    let captures: Vec<(PathBuf, Vec<u8>)> =
        all.into_iter().filter_map(|path| Some((path.clone(), fs::read(path).ok()?))).collect();
    let started = Instant::now();
    let mut replayed = 0;
    // A site of each profile for all captures: making one takes longer than a small capture.
    for profile in 0..traffic::PROFILES.len() {
        let site = Site::new(&traffic::profile(profile), 2).unwrap();
        let mut bulk = Bulk::new(site, Every { digest: 16, answer: 64, audit: 2048 });
        for (path, file) in &captures {
            let Some(frames) = pcap::frames(file) else { continue };
            replay(&mut bulk, &frames);
            replayed += usize::from(!frames.is_empty());
            assert!(bulk.faults().is_empty(), "{}: {:?}", path.display(), bulk.faults());
        }
        count += bulk.count();
        bulk.drain().unwrap();
    }
    let s = started.elapsed().as_secs_f64();
    println!("{replayed} replays, {count} frames in {s:.1} s, {:.0} a second", count as f64 / s);
    assert!(replayed > 0, "no capture in {}", folder.display());
}

#[test]
fn captures_of_every_kind_are_read_and_cut_off_ones_as_far_as_they_go() {
    for (name, count) in [("common.pcap", 47), ("malformed.pcap", 73), ("noise.pcapng", 80)] {
        let file = fs::read(Path::new(OWN).join(name)).unwrap();
        assert_eq!(pcap::frames(&file).unwrap().len(), count, "{name}");
        for length in 0..file.len() {
            assert!(pcap::frames(&file[..length]).is_none_or(|frames| frames.len() <= count), "{name}");
        }
    }
    assert!(pcap::frames(b"#!/bin/sh\n").is_none());
}
