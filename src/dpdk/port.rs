//! An Ethernet port: opened, asked what it can do, started, shared out as queues, stopped and closed.
//!
//! A `Queue` and a `LinkProbe` hold the port: it closes when the last of them goes. `stop` is refused while queues are
//! out, so a queue never polls a stopped port. Calls that steer the port take a lock, as DPDK wants one thread at a
//! time there; receiving and sending do not.
//!
//! Promiscuous mode is off for every kind of port: a router needs frames to its own MAC (and broadcast) alone. DPDK
//! clears IFF_PROMISC of a Linux interface at start; `LinuxPort` puts it back.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::command::require_capabilities;
use super::eal::{Eal, EalInner};
use super::error::{DpdkError, errno, text};
use super::ffi;
use super::linux::interface;
use super::pool::Pool;
use super::queue::Queue;
use crate::base::{Mac, PortId};

/// Where a port comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortSource {
    /// A PCI address, allowed in `EalConfig::pci` and bound to a driver that DPDK can use.
    Pci(String),
    /// A Linux interface of this network namespace, by name (`net_af_packet`). Claim it first: `LinuxPort`.
    Linux(String),
    /// A virtual device, as after `--vdev`: `net_ring0`, `net_null0,size=60`.
    Vdev(String),
}

impl std::fmt::Display for PortSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortSource::Pci(address) => write!(f, "pci:{address}"),
            PortSource::Linux(ifname) => write!(f, "linux:{ifname}"),
            PortSource::Vdev(args) => write!(f, "vdev:{args}"),
        }
    }
}

/// How a port is set up.
#[derive(Clone)]
pub struct PortConfig {
    /// Receive queues, and as many transmit queues: one pair a worker.
    pub queues: u16,
    /// Receive descriptors a queue; brought within the NIC's limits.
    pub rx_desc: u16,
    /// Transmit descriptors a queue; brought within the NIC's limits.
    pub tx_desc: u16,
    /// Where received packets go.
    pub pool: Pool,
    /// The RSS hash key; `None` leaves the driver's own. Ignored without RSS (`Caps::rss`, more than one queue).
    pub rss_key: Option<Vec<u8>>,
}

impl PortConfig {
    /// One queue, 1024 descriptors each way.
    pub fn new(pool: Pool) -> PortConfig {
        PortConfig { queues: 1, rx_desc: 1024, tx_desc: 1024, pool, rss_key: None }
    }
}

/// What a port can do (`rte_eth_dev_info_get`). None of the offloads is switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// The driver's name.
    pub driver: String,
    /// Pairs of queues.
    pub queues: u16,
    /// Spreads received IPv4 packets over its queues by a hash that can be computed.
    pub rss: bool,
    /// Entries of the RSS redirection table, 0 if it cannot be set.
    pub reta_size: u16,
    /// Length of the RSS key in bytes, 0 if unknown.
    pub hash_key_size: u8,
    /// Announces link changes by interrupt.
    pub link_interrupt: bool,
    /// Verifies IPv4 header checksums.
    pub rx_checksum_ip: bool,
    /// Verifies UDP and TCP checksums.
    pub rx_checksum: bool,
    /// Fills in IPv4 header checksums.
    pub tx_checksum_ip: bool,
    /// Fills in UDP checksums.
    pub tx_checksum_udp: bool,
    /// Fills in TCP checksums.
    pub tx_checksum_tcp: bool,
}

/// The state of a port's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Carries frames. `net_af_packet` and other virtual ports say so at all times.
    pub up: bool,
    /// Speed in Mbit/s, 0 if unknown.
    pub speed_mbps: u32,
}

/// A port's own counters (`rte_eth_stats_get`), since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub ipackets: u64,
    /// Packets sent.
    pub opackets: u64,
    /// Bytes received.
    pub ibytes: u64,
    /// Bytes sent.
    pub obytes: u64,
    /// Lost as the receive queue was full.
    pub imissed: u64,
    /// Received broken.
    pub ierrors: u64,
    /// Not sent.
    pub oerrors: u64,
    /// Lost as the pool was empty.
    pub rx_nombuf: u64,
}

