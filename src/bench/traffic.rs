//! The traffic of a measurement: a LAN behind one WAN, sessions of UDP from hosts with 63 ports each, in mbufs.

use std::net::Ipv4Addr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::nat::{Direction, Order};
use super::reference::{Endpoint, Entry};
use crate::base::{Generation, IfaceId, Ipv4Net, Mac, WanId, WorkerId};
use crate::dpdk::{Mbuf, Pool, tsc};
use crate::engine::steer::Steer;
use crate::engine::{BURST, Ports};
use crate::nat::{Addresses, Uplinks};
use crate::packet::{BufPool, PacketBuf};
use crate::path::{Clamp, IcmpPolicy, Iface, Places, View, WanLink};
use crate::table::routes::{Route, Routes};
use crate::wire::eth::{self, Eth, ethertype};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{protocol, put16};

/// Ports that each host uses, as in FD.io CSIT's NAT44 tests.
const PORTS_PER_HOST: u32 = 63;
pub(super) const LAN: IfaceId = IfaceId(0);
pub(super) const WAN: IfaceId = IfaceId(1);
/// A LAN and up to two WANs
pub(super) const IFACES: usize = 3;
/// What the hosts are behind, as in FD.io CSIT's tests
pub(super) const SWITCH: Ipv4Addr = Ipv4Addr::new(192, 168, 255, 2);
pub(super) const GATEWAY: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(198, 51, 100, 1)];
const ROUTER_MAC: [Mac; IFACES] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 3])];
pub(super) const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// A flow: its inside endpoint, its remote, and what the router made of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) host: Ipv4Addr,
    port: u16,
    remote: Ipv4Addr,
    /// What the router put in the place of the host's endpoint
    pub(super) outside: Endpoint,
}

impl Flow {
    /// As the reference loop is told of it.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            protocol: protocol::UDP,
            inside: (self.host, self.port),
            outside: self.outside,
            remote: (self.remote, REMOTE_PORT),
            up: (PEER_MAC, ROUTER_MAC[WAN.index()]),
            down: (PEER_MAC, ROUTER_MAC[LAN.index()]),
        }
    }
}

const REMOTE_PORT: u16 = 4000;
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const FRESH_REMOTE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// Sessions for each address of a WAN: half of its ports, so that a draw finds what a site finds.
const SESSIONS_PER_ADDRESS: u32 = 32_256;

/// How many addresses a WAN has for so many sessions.
pub(super) fn addresses(sessions: u32) -> usize {
    sessions.div_ceil(SESSIONS_PER_ADDRESS).max(1) as usize
}

const OUTSIDE: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 2), Ipv4Addr::new(198, 51, 100, 2)];

