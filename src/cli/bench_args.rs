//! What `turnout bench` can be told.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand, ValueEnum};

use super::args::{count, number, positive};

/// What `turnout bench` measures.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Translation: packets a second, cycles a packet, sessions set up a second
    #[command(after_long_help = "Numbers take K, M and G.

Examples:
  turnout bench nat
  turnout bench nat --sessions 1000,64512,1032192 --compare
  turnout bench nat --sessions 1M --order shuffled --direction down
  turnout bench nat --sessions 100K --workers 2 --json")]
    Nat(NatArgs),
    /// The other side of a router under test: opens sessions, sends, counts
    #[command(
        after_long_help = "The router lies between the two ports, a process of its own on another core;
bench/memif.sh sets both up. Numbers take K, M and G.

Examples:
  turnout bench generator --lan net_memif0,... --wan net_memif1,...
  turnout bench generator --lan 0000:03:00.0 --wan 0000:03:00.1 --seconds 10"
    )]
    Generator(GeneratorArgs),
    /// From the decision of a failover to the last and the first packet
    #[command(after_long_help = "How long packets still leave by a WAN that is given up, and when the first
leaves by the other one, with ten sessions and with a million. A manager's
thread decides while a worker forwards without a pause. Takes two cores, and
some two minutes for the million.

Examples:
  turnout bench failover
  turnout bench failover --sessions 10,64512 --rounds 1000 --json")]
    Failover(FailoverArgs),
    /// What a packet costs that reaches the wrong one of two workers
    #[command(after_long_help = "Numbers take K, M and G. Takes two cores.

Examples:
  turnout bench handover
  turnout bench handover --direction down --json")]
    Handover(HandoverArgs),
    /// The longest turn of a worker, while something else happens at a full table
    #[command(after_long_help = "At rest, during a listing, a reload, a flood of SYNs, a failover and the
expiry of all sessions: how long one turn held its burst. Everything is done
several times over; of each turn the shortest time counts, so that what the
kernel or a neighbour interrupted is not taken for the path's.

Examples:
  turnout bench stalls
  turnout bench stalls --sessions 64512 --json")]
    Stalls(StallArgs),
}

/// Options of `turnout bench nat`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct NatArgs {
    /// So many sessions, all alive; several numbers give a row each
    #[arg(long, value_name = "N,..", value_parser = count, value_delimiter = ',', default_value = "64512")]
    pub sessions: Vec<u64>,
    /// So many workers, a core each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128), default_value = "1")]
    pub workers: u16,
    /// LAN to WAN, WAN to LAN, or both in turn
    #[arg(long, value_enum, default_value_t = Direction::Both)]
    pub direction: Direction,
    /// In which order the packets take the sessions
    #[arg(long, value_enum, default_value_t = Order::Shuffled)]
    pub order: Order,
    /// Length of a frame without its checksum, 60 to 1514; or `imix`: 60, 590 and 1514 as 7 : 4 : 1
    #[arg(long, value_name = "N", value_parser = frames, default_value = "60")]
    pub bytes: Frames,
    /// Packets in a burst
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32), default_value = "32")]
    pub burst: u16,
    /// Packets to measure, for each worker
    #[arg(long, value_name = "N", value_parser = positive, default_value = "10M")]
    pub packets: u64,
    /// Also measure the reference loop, the least that translates a packet, and print the ratio
    #[arg(long)]
    pub compare: bool,
    /// What the packets come from and go into: arrays, so that the path alone is measured, or DPDK's net_ring, to take
    /// a driver's receive and send in
    #[arg(long, value_enum, default_value_t = Wires::Arrays)]
    pub port: Wires,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Options of `turnout bench stalls`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct StallArgs {
    /// So many sessions, which fill the table
    #[arg(long, value_name = "N", value_parser = count, default_value = "1M")]
    pub sessions: u64,
    /// How often everything is done
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=20), default_value = "3")]
    pub rounds: u8,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Options of `turnout bench failover`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct FailoverArgs {
    /// So many sessions, all busy; several numbers give a row each
    #[arg(long, value_name = "N,..", value_parser = count, value_delimiter = ',', default_value = "10,10K,1M")]
    pub sessions: Vec<u64>,
    /// Failovers of each row
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), default_value = "100")]
    pub rounds: u16,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

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
    #[arg(long, value_name = "N", value_parser = count, default_value = "64512")]
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
    #[arg(long, value_name = "N", value_parser = count, default_value = "10K")]
    pub sessions: u64,
    /// LAN to WAN, WAN to LAN, or both in turn
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

/// Which way the packets of a measurement go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// LAN to WAN.
    Up,
    /// WAN to LAN.
    Down,
    /// Both in turn.
    Both,
}

/// In which order the packets of a measurement take the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// By chance: every packet misses the caches.
    Shuffled,
    /// As they were created: the kindest.
    Created,
}

/// How long the frames of a measurement are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// All of them, in bytes.
    Fixed(u16),
    /// The usual mix.
    Imix,
}

/// What the packets of a measurement come from and go into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wires {
    /// Arrays in memory.
    Arrays,
    /// DPDK's `net_ring`.
    #[value(name = "net_ring")]
    Rings,
}

fn frames(text: &str) -> Result<Frames, String> {
    match text.parse() {
        _ if text == "imix" => Ok(Frames::Imix),
        Ok(bytes @ 60..=1514) => Ok(Frames::Fixed(bytes)),
        _ => Err("60 to 1514, or imix".to_owned()),
    }
}
