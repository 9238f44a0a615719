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
use crate::dpdk::{Mbuf, Pool};
use crate::engine::steer::Steer;
use crate::engine::{BURST, Ports};
use crate::nat::{Uplink, Uplinks};
use crate::packet::{BufPool, PacketBuf};
use crate::path::{IcmpPolicy, Iface, Places, View, WanLink};
use crate::table::routes::{Route, Routes};
use crate::wire::eth::{self, Eth, ethertype};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{protocol, put16};

/// Ports that each host uses, as in FD.io CSIT's NAT44 tests.
const PORTS_PER_HOST: u32 = 63;
pub(super) const LAN: IfaceId = IfaceId(0);
pub(super) const WAN: IfaceId = IfaceId(1);
/// What the hosts are behind, as in FD.io CSIT's tests
pub(super) const SWITCH: Ipv4Addr = Ipv4Addr::new(192, 168, 255, 2);
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const ROUTER_MAC: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
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
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Sessions for each address of the WAN: half of its ports, so that a draw finds what a site finds.
const SESSIONS_PER_ADDRESS: u32 = 32_256;

/// How many addresses the WAN has for so many sessions.
pub(super) fn addresses(sessions: u32) -> usize {
    sessions.div_ceil(SESSIONS_PER_ADDRESS).max(1) as usize
}

/// The view of the measurement, with addresses for so many sessions in all.
pub(super) fn view(sessions: u32) -> Option<Arc<View>> {
    let net = |ip: Ipv4Addr, len| Ipv4Net::new(ip, len);
    let lan = net(Ipv4Addr::new(192, 168, 255, 1), 24)?;
    let hosts = net(Ipv4Addr::new(10, 0, 0, 0), 8)?;
    let iface = |name: &str, mac, net, wan| Iface {
        name: name.into(),
        mac,
        mtu: 1500,
        up: true,
        addresses: vec![net],
        wan,
    };
    let others = (0xc612_8000u32..).map(Ipv4Addr::from_bits);
    let pool = std::iter::once(OUTSIDE).chain(others).take(addresses(sessions));
    let view = View {
        generation: Generation(0),
        ifaces: vec![
            iface("lan", ROUTER_MAC[0], lan, None),
            iface("isp1", ROUTER_MAC[1], net(OUTSIDE, 29)?, Some(WanId(0))),
        ],
        wans: vec![WanLink { iface: WAN, gateway: GATEWAY }],
        uplinks: Uplinks {
            wans: vec![Uplink { addresses: pool.collect(), epoch: 0, fit: true }],
            carrying: Some(WanId(0)),
        },
        routes: Routes::new(vec![
            Route { net: lan, iface: LAN, via: None },
            Route { net: hosts, iface: LAN, via: Some(SWITCH) },
        ]),
        icmp: IcmpPolicy { errors_per_second: 1000, time_exceeded: true },
        places: Places::default(),
    };
    Some(Arc::new(view.indexed()))
}

/// The flows of one worker: hosts that it owns, with 63 endpoints each and one remote.
pub(super) fn flows(sessions: u32, steer: Steer, worker: WorkerId) -> Vec<Flow> {
    let hosts = (0x0a00_0100u32..).map(Ipv4Addr::from_bits).filter(|h| steer.host(*h) == worker);
    let all = hosts.flat_map(|host| (0..PORTS_PER_HOST).map(move |p| (host, 10_000 + p as u16)));
    let flow = |(host, port)| Flow { host, port, remote: REMOTE, outside: (OUTSIDE, 0) };
    all.take(sessions as usize).map(flow).collect()
}

/// The way of the packets through the sessions: burst after burst, round after round.
#[derive(Clone)]
pub(super) struct Walk {
    order: Arc<[u32]>,
    at: usize,
    bursts: usize,
    direction: Direction,
}

