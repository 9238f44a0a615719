//! What the profile promises: good files load, bad ones are refused with the right place and words.
//!
//! Each test writes a whole profile, or the shortest one with a line changed by `with`. `refused` compares the
//! positions and messages of *all* mistakes, so that a rule which reports too much fails as well.
#![forbid(unsafe_code)]

mod cluster;
mod cluster_rules;
mod cluster_shared;

mod dhcp;
mod failover;
mod firewall;
mod forwards;
mod groups;
mod health;
mod hostile;
mod load;
mod nat;
mod pools;
mod rules;
mod sharing;
mod syntax;
mod targets;
mod unsupported;
mod values;

use super::{Mistakes, Profile, load};

/// The shortest profile that routes.
const SHORT: &str = "\
version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.1/24] }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
  isp2: { port: \"linux:isp2\", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }
wans: [isp1, isp2]
";

/// `SHORT` with `old` replaced, which has to be there.
fn with(old: &str, new: &str) -> String {
    assert!(SHORT.contains(old), "{old}");
    SHORT.replacen(old, new, 1)
}

/// `SHORT` with both WANs under the health `h`, given as a flow map. It stands on line 7, from column 16 on.
fn health(map: &str) -> String {
    with("[isp1, isp2]", "{ isp1: { health: h }, isp2: { health: h } }")
        + &format!("health: {{ h: {map} }}\n")
}

/// `SHORT` with more lines at its end, from line 7 on.
fn and(more: &str) -> String {
    format!("{SHORT}{more}\n")
}

fn good(text: &str) -> Profile {
    load(text, "p.yaml").unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"))
}

fn bad(text: &str) -> Mistakes {
    match load(text, "p.yaml") {
        Err(mistakes) => mistakes,
        Ok(_) => panic!("taken as good:\n{text}"),
    }
}

/// Every mistake of `text` as `LINE:COL: message`; each has a hint.
fn said(text: &str) -> Vec<String> {
    let mistakes = bad(text);
    assert!(mistakes.iter().all(|mistake| !mistake.hint.is_empty()), "{mistakes}");
    mistakes.iter().map(|m| format!("{}:{}: {}", m.line, m.column, m.message)).collect()
}

/// Exactly one mistake: where, words of its message, words of its hint.
#[track_caller]
fn one(text: &str, place: &str, message: &str, hint: &str) {
    let mistakes = bad(text);
    let found = mistakes.iter().next().unwrap();
    assert_eq!(mistakes.len(), 1, "{text}\n{mistakes}");
    assert_eq!(format!("{}:{}", found.line, found.column), place, "{text}\n{mistakes}");
    assert!(found.message.contains(message), "{message}\n{mistakes}");
    assert!(found.hint.contains(hint), "{hint}\n{mistakes}");
}
