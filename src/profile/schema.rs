//! Which keys a profile may have, section by section, and how a section is opened.
//!
//! `built` are the keys that this build reads, `later` those of the full schema that it does not honour yet: they are
//! refused as "not supported yet", all others as unknown. A feature that gets built moves its key from one list to the
//! other. A section with nothing in it (every line commented out) is an empty one.

use super::mistake::{Report, closest, show};
use super::tree::{Entry, Node, Value};
use super::types::Position;
use super::value::wrong_type;

/// The keys of one kind of section.
pub(super) struct Keys {
    pub(super) built: &'static [&'static str],
    pub(super) later: &'static [&'static str],
}

pub(super) const TOP: Keys = Keys {
    built: &[
        "version",
        "name",
        "engine",
        "interfaces",
        "routes",
        "wans",
        "health",
        "groups",
        "policy",
        "on_failover",
        "on_failback",
        "nat",
        "forwards",
        "one_to_one",
        "firewall",
        "icmp",
        "hooks",
        "cluster",
        "management",
    ],
    later: &[],
};
pub(super) const ENGINE: Keys =
    Keys { built: &["workers", "manager", "sessions", "hugepages", "idle", "eal"], later: &[] };
pub(super) const INTERFACE: Keys =
    Keys { built: &["port", "vlan", "addresses", "gateway", "mtu", "mac", "dhcp", "watch"], later: &[] };
pub(super) const DHCP: Keys = Keys { built: &["hostname", "reject_from"], later: &[] };
pub(super) const ROUTE: Keys = Keys { built: &["to", "via"], later: &[] };
pub(super) const WAN: Keys = Keys { built: &["health", "pool", "metered"], later: &[] };
pub(super) const HEALTH: Keys =
    Keys { built: &["gateway", "targets", "bfd", "down", "up", "degraded", "passive"], later: &[] };
pub(super) const HEALTH_GATEWAY: Keys = Keys { built: &["arp"], later: &[] };
pub(super) const HEALTH_DOWN: Keys = Keys { built: &["failures"], later: &[] };
pub(super) const HEALTH_UP: Keys = Keys { built: &["successes", "stable", "flap_max"], later: &[] };
pub(super) const HEALTH_BFD: Keys = Keys { built: &["peer", "every", "multiplier"], later: &[] };
pub(super) const HEALTH_DEGRADED: Keys = Keys { built: &["window", "loss", "latency", "jitter"], later: &[] };
pub(super) const TARGETS: Keys =
    Keys { built: &["icmp", "tcp", "dns", "http", "every", "timeout", "need"], later: &[] };
pub(super) const TARGET_DNS: Keys = Keys { built: &["server", "name", "answer"], later: &[] };
pub(super) const TARGET_HTTP: Keys = Keys { built: &["url", "status"], later: &[] };
pub(super) const GROUP: Keys = Keys { built: &["mode", "members", "failback", "when_none_fit"], later: &[] };
pub(super) const MEMBER: Keys = Keys { built: &["wan", "tier", "weight"], later: &[] };
pub(super) const FAILBACK: Keys = Keys { built: &["mode", "after"], later: &[] };
pub(super) const POLICY: Keys =
    Keys { built: &["in", "from", "to", "protocol", "port", "use", "otherwise", "on_failover"], later: &[] };
pub(super) const ON_FAILOVER: Keys = Keys { built: &["tcp", "udp", "icmp"], later: &[] };
pub(super) const ON_FAILOVER_TCP: Keys = Keys { built: &["reset_after"], later: &[] };
pub(super) const ON_FAILBACK: Keys = Keys { built: &["drain", "metered", "then"], later: &[] };
pub(super) const HOOK: Keys = Keys { built: &["event", "run"], later: &[] };
pub(super) const NAT: Keys = Keys {
    built: &[
        "timeouts",
        "inside",
        "except",
        "filtering",
        "when_full",
        "ports_per_host",
        "sessions_per_host",
        "quarantine",
        "creation_rate",
        "hairpin",
        "mss_clamp",
        "midstream",
        "stealth",
        "log",
    ],
    later: &[],
};
pub(super) const POOL: Keys = Keys { built: &["addresses", "arp"], later: &[] };
pub(super) const EXCEPT: Keys = Keys { built: &["from", "to", "protocol", "port"], later: &[] };
pub(super) const BY_PROTOCOL: Keys = Keys { built: &["tcp", "udp"], later: &[] };
pub(super) const QUARANTINE: Keys = Keys { built: &["time", "ports"], later: &[] };
pub(super) const FORWARD: Keys = Keys { built: &["wans", "protocol", "port", "from", "to"], later: &[] };
pub(super) const ONE_TO_ONE: Keys = Keys { built: &["wan", "outside", "inside", "when_down"], later: &[] };
pub(super) const RULE: Keys = Keys { built: &["in", "from", "to", "protocol", "port", "action"], later: &[] };
pub(super) const TIMEOUTS: Keys = Keys {
    built: &["tcp", "tcp_transitory", "tcp_opening", "tcp_closing", "udp", "udp_ports", "icmp", "other"],
    later: &[],
};
pub(super) const ICMP: Keys = Keys { built: &["errors_per_second", "time_exceeded"], later: &[] };
pub(super) const CLUSTER: Keys =
    Keys { built: &["members", "heartbeat", "preferred", "failback", "virtual", "status"], later: &[] };
