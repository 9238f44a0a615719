//! Real programs and real stacks through the router: HTTP and FTP by curl, services inside that are reached from outside, inside hosts that
//! reach each other by the public address, a host with an address of its own, TCP in bulk over a line with a small MTU.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use netns::servers::{ask_who, ftp, http, tcp_server, who};
use netns::{Site, eventually, raw_socket, usual};
use nix::sys::socket::{LinkAddr, recvfrom};
use turnout::demo::lab::{INTERNET, ISP_PORT, LAN1, LAN2, WAN1, WAN2};

/// What curl got of a URL, in a host.
fn curl(site: &Site, host: &str, args: &[&str]) -> Vec<u8> {
    let mut command = site.host(host).command("curl");
    let file = site.lab.dir().join("page");
    command.args(["--silent", "--show-error", "--max-time", "8", "--output"]).arg(&file).args(args);
    let out = netns::output_within(command, Duration::from_secs(10));
    assert!(out.status.success(), "{args:?}: {}", netns::stderr(&out));
    std::fs::read(file).unwrap()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 8).to_be_bytes()).take(length).collect()
}

#[test]
fn pages_and_files_arrive_whole_by_curl_over_http_and_both_kinds_of_passive_ftp() {
    let curls = std::process::Command::new("curl").arg("--version").output().is_ok();
    if !curls {
        return netns::skipped("no curl");
    }
    let Some(site) = Site::start(&usual()) else { return };
    let page = bytes(3 << 20);
    let _http = http(site.host("inet"), INTERNET[0], 80, page.clone());
    let _ftp = ftp(site.host("inet"), INTERNET[1], 21, page.clone());
    for host in ["lan1", "lan2"] {
        assert!(curl(&site, host, &["http://9.9.9.9/page"]) == page, "{host}: another page");
        assert!(curl(&site, host, &["ftp://1.1.1.1/file"]) == page, "{host}: another file, EPSV");
        assert!(curl(&site, host, &["--disable-epsv", "ftp://1.1.1.1/file"]) == page, "{host}: PASV");
    }
}

const STATICS: &str =
    "forwards: [{ wans: [isp1, isp2], protocol: [tcp], port: 8443, to: \"192.168.10.11:443\" }]
one_to_one: [{ wan: isp1, outside: 203.0.113.4, inside: 192.168.10.10 }]
firewall: [{ in: isp1, to: 192.168.10.10, protocol: [tcp], port: 25, action: accept }]
";

#[test]
fn services_inside_are_reached_from_outside_and_rfc4787_9_and_rfc4787_9a_by_the_public_address_from_inside() {
    let Some(site) = Site::start(&(usual() + STATICS)) else { return };
    let _web = who(site.host("lan2"), LAN2, 443);
    let _mail = who(site.host("lan1"), LAN1, 25);
    let _hidden = who(site.host("lan1"), LAN1, 26);
    let _outside = who(site.host("inet"), INTERNET[0], 80);
    let comes_from = |told: &Option<String>, ip: Ipv4Addr| {
        told.as_ref().is_some_and(|told| told.starts_with(&format!("{ip}:")))
    };
    // By both WANs, whichever carries: the answer is accepted by a client that asked that address.
    for (wan, client) in [(WAN1, [10, 255, 1, 2]), (WAN2, [10, 255, 2, 2]), (WAN1, [10, 255, 1, 2])] {
        let told = ask_who(site.host("inet"), SocketAddrV4::new(wan, 8443));
        assert!(comes_from(&told, client.into()), "{wan}: {told:?}");
    }
    // A host with an address of its own, out and in, and what the firewall does not name stays closed.
    let own = Ipv4Addr::new(203, 0, 113, 4);
    let told = ask_who(site.host("lan1"), SocketAddrV4::new(INTERNET[0], 80));
    assert!(comes_from(&told, own), "{told:?}");
    let told = ask_who(site.host("lan2"), SocketAddrV4::new(INTERNET[0], 80));
    assert!(comes_from(&told, WAN1), "{told:?}");
    assert!(ask_who(site.host("inet"), SocketAddrV4::new(own, 25)).is_some());
    // Inside by the public address: the server sees the client's public one.
    let told = ask_who(site.host("lan1"), SocketAddrV4::new(WAN1, 8443));
    assert!(comes_from(&told, own), "{told:?}");
    let told = ask_who(site.host("lan2"), SocketAddrV4::new(own, 25));
    assert!(comes_from(&told, WAN1), "{told:?}");
    assert_eq!(ask_who(site.host("inet"), SocketAddrV4::new(own, 26)), None);
    // By the second WAN when the first is gone.
    site.lab.link_down("isp1").unwrap();
    assert!(eventually(Duration::from_secs(3), || ask_who(site.host("inet"), SocketAddrV4::new(WAN2, 8443))
        .is_some()));
}

