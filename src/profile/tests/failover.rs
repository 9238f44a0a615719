//! What happens when a WAN is left, and who is told.

use crate::base::Nanos;
use crate::profile::*;

use super::cluster::PAIR;
use super::{and, good, one, with};

fn failback(map: &str) -> String {
    and(&format!("on_failback: {map}"))
}

#[test]
fn defaults_are_those_of_a_careful_operator() {
    let profile = good(super::SHORT);
    let failover = OnFailover { tcp_reset_after: Nanos::from_s(2), udp: Fate::Rebind, icmp: Fate::Rebind };
    let failback = OnFailback {
        drain: Nanos::from_s(3600),
        metered: Nanos::from_s(120),
        tcp: TcpFate::Reset,
        udp: Fate::Rebind,
    };
    assert_eq!((profile.on_failover, profile.on_failback), (failover, failback));
    assert!(profile.hooks.is_empty());
    let text = "on_failover: { tcp: , udp: rebind }\non_failback: { then: {} }\nhooks:";
    assert_eq!(good(&and(text)), profile);
}

#[test]
fn every_key_of_failover_is_read() {
    let profile = good(&and("on_failover: { tcp: { reset_after: 1h }, udp: drop, icmp: drop }\n\
         on_failback: { drain: 24h, metered: 0s, then: { tcp: keep, udp: drop } }"));
    let failover = OnFailover { tcp_reset_after: Nanos::from_s(3600), udp: Fate::Drop, icmp: Fate::Drop };
    let failback = OnFailback {
        drain: Nanos::from_s(86_400),
        metered: Nanos::ZERO,
        tcp: TcpFate::Keep,
        udp: Fate::Drop,
    };
    assert_eq!((profile.on_failover, profile.on_failback), (failover, failback));
    let json = serde_json::to_value(&profile).unwrap();
    assert_eq!(json["on_failover"]["tcp_reset_after_ns"], 3_600_000_000_000_u64);
    assert_eq!(json["on_failback"]["tcp"], "keep");
    assert_eq!(json["on_failback"]["drain_ns"], 86_400_000_000_000_u64);
}

#[test]
fn failover_and_failback_keep_their_limits() {
    let failover = |map: &str| and(&format!("on_failover: {map}"));
    one(&failover("{ tcp: { reset_after: 61m } }"), "7:36", "`reset_after` must be at most 1h", "from 0s");
    one(&failover("{ tcp: { reset_after: 2 } }"), "7:36", "`reset_after` has no unit", "as `2s`");
    one(&failover("{ tcp: reset }"), "7:21", "`tcp` must be a map, not `reset`", "key: value");
    one(&failover("{ tcp: { reset: 2s } }"), "7:23", "unknown key `reset`", "known here: reset_after");
    one(&failover("{ udp: keep }"), "7:21", "`udp` cannot be `keep`", "one of rebind, drop");
    one(&failover("{ icmp: reset }"), "7:22", "`icmp` cannot be `reset`", "one of rebind, drop");
    one(&failover("{ sctp: drop }"), "7:16", "unknown key `sctp`", "known here: tcp, udp, icmp");
    one(&failback("{ drain: 25h }"), "7:23", "`drain` must be at most 24h", "from 0s");
    one(&failback("{ metered: 25h }"), "7:25", "`metered` must be at most 24h", "from 0s");
    one(&failback("{ then: { tcp: drop } }"), "7:29", "`tcp` cannot be `drop`", "one of reset, keep");
    one(&failback("{ then: { udp: keep } }"), "7:29", "`udp` cannot be `keep`", "one of rebind, drop");
    one(&failback("{ then: { icmp: drop } }"), "7:24", "unknown key `icmp`", "known here: tcp, udp");
    one(&failback("{ then: reset }"), "7:22", "`then` must be a map", "key: value");
    one(&failback("{ drian: 1h }"), "7:16", "unknown key `drian`", "did you mean `drain`?");
}

