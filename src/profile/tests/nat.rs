//! The section `nat`: what each key may say, and what the RFCs do not let it say.

use crate::base::Nanos;
use crate::profile::*;

use super::{and, good, one};

fn nat(map: &str) -> String {
    and(&format!("nat: {{ {map} }}"))
}

fn read(map: &str) -> Nat {
    good(&nat(map)).nat
}

#[test]
fn rfc4787_5c_nat_has_the_defaults_of_the_documents() {
    let given = Nat::default();
    assert_eq!((given.inside, given.except), (None, Vec::new()));
    assert_eq!(
        given.filtering,
        Filtering { tcp: Filter::AddressDependent, udp: Filter::EndpointIndependent }
    );
    assert_eq!(given.when_full, WhenFull { tcp: Full::Share, udp: Full::Refuse });
    assert_eq!((given.ports_per_host, given.sessions_per_host), (Share::Auto, Share::Auto));
    assert_eq!(given.quarantine, Quarantine { time: Nanos::from_s(120), ports: 65_536 });
    assert_eq!(given.creation_rate, 10_000);
    assert!(given.hairpin && given.stealth && !given.log.mappings);
    assert_eq!((given.mss_clamp, given.midstream), (MssClamp::Auto, Midstream::Reset));
    assert!(given.timeouts.udp >= Nanos::from_s(300));
}

#[test]
fn every_key_of_nat_is_read() {
    let given = read(
        "inside: [192.168.10.0/24, 10.1.2.3], except: [{ from: 192.168.10.0/24, to: 10.0.0.0/8 }], \
         filtering: { tcp: endpoint-independent, udp: address-and-port-dependent }, \
         when_full: { tcp: refuse, udp: refuse }, ports_per_host: 1000, sessions_per_host: 20000, \
         quarantine: { time: 30s, ports: 20000 }, creation_rate: 500, hairpin: false, mss_clamp: 1400, \
         midstream: adopt, stealth: false, log: [mappings], timeouts: { other: 1m }",
    );
    let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect::<Vec<_>>();
    assert_eq!(given.inside, Some(nets(&["10.1.2.3/32", "192.168.10.0/24"])));
    let except =
        Match { from: nets(&["192.168.10.0/24"]), to: To::Nets(nets(&["10.0.0.0/8"])), ..Match::default() };
    assert_eq!(given.except, [except]);
    let filtering = Filtering { tcp: Filter::EndpointIndependent, udp: Filter::AddressAndPortDependent };
    assert_eq!(given.filtering, filtering);
    assert_eq!(given.when_full, WhenFull { tcp: Full::Refuse, udp: Full::Refuse });
    assert_eq!((given.ports_per_host, given.sessions_per_host), (Share::Limit(1000), Share::Limit(20_000)));
    assert_eq!(given.quarantine, Quarantine { time: Nanos::from_s(30), ports: 20_000 });
    assert_eq!((given.creation_rate, given.hairpin, given.stealth), (500, false, false));
    assert_eq!((given.mss_clamp, given.midstream), (MssClamp::To(1400), Midstream::Adopt));
    assert!(given.log.mappings);
    assert_eq!(given.timeouts.other, Nanos::from_s(60));
}

#[test]
fn the_filter_of_each_protocol_is_chosen_alone() {
    let words = [
        ("endpoint-independent", Filter::EndpointIndependent),
        ("address-dependent", Filter::AddressDependent),
        ("address-and-port-dependent", Filter::AddressAndPortDependent),
    ];
    for (word, filter) in words {
        let tcp = read(&format!("filtering: {{ tcp: {word} }}")).filtering;
        assert_eq!(tcp, Filtering { tcp: filter, ..Filtering::default() });
        let udp = read(&format!("filtering: {{ udp: {word} }}")).filtering;
        assert_eq!(udp, Filtering { udp: filter, ..Filtering::default() });
    }
    let text = nat("filtering: { udp: adress-dependent }");
    one(&text, "7:26", "`udp` cannot be `adress-dependent`", "did you mean `address-dependent`?");
    one(&nat("filtering: strict"), "7:19", "`filtering` must be a map", "key: value");
}

#[test]
fn a_shared_port_is_not_for_udp() {
    let text = nat("when_full: { udp: share }");
    one(&text, "7:26", "no endpoint-independent mapping (RFC 4787 REQ-3)", "udp: refuse");
    one(&nat("when_full: { tcp: drop }"), "7:26", "`tcp` cannot be `drop`", "one of refuse, share");
}

#[test]
fn a_host_has_a_share_or_a_limit() {
    assert_eq!(read("ports_per_host: auto").ports_per_host, Share::Auto);
    for n in [1, 65_536] {
        assert_eq!(read(&format!("ports_per_host: {n}")).ports_per_host, Share::Limit(n));
    }
    for n in [1, 16_000_000] {
        assert_eq!(read(&format!("sessions_per_host: {n}")).sessions_per_host, Share::Limit(n));
    }
    one(&nat("ports_per_host: 0"), "7:24", "`ports_per_host` is out of range: `0`", "from 1 to 65536");
    one(&nat("ports_per_host: 65537"), "7:24", "out of range", "from 1 to 65536");
    one(&nat("sessions_per_host: 16000001"), "7:27", "out of range", "from 1 to 16000000");
    one(&nat("ports_per_host: none"), "7:24", "cannot be `none`", "one of auto, or a number from 1 to 65536");
    one(&nat("ports_per_host: \"5\""), "7:24", "cannot be `5`", "remove the quotes");
    one(&nat("ports_per_host: [5]"), "7:24", "must be one of auto, not a list", "ports_per_host: auto");
}

