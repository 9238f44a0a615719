//! Files that nobody means well: nothing panics, and every answer is shown without harm.

use proptest::prelude::*;

use crate::profile::load_bytes;

use super::SHORT;

const EXAMPLE: &str = include_str!("../../../dpdk-config/dual-wan.yaml");

/// Every section that rules are made of.
const RULES: &str = "\
version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.1/24] }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1, mtu: 1492 }
wans: { isp1: { health: h, metered: true, pool: [{ addresses: [203.0.113.3-203.0.113.4, 192.0.2.0/30], arp: never }] } }
nat: { inside: 192.168.0.0/16, except: [{ to: 10.0.0.0/8, protocol: 6, port: 5 }], log: [mappings],
       filtering: { tcp: address-dependent }, when_full: { udp: refuse }, ports_per_host: 9,
       quarantine: { time: 2m, ports: 5 }, mss_clamp: 1400, midstream: drop, timeouts: { other: 1m } }
forwards: [{ wans: isp1, protocol: [tcp], port: 80-90, from: 0.0.0.0/0, to: \"192.168.10.5:8080\" }]
one_to_one: [{ wan: isp1, outside: 203.0.113.5, inside: 192.168.10.20, when_down: drop }]
health: { h: { targets: { icmp: [1.1.1.1, a.b], tcp: \"9.9.9.9:53\", dns: [{ server: 9.9.9.9, name: a.b, answer: 192.0.2.9 }],
               http: [{ url: \"http://a.b:8080/x\", status: 200 }], every: 40ms, timeout: 2s, need: 4 }, passive: false,
               bfd: { peer: 203.0.113.6, every: 50ms, multiplier: 4 }, up: { flap_max: 1m },
               degraded: { window: 20s, loss: 7%, latency: 80ms, jitter: 9ms } } }
groups: { default: { mode: balance, failback: { mode: automatic, after: 5s }, when_none_fit: best },
          spare: { mode: balance, members: [{ wan: isp1, tier: 3, weight: 44 }] } }
policy: [{ in: lan, use: spare, otherwise: reject, on_failover: { icmp: drop } }, { to: 8.8.8.8, use: isp1 }]
on_failover: { tcp: { reset_after: 3s }, udp: drop }
on_failback: { drain: 33m, metered: 3m, then: { tcp: keep, udp: drop } }
hooks: [{ event: [failover, address], run: /bin/hook }]
firewall: [{ in: isp1, from: [1.2.3.4], to: self, protocol: [tcp, 89], action: reject }, { action: drop }]
";

fn judge(bytes: &[u8]) {
    let Err(mistakes) = load_bytes(bytes, "p.yaml") else { return };
    assert!(mistakes.len() > 0);
    for mistake in &mistakes {
        assert!(mistake.line > 0 && mistake.column > 0, "{mistakes}");
        assert!(!mistake.message.is_empty() && !mistake.hint.is_empty(), "{mistakes}");
        let shown = mistake.to_string();
        assert_eq!(shown.lines().count(), 4, "{shown:?}");
        assert!(!shown.chars().any(|c| c != '\n' && c.is_control()), "{shown:?}");
    }
}

/// Bytes that mean something to YAML or to a profile, more often than chance would have them.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "version",
        "interfaces",
        "wans",
        "addresses",
        "lan",
        "isp1",
        "health",
        "udp_ports",
        "nat: ",
        "forwards: ",
        "one_to_one: ",
        "firewall: ",
        "pool",
        "targets",
        "icmp: ",
        "http://",
        "https://",
        "%",
        "groups: ",
        "members",
        "policy: ",
        "use: ",
        "default",
        "on_failover: ",
        "hooks: ",
        "in: ",
        "to: ",
        "self",
        "protocol",
        "port",
        "-",
        "65535",
        ": ",
        "- ",
        "\n",
        "\n  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "&a ",
        "*a",
        "!!map ",
        "|\n",
        ">\n",
        "# ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\t",
        "\r",
        "? ",
        "~",
        "0",
        "1",
        "10s",
        "2h4m",
        "true",
        "on",
        "192.168.10.1/24",
        "255.255.255.255/0",
        "0.0.0.0/0",
        "<<",
        "\u{feff}",
        "\0",
        "\u{2028}",
        "é",
        "99999999999999999999",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        judge(&bytes);
    }

    #[test]
    fn random_pieces_of_yaml_do_not_panic(pieces in proptest::collection::vec(piece(), 0..80)) {
        judge(&pieces.concat());
    }

    #[test]
    fn a_mutated_profile_does_not_panic(
        example in proptest::sample::select(vec![EXAMPLE, SHORT, RULES]),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0..12_usize, piece()), 1..6),
    ) {
        let mut bytes = example.as_bytes().to_vec();
        for (at, cut, new) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + cut).min(bytes.len());
            bytes.splice(start..end, new);
        }
        judge(&bytes);
    }

    #[test]
    fn any_text_as_a_value_does_not_panic(text in "\\PC{0,30}", place in 0..8_usize) {
        let quoted = serde_json::to_string(&text).unwrap();
        let old = ["1\n", "\"linux:lan0\"", "192.168.10.1/24", "203.0.113.1 ", "[isp1, isp2]", "isp1", "port", "lan"][place];
        judge(SHORT.replacen(old, &quoted, 1).as_bytes());
        judge(SHORT.replacen(old, &text, 1).as_bytes());
    }

    #[test]
    fn any_text_in_a_rule_does_not_panic(text in "\\PC{0,30}", number in any::<u32>(), place in 0..44_usize) {
        let quoted = serde_json::to_string(&text).unwrap();
        let old = [
            "203.0.113.3-203.0.113.4", "192.0.2.0/30", "never", "192.168.0.0/16", "10.0.0.0/8", "protocol: 6",
            "ports: 5", "1400", "80-90", "\"192.168.10.5:8080\"", "203.0.113.5", "self", "1.2.3.4", "89",
            "refuse", "isp1, protocol", "1.1.1.1", "a.b]", "\"9.9.9.9:53\"", "server: 9.9.9.9", "name: a.b",
            "192.0.2.9", "\"http://a.b:8080/x\"", "status: 200", "40ms", "2s", "need: 4", "203.0.113.6", "multiplier: 4",
            "20s", "7%", "1m }", "balance", "automatic", "best", "tier: 3", "44", "use: spare", "otherwise: reject",
            "icmp: drop", "33m", "keep", "/bin/hook", "[failover, address]",
        ][place];
        assert!(RULES.contains(old));
        for new in [quoted, text, number.to_string(), format!("{number}-{}", number >> 16), format!("1.2.3.{number}")] {
            judge(RULES.replacen(old, &new, 1).as_bytes());
        }
    }
}

