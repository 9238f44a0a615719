//! What a port is opened from and with, and what it says of itself.

use super::pool::Pool;
use super::steering::{RssRule, Steering};
use crate::base::Mac;

/// Where a port comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortSource {
    /// A PCI address, allowed in `EalConfig::pci` and bound to a driver that DPDK can use.
    Pci(String),
    /// A Linux interface of this network namespace, by name (DPDK's `net_af_packet`). Claim it first: `LinuxPort`.
    Linux(String),
    /// A virtual device, as after `--vdev`: `net_ring0`, `net_null0,size=60`.
    Vdev(String),
}

/// As the profile writes it.
impl std::fmt::Display for PortSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortSource::Pci(name) | PortSource::Vdev(name) => f.write_str(name),
            PortSource::Linux(ifname) => write!(f, "linux:{ifname}"),
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
    /// Which queue a packet belongs to; `None` leaves that to the driver.
    pub rss: Option<RssRule>,
    /// The longest IP packet that it must carry, in bytes; `None`: the driver's. The pool's buffers must have room.
    pub mtu: Option<u16>,
    /// The only address that frames come to; `None`: its own.
    pub mac: Option<Mac>,
    /// Frames to other addresses than its own are received as well.
    pub promiscuous: bool,
    /// VLAN tags are taken off what is received, if it can: `PacketBuf::tag_taken` says so of a frame.
    pub strip_vlan: bool,
}

impl PortConfig {
    /// One queue, 1024 descriptors each way.
    pub fn new(pool: Pool) -> PortConfig {
        PortConfig {
            queues: 1,
            rx_desc: 1024,
            tx_desc: 1024,
            pool,
            rss: None,
            mtu: None,
            mac: None,
            promiscuous: false,
            strip_vlan: false,
        }
    }
}

/// What a port can do (`rte_eth_dev_info_get`). What is there is used, what is not is done in software.
///
/// Transmit checksum offload is not asked for: updates by RFC 1624 cost less, and keep a wrong checksum wrong (RFC 5382
/// 7.3) where a NIC would make it right.
///
/// No other offload is asked for on transmit either, which keeps Intel's drivers on their vector paths: there i40e and ice allow
/// `MBUF_FAST_FREE` and nothing else; ixgbe allows nothing, and does not offer that one. So tags are put in by software. On receive all
/// three verify checksums and take tags off by vector, and leave it for split or doubly tagged frames (i40e), flow director (ixgbe), frames of several
/// segments (a slower vector path) and rings that are no power of two: descriptors are 1024, thresholds the drivers' own.
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
    /// Its hash covers the ports of TCP and UDP.
    pub rss_ports: bool,
    /// How packets get to their owner, from the start on.
    pub steering: Steering,
    /// Announces link changes by interrupt.
    pub link_interrupt: bool,
    /// Verifies the IPv4 header checksums of what it receives: `PacketBuf::ip_checksum` says so of a packet.
    pub rx_checksum_ip: bool,
    /// Takes VLAN tags off what it receives, and was asked to.
    pub rx_vlan_strip: bool,
    /// Frees sent mbufs in bulk, without a look at each: asked for while there is one pool, as all are its then.
    pub tx_fast_free: bool,
}

/// One line for the log; what it cannot do is left out.
impl std::fmt::Display for Caps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = if self.queues == 1 { "" } else { "s" };
        write!(f, "{}: {} queue{s}", self.driver, self.queues)?;
        if self.rss {
            write!(f, ", RSS (reta {}, key {})", self.reta_size, self.hash_key_size)?;
        }
        if self.link_interrupt {
            f.write_str(", link interrupt")?;
        }
        if self.rx_checksum_ip {
            f.write_str(", rx ip checksum")?;
        }
        if self.rx_vlan_strip {
            f.write_str(", vlan strip")?;
        }
        if self.tx_fast_free {
            f.write_str(", fast free")?;
        }
        if self.steering != Steering::Unasked {
            write!(f, ", {}", self.steering)?;
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_port_can_do_is_one_line() {
        let nic = Caps {
            driver: "net_ixgbe".into(),
            queues: 64,
            rss: true,
            reta_size: 128,
            hash_key_size: 40,
            link_interrupt: true,
            rx_checksum_ip: true,
            rx_vlan_strip: true,
            tx_fast_free: true,
            rss_ports: true,
            steering: Steering::Nic,
        };
        let line = "net_ixgbe: 64 queues, RSS (reta 128, key 40), link interrupt, rx ip checksum, vlan strip, fast free";
        assert_eq!(nic.to_string(), format!("{line}, steered by the NIC"));
        let unasked = Caps { steering: Steering::Unasked, ..nic.clone() };
        assert_eq!(unasked.to_string(), line);
        let kept = Caps { steering: Steering::Rings("no RSS"), ..nic };
        assert_eq!(kept.to_string(), format!("{line}, handed over by rings (no RSS)"));
        let plain = Caps { driver: "net_null".into(), queues: 1, ..Caps::default() };
        assert_eq!(plain.to_string(), "net_null: 1 queue");
    }
}
