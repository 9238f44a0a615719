//! `wan down|drain|auto`, `reload`, `confirm` and `completions`.

use clap::CommandFactory;

use super::Error;
use super::args::{Cli, ReloadArgs, Talk, WanArgs};
use super::output::{Screen, cut, plain, rows, seconds, wrap};
use crate::manage::protocol::{Admin, Request, ask_one};

pub(super) fn down(args: &WanArgs, screen: &mut Screen) -> Result<(), Error> {
    set(args, Admin::Down, "is down by override until `turnout wan auto`", screen)
}

pub(super) fn drain(args: &WanArgs, screen: &mut Screen) -> Result<(), Error> {
    set(args, Admin::Drain, "takes no new sessions until `turnout wan auto`", screen)
}

pub(super) fn auto(args: &WanArgs, screen: &mut Screen) -> Result<(), Error> {
    set(args, Admin::Auto, "is left to its probes", screen)
}

fn set(args: &WanArgs, admin: Admin, done: &str, screen: &mut Screen) -> Result<(), Error> {
    let request = Request::Wan { name: args.name.clone(), admin, force: args.force };
    let answer = ask_one(&args.talk.socket, &request)?;
    if args.talk.json {
        return Ok(screen.json(&answer)?);
    }
    let name = cut(&plain(&args.name.as_str().into()), 30);
    Ok(screen.line(&format!("{name} {done}"))?)
}

pub(super) fn reload(args: &ReloadArgs, screen: &mut Screen) -> Result<(), Error> {
    let answer = ask_one(&args.talk.socket, &Request::Reload { confirm_s: args.confirm })?;
    if args.talk.json {
        return Ok(screen.json(&answer)?);
    }
    let changed: Vec<String> = rows(&answer["changed"]).iter().map(plain).collect();
    if changed.is_empty() {
        return Ok(screen.line("nothing has changed")?);
    }
    for line in wrap(&format!("applied: {}", changed.join(", ")), 9) {
        screen.line(&line)?;
    }
    if let Some(span) = args.confirm {
        screen.line(&format!("goes back in {} unless `turnout confirm` comes", seconds(span)))?;
    }
    Ok(())
}

pub(super) fn confirm(talk: &Talk, screen: &mut Screen) -> Result<(), Error> {
    let answer = ask_one(&talk.socket, &Request::Confirm)?;
    if talk.json {
        return Ok(screen.json(&answer)?);
    }
    Ok(screen.line("confirmed")?)
}

pub(super) fn completions(shell: clap_complete::Shell, screen: &mut Screen) -> Result<(), Error> {
    // the generator panics on a closed stdout, so it writes to memory
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "turnout", &mut script);
    Ok(screen.raw(&String::from_utf8_lossy(&script))?)
}