impl Walk {
    /// Over so many flows.
    pub(super) fn new(flows: usize, order: Order, direction: Direction) -> Walk {
        let mut all: Vec<u32> = (0..flows as u32).collect();
        if order == Order::Shuffled {
            all.shuffle(&mut StdRng::seed_from_u64(1));
        }
        Walk { order: all.into(), at: 0, bursts: 0, direction }
    }

    /// Packets of a round.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The next burst, and where it comes in. A session whose packets came from inside in one round gets them from
    /// outside in the next.
    pub(super) fn next(&mut self, burst: usize, into: &mut ArrayVec<u32, BURST>) -> IfaceId {
        into.clear();
        for _ in 0..burst.min(BURST) {
            into.push(self.order[self.at]);
            self.at += 1;
            if self.at == self.order.len() {
                self.at = 0;
                self.bursts += 1;
            }
        }
        self.bursts += 1;
        match self.direction {
            Direction::Up => LAN,
            Direction::Down => WAN,
            Direction::Both if self.bursts.is_multiple_of(2) => LAN,
            Direction::Both => WAN,
        }
    }
}

/// Writes the packets, outside the measured part, into the same few buffers again and again.
pub(super) struct Writer {
    pool: Pool,
    bytes: usize,
    spare: Vec<Mbuf>,
}

impl Writer {
    /// Of frames of so many bytes.
    pub(super) fn new(pool: Pool, bytes: usize) -> Writer {
        Writer { pool, bytes, spare: Vec::with_capacity(BURST * 4) }
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

    fn packet(&mut self, from: IfaceId, flow: &Flow) -> Option<Mbuf> {
        let mut buf = self.spare.pop().or_else(|| self.pool.alloc())?;
        let (inside, remote) = ((flow.host, flow.port), (flow.remote, REMOTE_PORT));
        let (src, dst) = if from == LAN { (inside, remote) } else { (remote, flow.outside) };
        if !buf.resize(self.bytes) {
            return None;
        }
        let total_len = (self.bytes - eth::LEN) as u16;
        let frame = buf.bytes_mut();
        Eth { dst: ROUTER_MAC[from.index()], src: PEER_MAC, ethertype: ethertype::IPV4 }.emit(frame);
        let ip = Ipv4 {
            header_len: ipv4::MIN_LEN as u8,
            tos: 0,
            total_len,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: protocol::UDP,
            src: src.0,
            dst: dst.0,
        };
        ip.emit(&mut frame[eth::LEN..]);
        let udp = &mut frame[eth::LEN + ipv4::MIN_LEN..];
        put16(udp, 0, src.1);
        put16(udp, 2, dst.1);
        put16(udp, 4, total_len - ipv4::MIN_LEN as u16);
        // Not zero, so that it is updated; nobody looks whether it is right.
        put16(udp, 6, 0x1234);
        Some(buf)
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
    /// What went out of an interface.
    fn collect(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>);
}

/// Ports that are arrays: what is to be received lies ready, what was sent lies there for a look.
pub(super) struct Arrays {
    pool: Pool,
    ready: [ArrayVec<Mbuf, BURST>; 2],
    sent: [Vec<Mbuf>; 2],
}

impl Arrays {
    pub(super) fn new(pool: Pool) -> Arrays {
        let sent = [Vec::with_capacity(BURST * 2), Vec::with_capacity(BURST * 2)];
        Arrays { pool, ready: Default::default(), sent }
    }
}

impl Bed for Arrays {
    fn feed(&mut self, iface: IfaceId, burst: ArrayVec<Mbuf, BURST>) -> bool {
        self.ready[iface.index()] = burst;
        true
    }

    fn collect(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>) {
        into.append(&mut self.sent[iface.index()]);
    }
}

impl Ports for Arrays {
    type Buf = Mbuf;

    fn receive(&mut self, iface: IfaceId, into: &mut ArrayVec<Mbuf, BURST>) {
        std::mem::swap(into, &mut self.ready[iface.index()]);
    }

    fn send(&mut self, iface: IfaceId, from: &mut Vec<Mbuf>) {
        self.sent[iface.index()].append(from);
    }

    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }
}
