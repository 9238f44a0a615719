//! Pools of a WAN: their forms and sizes, and the addresses that they may not have. The MTU, which stands alone.

use std::net::Ipv4Addr;

use crate::profile::*;

use super::{good, one, with};

/// `isp1` with the pool on line 6; a value of `[{ addresses: ...` begins at column 40.
fn pool(list: &str) -> String {
    with("[isp1, isp2]", &format!("{{ isp2: {{}}, isp1: {{ pool: {list} }} }}"))
}

fn addresses(value: &str) -> String {
    pool(&format!("[{{ addresses: {value} }}]"))
}

fn range(first: &str, last: &str) -> (Ipv4Addr, Ipv4Addr) {
    (first.parse().unwrap(), last.parse().unwrap())
}

#[test]
fn rfc6888_3a_pools_have_any_size_and_any_pieces() {
    for (text, size) in [
        ("203.0.113.3/32", 1),
        ("203.0.113.3", 1),
        ("203.0.113.3-203.0.113.5", 3),
        ("[203.0.113.3, 203.0.113.6, 192.0.2.7]", 3),
        ("192.0.2.0-192.0.3.0", 257),
        ("100.64.0.0/16", 65_536),
        ("[100.64.0.0/17, 100.66.128.0/17]", 65_536),
        ("198.18.0.0/31", 2),
    ] {
        let given = &good(&addresses(text)).wans[1].pool[0];
        let sizes = given.addresses.iter().map(|(a, b)| b.to_bits() - a.to_bits() + 1);
        assert_eq!(sizes.sum::<u32>(), size, "{text}");
        assert!(given.addresses.is_sorted());
    }
    let text =
        pool("[{ addresses: [203.0.113.6, 203.0.113.3/32] }, { addresses: 192.0.2.0/28, arp: never }]");
    let expected = [
        Pool {
            addresses: vec![range("203.0.113.3", "203.0.113.3"), range("203.0.113.6", "203.0.113.6")],
            arp: PoolArp::Auto,
        },
        Pool { addresses: vec![range("192.0.2.0", "192.0.2.15")], arp: PoolArp::Never },
    ];
    let wans = good(&text).wans;
    assert_eq!((wans[0].pool.len(), wans[1].pool.as_slice()), (0, expected.as_slice()));
}

#[test]
fn a_pool_names_addresses() {
    one(&pool("[{ arp: auto }]"), "6:34", "a pool has no `addresses`", "add `addresses:");
    one(&pool("[{ addresses: 192.0.2.1, arp: proxy }]"), "6:63", "`arp` cannot be `proxy`", "auto, never");
    one(&pool("192.0.2.1"), "6:33", "`pool` must be a list", "pool: [{ addresses:");
    one(&addresses("[]"), "6:47", "`addresses` is empty", "addresses: 203.0.113.3/32");
    one(&addresses("192.0.2.9-192.0.2.1"), "6:47", "ends before it begins", "lower address first");
    one(&addresses("192.0.2.9-20"), "6:47", "no range of addresses: `192.0.2.9-20`", "two IPv4 addresses");
    one(&addresses("192.0.2.9/24"), "6:47", "is an address in a network", "write `192.0.2.0/24`");
    one(&addresses("dhcp"), "6:47", "`addresses` is not an IPv4 address", "four numbers");
    let big = addresses("100.64.0.0-100.65.0.0");
    one(&big, "6:47", "more than 65536 addresses in the pools of a WAN", "smaller networks");
    let two = pool("[{ addresses: 100.64.0.0/16 }, { addresses: 192.0.2.1 }]");
    one(&two, "6:77", "more than 65536 addresses", "smaller networks");
    one(&addresses("0.0.0.0/0"), "6:47", "more than 65536 addresses", "smaller networks");
    let many = "{ addresses: 192.0.2.1 },".repeat(17);
    assert!(super::bad(&pool(&format!("[{many}]"))).to_string().contains("more than 16 pools"));
}

#[test]
fn a_pool_has_no_address_of_somebody_else() {
    for (text, taken) in [
        ("203.0.113.2", "203.0.113.2, the address of `isp1` itself"),
        ("198.51.100.2", "198.51.100.2, the address of `isp2` itself"),
        ("203.0.113.1", "203.0.113.1, the gateway of `isp1`"),
        ("198.51.100.1", "198.51.100.1, the gateway of `isp2`"),
        ("203.0.113.0", "203.0.113.0, the network address of 203.0.113.0/29"),
        ("203.0.113.6-203.0.113.9", "203.0.113.7, the broadcast address of 203.0.113.0/29"),
        ("192.168.10.128/25", "addresses of the inside network 192.168.10.0/24 of `lan`"),
        ("192.168.0.0-192.168.255.0", "192.168.10.1, the address of `lan` itself"),
    ] {
        one(&addresses(text), "6:47", &format!("the pool has {taken}"), "leave it out");
    }
    for (text, kind) in [
        ("127.0.0.1", "a loopback address"),
        ("126.255.255.0-127.0.0.5", "a loopback address"),
        ("223.255.255.255-224.0.0.0", "a multicast address"),
        ("0.0.0.0/24", "in 0.0.0.0/8"),
        ("255.255.255.255", "in the reserved 240.0.0.0/4"),
    ] {
        one(&addresses(text), "6:47", &format!("no host can have: it is {kind}"), "the provider gave you");
    }
}

#[test]
fn no_address_is_in_two_pools() {
    one(
        &addresses("[192.0.2.1, 192.0.2.0/28]"),
        "6:59",
        "192.0.2.1 is in a pool already",
        "see line 6, column 48",
    );
    // One range within another hides neither from a third.
    let text = addresses("[192.0.2.0/24, 192.0.2.3, 192.0.2.9]");
    assert_eq!(
        super::said(&text),
        ["6:62: 192.0.2.3 is in a pool already", "6:73: 192.0.2.9 is in a pool already"]
    );
    let text = pool("[{ addresses: 192.0.2.0/28 }, { addresses: 192.0.2.15-192.0.2.20 }]");
    one(&text, "6:76", "192.0.2.15 is in a pool already", "column 47");
    good(&pool("[{ addresses: 192.0.2.0/28 }, { addresses: 192.0.2.16-192.0.2.20 }]"));
    let wans =
        "{ isp1: { pool: [{ addresses: 192.0.2.0/24 }] }, isp2: { pool: [{ addresses: 192.0.2.9 }] } }";
    one(&with("[isp1, isp2]", wans), "6:84", "192.0.2.9 is in a pool already", "see line 6, column 37");
}

#[test]
fn an_interface_may_have_an_mtu() {
    for mtu in [68, 576, 1492, 9216] {
        let text = with("203.0.113.1 }", &format!("203.0.113.1, mtu: {mtu} }}"));
        assert_eq!(good(&text).interfaces[1].mtu, Some(mtu));
    }
    let text = with("203.0.113.1 }", "203.0.113.1, mtu: 67 }");
    one(&text, "4:87", "`mtu` is out of range: `67`", "from 68 to 9216");
    let text = with("203.0.113.1 }", "203.0.113.1, mtu: 9217 }");
    one(&text, "4:87", "`mtu` is out of range", "from 68 to 9216");
}
