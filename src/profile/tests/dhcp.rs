//! WANs whose address comes by DHCP: what goes with them, and what does not.

use std::net::Ipv4Addr;

use super::{good, one, with};
use crate::profile::{differences, needs_restart};

/// `SHORT` with isp2 by DHCP; `more` are keys of it, from column 46 on.
fn leased(more: &str) -> String {
    with("[198.51.100.2/29], gateway: 198.51.100.1", &format!("dhcp{more}"))
}

#[test]
fn a_wan_may_have_its_address_by_dhcp() {
    let profile = good(&leased(", dhcp: { hostname: edge-1, reject_from: [192.168.100.1, 10.0.0.1] }"));
    let [lan, isp1, isp2] = profile.interfaces.as_slice() else { panic!() };
    assert_eq!((&lan.dhcp, &isp1.dhcp), (&None, &None));
    assert!(isp2.addresses.is_empty() && isp2.gateway.is_none());
    let dhcp = isp2.dhcp.as_ref().unwrap();
    assert_eq!(dhcp.hostname.as_deref(), Some("edge-1"));
    assert_eq!(dhcp.reject_from, [Ipv4Addr::new(192, 168, 100, 1), Ipv4Addr::new(10, 0, 0, 1)]);
    assert_eq!(good(&leased("")).interfaces[2].dhcp, Some(Default::default()));
    let one = good(&leased(", dhcp: { reject_from: 10.0.0.1 }"));
    assert_eq!(differences(&one, &profile), ["interfaces.isp2.dhcp"]);
    assert_eq!(needs_restart(&differences(&one, &profile)), [""; 0]);
}

#[test]
fn what_the_lease_brings_is_not_given_by_hand() {
    one(
        &leased(", gateway: 198.51.100.1"),
        "5:57",
        "`isp2` has a gateway, and its address by DHCP",
        "comes with the lease",
    );
    let by_hand = with("gateway: 203.0.113.1", "gateway: 203.0.113.1, dhcp: { hostname: edge-1 }");
    one(&by_hand, "4:82", "`isp1` has a section `dhcp`, and addresses by hand", "`addresses: dhcp`");
    let inside = with("[192.168.10.1/24]", "dhcp");
    one(&inside, "3:42", "`lan` asks for its address by DHCP but is no WAN", "list `lan` in `wans`");
    let pool =
        leased("").replace("[isp1, isp2]", "{ isp1: {}, isp2: { pool: [{ addresses: 198.51.100.4 }] } }");
    one(&pool, "6:47", "the pool of `isp2`, whose address comes by DHCP", "the only one");
    let host = leased("") + "one_to_one: [{ wan: isp2, outside: 198.51.100.4, inside: 192.168.10.9 }]\n";
    one(&host, "7:14", "an outside address of `isp2`, whose address comes by DHCP", "the only one");
}

#[test]
fn names_and_servers_are_judged() {
    let key = |text: &str| leased(&format!(", dhcp: {{ {text} }}"));
    for name in ["-a", "a-", "a..b", "a_b", "\"\"", "\"a b\"", &"a".repeat(64)] {
        one(&key(&format!("hostname: {name}")), "5:66", "is no name of a host", "letters, digits");
    }
    one(&key("hostname: [a]"), "5:66", "`hostname` must be a name", "edge-1");
    one(&key("reject_from: []"), "5:69", "`reject_from` is empty", "192.168.100.1");
    one(&key("reject_from: [10.0.0.1, modem]"), "5:80", "is not an IPv4 address", "four numbers");
    one(&key("reject_from: 127.0.0.1"), "5:69", "127.0.0.1 is no server", "own address");
    one(&key("hostnam: edge-1"), "5:56", "unknown key `hostnam`", "`hostname`");
}
