//! First light on the virtual clock.
use std::net::Ipv4Addr;
use turnout::sim::{DUAL_WAN, Packet, Site};

const H: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 10);
const E: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);

#[test]
fn udp_goes_out_and_back_and_moves() {
    for workers in [1, 2] {
        let mut site = Site::new(DUAL_WAN, workers).unwrap();
        let (link, out) = site.pass("lan", &Packet::udp((H, 5000), (E, 53), b"hello")).unwrap();
        assert_eq!(link, "isp1");
        let (link, back) = site.pass("isp1", &Packet::udp((E, 53), out.src(), b"answer")).unwrap();
        assert_eq!((link.as_str(), back.dst()), ("lan", (H, 5000)));
        site.set_link("isp1", false);
        let (link, out) = site.pass("lan", &Packet::udp((H, 5000), (E, 53), b"again")).unwrap();
        assert_eq!(link, "isp2");
        assert_eq!(out.ip.src, Ipv4Addr::new(198, 51, 100, 2));
        site.finish(&["sessions_created", "mappings_created", "mappings_moved", "sessions_moved"]).unwrap();
    }
}