/// An open Ethernet port. Dropped (and its queues and probes with it), it stops and closes.
pub struct Port {
    inner: Arc<PortInner>,
    taken: bool,
}

pub(super) struct PortInner {
    /// DPDK's number.
    pub(super) port: u16,
    /// Ours.
    pub(super) id: PortId,
    name: String,
    vdev: Option<CString>,
    queues: u16,
    caps: Caps,
    mac: Mac,
    mtu: u16,
    control: Mutex<()>,
    started: AtomicBool,
    queues_out: AtomicU16,
    eal: Arc<EalInner>,
    // Last: fields drop in this order, and the port's rings give their mbufs back in PortInner::drop before.
    _pool: Pool,
}

impl Port {
    /// Finds or makes the port and sets up its queues; no packet moves before [`Port::start`].
    pub fn open(eal: &Eal, source: &PortSource, id: PortId, config: &PortConfig) -> Result<Port, DpdkError> {
        let name = source.to_string();
        if !config.pool.belongs_to(&eal.inner) {
            return Err(DpdkError::State { port: name, what: "its pool belongs to another EAL" });
        }
        let (port, vdev, mtu_limit) = find(source, id, &config.queues)?;
        if !lock(&eal.inner.open).insert(port) {
            return Err(DpdkError::PortTwice(name));
        }
        // From here on dropping `inner` closes and forgets the port.
        let mut inner = PortInner {
            port,
            id,
            name,
            vdev,
            queues: config.queues,
            caps: Caps::default(),
            mac: Mac::ZERO,
            mtu: 0,
            control: Mutex::new(()),
            started: AtomicBool::new(false),
            queues_out: AtomicU16::new(0),
            eal: Arc::clone(&eal.inner),
            _pool: config.pool.clone(),
        };
        inner.set_up(config)?;
        inner.mtu = inner.mtu.min(mtu_limit);
        Ok(Port { inner: Arc::new(inner), taken: false })
    }

    /// Its number in turnout.
    pub fn id(&self) -> PortId {
        self.inner.id
    }

    /// As written in the profile: `linux:eth0`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The address it sends from (`rte_eth_macaddr_get`).
    pub fn mac(&self) -> Mac {
        self.inner.mac
    }

    /// The longest IP packet, in bytes (`rte_eth_dev_get_mtu`; of a Linux port not over the interface's).
    pub fn mtu(&self) -> u16 {
        self.inner.mtu
    }

    /// What it can do.
    pub fn caps(&self) -> &Caps {
        &self.inner.caps
    }

    /// The link now (`rte_eth_link_get_nowait`). Of a Linux port it says nothing: watch that by `LinkWatcher`.
    pub fn link(&self) -> LinkState {
        self.inner.link()
    }

    /// Asks for the link from another place, without borrowing the port.
    pub fn link_probe(&self) -> LinkProbe {
        LinkProbe { port: Arc::clone(&self.inner) }
    }

    /// Lets packets flow (`rte_eth_dev_start`), not promiscuous. Does nothing on a started port.
    pub fn start(&mut self) -> Result<(), DpdkError> {
        let inner = &self.inner;
        let _alone = lock(&inner.control);
        if inner.started.load(Ordering::Acquire) {
            return Ok(());
        }
        // SAFETY: the port is open and set up; `control` keeps other steering calls away.
        inner.check("rte_eth_dev_start", unsafe { ffi::rte_eth_dev_start(inner.port) })?;
        inner.started.store(true, Ordering::Release);
        // SAFETY: as above. Virtual ports know no such mode: their refusal does not matter.
        let _ = unsafe { ffi::rte_eth_promiscuous_disable(inner.port) };
        Ok(())
    }