/// The MSS that a frame announces, if it is a TCP SYN, or its answer, from this address.
fn mss_of_syn(frame: &[u8], from: Ipv4Addr) -> Option<u16> {
    let ip =
        frame.get(14..).filter(|ip| ip.get(9) == Some(&6) && ip.get(12..16) == Some(&from.octets()[..]))?;
    let tcp = ip.get(usize::from(ip[0] & 15) * 4..)?;
    let (flags, mut options) = (*tcp.get(13)?, tcp.get(20..usize::from(tcp.get(12)? >> 4) * 4)?);
    if flags & 2 == 0 {
        return None;
    }
    loop {
        match *options {
            [2, 4, a, b, ..] => return Some(u16::from_be_bytes([a, b])),
            [1, ..] => options = &options[1..],
            [0, ..] | [_] | [] => return None,
            [_, length, ..] => options = options.get(usize::from(length).max(2)..)?,
        }
    }
}

#[test]
fn bulk_tcp_passes_a_line_of_1400_bytes_whose_syns_say_so() {
    let profile = usual().replace("gateway: 203.0.113.1", "gateway: 203.0.113.1, mtu: 1400");
    assert!(profile.contains("mtu: 1400"));
    let Some(site) = Site::start(&profile) else { return };
    // What is longer the line loses, and nobody is told.
    site.host("isp1").ip(&format!("link set {ISP_PORT} mtu 1400\n")).unwrap();
    let up = tcp_server(site.host("inet"), INTERNET[0], 5201, |mut stream, _| {
        let mut sum = [0u8; 8];
        let mut total = 0u64;
        let mut some = vec![0u8; 65536];
        while let Ok(n @ 1..) = stream.read(&mut some) {
            total += n as u64;
            sum = total.to_be_bytes();
        }
        let _ = stream.write_all(&sum);
    });
    let content = bytes(8 << 20);
    let _down = {
        let content = content.clone();
        tcp_server(site.host("inet"), INTERNET[0], 5202, move |mut stream, _| {
            drop(stream.write_all(&content))
        })
    };
    let (fd, _) = raw_socket(site.host("isp1"), ISP_PORT);

    let began = Instant::now();
    let sent = content.clone();
    let arrived = site.host("lan1").run(move || {
        let mut stream =
            TcpStream::connect_timeout(&SocketAddrV4::new(INTERNET[0], 5201).into(), Duration::from_secs(3))
                .unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(&sent).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut sum = [0u8; 8];
        stream.read_exact(&mut sum).unwrap();
        u64::from_be_bytes(sum)
    });
    assert_eq!(arrived.unwrap(), content.len() as u64);
    let took_up = began.elapsed();
    let (mut syns, mut answers, mut longest) = (Vec::new(), Vec::new(), 0);
    let mut frame = vec![0u8; 65536];
    // In between as well: a socket's room is bounded.
    let mut look = || {
        while let Ok((length, _)) = recvfrom::<LinkAddr>(fd.as_raw_fd(), &mut frame) {
            syns.extend(mss_of_syn(&frame[..length], WAN1));
            answers.extend(mss_of_syn(&frame[..length], INTERNET[0]));
            longest = longest.max(length);
        }
    };
    look();
    let began = Instant::now();
    let got = site.host("lan2").run(|| {
        let mut stream =
            TcpStream::connect_timeout(&SocketAddrV4::new(INTERNET[0], 5202).into(), Duration::from_secs(3))
                .unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    });
    assert!(got.unwrap() == content, "another content");
    println!("8 MiB up in {took_up:?}, down in {:?}", began.elapsed());
    drop(up);

    look();
    assert_eq!((syns.len(), answers.len()), (2, 2));
    assert!(syns.iter().all(|mss| *mss == 1360), "{syns:?}");
    assert!(longest <= 1414, "{longest}");
    assert!(site.json(&["counters"])["mss_clamped"].as_u64().unwrap() >= 4);
}
