//! What is behind a `Port`, its queues and its probes: an open port of DPDK's.
//!
//! It closes when the last of its holders goes, so nobody ever polls a closed port. `control` is taken for every call
//! that steers the port, as DPDK wants one thread at a time there; receiving and sending do without.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::af_packet;
use super::eal::{Device, EalInner};
use super::error::{DpdkError, text as error_text};
use super::ffi;
use super::find::{Found, find};
use super::pool::Pool;
use super::port_types::{Caps, LinkState, PortConfig, PortSource, PortStats};
use super::steering::{self, RssRule, Steering};
use crate::base::{Mac, PortId};

/// Its control sockets are served by DPDK's interrupt thread, which outlives `rte_eal_cleanup` (22.11) and would read
/// what that unmaps, as soon as a peer connects or goes. The memory of a process that ends goes without it.
const MEMIF: &str = "net_memif";

pub(super) struct PortInner {
    device: Device,
    /// DPDK's number.
    pub(super) port: u16,
    /// Ours.
    pub(super) id: PortId,
    pub(super) name: String,
    vdev: Option<CString>,
    pub(super) queues: u16,
    pub(super) caps: Caps,
    pub(super) mac: Mac,
    pub(super) mtu: u16,
    /// Received frames of this length or more are dropped.
    pub(super) cut: usize,
    control: Mutex<()>,
    started: AtomicBool,
    /// Stopped for good.
    spent: AtomicBool,
    queues_out: AtomicU16,
    rss: Option<RssRule>,
    promiscuous: bool,
    eal: Arc<EalInner>,
    // Last: fields drop in this order, and the port's rings give their mbufs back in PortInner::drop before.
    _pool: Pool,
}

impl PortInner {
    pub(super) fn open(
        eal: &Arc<EalInner>,
        source: &PortSource,
        id: PortId,
        config: &PortConfig,
    ) -> Result<PortInner, DpdkError> {
        let name = source.to_string();
        if !config.pool.belongs_to(eal) {
            return Err(DpdkError::State { port: name, what: "its pool belongs to another EAL" });
        }
        // Held until the port is entered: a number that is free stays free for it.
        let mut open = lock(&eal.open);
        let Found { device, port, vdev, mtu_limit, cut } = find(source, id, config.queues, &open)?;
        open.insert(device);
        drop(open);
        // From here on dropping `inner` closes and forgets the port.
        let mut inner = PortInner {
            device,
            port,
            id,
            name,
            vdev,
            queues: config.queues,
            caps: Caps::default(),
            mac: Mac::ZERO,
            mtu: 0,
            cut,
            control: Mutex::new(()),
            started: AtomicBool::new(false),
            spent: AtomicBool::new(false),
            queues_out: AtomicU16::new(0),
            rss: config.rss,
            promiscuous: config.promiscuous,
            eal: Arc::clone(eal),
            _pool: config.pool.clone(),
        };
        inner.set_up(config)?;
        inner.mtu = inner.mtu.min(mtu_limit);
        Ok(inner)
    }

    /// Starts it, unless it runs, and tells it whose its packets are.
    pub(super) fn start(&self) -> Result<Steering, DpdkError> {
        let _alone = lock(&self.control);
        if self.started.load(Ordering::Acquire) {
            return Ok(steering::tell(self.port, &self.caps, self.queues, self.rss.as_ref()));
        }
        if self.spent.load(Ordering::Acquire) {
            return Err(self.state("it starts once: close it and open it again"));
        }
        // SAFETY: the port is open and set up; `control` keeps other steering calls away.
        let code = unsafe { ffi::rte_eth_dev_start(self.port) };
        // The driver says EPERM of this; a client is what it is by default.
        if code < 0 && self.caps.driver == MEMIF && !self.name.contains("role=server") {
            let what = "nobody is at the other end: start the memif server first, or have this side be it (role=server)";
            return Err(self.state(what));
        }
        self.check("rte_eth_dev_start", code)?;
        self.started.store(true, Ordering::Release);
        if self.promiscuous {
            // SAFETY: as above.
            let code = unsafe { ffi::rte_eth_promiscuous_enable(self.port) };
            // Virtual ports know no such mode, and take every frame.
            if self.vdev.is_none() || matches!(self.device, Device::Linux(_)) {
                self.check("rte_eth_promiscuous_enable", code)?;
            }
        } else {
            // SAFETY: as above. The refusal of a virtual port does not matter.
            let _ = unsafe { ffi::rte_eth_promiscuous_disable(self.port) };
        }
        Ok(steering::tell(self.port, &self.caps, self.queues, self.rss.as_ref()))
    }

    pub(super) fn stop(&self) -> Result<(), DpdkError> {
        if self.queues_out.load(Ordering::Acquire) != 0 {
            return Err(self.state("its queues are still in use: drop them before it stops"));
        }
        let _alone = lock(&self.control);
        if self.started.swap(false, Ordering::AcqRel) {
            self.spent.store(self.caps.driver == af_packet::DRIVER, Ordering::Release);
            // SAFETY: started, no queue is out (and none can be taken: the Port is borrowed mutably), steering is locked.
            self.check("rte_eth_dev_stop", unsafe { ffi::rte_eth_dev_stop(self.port) })?;
        }
        Ok(())
    }

