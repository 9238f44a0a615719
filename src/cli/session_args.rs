//! What `turnout sessions` takes: filters of the list, and of the sessions that are to end.

use std::net::Ipv4Addr;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Subcommand};

use super::args::{Talk, number};
use crate::manage::protocol::SessionFilter;

/// The list, or what is done to it.
#[derive(Clone, Debug, Args)]
pub(super) struct SessionsCommand {
    #[command(subcommand)]
    pub(super) kill: Option<SessionsVerb>,
    #[command(flatten)]
    pub(super) list: SessionArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum SessionsVerb {
    /// End the sessions that every given filter matches
    #[command(
        override_usage = "turnout sessions kill <FILTER>... [OPTIONS]",
        after_long_help = "TCP is reset inside, mappings without sessions go, their ports rest as usual.
What a host sends next begins anew.

Examples:
  turnout sessions kill --inside 192.168.10.5
  turnout sessions kill --wan isp2 --protocol udp
  turnout sessions kill --all"
    )]
    Kill(KillArgs),
}

#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("which").args(["inside", "outside", "wan", "protocol", "all"]).required(true).multiple(true)))]
pub(super) struct KillArgs {
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// All sessions
    #[arg(long, conflicts_with_all = ["inside", "outside", "wan", "protocol"])]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) talk: Talk,
}

#[derive(Clone, Debug, Args)]
pub(super) struct SessionArgs {
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = number)]
    pub(super) limit: Option<u64>,
    #[command(flatten)]
    pub(super) talk: Talk,
}

#[derive(Clone, Debug, Args)]
pub(super) struct FilterArgs {
    /// Only those of this inside host
    #[arg(long, value_name = "ADDRESS")]
    pub(super) inside: Option<Ipv4Addr>,
    /// Only those translated to this address
    #[arg(long, value_name = "ADDRESS")]
    pub(super) outside: Option<Ipv4Addr>,
    /// Only those on this WAN
    #[arg(long, value_name = "NAME")]
    pub(super) wan: Option<String>,
    /// Only those of this protocol
    #[arg(long, value_parser = PossibleValuesParser::new(["udp", "tcp", "icmp", "esp", "gre", "ah", "sctp"]))]
    pub(super) protocol: Option<String>,
}

impl FilterArgs {
    pub(super) fn filter(&self, limit: Option<u64>) -> SessionFilter {
        SessionFilter {
            inside: self.inside,
            outside: self.outside,
            wan: self.wan.clone(),
            protocol: self.protocol.clone(),
            limit,
        }
    }
}
