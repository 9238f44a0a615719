//! What the parts of the path cost, each alone: `cargo bench --bench parts`. Needs neither root nor ports, takes under
//! half a minute.
//!
//! A part is measured in bursts of 32 over packets of all entries in random order, as the path uses it, and held
//! against the pass of the reference loop that does the like, measured in turn with it: cycles of an operation (the
//! median over the bursts) and their ratio. What has no counterpart there has no ratio. The loop's pass of parsing hashes
//! and calls for lines as well: at large tables it is the one that waits for memory.

use std::hint::black_box;
use std::net::Ipv4Addr;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use turnout::base::{IfaceId, Mac, Nanos, WanId};
use turnout::bench::{Endpoint, Entry, Reference};
use turnout::dpdk::tsc;
use turnout::nat::inbound::FromOutside;
use turnout::nat::outbound::FromInside;
use turnout::nat::rewrite::{End, rewrite};
use turnout::nat::rules::FILTERING;
use turnout::nat::{Addresses, Env, Nat, NatConfig, Outbound, Rules, Timeouts, Uplinks};
use turnout::packet::{Counters, PacketBuf, Tuple, VecBuf};
use turnout::table::hash::HashKey;
use turnout::table::index::Index;
use turnout::wire::eth::{self, Eth, ethertype};
use turnout::wire::ipv4::{self, Ipv4};
use turnout::wire::udp::Udp;
use turnout::wire::{protocol, put16};

const BURST: usize = 32;
/// Bursts of a measurement.
const BURSTS: usize = 8_000;
/// Endpoints on one WAN, each with as many remotes as it takes.
const ENDPOINTS: u32 = 64_512;
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const MACS: (Mac, Mac) = (Mac([2; 6]), Mac([4; 6]));
const UDP_TIMEOUT: Nanos = Nanos::from_s(300);

fn main() {
    // Cargo's own options (`--bench`) mean nothing here.
    println!(
        "cycles an operation, median over bursts of {BURST}; and over the like pass of the reference loop\n"
    );
    println!("{:<28} {:>9} {:<6} {:>9} {:<6} {:>9}", "entries", "1 000", "", "64 512", "", "1 032 192");
    let columns: Vec<Vec<Part>> = [1_000, 64_512, 1_032_192].map(measure).into();
    for row in 0..columns[0].len() {
        let mut line = format!("{:<28}", columns[0][row].name);
        for part in columns.iter().map(|column| &column[row]) {
            let ratio =
                part.reference.map_or(String::new(), |reference| format!("x{:.1}", part.cycles / reference));
            line += &format!(" {:>9.1} {ratio:<6}", part.cycles);
        }
        println!("{}", line.trim_end());
    }
}

struct Part {
    name: &'static str,
    cycles: f64,
    reference: Option<f64>,
}

/// One flow of UDP, as it is seen inside and outside.
#[derive(Clone, Copy)]
struct Flow {
    inside: Endpoint,
    outside: Endpoint,
    remote: Endpoint,
}

impl Flow {
    fn new(n: u32) -> Flow {
        let (endpoint, remote) = (n % ENDPOINTS, n / ENDPOINTS);
        Flow {
            inside: (Ipv4Addr::from_bits(0x0a00_0100 + endpoint / 63), 10_000 + (endpoint % 63) as u16),
            outside: (OUTSIDE, 1024 + endpoint as u16),
            remote: (Ipv4Addr::from_bits(0x0909_0000 + remote), 4000),
        }
    }

    fn up(&self) -> Tuple {
        tuple(self.inside, self.remote)
    }

    fn down(&self) -> Tuple {
        tuple(self.remote, self.outside)
    }
}

fn tuple(src: Endpoint, dst: Endpoint) -> Tuple {
    Tuple { protocol: protocol::UDP, src: src.0, src_port: src.1, dst: dst.0, dst_port: dst.1 }
}

fn write(frame: &mut [u8], t: &Tuple) {
    Eth { dst: MACS.0, src: MACS.1, ethertype: ethertype::IPV4 }.emit(frame);
    let ip = Ipv4 {
        header_len: ipv4::MIN_LEN as u8,
        tos: 0,
        total_len: 46,
        id: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: protocol::UDP,
        src: t.src,
        dst: t.dst,
    };
    ip.emit(&mut frame[eth::LEN..]);
    let udp = &mut frame[eth::LEN + ipv4::MIN_LEN..];
    put16(udp, 0, t.src_port);
    put16(udp, 2, t.dst_port);
    put16(udp, 4, 26);
    put16(udp, 6, 0x1234);
}