    pub(super) fn stats(&self) -> PortStats {
        let _alone = lock(&self.control);
        let mut out = ffi::turnout_stats::default();
        // SAFETY: the port is open, `out` is a writable struct of the type that the callee fills.
        unsafe { ffi::turnout_port_stats(self.port, &mut out) };
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

    /// The queues are in use from now on, each until `queue_back`.
    pub(super) fn lend_queues(&self) -> Result<(), DpdkError> {
        if !self.started.load(Ordering::Acquire) {
            return Err(self.state("start it before taking its queues"));
        }
        self.queues_out.store(self.queues, Ordering::Release);
        Ok(())
    }

    fn set_up(&mut self, config: &PortConfig) -> Result<(), DpdkError> {
        let mut info = ffi::turnout_port_info::default();
        // SAFETY: DPDK gave this port's number; `info` is a writable struct of the type that the callee fills.
        self.check("rte_eth_dev_info_get", unsafe { ffi::turnout_port_info(self.port, &mut info) })?;
        self.caps = caps_of(&info);
        if self.caps.driver == MEMIF {
            self.eal.watched.store(true, Ordering::Release);
        }
        if config.queues == 0 || config.queues > self.caps.queues {
            let port = self.name.clone();
            return Err(DpdkError::Queues { port, max: self.caps.queues, asked: config.queues });
        }
        // Virtual ports send mbufs on to whom they like: their pools and counts are not known.
        self.caps.tx_fast_free =
            info.tx_fast_free != 0 && self.vdev.is_none() && lock(&self.eal.census).rely();
        let fast_free = u8::from(self.caps.tx_fast_free);
        self.caps.rx_vlan_strip = config.strip_vlan && info.rx_vlan != 0;
        let vlan = u8::from(self.caps.rx_vlan_strip);
        // SAFETY: an open, stopped port. Every mbuf that is sent is of the one pool (`Census`) and has reference count 1
        // (invariant of `Mbuf`), as MBUF_FAST_FREE wants it.
        let result = unsafe {
            ffi::turnout_port_configure(self.port, config.queues, info.rx_ip, vlan, fast_free, info.rss)
        };
        self.check("rte_eth_dev_configure", result)?;
        self.ask_for_mtu(config)?;
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
        self.take_mac(config.mac.filter(|mac| *mac != self.mac));
        // SAFETY: an open port and a writable number.
        let result = unsafe { ffi::rte_eth_dev_get_mtu(self.port, &mut self.mtu) };
        self.check("rte_eth_dev_get_mtu", result)
    }

    /// Longer packets than the driver carries by itself, before the queues are made for them. The MTU of a Linux interface is
    /// the kernel's: the port keeps within it.
    fn ask_for_mtu(&mut self, config: &PortConfig) -> Result<(), DpdkError> {
        let mut mtu = 0;
        // SAFETY: an open port and a writable number.
        let result = unsafe { ffi::rte_eth_dev_get_mtu(self.port, &mut mtu) };
        self.check("rte_eth_dev_get_mtu", result)?;
        let Some(asked) = config.mtu.filter(|asked| *asked > mtu && !matches!(self.device, Device::Linux(_)))
        else {
            return Ok(());
        };
        // SAFETY: an open, stopped port.
        let result = unsafe { ffi::rte_eth_dev_set_mtu(self.port, asked) };
        self.check("rte_eth_dev_set_mtu", result)
    }

    /// Another address than its own: told to a NIC, else all frames are received. A Linux interface keeps its address, as the
    /// kernel would not get it back.
    fn take_mac(&mut self, mac: Option<Mac>) {
        let Some(mac) = mac else { return };
        let mut raw = ffi::rte_ether_addr { addr_bytes: mac.0 };
        // SAFETY: an open, stopped port and an address, which DPDK copies.
        let mut set = || unsafe { ffi::rte_eth_dev_default_mac_addr_set(self.port, &mut raw) } >= 0;
        if self.vdev.is_none() && set() {
            self.mac = mac;
        } else {
            self.promiscuous = true;
        }
    }

    pub(super) fn link(&self) -> LinkState {
        let _alone = lock(&self.control);
        let mut out = ffi::turnout_link::default();
        // SAFETY: the port is open while `self` lives, `out` is a writable struct of the type that the callee fills.
        unsafe { ffi::turnout_port_link(self.port, &mut out) };
        // Of a Linux port the driver makes a speed up.
        let linux = matches!(self.device, Device::Linux(_));
        LinkState { up: out.up != 0, speed_mbps: if linux { 0 } else { out.speed_mbps } }
    }

    /// A queue was dropped: everything it did to the port happened before.
    pub(super) fn queue_back(&self) {
        self.queues_out.fetch_sub(1, Ordering::AcqRel);
    }

    fn check(&self, what: &'static str, result: i32) -> Result<(), DpdkError> {
        if result >= 0 {
            return Ok(());
        }
        Err(DpdkError::Port { port: self.name.clone(), what, text: error_text(result) })
    }

    pub(super) fn state(&self, what: &'static str) -> DpdkError {
        DpdkError::State { port: self.name.clone(), what }
    }
}

impl Drop for PortInner {
    fn drop(&mut self) {
        // Held to the end: the number may be another port's as soon as this one is closed.
        let mut open = lock(&self.eal.open);
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
        if self.caps.tx_fast_free {
            lock(&self.eal.census).let_go();
        }
        open.remove(&self.device);
    }
}

fn caps_of(info: &ffi::turnout_port_info) -> Caps {
    let name: Vec<u8> = info.driver.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    Caps {
        driver: String::from_utf8_lossy(&name).into_owned(),
        queues: info.max_rx_queues.min(info.max_tx_queues),
        rss: info.rss != 0,
        reta_size: info.reta_size,
        hash_key_size: info.hash_key_size,
        rss_ports: info.rss_ports != 0,
        steering: Steering::Unasked,
        link_interrupt: info.link_interrupt != 0,
        rx_checksum_ip: info.rx_ip != 0,
        rx_vlan_strip: false,
        tx_fast_free: false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
