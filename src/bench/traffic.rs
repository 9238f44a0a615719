//! The traffic of a measurement: a LAN behind one WAN, sessions of UDP from hosts with 63 ports each, in mbufs.

use std::net::Ipv4Addr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::base::{Generation, IfaceId, Ipv4Net, Mac, WanId, WorkerId};
use crate::dpdk::{Mbuf, Pool, tsc};
use crate::engine::steer::Steer;
use crate::engine::{BURST, Ports};
use crate::nat::{FIRST_PORT, Uplink, Uplinks};
use crate::packet::{BufPool, PacketBuf};
use crate::path::{IcmpPolicy, Iface, View, WanLink};
use crate::table::routes::{Route, Routes};
use crate::wire::eth::{self, Eth, ethertype};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{protocol, put16};

/// Ports that each host uses, as in FD.io CSIT's NAT44 tests.
const PORTS_PER_HOST: u32 = 63;
pub(super) const LAN: IfaceId = IfaceId(0);
pub(super) const WAN: IfaceId = IfaceId(1);
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const ROUTER_MAC: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
pub(super) const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// A flow: its inside endpoint, its remote, and what the router made of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) host: Ipv4Addr,
    port: u16,
    remote: Ipv4Addr,
    pub(super) outside_port: u16,
}

const REMOTE_PORT: u16 = 4000;
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// The view of the measurement.
pub(super) fn view() -> Option<Arc<View>> {
    let net = |ip: Ipv4Addr, len| Ipv4Net::new(ip, len);
    let lan = net(Ipv4Addr::new(10, 0, 0, 1), 8)?;
    let iface = |name: &str, mac, net, wan| Iface {
        name: name.into(),
        mac,
        mtu: 1500,
        up: true,
        addresses: vec![net],
        wan,
    };
    Some(Arc::new(View {
        generation: Generation(0),
        ifaces: vec![
            iface("lan", ROUTER_MAC[0], lan, None),
            iface("isp1", ROUTER_MAC[1], net(OUTSIDE, 29)?, Some(WanId(0))),
        ],
        wans: vec![WanLink { iface: WAN, gateway: GATEWAY }],
        uplinks: Uplinks {
            wans: vec![Uplink { address: OUTSIDE, epoch: 0, fit: true }],
            carrying: Some(WanId(0)),
        },
        routes: Routes::new(vec![Route { net: lan, iface: LAN, via: None }]),
        icmp: IcmpPolicy { errors_per_second: 1000, time_exceeded: true },
    }))
}

/// The flows of one worker: endpoints of hosts that it owns, as many as it has ports for, each to as many remotes as it takes.
pub(super) fn flows(sessions: u32, steer: Steer, worker: WorkerId) -> (Vec<Flow>, u32) {
    let ports = (FIRST_PORT..=u16::MAX).filter(|p| steer.port(*p) == worker).count() as u32;
    let endpoints = sessions.min(ports).max(1);
    let remotes = sessions.div_ceil(endpoints);
    let hosts = (0x0a00_0100u32..).map(Ipv4Addr::from_bits).filter(|h| steer.host(*h) == worker);
    let all = hosts.flat_map(|host| (0..PORTS_PER_HOST).map(move |p| (host, 10_000 + p as u16)));
    let mut flows = Vec::with_capacity(sessions as usize);
    for (host, port) in all.take(endpoints as usize) {
        for r in 0..remotes {
            let remote = Ipv4Addr::from_bits(0x0909_0000 + r);
            flows.push(Flow { host, port, remote, outside_port: 0 });
        }
    }
    flows.truncate(sessions as usize);
    (flows, endpoints)
}

/// The order in which packets take the sessions.
pub(super) fn order(flows: usize, shuffled: bool) -> Vec<u32> {
    let mut order: Vec<u32> = (0..flows as u32).collect();
    if shuffled {
        order.shuffle(&mut StdRng::seed_from_u64(1));
    }
    order
}

/// Ports that are arrays: what is to be received lies ready, what was sent lies there for a look.
pub(super) struct Arrays {
    pool: Pool,
    bytes: usize,
    spare: Vec<Mbuf>,
    ready: [ArrayVec<Mbuf, BURST>; 2],
    pub(super) sent: [Vec<Mbuf>; 2],
    /// The cycle counter at the start of the turn
    pub(super) began: u64,
}

impl Arrays {
    pub(super) fn new(pool: Pool, bytes: usize) -> Arrays {
        let sent = [Vec::with_capacity(BURST * 2), Vec::with_capacity(BURST * 2)];
        Arrays {
            pool,
            bytes,
            spare: Vec::with_capacity(BURST * 2),
            ready: Default::default(),
            sent,
            began: 0,
        }
    }

    /// Puts a packet of a flow in front of an interface: from its host, or from its remote.
    pub(super) fn put(&mut self, iface: IfaceId, flow: &Flow) -> bool {
        let Some(mut buf) = self.spare.pop().or_else(|| self.pool.alloc()) else { return false };
        let (src, dst, ports) = if iface == LAN {
            (flow.host, flow.remote, (flow.port, REMOTE_PORT))
        } else {
            (flow.remote, OUTSIDE, (REMOTE_PORT, flow.outside_port))
        };
        if !buf.resize(self.bytes) {
            return false;
        }
        let total_len = (self.bytes - eth::LEN) as u16;
        let frame = buf.bytes_mut();
        Eth { dst: ROUTER_MAC[iface.index()], src: PEER_MAC, ethertype: ethertype::IPV4 }.emit(frame);
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
            src,
            dst,
        };
        ip.emit(&mut frame[eth::LEN..]);
        let udp = &mut frame[eth::LEN + ipv4::MIN_LEN..];
        put16(udp, 0, ports.0);
        put16(udp, 2, ports.1);
        put16(udp, 4, total_len - ipv4::MIN_LEN as u16);
        // Not zero, so that it is updated; nobody looks whether it is right.
        put16(udp, 6, 0x1234);
        self.ready[iface.index()].try_push(buf).is_ok()
    }

    /// The buffers of what was sent are used again.
    pub(super) fn recycle(&mut self) {
        for sent in &mut self.sent {
            self.spare.append(sent);
        }
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

    fn ticks(&self) -> u64 {
        tsc()
    }

    fn began(&self) -> u64 {
        self.began
    }
}
