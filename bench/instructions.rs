//! What `ci/instructions` counts: so many bursts of one kind through a worker's turn, without DPDK, clock or chance.
//!
//! `instructions KIND`: sessions are opened, then `measured` is called, and callgrind counts what happens inside it. It prints how
//! many packets that were. Kinds: `up`, `down`, `tcp`, `setup`, `told` (the same, by a member whose partner is told of
//! each flow), `handshake` (the first three segments of connections), `whole` (connections of 42 segments, and their end), `whole_told`
//! (the same, by a member whose partner is told), `idle` (turns without a packet).

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;

use turnout::base::{Generation, IfaceId, Ipv4Net, Mac, Nanos, WanId, WorkerId};
use turnout::engine::copies::CopyRings;
use turnout::engine::steer::Steer;
use turnout::engine::{BURST, Lcore, Ports, connect, copies, hand_overs};
use turnout::nat::rules::{FILTERING, Rate};
use turnout::nat::{Addresses, Nat, NatConfig, Rules, Timeouts, Uplinks};
use turnout::packet::{PacketBuf, VecBuf};
use turnout::path::{Clamp, IcmpPolicy, Iface, Places, Router, View, WanLink};
use turnout::table::hash::HashKey;
use turnout::table::neighbors::Neighbors;
use turnout::table::routes::{Route, Routes};
use turnout::wire::eth::{Eth, ethertype};
use turnout::wire::ipv4::Ipv4;
use turnout::wire::{be16, be32, protocol, put16};

const LAN: IfaceId = IfaceId(0);
const WAN: IfaceId = IfaceId(1);
const ROUTER: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 10);
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const BURSTS: usize = 64;

/// Ports that are lists.
#[derive(Default)]
struct Lists {
    ready: [VecDeque<VecBuf>; 2],
    sent: [Vec<VecBuf>; 2],
}

impl Ports for Lists {
    type Buf = VecBuf;
    fn receive(&mut self, iface: IfaceId, into: &mut Vec<VecBuf>) {
        let ready = &mut self.ready[iface.index()];
        into.extend(std::iter::from_fn(|| ready.pop_front()).take(BURST));
    }
    fn send(&mut self, iface: IfaceId, from: &mut Vec<VecBuf>) {
        self.sent[iface.index()].append(from);
    }
    fn alloc(&mut self) -> Option<VecBuf> {
        None
    }
}

fn view() -> Option<Arc<View>> {
    let iface = |at: usize, ip, len, wan| {
        let addresses = vec![Ipv4Net::new(ip, len)?];
        Some(Iface {
            name: at.to_string(),
            mac: ROUTER[at],
            station: ROUTER[at],
            former: ROUTER[at],
            floating: None,
            mute: false,
            mtu: 1500,
            up: true,
            addresses,
            wan,
            silent: Addresses::default(),
            arm: None,
        })
    };
    let lan = iface(0, Ipv4Addr::new(192, 168, 10, 1), 24, None)?;
    let net = lan.addresses[0];
    let view = View {
        generation: Generation(0),
        ifaces: vec![lan, iface(1, OUTSIDE, 29, Some(WanId(0)))?],
        wans: vec![WanLink { iface: WAN, gateway: GATEWAY, hops: Vec::new() }],
        uplinks: Uplinks::well([Addresses::one(OUTSIDE)], Some(WanId(0))),
        routes: Routes::new(vec![Route { net, iface: LAN, via: None }]),
        // One host opens all flows at one moment.
        rules: Arc::new(Rules { creation_rate: Rate::per_second(u32::MAX), ..Rules::default() }),
        internal: false,
        clamp: Clamp::default(),
        clamping: false,
        icmp: IcmpPolicy { errors_per_second: 1000, time_exceeded: true },
        places: Places::default(),
        lent: Arc::default(),
        probing: Arc::default(),
        standby: false,
        through: None,
        partner: None,
    };
    Some(Arc::new(view.indexed()))
}

