//! Groups and policy: who leaves by which WAN.

use crate::base::Nanos;
use crate::profile::*;

use super::{and, bad, good, one, said, with};

/// With the flow map of the group `g`, which `policy` uses. It begins in column 16 of line 7.
fn group(map: &str) -> String {
    and(&format!("groups: {{ g:    {map} }}\npolicy: [{{ use: g }}]"))
}

fn policy(map: &str) -> String {
    and(&format!("policy: [{{ {map} }}]"))
}

fn member(wan: usize, tier: u8, weight: u16) -> Member {
    Member { wan, tier, weight }
}

fn both_ways() -> String {
    "[{ wan: isp2 }, { wan: isp1 }]".to_owned()
}

#[test]
fn the_group_default_is_made_of_all_wans() {
    let profile = good(super::SHORT);
    let default = Group {
        name: "default".into(),
        mode: Mode::Failover,
        members: vec![member(0, 1, 1), member(1, 2, 1)],
        failback: Failback { automatic: true, after: Nanos::from_s(30) },
        none_fit: NoneFit::Best,
    };
    assert_eq!(profile.groups, [default]);
    assert!(profile.policy.is_empty());
    for text in ["groups:", "groups: {}", "groups: { default: }", "policy: []"] {
        assert_eq!(good(&and(text)), profile, "{text}");
    }
    let balanced = good(&and("groups: { default: { mode: balance } }"));
    assert_eq!(balanced.groups[0].mode, Mode::Balance);
    assert_eq!(balanced.groups[0].members, [member(0, 1, 1), member(1, 1, 1)]);
}

#[test]
fn every_key_of_groups_is_read() {
    let profile = good(&and("groups:\n\
         \x20 isp2_first: { members: [{ wan: isp2, tier: 1 }, { wan: isp1, tier: 2 }] }\n\
         \x20 default:\n\
         \x20   mode: balance\n\
         \x20   members: [{ wan: isp1, tier: 16, weight: 100 }, { wan: isp2, tier: 2, weight: 3 }]\n\
         \x20   failback: { mode: automatic, after: 24h }\n\
         \x20   when_none_fit: unreachable\n\
         policy: [{ use: isp2_first }]"));
    let default = Group {
        name: "default".into(),
        mode: Mode::Balance,
        members: vec![member(1, 2, 3), member(0, 16, 100)],
        failback: Failback { automatic: true, after: Nanos::from_s(86_400) },
        none_fit: NoneFit::Unreachable,
    };
    assert_eq!(profile.groups[0], default);
    assert_eq!(profile.groups[1].name, "isp2_first");
    assert_eq!(profile.groups[1].members, [member(1, 1, 1), member(0, 2, 1)]);
    assert_eq!(profile.policy[0].uses, Use::Group(1));
    let json = serde_json::to_value(&profile).unwrap();
    assert_eq!(json["groups"][0]["failback"]["after_ns"], 86_400_000_000_000_u64);
    assert_eq!(json["groups"][0]["none_fit"], "unreachable");
    assert_eq!(json["policy"][0]["uses"]["group"], 1);
}

#[test]
fn tiers_left_out_follow_the_order_of_the_list() {
    let members = |mode: &str, list: &str| {
        let profile = good(&group(&format!("{{ mode: {mode}, members: {list} }}")));
        profile.groups[1].members.iter().map(|m| (m.wan, m.tier)).collect::<Vec<_>>()
    };
    assert_eq!(members("failover", &both_ways()), [(1, 1), (0, 2)]);
    assert_eq!(members("balance", &both_ways()), [(1, 1), (0, 1)]);
    assert_eq!(members("failover", "[{ wan: isp2, tier: 5 }, { wan: isp1 }]"), [(1, 5), (0, 6)]);
    assert_eq!(members("balance", "[{ wan: isp2, tier: 5 }, { wan: isp1 }]"), [(1, 5), (0, 5)]);
    let text = group("{ members: [{ wan: isp2, tier: 16 }, { wan: isp1 }] }");
    one(&text, "7:54", "its tier would be 17", "give it a `tier` from 1 to 16");
}