#[test]
fn hooks_name_events_and_a_program() {
    let profile = good(&and("hooks:\n\
         - { event: [failback, failover, address], run: /etc/turnout/hooks/ddns }\n\
         - { event: failover, run: /usr/local/bin/tell }"));
    let all = [HookEvent::Failover, HookEvent::Failback, HookEvent::Address];
    assert_eq!(profile.hooks[0].events, all);
    assert_eq!(profile.hooks[0].run.to_str(), Some("/etc/turnout/hooks/ddns"));
    assert_eq!(profile.hooks[1].events, [HookEvent::Failover]);
    let json = serde_json::to_value(&profile).unwrap();
    assert_eq!(json["hooks"][0]["events"], serde_json::json!(["failover", "failback", "address"]));

    let hook = |map: &str| and(&format!("hooks: [{{ {map} }}]"));
    one(&hook("run: /a"), "7:9", "a hook has no `event`", "add `event: [failover]`");
    one(&hook("event: address"), "7:9", "a hook has no `run`", "add `run: /etc");
    one(&hook("event: [], run: /a"), "7:18", "`event` is empty", "event: [failover]");
    one(&hook("event: failver, run: /a"), "7:18", "`event` cannot be `failver`", "did you mean `failover`?");
    one(
        &hook("event: [address, address], run: /a"),
        "7:28",
        "the event `address` is given twice",
        "keep one",
    );
    for (path, message, hint) in [
        ("hooks/ddns", "`run` must be an absolute path", "begin it with `/`"),
        ("/etc/turnout/", "`run` names a folder", "the program itself"),
        ("/bin/ddns --now", "`run` has spaces", "without arguments"),
        ("\"/bin/a\\0\"", "`run` has control characters", "plain path"),
        ("[/bin/a]", "`run` must be the path of a program, not a list", "run: /etc"),
    ] {
        one(&hook(&format!("event: failover, run: {path}")), "7:33", message, hint);
    }
    let longest = format!("/{}", "a".repeat(4094));
    good(&hook(&format!("event: failover, run: {longest}")));
    one(&hook(&format!("event: failover, run: {longest}a")), "7:33", "longer than 4095 bytes", "shorter");
    one(
        &hook("event: failover, run: /a, user: nobody"),
        "7:37",
        "unknown key `user`",
        "known here: event, run",
    );
    one(&and("hooks: /a"), "7:8", "`hooks` must be a list", "hooks: [{");
    let many = "{ event: failover, run: /a },".repeat(17);
    one(&and(&format!("hooks: [{many}]")), "7:473", "more than 16 hooks", "tell others");
}

#[test]
fn a_role_is_heard_of_in_a_cluster_only() {
    for event in ["role", "[failover, role]"] {
        let text = and(&format!("hooks: [{{ event: {event}, run: /a }}]"));
        one(&text, "7:18", "the event `role` never comes without `cluster`", "remove it");
        let text = format!("{PAIR}hooks: [{{ event: {event}, run: /a }}]\n");
        let hooks = load_member(&text, "p.yaml", "a").unwrap().hooks;
        assert!(hooks[0].events.contains(&HookEvent::Role));
    }
}

#[test]
fn the_sections_of_failover_go_together() {
    let profile = good(
        &(with("wans: [isp1, isp2]", "wans: { isp1: { health: internet }, isp2: { health: internet, metered: true } }")
            + "\
health:
  internet:
    gateway: { arp: 250ms }
    targets: { icmp: [1.1.1.1, 9.9.9.9, 8.8.8.8], tcp: [\"198.51.100.7:443\"], dns: [{ server: 9.9.9.9, name: example.com }],
               http: [{ url: \"http://198.51.100.7/generate_204\", status: 204 }], every: 500ms, timeout: 1s, need: 1 }
    bfd: { peer: gateway, every: 300ms, multiplier: 3 }
    down: { failures: 3 }
    up: { successes: 5, stable: 10s, flap_max: 10m }
    degraded: { window: 30s, loss: 20%, latency: 500ms, jitter: 100ms }
    passive: true
groups:
  default:
    mode: failover
    members: [{ wan: isp1, tier: 1, weight: 1 }, { wan: isp2, tier: 2, weight: 1 }]
    failback: { mode: automatic, after: 30s }
    when_none_fit: best
  isp2_first:
    members: [{ wan: isp2, tier: 1 }, { wan: isp1, tier: 2 }]
policy:
  - { from: 192.168.10.12, use: isp2_first }
  - { in: lan, use: isp2, otherwise: default, on_failover: { udp: drop } }
on_failover: { tcp: { reset_after: 2s }, udp: rebind, icmp: rebind }
on_failback: { drain: 1h, metered: 2m, then: { tcp: reset, udp: rebind } }
hooks:
  - { event: [failover, failback, address], run: /etc/turnout/hooks/ddns }
"),
    );
    let plain = good(super::SHORT);
    // What is written out is the default, but for what has none.
    assert_eq!(profile.groups[0], plain.groups[0]);
    assert_eq!((profile.on_failover, profile.on_failback), (plain.on_failover, plain.on_failback));
    let health = &profile.wans[0].health;
    assert_eq!(health.targets.list.len(), 6);
    let bare = Health {
        targets: Targets::default(),
        bfd: health.bfd.clone(),
        degraded: health.degraded.clone(),
        ..Health::default()
    };
    assert_eq!(Health { targets: Targets::default(), ..health.clone() }, bare);
    assert_eq!(health.bfd, Some(Bfd::default()));
    assert_eq!(health.degraded, Some(Degraded::default()));
}
