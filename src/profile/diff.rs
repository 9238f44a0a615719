//! What differs between two profiles, and what of that a running router can take up.
//!
//! Paths are written as the keys of the file, with the names of interfaces, WANs and groups in them: `wans.isp1.health.failures`. Of lists of
//! rules the list is named. Ports, cores, tables' sizes and whatever else is fixed when a router starts need a restart (`needs_restart`).

use serde_json::{Value, json};

use super::types::Profile;

/// How deep a path goes below these sections.
const DEPTHS: &[(&str, usize)] = &[
    ("engine", 1),
    ("interfaces", 2),
    ("wans", 3),
    ("groups", 2),
    ("nat", 2),
    ("icmp", 1),
    ("management", 1),
    ("cluster", 2),
];

/// What is fixed when a router starts; `*` stands for a name.
const FIXED: &[&str] = &[
    "engine",
    "interfaces.*.port",
    "interfaces.*.vlan",
    "interfaces.*.mac",
    "interfaces.*.arm",
    "management",
    "nat.filtering",
    "nat.quarantine",
    "nat.log",
    "nat.timeouts.udp_ports",
    "cluster.heartbeat.key_file",
];

/// The paths of what is different, in the order of the file.
pub fn differences(old: &Profile, new: &Profile) -> Vec<String> {
    let (Some(old_tree), Some(new_tree)) = (tree(old), tree(new)) else { return Vec::new() };
    let mut out = Vec::new();
    let (Value::Object(old_top), Value::Object(new_top)) = (&old_tree, &new_tree) else { return out };
    // Numbers of WANs and interfaces are all over: in another order nothing can be compared.
    let order = |of: &Profile| -> (Vec<String>, Vec<usize>) {
        (
            of.interfaces.iter().map(|i| i.name.clone()).collect(),
            of.wans.iter().map(|w| w.interface).collect(),
        )
    };
    let (old_order, new_order) = (order(old), order(new));
    if old_order.0 != new_order.0 {
        return vec!["interfaces".into()];
    }
    if old_order.1 != new_order.1 {
        return vec!["wans".into()];
    }
    for (key, value) in new_top {
        let depth = DEPTHS.iter().find(|(name, _)| name == key).map_or(0, |(_, depth)| *depth);
        walk(key, old_top.get(key).unwrap_or(&Value::Null), value, depth, &mut out);
    }
    // What concerns the partner alone, or only reads differently, is taken up as well: both tell each other the hash.
    let hash = |of: &Profile| of.cluster.as_ref().map(|cluster| cluster.hash);
    if out.is_empty() && hash(old) != hash(new) {
        out.push("cluster.members".into());
    }
    out
}

/// Those of `paths` that a running router cannot take up.
pub fn needs_restart(paths: &[String]) -> Vec<String> {
    let fixed = |path: &&String| FIXED.iter().any(|pattern| begins(path, pattern)) || is_list(path);
    paths.iter().filter(fixed).cloned().collect()
}

/// The interfaces or WANs themselves are others, or in another order; there is a pair now, or none; its members have other names.
fn is_list(path: &str) -> bool {
    ["interfaces", "wans", "cluster", "cluster.members.own", "cluster.members.partner"].contains(&path)
}

fn begins(path: &str, pattern: &str) -> bool {
    let mut parts = path.split('.');
    pattern.split('.').all(|want| parts.next().is_some_and(|part| want == "*" || part == want))
}

/// The profile as a tree whose named things are maps by their names.
fn tree(profile: &Profile) -> Option<Value> {
    let mut tree = serde_json::to_value(profile).ok()?;
    let names: Vec<String> = profile.interfaces.iter().map(|interface| interface.name.clone()).collect();
    let wan_names = profile.wans.iter().map(|wan| names[wan.interface].clone()).collect();
    let group_names = profile.groups.iter().map(|group| group.name.clone()).collect();
    for (key, names) in [("interfaces", names), ("wans", wan_names), ("groups", group_names)] {
        let named: Vec<String> = names;
        let list = tree.get_mut(key)?;
        let items = list.as_array()?.clone();
        *list = Value::Object(named.into_iter().zip(items).collect());
    }
    if let Some(cluster) = tree.get_mut("cluster").filter(|cluster| !cluster.is_null()) {
        *cluster = as_written(cluster.take());
    }
    Some(tree)
}

/// The pair by the keys of the file, without its hash, which differs whenever anything does.
fn as_written(mut cluster: Value) -> Value {
    let mut take = |key: &str| cluster.get_mut(key).map(Value::take).unwrap_or_default();
    json!({
        "members": { "own": take("member"), "partner": take("partner") },
        "heartbeat": {
            "paths": take("paths"),
            "port": take("port"),
            "every": take("every_ns"),
            "timeout": take("timeout_ns"),
            "key_file": take("key_file"),
        },
        "preferred": take("preferred"),
        "failback": take("failback"),
        "virtual": take("virtuals"),
        "status": take("status"),
    })
}

fn walk(path: &str, old: &Value, new: &Value, depth: usize, out: &mut Vec<String>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(a), Value::Object(b)) if depth > 0 && a.keys().eq(b.keys()) => {
            for ((key, old), new) in a.iter().zip(b.values()) {
                let key = key.strip_suffix("_ns").unwrap_or(key);
                walk(&format!("{path}.{key}"), old, new, depth - 1, out);
            }
        }
        _ => out.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    const BASE: &str = "version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.1/24] }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
  isp2: { port: \"linux:isp2\", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }
";

    fn with(rest: &str) -> Profile {
        load(&format!("{BASE}{rest}"), "test.yaml").unwrap()
    }

    #[test]
    fn what_differs_is_named_by_its_keys() {
        let old = with("wans: [isp1, isp2]\n");
        assert_eq!(differences(&old, &old), Vec::<String>::new());
        let new = with(
            "wans: { isp1: { health: h }, isp2: {} }
health: { h: { down: { failures: 5 }, gateway: { arp: 100ms } } }
firewall: [{ in: lan, to: self, action: drop }]
nat: { hairpin: false, timeouts: { tcp: 3h } }
engine: { sessions: 2048 }
",
        );
        let paths = differences(&old, &new);
        let expected = [
            "engine.sessions",
            "wans.isp1.health.arp_every",
            "wans.isp1.health.failures",
            "firewall",
            "nat.hairpin",
            "nat.timeouts.tcp",
        ];
        let mut sorted = paths.clone();
        sorted.sort();
        let mut expected: Vec<String> = expected.map(String::from).to_vec();
        expected.sort();
        assert_eq!(sorted, expected);
        assert_eq!(needs_restart(&paths), ["engine.sessions"]);
    }

    #[test]
    fn other_wans_and_ports_need_a_restart() {
        let (old, new) = (with("wans: [isp1, isp2]\n"), with("wans: [isp2, isp1]\n"));
        assert!(needs_restart(&differences(&old, &new)).iter().any(|path| path.starts_with("wans")));
        let text = format!("{BASE}wans: [isp1, isp2]\n").replace("linux:isp1", "linux:other");
        let paths = differences(&old, &load(&text, "test.yaml").unwrap());
        assert_eq!(needs_restart(&paths), ["interfaces.isp1.port"]);
    }
}