/// The view of the measurement: a LAN with all hosts behind a switch, and one WAN or two, with addresses for so many
/// sessions, the first of which carries.
pub(super) fn view(wans: usize, sessions: u32) -> Option<Arc<View>> {
    let lan = Ipv4Net::new(Ipv4Addr::new(192, 168, 255, 1), 24)?;
    let hosts = Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), 8)?;
    let iface = |at: usize, net, wan| Iface {
        name: ["lan", "isp1", "isp2"][at].into(),
        mac: ROUTER_MAC[at],
        station: ROUTER_MAC[at],
        former: ROUTER_MAC[at],
        floating: None,
        mute: false,
        mtu: 1500,
        up: true,
        addresses: vec![net],
        wan,
        silent: Addresses::default(),
        arm: None,
    };
    let mut ifaces = vec![iface(0, lan, None)];
    for (wan, outside) in OUTSIDE.iter().enumerate().take(wans) {
        ifaces.push(iface(wan + 1, Ipv4Net::new(*outside, 29)?, Some(WanId(wan as u8))));
    }
    let pool = |wan: usize| {
        let more = (0xc612_8000 + ((wan as u32) << 16)..).map(Ipv4Addr::from_bits);
        let all = std::iter::once(OUTSIDE[wan]).chain(more).take(addresses(sessions));
        Addresses::new(all.map(|ip| (ip, ip)))
    };
    let view = View {
        generation: Generation(0),
        ifaces,
        wans: (0..wans)
            .map(|wan| WanLink { iface: IfaceId(wan as u8 + 1), gateway: GATEWAY[wan], hops: Vec::new() })
            .collect(),
        uplinks: Uplinks::well((0..wans).map(pool), Some(WanId(0))),
        routes: Routes::new(vec![
            Route { net: lan, iface: LAN, via: None },
            Route { net: hosts, iface: LAN, via: Some(SWITCH) },
        ]),
        rules: Arc::default(),
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

/// The flows of one worker: hosts that it owns, with 63 endpoints each and one remote.
pub(super) fn flows(sessions: u32, steer: Steer, worker: WorkerId) -> Vec<Flow> {
    let hosts = (0x0a00_0100u32..).map(Ipv4Addr::from_bits).filter(|h| steer.host(*h) == worker);
    let all = hosts.flat_map(|host| (0..PORTS_PER_HOST).map(move |p| (host, 10_000 + p as u16)));
    let flow = |(host, port)| Flow { host, port, remote: REMOTE, outside: (OUTSIDE[0], 0) };
    all.take(sessions as usize).map(flow).collect()
}

/// The `n`th of the flows that are opened beside those, by hosts of their own with 63 endpoints each; to another remote.
pub(super) fn fresh(n: u32) -> Flow {
    let (host, port) = (0x0a80_0000 + n / PORTS_PER_HOST, 10_000 + (n % PORTS_PER_HOST) as u16);
    Flow { host: host.into(), port, remote: FRESH_REMOTE, outside: (OUTSIDE[0], 0) }
}

/// Whether a frame that leaves by a WAN is of such a flow.
pub(super) fn is_fresh(frame: &[u8]) -> bool {
    frame.get(30..34) == Some(FRESH_REMOTE.octets().as_slice())
}

/// The way of the packets through the sessions: burst after burst, round after round.
#[derive(Clone)]
pub(super) struct Walk {
    order: Arc<[u32]>,
    at: usize,
    /// Bursts of this round so far, and rounds
    turn: usize,
    round: usize,
    direction: Direction,
}

impl Walk {
    /// Over so many flows.
    pub(super) fn new(flows: usize, order: Order, direction: Direction) -> Walk {
        let mut all: Vec<u32> = (0..flows as u32).collect();
        if order == Order::Shuffled {
            all.shuffle(&mut StdRng::seed_from_u64(1));
        }
        Walk { order: all.into(), at: 0, turn: 0, round: 0, direction }
    }

    /// Packets of a round.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The next burst, and where it comes in. A session whose packets came from inside in one round gets them from
    /// outside in the next.
    pub(super) fn next(&mut self, burst: usize, into: &mut ArrayVec<u32, BURST>) -> IfaceId {
        into.clear();
        let even = (self.turn + self.round).is_multiple_of(2);
        self.turn += 1;
        for _ in 0..burst.min(BURST) {
            into.push(self.order[self.at]);
            self.at += 1;
            if self.at == self.order.len() {
                (self.at, self.turn) = (0, 0);
                self.round += 1;
            }
        }
        match self.direction {
            Direction::Up => LAN,
            Direction::Down => WAN,
            Direction::Both if even => LAN,
            Direction::Both => WAN,
        }
    }
}

/// How long frames are, in bytes without their check sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// All of them, 60 to 1514
    Fixed(usize),
    /// 60, 590 and 1514 bytes, 7 : 4 : 1, mixed by chance
    Imix,
}

impl Frames {
    /// The mean.
    pub(super) fn mean(self) -> usize {
        match self {
            Frames::Fixed(bytes) => bytes,
            Frames::Imix => (7 * 60 + 4 * 590 + 1514) / 12,
        }
    }

    /// A round of lengths.
    fn lengths(self) -> Vec<usize> {
        match self {
            Frames::Fixed(bytes) => vec![bytes],
            Frames::Imix => {
                let mut all = [[60; 7].as_slice(), &[590; 4], &[1514]].concat().repeat(100);
                all.shuffle(&mut StdRng::seed_from_u64(2));
                all
            }
        }
    }
}

/// Writes the packets, outside the measured part, into the same few buffers again and again.
pub(super) struct Writer {
    pool: Pool,
    lengths: Vec<usize>,
    next: usize,
    spare: Vec<Mbuf>,
}

impl Writer {
    /// Of frames of such lengths.
    pub(super) fn new(pool: Pool, frames: Frames) -> Writer {
        Writer { pool, lengths: frames.lengths(), next: 0, spare: Vec::with_capacity(BURST * 4) }
    }

    /// A burst of packets of these flows: from their hosts, or from their remotes. `None`: the pool is empty.
    pub(super) fn burst(
        &mut self,
        from: IfaceId,
        flows: &[Flow],
        which: &[u32],
    ) -> Option<ArrayVec<Mbuf, BURST>> {
        which.iter().map(|at| self.packet(from, &flows[*at as usize])).collect()
    }

    /// A packet of a flow: from its host, or from its remote. `None`: the pool is empty.
    pub(super) fn packet(&mut self, from: IfaceId, flow: &Flow) -> Option<Mbuf> {
        let (inside, remote) = ((flow.host, flow.port), (flow.remote, REMOTE_PORT));
        let (src, dst) = if from == LAN { (inside, remote) } else { (remote, flow.outside) };
        let (mut buf, l4) = self.ip(ROUTER_MAC[from.index()], protocol::UDP, src.0, dst.0)?;
        let udp = &mut buf.bytes_mut()[l4..];
        let length = udp.len() as u16;
        put16(udp, 0, src.1);
        put16(udp, 2, dst.1);
        put16(udp, 4, length);
        // Not zero, so that it is updated; nobody looks whether it is right.
        put16(udp, 6, 0x1234);
        Some(buf)
    }

