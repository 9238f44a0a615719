//! The rules between values, each with a profile that breaks it.

use super::{SHORT, and, good, one, said, with};

/// `SHORT` with one more interface on line 6.
fn more(interface: &str) -> String {
    with("wans:", &format!("  {interface}\nwans:"))
}

fn route(routes: &str) -> String {
    and(&format!("routes: [{routes}]"))
}

#[test]
fn names_have_their_letters_and_length() {
    let longest = "a".repeat(32);
    good(&more(&format!("{longest}: {{ port: net_null0, addresses: [10.0.0.1/24] }}")));
    good(&and("name: Edge_1-b"));
    for name in ["1lan", "-lan", "_lan", "l an", "läan", "lan.1", &"a".repeat(33), "\"\""] {
        let text = more(&format!("{name}: {{ port: net_null0, addresses: [10.0.0.1/24] }}"));
        one(&text, "6:3", "cannot be a name", "a letter first");
        one(&and(&format!("name: {name}")), "7:7", "cannot be a name", "a letter first");
    }
    for name in ["on", "off", "yes", "No", "true", "FALSE"] {
        one(&and(&format!("name: {name}")), "7:7", "cannot be a name", "choose another");
        let text = more(&format!("{name}: {{ port: net_null0, addresses: [10.0.0.1/24] }}"));
        one(&text, "6:3", "cannot be a name", "choose another");
    }
    one(&and("name: [a]"), "7:7", "`name` must be a name, not a list", "name: edge-1");
    let text = with("[isp1, isp2]", "{ isp1: { health: 5s }, isp2: {} }") + "health: { 5s: {} }\n";
    one(&text, "7:11", "`5s` cannot be a name", "a letter first");
}

#[test]
fn a_wan_is_an_interface_and_listed_once() {
    one(&with("[isp1, isp2]", "[isp1, isp2, isp1]"), "6:20", "`isp1` is given twice", "already on line 6");
    one(
        &with("[isp1, isp2]", "[isp1, ips2]"),
        "6:14",
        "no interface is called `ips2`",
        "did you mean `isp2`?",
    );
    one(
        &with("[isp1, isp2]", "[isp1, backup]"),
        "6:14",
        "no interface is called `backup`",
        "there are `lan`, `isp1`",
    );
    one(&with("[isp1, isp2]", "{ isp1: {}, ips2: {} }"), "6:19", "no interface is called `ips2`", "`isp2`");
    one(
        &with("[isp1, isp2]", "[isp1, { isp2: {} }]"),
        "6:14",
        "must be the name of an interface, not a map",
        "wans: {",
    );
    one(&with("[isp1, isp2]", "isp1"), "6:7", "`wans` must be a list or a map", "wans: [isp1, isp2]");
}

#[test]
fn there_is_a_wan_and_an_inside() {
    one(&with("[isp1, isp2]", "[]"), "6:1", "`wans` is empty", "name the interfaces");
    one(&with("[isp1, isp2]", ""), "6:1", "`wans` is empty", "name the interfaces");
    one(&with("wans: [isp1, isp2]\n", ""), "1:1", "the profile has no `wans`", "wans: [isp1, isp2]");
    let text = with("  lan:  { port: \"linux:lan0\", addresses: [192.168.10.1/24] }\n", "");
    one(&text, "2:1", "no interface is inside", "leave one interface out");
    assert_eq!(
        said("version: 1\ninterfaces: {}\nwans: [isp1]\n"),
        ["2:1: `interfaces` is empty", "3:8: no interface is called `isp1`"]
    );
    assert_eq!(said("version: 1\nwans: [isp1]\n"), ["1:1: the profile has no `interfaces`"]);
}

#[test]
fn health_is_named_and_used() {
    let text =
        with("[isp1, isp2]", "{ isp1: { health: lone }, isp2: { health: line } }") + "health: { line: {} }\n";
    one(&text, "6:25", "no section of `health` is called `lone`", "did you mean `line`?");
    let text = with("[isp1, isp2]", "{ isp1: { health: line }, isp2: {} }");
    one(&text, "6:25", "no section of `health` is called `line`", "there is none yet");
    one(&and("health: { line: {} }"), "7:11", "no WAN uses the health `line`", "health: line");
}

