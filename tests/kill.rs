//! `sessions kill`: what matches ends on all workers, is told inside, and leaves nothing behind; the rest does not notice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use serde_json::Value;
use turnout::manage::protocol::SessionFilter;

fn kill(site: &mut Site, filter: SessionFilter, all: bool) -> Result<Value, String> {
    site.ask(Request::Kill { filter, all })
}

fn killed(site: &mut Site, filter: SessionFilter) -> u64 {
    kill(site, filter, false).unwrap()["killed"].as_u64().unwrap()
}

fn audit(site: &mut Site) {
    site.lcores().iter().for_each(|lcore| lcore.router.nat.audit().unwrap());
}

/// The resets that went inside since: from whom, to whom, with which number.
fn resets(site: &mut Site) -> Vec<(End, End, u32)> {
    let out = site.take_all();
    let seen = out.iter().filter(|(link, _)| link == "lan").filter_map(|(_, frame)| Seen::read(frame));
    let reset = |seen: Seen| {
        let tcp = seen.tcp().filter(|tcp| tcp.flags.rst())?;
        Some((seen.src(), seen.dst(), tcp.seq))
    };
    seen.filter_map(reset).collect()
}

#[test]
fn a_host_is_cut_off_and_told_and_the_other_one_goes_on() {
    for (workers, queue) in SHAPES {
        let mut site = site(workers);
        meet(&mut site);
        site.use_queue(queue);
        let (_, x) = connect(&mut site, (H1, 6000), (E1, 80));
        udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        udp_out(&mut site, (H1, 5000), (E2, 80)).unwrap();
        // One that nobody has answered yet is told nothing: its SYN comes again.
        tcp_out(&mut site, (H1, 6001), (E1, 80), SYN, 1000, 0).unwrap();
        let (_, kept) = connect(&mut site, (H2, 6000), (E1, 80));
        assert_eq!(killed(&mut site, SessionFilter { inside: Some(H1), ..Default::default() }), 4);
        assert_eq!(resets(&mut site), [((E1, 80), (H1, 6000), 9001)], "which its host accepts");
        audit(&mut site);
        assert_eq!(live(&mut site), 1);
        assert_eq!(site.moved("mappings_removed"), 3);
        assert_eq!(tcp_in(&mut site, "isp1", (E1, 80), kept, ACK).unwrap().dst(), (H2, 6000));
        // From outside nobody gets in any more; what inside sends begins anew, or is reset.
        assert!(tcp_in(&mut site, "isp1", (E1, 80), x, ACK).is_none());
        let (link, reset) = tcp_out(&mut site, (H1, 6000), (E1, 80), ACK, 1001, 9001).unwrap();
        assert_eq!((link.as_str(), reset.tcp().unwrap().flags.rst()), ("lan", true));
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp1");
        let event = site.events("sessions_killed").pop().unwrap();
        assert_eq!((&event["killed"], &event["filter"]["inside"]), (&4.into(), &H1.to_string().into()));
        let more = ["sessions_killed", "tcp_resets_sent", "drop_nat_no_mapping", "drop_nat_tcp_midstream"];
        site.finish(&and(&[&OPENED, &more])).unwrap();
    }
}

#[test]
fn every_field_of_the_filter_counts_and_a_port_rests_as_after_any_end() {
    let mut site = site(2);
    meet(&mut site);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    connect(&mut site, (H1, 6000), (E1, 80));
    site.ask(Request::Wan { name: "isp1".into(), admin: Admin::Drain, force: false }).unwrap();
    udp_out(&mut site, (H1, 5001), (E1, 80)).unwrap();
    udp_out(&mut site, (H2, 5001), (E1, 80)).unwrap();
    let by = |inside: Option<_>, outside: Option<_>, wan: &str, protocol: &str| SessionFilter {
        inside,
        outside,
        wan: Some(wan.into()),
        protocol: Some(protocol.into()),
        limit: None,
    };
    assert_eq!(killed(&mut site, by(Some(H1), Some(P2), "isp1", "udp")), 0);
    assert_eq!(killed(&mut site, by(Some(H2), Some(P1), "isp1", "udp")), 0);
    assert_eq!(killed(&mut site, by(Some(H1), Some(P1), "isp1", "icmp")), 0);
    assert_eq!(killed(&mut site, by(Some(H1), Some(P1), "isp1", "udp")), 1);
    // Its port is not given out again at once, whatever is drawn.
    site.ask(Request::Wan { name: "isp1".into(), admin: Admin::Auto, force: false }).unwrap();
    for port in 10_000..10_200 {
        assert_ne!(udp_out(&mut site, (H1, port), (E1, 80)).unwrap().1, x);
    }
    let none = kill(&mut site, SessionFilter::default(), false).unwrap_err();
    assert!(none.contains("--all"), "{none}");
    let odd = kill(&mut site, SessionFilter { wan: Some("isp9".into()), ..Default::default() }, false);
    assert!(odd.unwrap_err().contains("isp1, isp2"));
    let odd = kill(&mut site, SessionFilter { protocol: Some("x".into()), ..Default::default() }, false);
    assert!(odd.unwrap_err().contains("no protocol"));
    assert_eq!(kill(&mut site, SessionFilter::default(), true).unwrap()["killed"], 203);
    assert_eq!((live(&mut site), resets(&mut site).len()), (0, 1));
    for lcore in site.lcores() {
        assert_eq!(lcore.router.nat.leftover(), [0; 8]);
    }
    site.finish(&and(&[&OPENED, &["sessions_killed", "tcp_resets_sent"]])).unwrap();
}

#[test]
fn thousands_end_a_few_a_turn_and_a_flow_meanwhile_goes_on() {
    let mut site = Site::new(&unlimited(8192, ""), 1).unwrap();
    meet(&mut site);
    for port in 0..3000 {
        connect(&mut site, (H1, 10_000 + port), (E1, 80));
    }
    let (link, x) = udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap();
    let filter = SessionFilter { protocol: Some("tcp".into()), ..Default::default() };
    let turnout::manage::Answer::Slowly(answer) = site.question(Request::Kill { filter, all: false }) else {
        panic!("not under way")
    };
    let mut told = resets(&mut site).len();
    let mut most = told;
    for _ in 0..2000 {
        if let Ok(said) = answer.try_recv() {
            assert_eq!(said["killed"], 3000);
            assert_eq!((told, live(&mut site)), (3000, 1));
            assert!(most > 0 && most <= 32 * 9, "{most} in a round");
            audit(&mut site);
            return site.finish(&and(&[&OPENED, &["sessions_killed", "tcp_resets_sent"]])).unwrap();
        }
        let seen = site.send("lan", &Packet::udp((H2, 5000), (E1, 80), b"x"));
        assert!(seen.iter().any(|(out, seen)| *out == link && seen.src() == x));
        let rst = |seen: &Seen| seen.tcp().is_some_and(|tcp| tcp.flags.rst());
        let now = seen.iter().filter(|(link, seen)| link == "lan" && rst(seen)).count();
        (told, most) = (told + now, most.max(now));
    }
    panic!("never over: {told}");
}
