//! Several interfaces on a port: VLANs, addresses of their own, and the WAN that serves both sides.

use crate::base::Mac;

use super::super::{differences, needs_restart};
use super::{and, good, one, said, with};

/// One port, on the DMZ, where the inside hosts are as well.
const ARM: &str = "\
version: 1
interfaces:
  dmz: { port: \"linux:dmz0\", addresses: [192.168.50.10/24, 10.1.0.1/24], gateway: 192.168.50.1 }
wans: [dmz]
nat: { inside: [10.1.0.0/16] }
";

#[test]
fn vlans_share_a_port_and_an_interface_has_a_mac_of_its_own() {
    let text = with("linux:isp2\"", "linux:isp1\", vlan: 7, mac: \"02:00:5E:10:00:01\"");
    let profile = good(&text);
    assert_eq!((profile.interfaces[1].vlan, profile.interfaces[2].vlan), (None, Some(7)));
    assert_eq!(profile.interfaces[2].mac, Some(Mac([2, 0, 0x5e, 0x10, 0, 1])));
    assert_eq!(profile.interfaces[0].mac, None);
    // A running router can take up neither.
    let other = good(&text.replace("vlan: 7", "vlan: 8").replace("00:01\"", "00:02\""));
    let paths = needs_restart(&differences(&profile, &other));
    assert_eq!(paths, ["interfaces.isp2.vlan", "interfaces.isp2.mac"]);
}

#[test]
fn a_vlan_is_a_number_that_no_other_interface_of_the_port_has() {
    for vlan in ["0", "4095", "70000"] {
        let text = with("linux:isp2\"", &format!("linux:isp1\", vlan: {vlan}"));
        one(&text, "5:37", "`vlan` is out of range", "from 1 to 4094");
    }
    one(&with("linux:isp2\"", "linux:isp1\", vlan: a"), "5:37", "`vlan` must be a whole number", "vlan: 30");
    one(&with("linux:isp2\"", "linux:isp1\", vlan: []"), "5:37", "`vlan` must be a whole number", "vlan: 30");
    let tagged = with("linux:isp1\"", "linux:isp1\", vlan: 7");
    one(
        &tagged.replace("linux:isp2\"", "linux:isp1\", vlan: 7"),
        "5:37",
        "VLAN 7 of the port `linux:isp1` is already that of `isp1`",
        "see line 4",
    );
    good(&tagged.replace("linux:isp2\"", "linux:isp1\", vlan: 8"));
    good(&tagged.replace("linux:isp2\"", "linux:isp1\""));
}

#[test]
fn a_mac_is_that_of_one_station_and_one_port() {
    let mac = |mac: &str| with("linux:isp2\"", &format!("linux:isp2\", mac: {mac}"));
    one(&mac("\"02:00:00:00:00\""), "5:36", "`mac` is not a MAC address", "six pairs");
    one(&mac("[]"), "5:36", "`mac` must be a MAC address", "mac: \"");
    for group in ["\"01:00:5e:00:00:01\"", "\"ff:ff:ff:ff:ff:ff\"", "\"00:00:00:00:00:00\""] {
        one(&mac(group), "5:36", "no address of one station", "first byte");
    }
    let twice =
        mac("\"02:00:00:00:00:01\"").replace("linux:isp1\"", "linux:isp1\", mac: \"02:00:00:00:00:01\"");
    one(&twice, "5:36", "the mac 02:00:00:00:00:01 is already that of `isp1`", "see line 4");
    let one_port = twice.replace("linux:isp2\"", "linux:isp1\", vlan: 7");
    good(&one_port);
}

#[test]
fn a_wan_whose_wire_has_the_inside_as_well_is_two_interfaces() {
    let profile = good(ARM);
    let [wan, half] = &profile.interfaces[..] else { panic!("{:?}", profile.interfaces) };
    assert_eq!((wan.name.as_str(), half.name.as_str()), ("dmz", "dmz-inside"));
    assert_eq!((wan.addresses[0].to_string(), wan.addresses.len()), ("192.168.50.10/24".into(), 1));
    assert_eq!((half.addresses[0].to_string(), half.addresses.len()), ("10.1.0.1/24".into(), 1));
    assert_eq!((&half.port, half.gateway, half.arm, wan.arm), (&wan.port, None, Some(0), None));
    assert_eq!(profile.wans.len(), 1);
    // Rules know it by its name; hosts behind it are inside ones.
    let rules = "forwards: [{ port: 80, protocol: [tcp], to: \"10.1.0.5:80\" }]
firewall: [{ in: dmz-inside, to: self, action: drop }, { in: dmz, to: self, action: drop }]
";
    let rules = good(&format!("{ARM}{rules}"));
    assert_eq!(rules.firewall.iter().map(|rule| rule.when.interface).collect::<Vec<_>>(), [Some(1), Some(0)]);
    // The same on a VLAN.
    let tagged = good(&ARM.replace("dmz0\"", "dmz0\", vlan: 50, mac: \"02:00:00:00:00:07\", mtu: 1400"));
    let [wan, half] = &tagged.interfaces[..] else { panic!() };
    assert_eq!((half.vlan, half.mac, half.mtu), (wan.vlan, wan.mac, wan.mtu));
    assert_eq!(half.vlan, Some(50));
}

#[test]
fn hosts_behind_a_router_on_that_wire_are_inside_too() {
    let routed = |routes: &str| format!("{ARM}routes: [{routes}]\n");
    for via in ["192.168.50.2", "10.1.0.2", "192.168.50.1"] {
        let profile = good(&routed(&format!("{{ to: 10.1.64.0/18, via: {via} }}")));
        assert_eq!(profile.routes[0].interface, 1);
    }
    // Without an address of its own inside.
    let text = routed("{ to: 10.1.0.0/16, via: 192.168.50.2 }").replace(", 10.1.0.1/24", "");
    let profile = good(&text);
    assert_eq!(
        (profile.interfaces[1].name.as_str(), profile.interfaces[1].addresses.len()),
        ("dmz-inside", 0)
    );
    let out = |to: &str, via: &str| {
        routed(&format!("{{ to: 10.1.64.0/18, via: 10.1.0.2 }}, {{ to: {to}, via: {via} }}"))
    };
    let not_inside = "10.9.0.0/16 is on the wire of a WAN, but not in `nat.inside`";
    one(&out("10.9.0.0/16", "192.168.50.2"), "6:53", not_inside, "name it there");
    one(&out("10.9.0.0/16", "10.1.0.2"), "6:53", not_inside, "name it there");
    let own = "`via` 192.168.50.10 is the address of `dmz-inside` itself";
    one(&out("10.1.192.0/18", "192.168.50.10"), "6:73", own, "another router");
    one(&out("10.1.192.0/18", "192.168.50.255"), "6:73", "the broadcast address", "another router");
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    // Nothing says who is inside.
    let text = ARM.replace("nat: { inside: [10.1.0.0/16] }", "nat: { hairpin: true }");
    assert_eq!(said(&text), ["2:1: no interface is inside: all of them are WANs"]);
    // One network for both.
    let text = ARM.replace("10.1.0.0/16", "192.168.50.128/25");
    let both = "5:17: `inside` 192.168.50.128/25 overlaps 192.168.50.0/24 of WAN `dmz`";
    assert_eq!(said(&text), ["2:1: no interface is inside: all of them are WANs", both]);
    let text = ARM.replace("10.1.0.1/24", "192.168.50.140/25").replace("10.1.0.0/16", "192.168.50.128/25");
    assert_eq!(said(&text).len(), 2, "{:?}", said(&text));
    // The gateway's network is the WAN's, whatever `inside` says of it.
    let text = ARM.replace("10.1.0.0/16", "10.1.0.0/16, 192.168.0.0/16");
    one(&text, "5:30", "`inside` 192.168.0.0/16 overlaps 192.168.50.0/24 of WAN `dmz`", "only networks");
    // The name of the inside half is taken, or too long.
    let text = ARM.replace("wans:", "  dmz-inside: { port: \"linux:x\", addresses: [10.2.0.1/24] }\nwans:");
    assert_eq!(said(&text), ["4:3: the inside half of `dmz` is called `dmz-inside`, too"]);
    let long = "d".repeat(26);
    let text = ARM.replace("dmz:", &format!("{long}:")).replace("[dmz]", &format!("[{long}]"));
    one(&text, "3:3", "is too long a name for one that serves both sides", "32 characters");
    // A WAN of its own is left as it is.
    assert_eq!(good(&and("nat: { inside: [192.168.10.0/24] }")).interfaces.len(), 3);
}
