//! What can be typed: the commands and their options, with help that teaches by example.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::bench_args::BenchCommand;
use super::cluster_args::ClusterCommand;
use super::session_args::SessionsCommand;

const PROFILE: &str = "/etc/turnout/profile.yaml";
const SOCKET: &str = "/run/turnout/turnout.sock";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "turnout",
    bin_name = "turnout",
    version,
    about = "A userspace packet router for sites with two internet connections"
)]
#[command(max_term_width = 80, arg_required_else_help = true)]
#[command(after_long_help = "Examples:
  turnout check office.yaml         is the profile sound?
  turnout run office.yaml           route by it until SIGTERM
  turnout status                    what the running router is doing
  turnout wan drain isp1            nothing new over isp1 from now on
  turnout demo                      see a failover, without any hardware

Exit status: 0 done, 1 refused or failed, 2 wrong usage.")]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Judge a profile: every mistake at once, with line and column
    #[command(after_long_help = "Examples:
  turnout check office.yaml
  turnout check office.yaml && systemctl reload turnout")]
    Check(CheckArgs),
    /// Route by a profile, in the foreground
    #[command(after_long_help = "Prints the line `ready` when every port forwards.

Examples:
  turnout run
  turnout run office.yaml
  turnout run pair.yaml --member a  one of the two members of a cluster
  kill -TERM $(pidof turnout)       stops within 2 s, in good order")]
    Run(RunArgs),
    /// Build a small internet in namespaces, fail an ISP, and show what becomes of the traffic
    #[command(after_long_help = "Scenarios (docs/topologies.md has the pictures):
  dual-wan                 a router loses its first ISP twice
  single-behind-firewall   the same, seen from behind a node in its DMZ
  single-interface         the same, and the node has one port
  cluster-behind-firewall  a pair in a DMZ: one is killed, nobody is cut off
  cluster-dual-wan         a pair on both ISPs: an ISP, cables, a member fail
  cluster-two-isps         a pair, an ISP each: the role is the choice of it
  cluster-two-dmzs         the same, each behind a firewall
  cluster-mixed            the same, one of them behind a firewall, by DHCP

Examples:
  turnout demo
  turnout demo --scenario cluster-dual-wan --seconds 30
  turnout demo --json | tail -n 1 | jq .failovers")]
    Demo(DemoArgs),
    /// Decide again what a journal tells, and say where this build decides otherwise
    #[command(
        after_long_help = "JOURNAL is a file of the journal, or its folder. Exit status 1 if a decision is
another one.

Examples:
  turnout replay /var/lib/turnout
  turnout replay /var/lib/turnout/decisions.jsonl.3 --json"
    )]
    Replay(ReplayArgs),
    /// Measure the packet path on this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    #[command(flatten)]
    Talk(TalkCommand),
}

/// What is done here, mostly by asking a running router.
#[derive(Debug, Subcommand)]
pub(super) enum TalkCommand {
    /// The running router in short: WANs, sessions, workers
    #[command(after_long_help = "Examples:
  turnout status
  turnout status --json | jq .sessions.live
  watch turnout status")]
    Status(Talk),
    /// Every WAN: state, round trip time, loss, and why it is as it is
    #[command(after_long_help = "Examples:
  turnout wans
  turnout wans --json | jq -r '.[] | select(.carrying) | .name'")]
    Wans(Talk),
    /// The translated sessions
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_long_help = "Every given filter must match.

Examples:
  turnout sessions --inside 192.168.10.5
  turnout sessions --wan isp1 --protocol tcp --limit 20
  turnout sessions --json | jq length")]
    Sessions(SessionsCommand),
    /// Who answers to which address on the attached networks
    #[command(after_long_help = "Examples:
  turnout neighbors
  turnout neighbors --json | jq -r '.[].mac'")]
    Neighbors(Talk),
    /// What was counted since the start; every dropped packet has a reason
    #[command(after_long_help = "Zeros are left out unless asked for.

Examples:
  turnout counters
  turnout counters --all
  turnout counters --json | jq .drop_nat_ports_exhausted")]
    Counters(CounterArgs),
    /// How long packets are in the router, from receive to send
    #[command(
        after_long_help = "Since the start, by worker; a busy one measures one turn in seven. TURN is the
longest of all turns with packets: what held up a worker shows there. The time
in the port's queue, and on a ring between two workers, is not in it.

Examples:
  turnout latency
  turnout latency --json | jq .p99_ns
  turnout latency --json | jq '.workers[] | {core, longest_turn_ns}'"
    )]
    Latency(Talk),
    /// What has happened: failovers, links, overrides
    #[command(after_long_help = "Examples:
  turnout events
  turnout events --follow
  turnout events --follow --json | jq 'select(.kind == \"failover\")'")]
    Events(EventArgs),
    /// The last failovers: why, on what evidence, what moved, how long it took
    #[command(after_long_help = "Newest first.

Examples:
  turnout why
  turnout why --limit 1
  turnout why --json | jq '.[0].evidence'")]
    Why(WhyArgs),
    /// What would become of a packet, rule by rule; nothing is sent
    #[command(after_long_help = "The packet is `PROTOCOL SOURCE > DESTINATION`, with ports for tcp and udp.

Examples:
  turnout explain 'udp 192.168.10.5:5000 > 9.9.9.9:53'
  turnout explain 'tcp 192.168.10.5:4000 > 203.0.113.80:443' --if isp1=down
  turnout explain 'tcp 198.51.100.9:5000 > 203.0.113.2:8443' --in isp1")]
    Explain(ExplainArgs),
    /// Apply a changed profile: only the difference, sessions stay
    #[command(
        after_long_help = "A profile with a mistake changes nothing. What cannot change while the router
runs (ports, cores, the size of tables) is refused with a list.