#[test]
fn a_gateway_belongs_to_a_wan() {
    one(
        &with(", gateway: 203.0.113.1", ""),
        "4:3",
        "the WAN `isp1` has no gateway",
        "as `gateway: 203.0.113.1`",
    );
    let text = with("[192.168.10.1/24]", "[192.168.10.1/24], gateway: 192.168.10.2");
    one(&text, "3:70", "`lan` has a gateway but is no WAN", "list `lan` in `wans`");
    let gateway = |ip: &str| with("gateway: 203.0.113.1", &format!("gateway: {ip}"));
    one(&gateway("203.0.113.8"), "4:69", "is outside the networks of `isp1`", "203.0.113.0/29");
    one(&gateway("203.0.113.2"), "4:69", "is the address of `isp1` itself", "provider's router");
    one(&gateway("203.0.113.0"), "4:69", "is the network address of 203.0.113.0/29", "is a host");
    one(&gateway("203.0.113.7"), "4:69", "is the broadcast address of 203.0.113.0/29", "is a host");
    good(&with("203.0.113.2/29], gateway: 203.0.113.1", "203.0.113.2/31], gateway: 203.0.113.3"));
    good(&with("203.0.113.2/29]", "192.0.2.77/24, 203.0.113.2/29]"));
}

#[test]
fn an_interface_has_the_address_of_a_host() {
    let lan = |net: &str| with("192.168.10.1/24", net);
    for (net, message) in [
        ("192.168.10.0/24", "192.168.10.0 is the network address of 192.168.10.0/24"),
        ("192.168.10.255/24", "192.168.10.255 is the broadcast address of 192.168.10.0/24"),
        ("224.0.0.5/24", "it is a multicast address"),
        ("239.255.255.1/8", "it is a multicast address"),
        ("127.0.0.1/8", "it is a loopback address"),
        ("0.0.0.1/8", "it is in 0.0.0.0/8"),
        ("240.0.0.1/8", "it is in the reserved 240.0.0.0/4"),
        ("255.255.255.255/32", "it is in the reserved 240.0.0.0/4"),
    ] {
        one(&lan(net), "3:43", message, "host");
    }
    for net in ["192.168.10.0/31", "192.168.10.1/31", "192.168.10.0/32", "223.255.255.1/24", "10.0.0.255/16"]
    {
        good(&lan(net));
    }
    one(&lan("192.168.10.1/24, 192.168.10.1/25"), "3:60", "192.168.10.1 is given twice", "already on line 3");
    good(&lan("192.168.10.1/24, 192.168.10.2/24"));
}

#[test]
fn networks_of_two_interfaces_do_not_overlap() {
    let text = more("voice: { port: net_null0, addresses: [192.168.0.1/16] }");
    one(&text, "6:41", "192.168.0.0/16 of `voice` overlaps 192.168.10.0/24 of `lan`", "see line 3");
    let text = more("voice: { port: net_null0, addresses: [10.0.0.1/8, 192.168.10.129/25] }");
    one(&text, "6:53", "192.168.10.128/25 of `voice` overlaps", "see line 3");
}

#[test]
fn rfc4787_7_an_inside_network_is_not_a_wans() {
    let text = more("voice: { port: net_null0, addresses: [203.0.113.3/29] }");
    one(&text, "6:41", "inside network 203.0.113.0/29 of `voice` is also that of WAN `isp1`", "see line 4");
    let text = with("192.168.10.1/24", "203.0.113.3/29");
    one(&text, "4:43", "of WAN `isp1` is also the inside network 203.0.113.0/29 of `lan`", "see line 3");
}

#[test]
fn a_port_has_one_interface() {
    one(
        &with("linux:isp2", "linux:isp1"),
        "5:17",
        "the port `linux:isp1` is already that of `isp1`",
        "see line 4",
    );
    let text = with("linux:isp1", "0000:AB:00.0").replace("linux:isp2", "0000:ab:00.0");
    one(&text, "5:17", "`0000:ab:00.0` is already that of `isp1`", "of its own");
    let text = with("linux:isp1", "net_null0,size=64").replace("linux:isp2", "net_null0");
    one(&text, "5:17", "`net_null0` has other arguments for `isp1`", "the same way");
}

#[test]
fn a_route_leads_through_an_inside_network() {
    good(&route("{ to: 10.0.0.0/8, via: 192.168.10.254 }, { to: 192.168.0.0/16, via: 192.168.10.254 }"));
    let hop = |via: &str| route(&format!("{{ to: 10.0.0.0/8, via: {via} }}"));
    one(&hop("192.168.11.1"), "7:33", "`via` 192.168.11.1 is in no inside network", "reaches directly");
    one(&hop("203.0.113.1"), "7:33", "`via` 203.0.113.1 is in no inside network", "of WAN `isp1`");
    one(&hop("192.168.10.1"), "7:33", "is the address of `lan` itself", "another router");
    one(&hop("192.168.10.0"), "7:33", "is the network address of 192.168.10.0/24", "another router");
    one(&hop("192.168.10.255"), "7:33", "is the broadcast address", "another router");
    one(&hop("somewhere"), "7:33", "`via` is not an IPv4 address", "0 to 255");
    one(&route("{ to: 10.0.0.0/8 }"), "7:10", "a route has no `via`", "add `via:");
    one(&route("{ via: 192.168.10.9 }"), "7:10", "a route has no `to`", "add `to:");
    one(&route("10.0.0.0/8"), "7:10", "a route must be a map", "key: value");
    one(&and("routes: { to: 10.0.0.0/8 }"), "7:9", "`routes` must be a list, not a map", "routes: [");
}