    /// Stops it (`rte_eth_dev_stop`); its queues must have been dropped. It may start again, with new queues.
    pub fn stop(&mut self) -> Result<(), DpdkError> {
        let inner = &self.inner;
        if inner.queues_out.load(Ordering::Acquire) != 0 {
            return Err(inner.state("its queues are still in use: drop them before it stops"));
        }
        let _alone = lock(&inner.control);
        if inner.started.swap(false, Ordering::AcqRel) {
            // SAFETY: started, no queue is out (and none can be taken: `&mut self`), steering is locked.
            inner.check("rte_eth_dev_stop", unsafe { ffi::rte_eth_dev_stop(inner.port) })?;
        }
        self.taken = false;
        Ok(())
    }

    /// All its queues, once for each start.
    pub fn take_queues(&mut self) -> Result<Vec<Queue>, DpdkError> {
        if self.taken {
            return Err(self.inner.state("its queues were taken before"));
        }
        if !self.inner.started.load(Ordering::Acquire) {
            return Err(self.inner.state("start it before taking its queues"));
        }
        self.taken = true;
        self.inner.queues_out.store(self.inner.queues, Ordering::Release);
        Ok((0..self.inner.queues).map(|q| Queue::new(Arc::clone(&self.inner), q)).collect())
    }

    /// Receives frames to any MAC, too: for a virtual MAC on a NIC without room for a second address. Some virtual
    /// ports cannot.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), DpdkError> {
        let inner = &self.inner;
        let _alone = lock(&inner.control);
        // SAFETY: the port is open; `control` keeps other steering calls away.
        let result = unsafe {
            if on {
                ffi::rte_eth_promiscuous_enable(inner.port)
            } else {
                ffi::rte_eth_promiscuous_disable(inner.port)
            }
        };
        inner.check("rte_eth_promiscuous_enable", result)
    }

    /// Fills the RSS redirection table (`rte_eth_dev_rss_reta_update`): `queues[i]` takes the hashes of index i. Its
    /// length is `Caps::reta_size`, at most 512.
    pub fn set_reta(&self, queues: &[u16]) -> Result<(), DpdkError> {
        let inner = &self.inner;
        if queues.len() != usize::from(inner.caps.reta_size) || queues.iter().any(|&q| q >= inner.queues) {
            return Err(inner.state("a redirection table has one of its queues for each of its entries"));
        }
        let _alone = lock(&inner.control);
        // SAFETY: the port is open; the table has as many entries as said, and the callee refuses more than 512.
        let result = unsafe { ffi::turnout_port_reta(inner.port, queues.as_ptr(), inner.caps.reta_size) };
        inner.check("rte_eth_dev_rss_reta_update", result)
    }

    /// Its counters. Zeros if the driver keeps none.
    pub fn stats(&self) -> PortStats {
        let inner = &self.inner;
        let _alone = lock(&inner.control);
        let mut out = ffi::turnout_stats::default();
        // SAFETY: the port is open, `out` is a writable struct of the type that the callee fills.
        unsafe { ffi::turnout_port_stats(inner.port, &mut out) };
        PortStats {
            ipackets: out.ipackets,
            opackets: out.opackets,
            ibytes: out.ibytes,
            obytes: out.obytes,
            imissed: out.imissed,
            ierrors: out.ierrors,
            oerrors: out.oerrors,
            rx_nombuf: out.rx_nombuf,
        }
    }
}

/// Reads a port's link; the port stays open while it exists.
#[derive(Clone)]
pub struct LinkProbe {
    port: Arc<PortInner>,
}

impl LinkProbe {
    /// As [`Port::link`].
    pub fn link(&self) -> LinkState {
        self.port.link()
    }
}