Examples:
  turnout reload
  turnout reload --confirm 60s      goes back unless `turnout confirm` comes"
    )]
    Reload(ReloadArgs),
    /// Keep what `turnout reload --confirm` has applied
    #[command(after_long_help = "Examples:
  turnout reload --confirm 60s && turnout confirm")]
    Confirm(Talk),
    /// Override what the probes say of a WAN
    #[command(subcommand)]
    Wan(WanCommand),
    /// The pair: what both members are, why, and who is to have the role
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_long_help = "Examples:
  turnout cluster
  turnout cluster --json | jq -r .site
  turnout cluster prefer b          b is to have the role where both are fit
  turnout cluster yield             before work on this member")]
    Cluster(ClusterCommand),
    /// Print the completions for a shell
    #[command(after_long_help = "Examples:
  turnout completions bash > /etc/bash_completion.d/turnout
  turnout completions fish > ~/.config/fish/completions/turnout.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum WanCommand {
    /// Treat a WAN as failed: the next one takes over, sessions move or are reset
    #[command(after_long_help = "Kept over a restart, shown by `status`, ended by `turnout wan auto`.

Examples:
  turnout wan down isp1
  turnout wan down isp2 --force     even if it is the last fit one")]
    Down(WanArgs),
    /// Send nothing new by a WAN; what is there stays
    #[command(after_long_help = "Kept over a restart, shown by `status`, ended by `turnout wan auto`.

Examples:
  turnout wan drain isp1            before the provider's maintenance
  turnout sessions --wan isp1       watch them go")]
    Drain(WanArgs),
    /// Leave a WAN to its probes again
    #[command(after_long_help = "Examples:
  turnout wan auto isp1")]
    Auto(WanArgs),
}

/// How to reach the running router, and how to print what it says.
#[derive(Clone, Debug, Args)]
pub(super) struct Talk {
    /// The control socket of the running router
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub(super) socket: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct CounterArgs {
    /// Print zeros as well
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) talk: Talk,
}

#[derive(Clone, Debug, Args)]
pub(super) struct EventArgs {
    /// Wait for more, until Ctrl-C
    #[arg(long, short)]
    pub(super) follow: bool,
    #[command(flatten)]
    pub(super) talk: Talk,
}

#[derive(Clone, Debug, Args)]
pub(super) struct WhyArgs {
    /// At most so many
    #[arg(long, value_name = "N", value_parser = number)]
    pub(super) limit: Option<u64>,
    #[command(flatten)]
    pub(super) talk: Talk,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ExplainArgs {
    /// The packet
    pub(super) packet: String,
    /// As if this WAN were so; may be given several times
    #[arg(long = "if", value_name = "WAN=up|down", value_parser = assumption)]
    pub(super) assume: Vec<(String, bool)>,
    /// The interface that it comes in by; without it, the one its source is behind
    #[arg(long = "in", value_name = "NAME")]
    pub(super) interface: Option<String>,
    #[command(flatten)]
    pub(super) talk: Talk,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ReloadArgs {
    /// Go back after this time unless `turnout confirm` comes
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(super) confirm: Option<u64>,
    #[command(flatten)]
    pub(super) talk: Talk,
}

/// Options of `turnout replay`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ReplayArgs {
    /// The journal
    pub journal: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct WanArgs {
    /// The WAN's name in the profile
    pub(super) name: String,
    /// Even if no fit WAN is left then
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) talk: Talk,
}

/// Options of `turnout check`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// The profile to judge
    #[arg(value_name = "PROFILE", default_value = PROFILE)]
    pub profile: PathBuf,
    /// The member of the pair to judge it for; without it, both
    #[arg(long, value_name = "NAME")]
    pub member: Option<String>,
}

/// Options of `turnout run`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// The profile to route by
    #[arg(value_name = "PROFILE", default_value = PROFILE)]
    pub profile: PathBuf,
    /// Which member of the pair this is; without it, /etc/turnout/member says so
    #[arg(long, value_name = "NAME")]
    pub member: Option<String>,
}

/// Options of `turnout demo`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DemoArgs {
    /// What is to go wrong; without it, the one that shows most
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// How long the traffic runs
    #[arg(long, value_name = "N", value_parser = number)]
    pub seconds: Option<u64>,
    /// Print the result as JSON in the last line
    #[arg(long)]
    pub json: bool,
}

/// `isp1=down`.
fn assumption(text: &str) -> Result<(String, bool), String> {
    match text.split_once('=') {
        Some((wan, "down")) if !wan.is_empty() => Ok((wan.to_owned(), false)),
        Some((wan, "up")) if !wan.is_empty() => Ok((wan.to_owned(), true)),
        _ => Err("not an assumption; isp1=down and isp1=up are".to_owned()),
    }
}

/// A span of whole seconds, at least one: `60s`, `5m`.
fn seconds(text: &str) -> Result<u64, String> {
    let span = humantime::parse_duration(text).map_err(|e| format!("not a time: {e}; 60s and 5m are"))?;
    if span.as_secs() == 0 { Err("at least 1s".to_owned()) } else { Ok(span.as_secs()) }
}

/// A number that may end in K, M or G.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(b'G') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1u64),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let value = digits.parse::<u64>().ok().filter(|_| plain).and_then(|n| n.checked_mul(unit));
    value.ok_or_else(|| "not a number; 250000, 250K and 1M are".to_owned())
}

/// A number of sessions.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let most = u64::from(u32::MAX / 4);
    positive(text).and_then(|n| if n > most { Err(format!("at most {most}")) } else { Ok(n) })
}

pub(super) fn positive(text: &str) -> Result<u64, String> {
    number(text).and_then(|n| if n == 0 { Err("at least 1".to_owned()) } else { Ok(n) })
}