#[test]
fn groups_keep_their_limits() {
    let members = |list: &str| group(&format!("{{ members: [{list}] }}"));
    one(&members("{ wan: isp1, tier: 0 }"), "7:48", "`tier` is out of range", "from 1 to 16");
    one(&members("{ wan: isp1, tier: 17 }"), "7:48", "`tier` is out of range", "from 1 to 16");
    one(&members("{ wan: isp1, weight: 0 }"), "7:50", "`weight` is out of range", "from 1 to 100");
    one(&members("{ wan: isp1, weight: 101 }"), "7:50", "`weight` is out of range", "from 1 to 100");
    one(&members("{ tier: 1 }"), "7:29", "a member has no `wan`", "add `wan: isp1`");
    one(&members("isp1"), "7:29", "a member must be a map, not `isp1`", "key: value");
    one(&members("{ wan: isp1 }, { wan: isp1 }"), "7:51", "`isp1` is given twice", "already on line 7");
    one(&members("{ wan: ips1 }"), "7:36", "no WAN is called `ips1`", "did you mean `isp1`?");
    one(&members("{ wan: lan }"), "7:36", "no WAN is the interface `lan`", "there are `isp1`, `isp2`");
    one(&members(""), "7:28", "`members` is empty", "members: [{ wan: isp1");
    let many = bad(&members(&"{ wan: isp1 },".repeat(17))).to_string();
    assert!(many.contains("7:253: more than 16 members"), "{many}");
    one(&group("{}"), "7:11", "group `g` has no `members`", "add `members: [");
    one(&group("{ members: isp1 }"), "7:28", "`members` must be a list", "members: [");
    let with = |more: &str| group(&format!("{{ members: {}, {more} }}", both_ways()));
    one(&with("mode: balanced"), "7:66", "`mode` cannot be `balanced`", "did you mean `balance`?");
    one(&with("when_none_fit: drop"), "7:75", "`when_none_fit` cannot be `drop`", "one of best, unreachable");
    one(&with("failback: { mode: never }"), "7:78", "`mode` cannot be `never`", "one of automatic, manual");
    one(&with("failback: { after: 25h }"), "7:79", "`after` must be at most 24h", "from 0s");
    one(&with("failback: manual"), "7:70", "`failback` must be a map", "key: value");
    one(&with("sticky: true"), "7:60", "unknown key `sticky`", "known here: mode, members");
    one(&and("groups: [isp1]"), "7:9", "`groups` must be a map", "key: value");
}

#[test]
fn what_would_do_nothing_is_refused() {
    let failback = |map: &str| group(&format!("{{ members: {}, failback: {map} }}", both_ways()));
    assert!(!good(&failback("{ mode: manual }")).groups[1].failback.automatic);
    let message = "`after` does nothing where `mode` is `manual`";
    one(&failback("{ mode: manual, after: 30s }"), "7:93", message, "say `mode: automatic`");
    one(&failback("{ after: 5s, mode: manual }"), "7:79", message, "remove it");
    let weights = |mode: &str, weight: u8| {
        group(&format!("{{ members: [{{ wan: isp1, tier: 1, weight: {weight} }}, {{ wan: isp2 }}]{mode} }}"))
    };
    let message = "`weight` does nothing where `mode` is `failover`";
    one(&weights("", 2), "7:59", message, "say `mode: balance`");
    one(&weights(", mode: failover", 100), "7:59", message, "remove it");
    good(&weights(", mode: failover", 1));
    assert_eq!(good(&weights(", mode: balance", 2)).groups[1].members[0].weight, 2);
}

#[test]
fn a_group_has_a_name_of_its_own() {
    let named = |name: &str| {
        and(&format!("groups: {{ {name}: {{ members: {} }} }}\npolicy: [{{ use: {name} }}]", both_ways()))
    };
    good(&named("isp3"));
    good(&named("lan"));
    one(&named("isp1"), "7:11", "the group `isp1` is called like a WAN", "another name");
    one(&named("a.b"), "7:11", "`a.b` cannot be a name", "letters, digits");
    one(&named("on"), "7:11", "`on` cannot be a name", "YAML readers");
    let text = super::SHORT.replace("isp2", "default");
    one(&text, "6:14", "a WAN cannot be called `default`", "another name");
    let text = and(&format!("groups: {{ spare: {{ members: {} }} }}", both_ways()));
    one(&text, "7:11", "no policy uses the group `spare`", "`policy: [{ use: spare }]`");
    // It may be the one that is meant.
    let text = format!("{text}policy: [{{ use: spar }}]\n");
    assert_eq!(said(&text), ["8:17: no group and no WAN is called `spar`"]);
}

#[test]
fn policy_matches_as_the_firewall_does() {
    let profile = good(&and("groups: { g: { members: [{ wan: isp2 }] } }\n\
         policy:\n\
         - { from: 192.168.10.12, use: g }\n\
         - { in: lan, to: 10.0.0.0/8, protocol: [udp], port: 5060-5061, use: isp2, otherwise: reject }\n\
         - { use: default, otherwise: default }"));
    let firewall = good(&and("firewall:\n\
         - { from: 192.168.10.12, action: accept }\n\
         - { in: lan, to: 10.0.0.0/8, protocol: [udp], port: 5060-5061, action: accept }\n\
         - { action: accept }"))
    .firewall;
    let when: Vec<&Match> = profile.policy.iter().map(|rule| &rule.when).collect();
    assert_eq!(when, firewall.iter().map(|rule| &rule.when).collect::<Vec<_>>());
    let uses: Vec<(Use, Otherwise)> = profile.policy.iter().map(|rule| (rule.uses, rule.otherwise)).collect();
    let expected = [
        (Use::Group(1), Otherwise::Default),
        (Use::Wan(1), Otherwise::Reject),
        (Use::Group(0), Otherwise::Default),
    ];
    assert_eq!(uses, expected);
    one(&policy("to: self, use: isp1"), "7:16", "`to` cannot be `self` here", "leaves by no WAN");
    one(&policy("in: isp1, use: isp2"), "7:16", "`in` names the WAN `isp1`", "an inside interface");
    one(&policy("in: lam, use: isp2"), "7:16", "no interface is called `lam`", "did you mean `lan`?");
    one(&policy("port: 53, use: isp2"), "7:18", "`port` needs protocols", "add `protocol: [tcp]`");
    one(&policy("from: 10.0.0.1/8, use: isp2"), "7:18", "is an address in a network", "10.0.0.0/8");
    one(&policy("action: drop, use: isp2"), "7:12", "unknown key `action`", "known here: in, from");
    one(&and("policy: { use: isp2 }"), "7:9", "`policy` must be a list", "policy: [{");
}