/// A frame of flow `n`. `flags`: TCP's, or none for UDP.
fn frame(
    iface: IfaceId,
    (src, src_port): (Ipv4Addr, u16),
    (dst, dst_port): (Ipv4Addr, u16),
    flags: Option<u8>,
) -> VecBuf {
    let mut bytes = [0; 60];
    Eth { dst: ROUTER[iface.index()], src: PEER, ethertype: ethertype::IPV4 }.emit(&mut bytes);
    let protocol = if flags.is_some() { protocol::TCP } else { protocol::UDP };
    let ip = Ipv4 {
        header_len: 20,
        tos: 0,
        total_len: 46,
        id: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        src,
        dst,
    };
    ip.emit(&mut bytes[14..]);
    let l4 = &mut bytes[34..];
    put16(l4, 0, src_port);
    put16(l4, 2, dst_port);
    match flags {
        Some(flags) => (l4[12], l4[13]) = (5 << 4, flags),
        None => put16(l4, 4, 26),
    }
    VecBuf::new(&bytes)
}

struct Bed {
    lcore: Lcore<VecBuf>,
    rings: CopyRings,
    lists: Lists,
    now: Nanos,
}

impl Bed {
    fn new(told: bool) -> Option<Bed> {
        let view = view()?;
        let s = Nanos::from_s;
        let timeouts = Timeouts::new(s(7440), s(240), s(300), &[(53, s(10)), (123, s(30))], s(60), s(600));
        let filtering = FILTERING;
        let config = NatConfig {
            sessions: 1 << 16,
            timeouts,
            wans: vec![1],
            filtering,
            quarantine: Default::default(),
            reserved: vec![],
            paired: told,
            reserve: false,
            seed: 7,
        };
        let nat = Nat::new(&config, &|_: u16| true);
        let key = HashKey::draw(&mut <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(7));
        let router = Router::new(nat, Neighbors::new(16, key), &view);
        let (_, end) = connect(2, 1, 0);
        let hand_over = hand_overs(1).pop()?;
        let mut lcore = Lcore::new(WorkerId(0), Steer::new(1), view.clone(), router, end, hand_over);
        let (rings, end) = copies::connect();
        lcore.set_copies(end);
        if told {
            lcore.router.nat.tell_all(1);
        }
        lcore.router.learn(&view, LAN, HOST, PEER);
        lcore.router.learn(&view, WAN, GATEWAY, PEER);
        Some(Bed { lcore, rings, lists: Lists::default(), now: s(1_000_000) })
    }

    fn turns(&mut self) {
        for _ in 0..BURSTS {
            self.lcore.turn(&mut self.lists, self.now);
        }
    }

    #[inline(never)]
    fn measured(&mut self, bursts: usize) {
        for _ in 0..bursts {
            self.lcore.turn(&mut self.lists, self.now);
        }
    }

    /// What came out by an interface since the last time. What the partner is told has been read.
    fn taken(&mut self, iface: IfaceId) -> Vec<VecBuf> {
        while self.rings.changes.pop().is_ok() {}
        std::mem::take(&mut self.lists.sent[iface.index()])
    }

    fn put(&mut self, iface: IfaceId, frames: impl Iterator<Item = VecBuf>) {
        self.lists.ready[iface.index()].extend(frames);
        // Room for all that comes out: the measurement is not about growing lists.
        self.lists.sent[1 - iface.index()].reserve(BURST * BURSTS);
    }
}