pub(super) const HEARTBEAT: Keys =
    Keys { built: &["paths", "port", "every", "timeout", "key_file"], later: &[] };
pub(super) const HEARTBEAT_PATH: Keys = Keys { built: &["interface"], later: &[] };
pub(super) const CLUSTER_VIRTUAL: Keys = Keys { built: &["interface", "address", "mac", "vrid"], later: &[] };
pub(super) const CLUSTER_STATUS: Keys = Keys { built: &["interface", "port", "from"], later: &[] };
pub(super) const MANAGEMENT: Keys = Keys { built: &["socket", "journal"], later: &["metrics"] };

/// A map whose keys have been judged.
pub(super) struct Section<'t> {
    /// Where a missing key is reported: at the section's name.
    pub(super) at: Position,
    what: String,
    entries: &'t [Entry],
}

impl Keys {
    /// Opens `node`, the section called `what` whose name stands at `at`. `None` if it is no map.
    pub(super) fn open<'t>(
        &self,
        node: &'t Node,
        at: Position,
        what: &str,
        report: &mut Report,
    ) -> Option<Section<'t>> {
        let entries = entries(node, what, report)?;
        for entry in entries {
            self.judge(entry, report);
        }
        Some(Section { at, what: what.to_owned(), entries })
    }

    fn judge(&self, entry: &Entry, report: &mut Report) {
        let key = entry.key.as_str();
        if self.built.contains(&key) {
            return;
        }
        if report.is_full() {
            report.add(entry.at, "", ""); // only counted
        } else if self.later.contains(&key) {
            let hint = "remove it; nothing in a profile is ignored, and this build cannot honour it";
            report.add(entry.at, format!("{} is not supported yet", show(key)), hint);
        } else {
            let known = self.built.iter().chain(self.later).copied();
            let hint = match closest(key, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.built.join(", ")),
            };
            report.add(entry.at, format!("unknown key {}", show(key)), hint);
        }
    }
}

impl<'t> Section<'t> {
    /// Whether it has no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of `key`, if it is given.
    pub(super) fn get(&self, key: &str) -> Option<&'t Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of `key`, if it is given.
    pub(super) fn entry(&self, key: &str) -> Option<&'t Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of `key`; it is a mistake to leave it out.
    pub(super) fn require(&self, key: &str, example: &str, report: &mut Report) -> Option<&'t Node> {
        let found = self.get(key);
        if found.is_none() {
            report.add(self.at, format!("{} has no `{key}`", self.what), format!("add `{example}`"));
        }
        found
    }

    /// Opens the section `key` inside this one, if it is given.
    pub(super) fn sub(&self, key: &str, keys: &Keys, report: &mut Report) -> Option<Section<'t>> {
        let entry = self.entry(key)?;
        keys.open(&entry.node, entry.at, &format!("`{key}`"), report)
    }
}

/// The entries of a map; none if it has nothing in it; `None` if it is no map.
pub(super) fn entries<'t>(node: &'t Node, what: &str, report: &mut Report) -> Option<&'t [Entry]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        Value::Null => Some(&[]),
        _ => {
            wrong_type(node, what, "a map", "key: value", report);
            None
        }
    }
}

/// The items of a list; none if it has nothing in it; `None` if it is no list.
pub(super) fn items<'t>(
    node: &'t Node,
    what: &str,
    example: &str,
    report: &mut Report,
) -> Option<&'t [Node]> {
    match &node.value {
        Value::List(items) => Some(items),
        Value::Null => Some(&[]),
        _ => {
            wrong_type(node, what, "a list", example, report);
            None
        }
    }
}
