//! One file, two members: each member's profile is the file's tree with the member's overlay over it.
//!
//! Maps merge key by key, everything else replaces; what comes from an overlay keeps its place in the text. Both members are always judged,
//! as both run by this file; what is wrong for one of them only is said with its name. `hash` is of the whole tree: two machines have the same one if
//! their files say the same, however they are laid out. In the maps whose order means something (WANs, groups, members) the order counts.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::check;
use super::cluster;
use super::mistake::Report;
use super::pair;
use super::raw;
use super::tree::{Entry, Node, Value};
use super::types::Profile;

/// Maps whose entries have numbers by their order.
const ORDERED: [&str; 4] = ["interfaces", "wans", "groups", "members"];

/// The profiles of both members of the pair that `entry`, the section `cluster` of `root`, describes. Without a mistake they are two.
pub(super) fn judge(root: &Node, entry: &Entry, report: &mut Report) -> Vec<Profile> {
    let Some(cluster) = cluster::read(entry, report) else { return Vec::new() };
    let mut profiles = Vec::new();
    let mut sides = Vec::new();
    let mut reports = Vec::new();
    for member in &cluster.members {
        let mut own = Report::default();
        let tree = merged(root, member.overlay);
        if let Some(raw) = raw::read(&tree, Some(&cluster), &mut own) {
            let (profile, side) = check::check(raw, &mut own);
            profiles.push(profile);
            sides.push(side);
        }
        reports.push((member.name, own));
    }
    report.join(reports);
    if let ([first, second], [a, b]) = (sides.as_slice(), profiles.as_mut_slice()) {
        let hash = hash(root);
        if let Some([of_a, of_b]) = pair::judge(&cluster, [first, second], hash, report) {
            (a.cluster, b.cluster) = (Some(of_a), Some(of_b));
        }
    }
    profiles
}

/// `base` with `over` over it.
fn merged(base: &Node, over: &Node) -> Node {
    match (&base.value, &over.value) {
        // A section with nothing in it says nothing.
        (Value::Map(_), Value::Null) => base.clone(),
        (Value::Map(old), Value::Map(new)) => {
            let mut news: HashMap<&str, &Entry> =
                new.iter().map(|entry| (entry.key.as_str(), entry)).collect();
            let mut out: Vec<Entry> = Vec::with_capacity(old.len() + new.len());
            for entry in old {
                out.push(match news.remove(entry.key.as_str()) {
                    None => entry.clone(),
                    Some(new) => {
                        let both_maps = matches!(
                            (&entry.node.value, &new.node.value),
                            (Value::Map(_), Value::Map(_) | Value::Null)
                        );
                        let at = if both_maps { entry.at } else { new.at };
                        Entry { key: entry.key.clone(), at, node: merged(&entry.node, &new.node) }
                    }
                });
            }
            out.extend(new.iter().filter(|entry| news.contains_key(entry.key.as_str())).cloned());
            Node { at: base.at, value: Value::Map(out) }
        }
        _ => over.clone(),
    }
}

/// The first 64 bits of the SHA-256 of what the tree says.
fn hash(root: &Node) -> u64 {
    let mut state = Sha256::new();
    feed(root, false, &mut state);
    state.finalize().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn feed(node: &Node, ordered: bool, state: &mut Sha256) {
    let word = |kind: u8, text: &str, state: &mut Sha256| {
        state.update([kind]);
        state.update((text.len() as u64).to_be_bytes());
        state.update(text);
    };
    match &node.value {
        Value::Null | Value::Refused => state.update([0]),
        Value::Plain(text) | Value::Quoted(text) => word(1, text, state),
        Value::List(list) => {
            state.update([2]);
            state.update((list.len() as u64).to_be_bytes());
            list.iter().for_each(|item| feed(item, false, state));
        }
        Value::Map(map) => {
            state.update([3]);
            state.update((map.len() as u64).to_be_bytes());
            let mut entries: Vec<&Entry> = map.iter().collect();
            if !ordered {
                entries.sort_by(|a, b| a.key.cmp(&b.key));
            }
            for entry in entries {
                word(4, &entry.key, state);
                feed(&entry.node, ORDERED.contains(&entry.key.as_str()), state);
            }
        }
    }
}