#[test]
fn quarantine_is_a_time_or_a_map() {
    let is = |map: &str| read(&format!("quarantine: {map}")).quarantine;
    assert_eq!(is("0s"), Quarantine { time: Nanos::ZERO, ports: 65_536 });
    assert_eq!(is("{ time: 1h, ports: 65536 }"), Quarantine { time: Nanos::from_s(3600), ports: 65_536 });
    assert_eq!(is("{ ports: 1 }"), Quarantine { ports: 1, ..Quarantine::default() });
    one(&nat("quarantine: 3601s"), "7:20", "`quarantine` must be at most 1h", "from 0s to 1h");
    one(&nat("quarantine: 120"), "7:20", "`quarantine` has no unit", "as `120s`");
    one(&nat("quarantine: { time: 2h }"), "7:28", "`time` must be at most 1h", "from 0s to 1h");
    one(&nat("quarantine: { ports: 0 }"), "7:29", "`ports` is out of range: `0`", "from 1 to 65536");
    one(&nat("quarantine: { ports: 65537 }"), "7:29", "out of range", "from 1 to 65536");
}

#[test]
fn rates_sizes_and_words_keep_their_limits() {
    for n in [1, 10_000_000] {
        assert_eq!(read(&format!("creation_rate: {n}")).creation_rate, n);
    }
    one(&nat("creation_rate: 0"), "7:23", "out of range: `0`", "from 1 to 10000000");
    one(&nat("creation_rate: 10000001"), "7:23", "out of range", "from 1 to 10000000");
    for (word, clamp) in [
        ("auto", MssClamp::Auto),
        ("never", MssClamp::Never),
        ("536", MssClamp::To(536)),
        ("65495", MssClamp::To(65_495)),
    ] {
        assert_eq!(read(&format!("mss_clamp: {word}")).mss_clamp, clamp);
    }
    one(&nat("mss_clamp: 535"), "7:19", "out of range: `535`", "from 536 to 65495");
    one(&nat("mss_clamp: 65496"), "7:19", "out of range", "from 536 to 65495");
    one(&nat("mss_clamp: off"), "7:19", "cannot be `off`", "one of auto, never, or a number");
    assert_eq!(read("midstream: drop").midstream, Midstream::Drop);
    one(&nat("midstream: accept"), "7:19", "`midstream` cannot be `accept`", "reset, adopt, drop");
    one(&nat("hairpin: yes"), "7:17", "`hairpin` must be true or false, not `yes`", "write `true`");
    one(&nat("stealth: 1"), "7:17", "`stealth` must be true or false", "stealth: true");
}

#[test]
fn the_log_is_a_list_or_one_word() {
    assert!(read("log: mappings").log.mappings);
    assert!(!read("log: []").log.mappings);
    one(&nat("log: [mapping]"), "7:14", "cannot be `mapping`", "did you mean `mappings`?");
    one(
        &nat("log: { mappings: true }"),
        "7:13",
        "`log` must be a value or a list, not a map",
        "log: [mappings]",
    );
}

#[test]
fn other_protocols_have_a_timeout_too() {
    assert_eq!(read("timeouts: { other: 10s }").timeouts.other, Nanos::from_s(10));
    one(&nat("timeouts: { other: 9s }"), "7:27", "`other` must be at least 10s", "from 10s to 24h");
    one(&nat("timeouts: { other: 25h }"), "7:27", "`other` must be at most 24h", "from 10s to 24h");
}

#[test]
fn inside_networks_are_not_those_of_a_wan() {
    assert_eq!(read("inside: 192.168.0.0/16").inside, Some(vec!["192.168.0.0/16".parse().unwrap()]));
    one(
        &nat("inside: [192.168.0.0/16, 198.51.100.0/24]"),
        "7:33",
        "`inside` 198.51.100.0/24 overlaps 198.51.100.0/29 of WAN `isp2`",
        "only networks that hosts inside have",
    );
    one(&nat("inside: 0.0.0.0/0"), "7:16", "overlaps 203.0.113.0/29 of WAN `isp1`", "hosts inside");
    one(&nat("inside: []"), "7:16", "`inside` is empty", "inside: [192.168.0.0/16]");
    one(&nat("inside: [192.168.10.1/24]"), "7:17", "is an address in a network", "write `192.168.10.0/24`");
    one(&nat("inside: [lan]"), "7:17", "`inside` is not an IPv4 address", "four numbers");
}

#[test]
fn an_exception_says_whom_it_means() {
    let is = |map: &str| read(&format!("except: [{map}]")).except;
    let given = is("{ to: [10.9.0.0/16, 10.8.0.1], protocol: udp, port: 500 }");
    assert_eq!((given[0].protocols.clone(), given[0].ports.clone()), (vec![17], vec![(500, 500)]));
    let nets = vec!["10.8.0.1/32".parse().unwrap(), "10.9.0.0/16".parse().unwrap()];
    assert_eq!((given[0].interface, &given[0].to), (None, &To::Nets(nets)));
    assert_eq!(is("{ from: 192.168.10.9 }")[0].from, ["192.168.10.9/32".parse().unwrap()]);
    one(&nat("except: [{ protocol: esp }]"), "7:17", "an exception needs `from` or `to`", "which hosts");
    one(&nat("except: [{ to: self }]"), "7:23", "`to` cannot be `self` here", "name networks");
    one(&nat("except: { to: 10.0.0.0/8 }"), "7:16", "`except` must be a list, not a map", "except: [{");
}