/// The median of bursts of `one`, in cycles of an operation. It gives the cycles of the burst that starts at its
/// argument, and so prepares as much as it likes.
fn median(mut one: impl FnMut(usize) -> u64) -> f64 {
    let mut all: Vec<u64> = (0..BURSTS).map(|burst| one(burst * BURST)).collect();
    all.sort_unstable();
    all[all.len() / 2] as f64 / BURST as f64
}

/// Cycles of `what`.
fn cycles<R>(what: impl FnOnce() -> R) -> u64 {
    let start = tsc();
    black_box(what());
    tsc().wrapping_sub(start)
}

/// All parts at so many entries.
fn measure(entries: u32) -> Vec<Part> {
    let mut flows: Vec<Flow> = (0..entries).map(Flow::new).collect();
    let mut order: Vec<u32> = (0..entries).collect();
    order.shuffle(&mut StdRng::seed_from_u64(1));
    let at = |n: usize| order[n % order.len()] as usize;
    let mut bufs: Vec<VecBuf> = (0..BURST).map(|_| VecBuf::new(&[0; 60])).collect();
    let mut parts = Vec::new();

    let (mut nat, insert, up) = filled(&mut flows);
    let [parse, look_up, rewritten, add] = reference(&flows, &at, &mut bufs);
    let mut part = |name, cycles, reference| parts.push(Part { name, cycles, reference });

    let parsed = median(|first| {
        bufs.iter_mut().enumerate().for_each(|(n, buf)| write(buf.bytes_mut(), &flows[at(first + n)].up()));
        cycles(|| {
            bufs.iter()
                .filter_map(headers)
                .map(|(ip, udp)| ip.src.to_bits() ^ u32::from(udp.src))
                .sum::<u32>()
        })
    });
    part("wire: Ethernet, IPv4, UDP", parsed, Some(parse));

    let key = HashKey::draw(&mut StdRng::seed_from_u64(2));
    let words = |n: u32| (u64::from(n) << 32 | 7, u64::from(n) * 31);
    let mut keys = [(0, 0); BURST];
    let mut hashes = [0u64; BURST];
    let hashed = median(|first| {
        keys = std::array::from_fn(|n| words(at(first + n) as u32));
        cycles(|| keys.iter().zip(&mut hashes).for_each(|((a, b), hash)| *hash = key.hash(*a, *b)))
    });
    part("table: hash of a key", hashed, None);

    let mut index = Index::new(entries as usize, true);
    for n in 0..entries {
        let (a, b) = words(n);
        // Of a full index the rest is not found; there is none at this load.
        let _ = index.insert(key.hash(a, b), n);
    }
    let found = median(|first| {
        let slots: [u32; BURST] = std::array::from_fn(|n| at(first + n) as u32);
        hashes = slots.map(|n| key.hash(words(n).0, words(n).1));
        cycles(|| {
            slots
                .iter()
                .zip(&hashes)
                .filter(|(n, hash)| index.find(**hash, |slot| slot == **n).is_some())
                .count()
        })
    });
    part("table: find in the index", found, Some(look_up));

    let changed = median(|first| {
        bufs.iter_mut().enumerate().for_each(|(n, buf)| write(buf.bytes_mut(), &flows[at(first + n)].up()));
        cycles(|| {
            for buf in &mut bufs {
                let packet = &mut buf.bytes_mut()[eth::LEN..];
                rewrite(packet, ipv4::MIN_LEN, protocol::UDP, End::Source, OUTSIDE, 1024);
                ipv4::decrement_ttl(packet);
            }
        })
    });
    part("nat: rewrite, TTL", changed, Some(rewritten));

    let (mut counters, now, rules) = (Counters::default(), Nanos::from_s(1001), Rules::default());
    let three = parse + look_up + rewritten;
    let out = median(|first| {
        let tuples: [Tuple; BURST] = std::array::from_fn(|n| flows[at(first + n)].up());
        let mut env = Env { up: &up, rules: &rules, now, counters: &mut counters };
        cycles(|| tuples.iter().filter(|t| outbound(&mut nat, t, &mut env).is_some()).count())
    });
    part("nat: outbound, established", out, Some(three));
    let back = median(|first| {
        let tuples: [Tuple; BURST] = std::array::from_fn(|n| flows[at(first + n)].down());
        let mut env = Env { up: &up, rules: &rules, now, counters: &mut counters };
        let mut one = |tuple| {
            nat.inbound(
                &FromOutside {
                    wan: WanId(0),
                    ingress: IfaceId(1),
                    tuple,
                    tcp: None,
                    bytes: 46,
                    target: None,
                    reply: false,
                    hairpin: false,
                },
                &mut env,
            )
        };
        cycles(|| tuples.iter().filter(|t| one(t).is_ok()).count())
    });
    part("nat: inbound, established", back, Some(three));

    part("nat: outbound, new session", insert, Some(add));
    // All timers have run out; the sweep visits the table in 8 s, so that some 32 are due each turn.
    let (mut now, before) = (now + UDP_TIMEOUT + Nanos::from_s(1), nat.live());
    let (step, mut spent) = (Nanos(8_000_000_000 * 32 / u64::from(entries)), 0);
    while nat.live() * 2 > before {
        now += step;
        spent += cycles(|| nat.expire(now, 1, &up, &mut counters));
    }
    part("nat: expire, of a session", spent as f64 / (before - nat.live()).max(1) as f64, None);
    parts
}

