//! What `turnout cluster` takes: the picture of the pair, or the operator's word on who has the role.

use clap::{Args, Subcommand};

use super::args::Talk;

/// The picture, or the word.
#[derive(Clone, Debug, Args)]
pub(super) struct ClusterCommand {
    #[command(subcommand)]
    pub(super) verb: Option<ClusterVerb>,
    #[command(flatten)]
    pub(super) talk: Talk,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum ClusterVerb {
    /// From now on prefer a member where nothing else decides
    #[command(
        after_long_help = "Kept on disk by both members, over restarts; the newest word counts. The role
moves when the preferred member is as fit and has all sessions.

Examples:
  turnout cluster prefer a
  turnout cluster prefer b --json"
    )]
    Prefer(PreferArgs),
    /// Give the role to the partner
    #[command(
        after_long_help = "Refused if this member is not active, the partner could not serve, or it does not
have all sessions yet. This member stays aside until it is preferred anew, is
started anew, or has to take over.

Examples:
  turnout cluster yield
  turnout cluster yield --now       sessions that the partner lacks end
  turnout cluster                   wait until the partner is active"
    )]
    Yield(YieldArgs),
}

#[derive(Clone, Debug, Args)]
pub(super) struct PreferArgs {
    /// The member's name in the profile
    pub(super) name: String,
    #[command(flatten)]
    pub(super) talk: Talk,
}

#[derive(Clone, Debug, Args)]
pub(super) struct YieldArgs {
    /// Even if the partner does not have all sessions
    #[arg(long)]
    pub(super) now: bool,
    #[command(flatten)]
    pub(super) talk: Talk,
}