#[test]
fn the_example_of_rules_is_good() {
    load_bytes(RULES.as_bytes(), "p.yaml").unwrap();
}

#[test]
fn hostile_sizes_are_judged_in_time() {
    let start = std::time::Instant::now();
    let unit = |head: &str, body: &dyn Fn(usize) -> String| {
        let mut text = head.to_owned();
        let mut i = 0;
        while text.len() < 1_000_000 {
            text += &body(i);
            i += 1;
        }
        text
    };
    let rules = |section: &str| format!("{SHORT}{section}");
    for text in [
        unit("", &|i| format!("interfacs{i}: 1\n")),
        unit("version: 1\nwans: [", &|i| format!("isp{i}x,")) + "]",
        unit("interfaces:\n", &|i| format!(" a{i}: {{port: net_a{i}, addresses: [10.0.0.1/8]}}\n")),
        unit("interfaces: {a: {addresses: [", &|_| "10.0.0.1/8,".into()) + "]}}",
        unit("interfaces: {a: {port: net_a, addresses: [10.0.0.1/8]}}\nroutes:\n", &|_| {
            " - {to: 10.0.0.0/8, via: 11.0.0.1}\n".into()
        }),
        unit(&rules("forwards: ["), &|i| {
            format!("{{protocol: tcp, port: {}, to: 192.168.10.9}},", 1 + i % 65_535)
        }) + "]",
        unit(&rules("firewall: ["), &|_| "{in: lan, action: drop},".into()) + "]",
        unit(&rules("firewall: [{action: drop, from: ["), &|i| {
            format!("10.{}.{}.0,", i / 250 % 250, i % 250)
        }) + "]}]",
        unit(&rules("one_to_one: ["), &|i| {
            format!("{{wan: isp1, outside: 100.64.{}.{}, inside: 192.168.10.9}},", i / 250 % 250, i % 250)
        }) + "]",
        unit(&SHORT.replace("[isp1, isp2]", "{isp1: {pool: [{addresses: ["), &|i| {
            format!("100.64.{}.{},", i / 250 % 250, i % 250)
        }) + "]}]}}",
        unit(&rules("groups: {"), &|i| format!("g{i}: {{members: [{{wan: isp1}}, {{wan: ips{i}}}]}},")) + "}",
        unit(&rules("groups: {g: {members: ["), &|_| "{wan: isp1},".into()) + "]}}",
        unit(&rules("policy: ["), &|i| format!("{{use: isp{i}}},")) + "]",
        unit(&rules("hooks: ["), &|_| "{event: address, run: /a},".into()) + "]",
        unit(&rules("health: {h: {targets: {icmp: ["), &|i| format!("h{i}.a,")) + "]}}}",
        unit(&rules("health: {"), &|i| format!("h{i}: {{targets: {{icmp: 192.168.10.9}}}},")) + "}",
        unit(&rules("health: {h: {targets: {http: [{url: \"http://a/"), &|_| "a".into()) + "\"}]}}}",
        unit("{", &|i| format!("a{i}: *a,")) + "}",
        unit("", &|_| "&a ".into()),
        unit("name: \"", &|_| "\\u0041".into()) + "\"",
        unit("", &|_| "? ".into()),
        unit("", &|_| "[]: ".into()),
    ] {
        judge(text.as_bytes());
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