    /// A TCP SYN from an inside endpoint to the remote of all.
    pub(super) fn syn(&mut self, host: Ipv4Addr, port: u16) -> Option<Mbuf> {
        let remote = Ipv4Addr::new(9, 9, 9, 9);
        let (mut buf, l4) = self.ip(ROUTER_MAC[LAN.index()], protocol::TCP, host, remote)?;
        let tcp = &mut buf.bytes_mut()[l4..];
        tcp[..20].copy_from_slice(&[0, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0, 0x12, 0x34, 0, 0]);
        put16(tcp, 0, port);
        Some(buf)
    }

    /// A frame of the next length up to its IPv4 header, and where that ends.
    fn ip(&mut self, to: Mac, protocol: u8, src: Ipv4Addr, dst: Ipv4Addr) -> Option<(Mbuf, usize)> {
        let mut buf = self.spare.pop().or_else(|| self.pool.alloc())?;
        let bytes = self.lengths[self.next];
        self.next = if self.next + 1 == self.lengths.len() { 0 } else { self.next + 1 };
        if !buf.resize(bytes) {
            return None;
        }
        let frame = buf.bytes_mut();
        Eth { dst: to, src: PEER_MAC, ethertype: ethertype::IPV4 }.emit(frame);
        let ip = Ipv4 {
            header_len: ipv4::MIN_LEN as u8,
            tos: 0,
            total_len: (bytes - eth::LEN) as u16,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            src,
            dst,
        };
        ip.emit(&mut frame[eth::LEN..]);
        Some((buf, eth::LEN + ipv4::MIN_LEN))
    }

    /// The buffers are used again.
    pub(super) fn recycle(&mut self, bufs: impl IntoIterator<Item = Mbuf>) {
        self.spare.extend(bufs);
    }
}

/// What stands for the ports: it can be given packets to receive, and asked for those that were sent.
pub(super) trait Bed: Ports<Buf = Mbuf> {
    /// These come in at an interface. False if they do not fit.
    fn feed(&mut self, iface: IfaceId, burst: ArrayVec<Mbuf, BURST>) -> bool;
    /// A turn begins when the cycle counter stands there.
    fn begin(&mut self, cycles: u64);
    /// What went out of an interface.
    fn collect(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>);
}

/// Ports that are arrays: what is to be received lies ready, what was sent lies there for a look.
pub(super) struct Arrays {
    pool: Pool,
    began: u64,
    ready: [Vec<Mbuf>; IFACES],
    sent: [Vec<Mbuf>; IFACES],
}

impl Arrays {
    pub(super) fn new(pool: Pool) -> Arrays {
        let sent = std::array::from_fn(|_| Vec::with_capacity(BURST * 2));
        Arrays { pool, began: 0, ready: Default::default(), sent }
    }
}

impl Bed for Arrays {
    fn feed(&mut self, iface: IfaceId, burst: ArrayVec<Mbuf, BURST>) -> bool {
        self.ready[iface.index()].extend(burst);
        true
    }

    fn begin(&mut self, cycles: u64) {
        self.began = cycles;
    }

    fn collect(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>) {
        into.append(&mut self.sent[iface.index()]);
    }
}

impl Ports for Arrays {
    type Buf = Mbuf;

    fn receive(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>) {
        into.append(&mut self.ready[iface.index()]);
    }

    fn send(&mut self, iface: IfaceId, from: &mut Vec<Mbuf>) {
        self.sent[iface.index()].append(from);
    }

    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    fn ticks(&self) -> u64 {
        tsc()
    }

    fn began(&self) -> u64 {
        self.began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_two_rounds_each_session_has_a_packet_from_either_side() {
        for (flows, burst) in [(64, 32), (96, 32), (8, 1), (7, 1), (31, 31)] {
            let mut walk = Walk::new(flows, Order::Shuffled, Direction::Both);
            let mut seen = vec![[0, 0]; flows];
            for _ in 0..2 * flows / burst {
                let mut which = ArrayVec::new();
                let from = walk.next(burst, &mut which);
                which.iter().for_each(|flow| seen[*flow as usize][from.index()] += 1);
            }
            assert!(seen.iter().all(|s| *s == [1, 1]), "{flows} in bursts of {burst}: {seen:?}");
        }
    }

    #[test]
    fn the_mix_has_its_mean() {
        let lengths = Frames::Imix.lengths();
        assert_eq!(lengths.iter().sum::<usize>() / lengths.len(), Frames::Imix.mean());
        assert_eq!(Frames::Fixed(60).lengths(), [60]);
    }
}