#[test]
fn policy_names_a_group_or_a_wan() {
    one(&policy("in: lan"), "7:10", "a rule has no `use`", "add `use: isp2`");
    one(&policy("use: ips2"), "7:17", "no group and no WAN is called `ips2`", "did you mean `isp2`?");
    one(&policy("use: defalt"), "7:17", "no group and no WAN is called `defalt`", "did you mean `default`?");
    one(&policy("use: lan"), "7:17", "no group and no WAN is called `lan`", "`default`, `isp1`, `isp2`");
    one(
        &policy("use: [isp1]"),
        "7:17",
        "`use` must be the name of a group or a WAN, not a list",
        "use: isp2",
    );
    one(&policy("use: isp2, otherwise: drop"), "7:34", "`otherwise` cannot be `drop`", "default, reject");
    // While a list is wrong nobody can tell.
    assert_eq!(said(&and("groups: 5\npolicy: [{ use: g }]")), ["7:9: `groups` must be a map, not `5`"]);
    let text = with("[isp1, isp2]", "[isp1, ips2]") + "policy: [{ use: isp2 }]\n";
    assert_eq!(said(&text), ["6:14: no interface is called `ips2`"]);
}

#[test]
fn rules_override_what_happens_on_failover() {
    let profile = good(&and("on_failover: { udp: drop, tcp: { reset_after: 9s } }\n\
         policy:\n\
         - { use: isp2 }\n\
         - { in: lan, use: isp2, on_failover: { tcp: { reset_after: 0s } } }\n\
         - { use: isp1, on_failover: { udp: rebind, icmp: drop } }"));
    let on_failover = |seconds: u64, udp: Fate, icmp: Fate| OnFailover {
        tcp_reset_after: Nanos::from_s(seconds),
        udp,
        icmp,
    };
    assert_eq!(profile.on_failover, on_failover(9, Fate::Drop, Fate::Rebind));
    let found: Vec<OnFailover> = profile.policy.iter().map(|rule| rule.on_failover).collect();
    let expected = [
        on_failover(9, Fate::Drop, Fate::Rebind),
        on_failover(0, Fate::Drop, Fate::Rebind),
        on_failover(9, Fate::Rebind, Fate::Drop),
    ];
    assert_eq!(found, expected);
    one(
        &policy("use: isp1, on_failover: { udp: kep }"),
        "7:43",
        "`udp` cannot be `kep`",
        "one of rebind, drop",
    );
}

#[test]
fn there_are_at_most_64_groups_and_ways_to_use_them() {
    let groups = |n: usize| {
        let list: Vec<String> = (0..n).map(|i| format!("g{i}: {{ members: [{{ wan: isp1 }}] }}")).collect();
        let used: Vec<String> = (0..n).map(|i| format!("{{ use: g{i} }}")).collect();
        format!("groups: {{ {} }}\npolicy: [{}]", list.join(", "), used.join(", "))
    };
    // One is `default`, and each that is used is one more.
    assert_eq!(good(&and(&groups(31))).groups.len(), 32);
    let mistakes = bad(&and(&groups(32)));
    assert!(mistakes.iter().all(|mistake| mistake.line == 8 || mistake.message.contains("no policy")));
    assert!(mistakes.to_string().contains("more than 64 groups and ways to use them"), "{mistakes}");
    assert!(bad(&and(&groups(64))).to_string().contains("more than 64 groups"));
    let ways = |n: u64| {
        let rule = |i: u64| {
            format!(
                "{{ use: isp2, on_failover: {{ tcp: {{ reset_after: {i}s }} }} }}, {{ use: isp2, from: 10.0.0.1 }}"
            )
        };
        and(&format!("policy: [{}]", (2..2 + n).map(rule).collect::<Vec<_>>().join(", ")))
    };
    assert_eq!(good(&ways(63)).policy.len(), 126);
    assert_eq!(said(&ways(64)).len(), 1);
    let rules = "{ use: isp1 },".repeat(1025);
    assert!(bad(&and(&format!("policy: [{rules}]"))).to_string().contains("more than 1024 rules"));
}
