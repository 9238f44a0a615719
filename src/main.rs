//! The `turnout` command.
#![forbid(unsafe_code)]

fn main() {}
