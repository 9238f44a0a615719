//! The options of the measurements that need more than one process.

use std::net::Ipv4Addr;

use clap::Args;

use super::args::{Direction, number, positive};

/// Options of `turnout bench generator`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct GeneratorArgs {
    /// The port on the router's LAN: a PCI address or a device net_*
    #[arg(long, value_name = "PORT")]
    pub lan: String,
    /// The port on the router's WAN
    #[arg(long, value_name = "PORT")]
    pub wan: String,
    /// The router's address on the LAN
    #[arg(long, value_name = "ADDRESS", default_value = "192.168.10.1")]
    pub lan_router: Ipv4Addr,
    /// The router's address on the WAN
    #[arg(long, value_name = "ADDRESS", default_value = "203.0.113.2")]
    pub wan_router: Ipv4Addr,
    /// What lies between passes frames on as they are: no ARP, no NAT
    #[arg(long)]
    pub plain: bool,
    /// So many sessions: UDP, 63 ports a host
    #[arg(long, value_name = "N", value_parser = positive, default_value = "64512")]
    pub sessions: u64,
    /// The races, one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_value = "up,down,both")]
    pub direction: Vec<Direction>,
    /// How long each is counted
    #[arg(long, value_name = "N", value_parser = positive, default_value = "5")]
    pub seconds: u64,
    /// Length of a frame, without its checksum
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u16).range(60..=1514), default_value = "60")]
    pub bytes: u16,
    /// Then wait for the other side to end first, so long at most
    #[arg(long, value_name = "N", value_parser = number, default_value = "0")]
    pub linger: u64,
    /// The core to run on
    #[arg(long, value_name = "CORE", default_value = "0")]
    pub core: u16,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Options of `turnout bench handover`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct HandoverArgs {
    /// So many sessions, all of one worker
    #[arg(long, value_name = "N", value_parser = positive, default_value = "10K")]
    pub sessions: u64,
    /// LAN to WAN, or WAN to LAN; both is up
    #[arg(long, value_enum, default_value_t = Direction::Up)]
    pub direction: Direction,
    /// Length of a frame, without its checksum
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u16).range(60..=1514), default_value = "60")]
    pub bytes: u16,
    /// Packets to measure
    #[arg(long, value_name = "N", value_parser = positive, default_value = "10M")]
    pub packets: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