impl PortInner {
    fn set_up(&mut self, config: &PortConfig) -> Result<(), DpdkError> {
        let mut info = ffi::turnout_port_info::default();
        // SAFETY: DPDK gave this port's number; `info` is a writable struct of the type that the callee fills.
        self.check("rte_eth_dev_info_get", unsafe { ffi::turnout_port_info(self.port, &mut info) })?;
        self.caps = caps_of(&info, self.vdev.is_some());
        if config.queues == 0 || config.queues > self.caps.queues {
            let port = self.name.clone();
            return Err(DpdkError::Queues { port, max: self.caps.queues, asked: config.queues });
        }
        let mut key = config.rss_key.clone().unwrap_or_default();
        let spread = self.caps.rss && config.queues > 1;
        let expected = usize::from(info.hash_key_size);
        if spread && !key.is_empty() && expected != 0 && key.len() != expected {
            return Err(DpdkError::RssKey { port: self.name.clone(), expected, got: key.len() });
        }
        let (rss, key_len) = (if spread { info.rss } else { 0 }, u8::try_from(key.len()).unwrap_or(0));
        let key_at = if key_len == 0 { std::ptr::null_mut() } else { key.as_mut_ptr() };
        // SAFETY: an open, stopped port; `key_at` is null or points at `key_len` bytes that outlive the call (DPDK
        // copies the key).
        let result = unsafe { ffi::turnout_port_configure(self.port, config.queues, rss, key_at, key_len) };
        self.check("rte_eth_dev_configure", result)?;
        let (mut rx_desc, mut tx_desc) = (config.rx_desc, config.tx_desc);
        // SAFETY: an open port and two writable numbers.
        let result = unsafe { ffi::turnout_port_adjust_desc(self.port, &mut rx_desc, &mut tx_desc) };
        self.check("rte_eth_dev_adjust_nb_rx_tx_desc", result)?;
        // SAFETY: an open port; -1 (any node) is as DPDK wants it for queues, too.
        let node = unsafe { ffi::rte_eth_dev_socket_id(self.port) } as u32;
        for queue in 0..config.queues {
            let pool = config.pool.raw();
            // SAFETY: configured with this many queues; a null configuration takes the driver's default; the pool is held
            // by `self._pool` for longer than the port is open.
            let result = unsafe {
                ffi::rte_eth_rx_queue_setup(self.port, queue, rx_desc, node, std::ptr::null(), pool)
            };
            self.check("rte_eth_rx_queue_setup", result)?;
            // SAFETY: as above.
            let result =
                unsafe { ffi::rte_eth_tx_queue_setup(self.port, queue, tx_desc, node, std::ptr::null()) };
            self.check("rte_eth_tx_queue_setup", result)?;
        }
        let mut mac = ffi::rte_ether_addr::default();
        // SAFETY: an open port and a writable address.
        self.check("rte_eth_macaddr_get", unsafe { ffi::rte_eth_macaddr_get(self.port, &mut mac) })?;
        self.mac = Mac(mac.addr_bytes);
        // SAFETY: an open port and a writable number.
        let result = unsafe { ffi::rte_eth_dev_get_mtu(self.port, &mut self.mtu) };
        self.check("rte_eth_dev_get_mtu", result)
    }

    fn link(&self) -> LinkState {
        let _alone = lock(&self.control);
        let mut out = ffi::turnout_link::default();
        // SAFETY: the port is open while `self` lives, `out` is a writable struct of the type that the callee fills.
        unsafe { ffi::turnout_port_link(self.port, &mut out) };
        LinkState { up: out.up != 0, speed_mbps: out.speed_mbps }
    }

    /// A queue was dropped: everything it did to the port happened before.
    pub(super) fn queue_back(&self) {
        self.queues_out.fetch_sub(1, Ordering::AcqRel);
    }

    fn check(&self, what: &'static str, result: i32) -> Result<(), DpdkError> {
        if result >= 0 {
            return Ok(());
        }
        Err(DpdkError::Port { port: self.name.clone(), what, text: text(result) })
    }

    fn state(&self, what: &'static str) -> DpdkError {
        DpdkError::State { port: self.name.clone(), what }
    }
}

