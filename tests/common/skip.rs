//! A test that has nothing to test here says so where the test runner does not keep it back: it goes on to print `ok`, and
//! `ci/rfc-coverage` must not take that for one that has run.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fmt::Display;
use std::io::Write;

/// Says that the test that runs in this thread is skipped, and why, in one line.
pub fn skipped(why: impl Display) {
    let this = std::thread::current();
    let line = format!("skipped: {}: {why}\n", this.name().unwrap_or("main"));
    // In one piece: others write as well.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