#[test]
fn a_route_leads_to_a_network_elsewhere_and_only_once() {
    let to = |net: &str| route(&format!("{{ to: {net}, via: 192.168.10.9 }}"));
    one(
        &to("10.0.0.1/8"),
        "7:16",
        "10.0.0.1/8 is an address in a network",
        "write `10.0.0.0/8`, or `10.0.0.1/32`",
    );
    one(&to("0.0.0.0/0"), "7:16", "cannot lead everywhere", "by a WAN");
    one(&to("224.0.0.0/4"), "7:16", "it is a multicast address", "network of hosts");
    one(&to("127.0.0.0/8"), "7:16", "it is a loopback address", "network of hosts");
    one(&to("192.168.10.0/24"), "7:16", "is reached directly", "remove the route");
    one(&to("192.168.10.128/25"), "7:16", "is the network of `lan`", "remove the route");
    one(&to("203.0.113.0/29"), "7:16", "is the network of `isp1`", "remove the route");
    one(&to("10.0.0.0"), "7:16", "`to` is not an IPv4 address with a prefix length", "10.0.0.0/24");
    let text = route("{ to: 10.0.0.0/8, via: 192.168.10.9 }, { to: 10.0.0.0/8, via: 192.168.10.8 }");
    one(&text, "7:55", "a second route to 10.0.0.0/8", "line 7 has one already");
}

#[test]
fn a_route_finds_the_interface_of_its_next_hop() {
    let text = more("voice: { port: net_null0, addresses: [10.1.0.1/24, 10.2.0.1/24] }");
    let profile = good(&format!("{text}routes: [{{ to: 10.9.0.0/16, via: 10.2.0.7 }}]\n"));
    assert_eq!(profile.interfaces[profile.routes[0].interface].name, "voice");
}

#[test]
fn there_are_at_most_64_interfaces_and_16_wans() {
    let many = |wans: usize, inside: usize| {
        let mut text = "version: 1\ninterfaces:\n".to_owned();
        for i in 0..wans {
            text +=
                &format!("  w{i}: {{ port: net_w{i}, addresses: [203.0.{i}.2/24], gateway: 203.0.{i}.1 }}\n");
        }
        for i in 0..inside {
            text += &format!("  i{i}: {{ port: net_i{i}, addresses: [10.0.{i}.1/24] }}\n");
        }
        let names: Vec<String> = (0..wans).map(|i| format!("w{i}")).collect();
        text + &format!("wans: [{}]\n", names.join(","))
    };
    assert_eq!(good(&many(16, 48)).interfaces.len(), 64);
    one(&many(16, 49), "67:3", "more than 64 interfaces", "remove");
    one(&many(17, 2), "22:62", "more than 16 WANs", "remove");
    let addresses: Vec<String> = (1..34).map(|i| format!("10.0.{i}.1/24")).collect();
    let text = with("192.168.10.1/24", &addresses.join(", "));
    assert_eq!(said(&text).len(), 1);
    assert!(said(&text)[0].ends_with("more than 32 addresses"));
}

#[test]
fn one_mistake_is_not_reported_as_three() {
    // The gateway of a misspelt WAN is not "a gateway on no WAN", nor is its network judged as an inside one.
    let text = SHORT.replace("wans: [isp1, isp2]", "wans: [ips1, isp2]").replace("198.51.100", "203.0.113");
    assert_eq!(said(&text), ["6:8: no interface is called `ips1`"]);
    // A next hop is not judged against a network that could not be read.
    let text = with("192.168.10.1/24", "192.168.10/24") + "routes: [{ to: 10.0.0.0/8, via: 192.168.10.9 }]\n";
    assert_eq!(said(&text).len(), 1);
    let text = text.replace("wans:", "  dmz: { port: net_null0, addresses: [172.16.0.1/24] }\nwans:");
    assert_eq!(said(&text).len(), 1);
}

#[test]
fn mistakes_of_all_kinds_come_together_in_order() {
    let text = "\
version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.0/24] }
  dmz:  { port: \"linux:lan0\", addresses: [192.168.10.9/25], vlun: 9000 }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29] }
wans: [isp1, isp1, isp9x]
routes: [{ to: 10.0.0.0/8, via: 172.16.0.1 }]
engine: { workers: [1, 1] }
icmp: { time_exceeded: yes }
";
    let lines: Vec<u32> = super::bad(text).iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [3, 4, 4, 4, 5, 6, 6, 7, 8, 9], "{}", super::bad(text));
}