/// Whole connections: three segments of handshake, 36 of data, both FINs, the last acknowledgement; then their timers run out.
fn whole(mut bed: Bed) -> Option<usize> {
    let flows = BURST * BURSTS;
    let data = (0..18).flat_map(|_| [(LAN, 0x10), (WAN, 0x10)]);
    let segments = [(LAN, 0x02), (WAN, 0x12), (LAN, 0x10)].into_iter().chain(data);
    let (mut outside, mut count) = (Vec::new(), 0);
    for (iface, bits) in segments.chain([(LAN, 0x11), (WAN, 0x11), (LAN, 0x10)]) {
        let up = |n: usize| frame(LAN, (HOST, 20_000 + n as u16), (REMOTE, 4000), Some(bits));
        let back = |to: &(Ipv4Addr, u16)| frame(WAN, (REMOTE, 4000), *to, Some(bits));
        if iface == LAN {
            bed.put(LAN, (0..flows).map(up));
        } else {
            bed.put(WAN, outside.iter().map(back));
        }
        bed.measured(BURSTS);
        let out = bed.taken(if iface == LAN { WAN } else { LAN });
        count += out.len();
        if bits == 0x02 {
            let end = |buf: &VecBuf| (Ipv4Addr::from_bits(be32(buf.bytes(), 26)), be16(buf.bytes(), 34));
            outside = out.iter().map(end).collect();
        }
    }
    bed.now += Nanos::from_s(241);
    while bed.lcore.router.nat.live() > 0 {
        bed.now += Nanos::from_ms(1);
        bed.measured(1);
    }
    bed.taken(LAN);
    (count == 42 * flows).then_some(count)
}

fn run(kind: &str) -> Option<usize> {
    let (told, kind) = match kind {
        "told" => (true, "setup"),
        "whole_told" => (true, "whole"),
        _ => (false, kind),
    };
    let mut bed = Bed::new(told)?;
    if kind == "whole" {
        return whole(bed);
    }
    let flows = BURST * BURSTS;
    let handshake = kind == "handshake";
    let tcp = handshake || kind == "tcp";
    let flags = |bits: u8| tcp.then_some(bits);
    let up = |n: usize, bits| frame(LAN, (HOST, 20_000 + n as u16), (REMOTE, 4000), flags(bits));
    let back = |buf: &VecBuf, bits| {
        let (to, port) = (Ipv4Addr::from_bits(be32(buf.bytes(), 26)), be16(buf.bytes(), 34));
        frame(WAN, (REMOTE, 4000), (to, port), flags(bits))
    };
    if kind == "idle" {
        bed.measured(BURSTS);
        return Some(BURSTS);
    }
    if handshake {
        bed.put(LAN, (0..flows).map(|n| up(n, 0x02)));
        bed.measured(BURSTS);
        let opened = bed.taken(WAN);
        bed.put(WAN, opened.iter().map(|buf| back(buf, 0x12)));
        bed.measured(BURSTS);
        bed.put(LAN, (0..flows).map(|n| up(n, 0x10)));
        bed.measured(BURSTS);
        let came = [opened.len(), bed.taken(LAN).len(), bed.taken(WAN).len()];
        return (came == [flows; 3]).then_some(3 * flows);
    }
    if kind != "setup" {
        bed.put(LAN, (0..flows).map(|n| up(n, 0x02)));
        bed.turns();
        let opened = bed.taken(WAN);
        // The first answer takes the long way, as the first packet did.
        for _ in 0..2 {
            bed.put(WAN, opened.iter().map(|buf| back(buf, 0x12)));
            bed.turns();
        }
        if kind == "down" {
            bed.put(WAN, opened.iter().map(|buf| back(buf, 0x10)));
        }
    }
    if kind != "down" {
        bed.put(LAN, (0..flows).map(|n| up(n, 0x10)));
    }
    let (out, before) = (if kind == "down" { LAN } else { WAN }, bed.lists.sent[0].len());
    bed.measured(BURSTS);
    let came = bed.taken(out).len() - if kind == "down" { before } else { 0 };
    (came == flows).then_some(flows)
}

fn main() -> ExitCode {
    let kind = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    match run(&kind) {
        Some(packets) => {
            println!("{packets}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("instructions: `{kind}` did not come through");
            ExitCode::FAILURE
        }
    }
}