impl Drop for PortInner {
    fn drop(&mut self) {
        if self.started.load(Ordering::Acquire) {
            // SAFETY: queues hold an Arc of this: none is left, so nobody receives or sends.
            unsafe { ffi::rte_eth_dev_stop(self.port) };
        }
        // SAFETY: stopped, opened by us alone (`open`), closed once. It returns the mbufs in its rings to the pool, which
        // `_pool` still holds.
        unsafe { ffi::rte_eth_dev_close(self.port) };
        if let Some(name) = &self.vdev {
            // SAFETY: NUL-terminated strings; the EAL runs, as `eal` holds it. The device goes, its name is free again.
            unsafe { ffi::rte_eal_hotplug_remove(c"vdev".as_ptr(), name.as_ptr()) };
        }
        lock(&self.eal.open).remove(&self.port);
    }
}

/// DPDK's number of the port, the name of the virtual device if it made one, and a limit to the MTU.
fn find(source: &PortSource, id: PortId, queues: &u16) -> Result<(u16, Option<CString>, u16), DpdkError> {
    let c = |text: &str| CString::new(text).map_err(|_| DpdkError::Nul(text.into()));
    let missing = |hint: String| DpdkError::NoPort { port: source.to_string(), hint };
    let (name, args, mtu_limit) = match source {
        PortSource::Pci(address) => {
            let port = by_name(&c(address)?).ok_or_else(|| {
                missing(format!(
                    "DPDK found no device at {address}: see `dpdk-devbind.py --status-dev net`, then \
                     `dpdk-devbind.py --bind=vfio-pci {address}`"
                ))
            })?;
            return Ok((port, None, u16::MAX));
        }
        PortSource::Vdev(text) => {
            let (name, args) = text.split_once(',').unwrap_or((text, ""));
            (name.to_owned(), args.to_owned(), u16::MAX)
        }
        PortSource::Linux(ifname) => {
            require_capabilities(ifname)?;
            let mtu = interface(ifname)?.mtu;
            // qdisc_bypass: what else is sent here ends in a blackhole (linux.rs). 512 frames, the default, are too few.
            let args = format!("iface={ifname},qpairs={queues},framecnt=4096,blocksz=65536,qdisc_bypass=1");
            (format!("net_af_packet{}", id.0), args, mtu.min(1500) as u16)
        }
    };
    let (name, args) = (c(&name)?, c(&args)?);
    if by_name(&name).is_some() {
        return Err(DpdkError::PortTwice(source.to_string()));
    }
    // SAFETY: NUL-terminated strings, copied by DPDK; the EAL runs, as the caller holds it.
    let result = unsafe { ffi::rte_eal_hotplug_add(c"vdev".as_ptr(), name.as_ptr(), args.as_ptr()) };
    if result < 0 {
        let why = if result == -1 { errno() } else { result };
        return Err(missing(format!("DPDK could not make it ({}); TURNOUT_EAL_LOG=1 shows why", text(why))));
    }
    match by_name(&name) {
        Some(port) => Ok((port, Some(name), mtu_limit)),
        None => Err(missing("the device is there but is no Ethernet port".into())),
    }
}

fn by_name(name: &CStr) -> Option<u16> {
    let mut port = 0u16;
    // SAFETY: a NUL-terminated string and a writable number.
    (unsafe { ffi::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut port) } == 0).then_some(port)
}

fn caps_of(info: &ffi::turnout_port_info, virtual_port: bool) -> Caps {
    let name: Vec<u8> = info.driver.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    Caps {
        driver: String::from_utf8_lossy(&name).into_owned(),
        queues: info.max_rx_queues.min(info.max_tx_queues),
        // Some virtual ports (net_null) list hash types but keep all packets on the queue they came by.
        rss: info.rss != 0 && !virtual_port,
        reta_size: info.reta_size,
        hash_key_size: info.hash_key_size,
        link_interrupt: info.link_interrupt != 0,
        rx_checksum_ip: info.rx_ip != 0,
        rx_checksum: info.rx_udp != 0 && info.rx_tcp != 0,
        tx_checksum_ip: info.tx_ip != 0,
        tx_checksum_udp: info.tx_udp != 0,
        tx_checksum_tcp: info.tx_tcp != 0,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
