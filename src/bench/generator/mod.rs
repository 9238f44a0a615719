//! `turnout bench generator`: the other side of a router under test, in a process of its own on one core.
//!
//! Two ports, one on the router's LAN and one on its WAN. It answers ARP for all hosts and for the gateway, opens the
//! sessions from the LAN side, tries each once both ways, and then sends frames of them, shuffled, as fast as they go.
//! What comes out at the other port is counted. The frames lie ready; one costs it a copy of its bytes.
//!
//! `frames` what is sent, `line` a port, `opening` before the race, `race` the race.

mod frames;
mod line;
mod opening;
mod race;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::Direction;
use crate::dpdk::{Eal, EalConfig, Pool, tsc_hz};
use frames::{Belt, inside};
use line::Line;
pub use race::Count;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Mbufs: both ports' rings both ways, and what is under way.
const MBUFS: u32 = 8192;
/// How long a memif's server is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent where.
#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    /// The port on the router's LAN: a PCI address, or a virtual device with its arguments
    pub lan: String,
    /// The port on the router's WAN
    pub wan: String,
    /// The router's address on the LAN
    pub lan_router: Ipv4Addr,
    /// The router's address on the WAN
    pub wan_router: Ipv4Addr,
    /// What is between the ports passes frames on as they are: no ARP, no translation
    pub plain: bool,
    /// Live sessions
    pub sessions: u32,
    /// The races, one after the other
    pub directions: Vec<Direction>,
    /// Seconds that each is counted
    pub seconds: f64,
    /// Bytes of a frame without its check sequence, 60 to 1514
    pub bytes: usize,
    /// Afterwards it keeps its ports open until the other side is gone, so long at most
    pub linger: Duration,
    /// The core it runs on
    pub core: usize,
}

/// Opens the sessions, then shows each race's count.
///
/// # Errors
/// What is wrong, in one line.
pub fn generator(
    o: &GeneratorOptions,
    mut show: impl FnMut(&Count) -> Result<(), String>,
) -> Result<(), Failure> {
    if !(60..=1514).contains(&o.bytes) {
        return Err("a frame has 60 to 1514 bytes".into());
    }
    let names = [&o.lan, &o.wan];
    let pci = names.iter().filter(|n| !n.starts_with("net_")).map(|n| n.to_string()).collect();
    // A memif without copies lends its peer the memory of the mbufs: in one piece, with one file behind it.
    let lends = names.iter().any(|n| n.contains("zero-copy=yes"));
    let extra = if lends { vec!["--single-file-segments".to_owned()] } else { Vec::new() };
    let config = EalConfig { manager_core: o.core, pci, extra, ..EalConfig::default() };
    let eal = Eal::start(&config)?;
    let hz = tsc_hz(&eal);
    // No larger than they must be: without hugepages, buffers of 2 kB cost both sides a TLB miss each.
    let room = o.bytes.next_multiple_of(256) as u16;
    let pool = Pool::new(&eal, "generator", MBUFS, room)?;
    let mut lines =
        [open(&eal, &pool, &o.lan, 0, o.lan_router)?, open(&eal, &pool, &o.wan, 1, o.wan_router)?];
    let opened = opening::open(&mut lines, o.sessions, o.bytes, o.plain)?;
    let [lan, wan] = &lines;
    let mut belts = [
        Belt::new(o.sessions, o.bytes, lan.mac(), opened.routers[0], inside),
        Belt::new(o.sessions, o.bytes, wan.mac(), opened.routers[1], |flow| {
            opened.outside[flow as usize].back()
        }),
    ];
    for direction in &o.directions {
        let what = (*direction, o.sessions, o.bytes, o.seconds);
        show(&race::race(&mut lines, &mut belts, what, hz))?;
    }
    // A memif whose peer goes is unmapped by DPDK's interrupt thread, also under a worker that is just reading it.
    let end = Instant::now() + o.linger;
    while lines.iter().all(Line::up) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Opens a port. A memif that is the client starts only once its server listens: it is tried again for a while.
fn open(eal: &Eal, pool: &Pool, name: &str, id: u16, router_ip: Ipv4Addr) -> Result<Line, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        match Line::open(eal, pool, name, id, router_ip) {
            Ok(line) => return Ok(line),
            Err(_) if name.contains("role=client") && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(e) => return Err(e.into()),
        }
    }
}