fn headers(buf: &VecBuf) -> Option<(Ipv4, Udp)> {
    let frame = buf.bytes();
    let eth = Eth::parse(frame).filter(|e| e.ethertype == ethertype::IPV4)?;
    let packet = &frame[black_box(eth::LEN).min(frame.len())..];
    black_box(eth);
    let ip = Ipv4::parse(packet).ok()?;
    Udp::parse(&packet[usize::from(ip.header_len)..]).map(|udp| (ip, udp))
}

fn outbound(nat: &mut Nat, tuple: &Tuple, env: &mut Env<'_>) -> Option<Endpoint> {
    let ingress = IfaceId(0);
    match nat.outbound(&FromInside { ingress, tuple, tcp: None, reply: false, bytes: 46, pin: None }, env) {
        Outbound::Translate(to) => Some((to.addr, to.port)),
        _ => None,
    }
}

/// A NAT with a session for each flow, which learns its outside endpoint; cycles of a new session.
fn filled(flows: &mut [Flow]) -> (Nat, f64, Uplinks) {
    let s = Nanos::from_s;
    let timeouts = Timeouts::new(s(7440), s(240), UDP_TIMEOUT, &[], s(60), s(600));
    let (sessions, filtering) = (flows.len() as u32, FILTERING);
    let config = NatConfig {
        sessions,
        timeouts,
        wans: vec![1],
        filtering,
        quarantine: Default::default(),
        reserved: vec![],
        paired: false,
        reserve: true,
        seed: 1,
    };
    let mut nat = Nat::new(&config, &|_| true);
    let up = Uplinks::well([Addresses::one(OUTSIDE)], Some(WanId(0)));
    let (mut counters, rules) = (Counters::default(), Rules::default());
    let mut bursts = Vec::new();
    for burst in flows.chunks_mut(BURST) {
        let mut env = Env { up: &up, rules: &rules, now: s(1000), counters: &mut counters };
        let spent = cycles(|| {
            for flow in burst.iter_mut() {
                if let Some(outside) = outbound(&mut nat, &flow.up(), &mut env) {
                    flow.outside = outside;
                }
            }
        });
        bursts.push(spent as f64 / burst.len() as f64);
    }
    bursts.sort_unstable_by(f64::total_cmp);
    (nat, bursts[bursts.len() / 2], up)
}

/// The passes of the reference loop over the same packets: parse and hash, look up, rewrite; and a new session.
fn reference(flows: &[Flow], at: &impl Fn(usize) -> usize, bufs: &mut [VecBuf]) -> [f64; 4] {
    let mut reference = Reference::new(flows.len());
    let mut adds = Vec::new();
    for burst in flows.chunks(BURST) {
        let spent = cycles(|| {
            burst.iter().all(|flow| {
                reference.add(&Entry {
                    protocol: protocol::UDP,
                    inside: flow.inside,
                    outside: flow.outside,
                    remote: flow.remote,
                    up: MACS,
                    down: MACS,
                })
            })
        });
        adds.push(spent as f64 / burst.len() as f64);
    }
    adds.sort_unstable_by(f64::total_cmp);
    let mut passes = [const { Vec::new() }; 2];
    let third = median(|first| {
        bufs.iter_mut().enumerate().for_each(|(n, buf)| write(buf.bytes_mut(), &flows[at(first + n)].up()));
        passes[0].push(cycles(|| reference.parse(bufs)));
        passes[1].push(cycles(|| reference.look_up(bufs.len())));
        let mut known = 0;
        let spent = cycles(|| known = reference.rewrite(bufs));
        assert_eq!(known, bufs.len(), "the reference loop knows every packet");
        spent
    });
    let [first, second] = passes.map(|pass| median(|burst| pass[burst / BURST]));
    [first, second, third, adds[adds.len() / 2]]
}
