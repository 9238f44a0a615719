//! Targets that die for all WANs at the same time: they are to blame, not the WANs.
//!
//! Asked when a WAN is about to go down for its targets. Its witnesses are the other WANs that are up, with a link and
//! a gateway that answers, and share with it a target that counts and does not answer. If none of these has answered
//! a witness since, and all fell silent within two rounds of each other, the WAN's silent targets are blamed: they do not
//! count until one WAN hears them again. One witness that hears one of them acquits them: then the WAN is dead. A
//! witness that has only just asked is waited for.

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::state::Wan;
use crate::base::Nanos;

/// Who is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// The WAN.
    Wan,
    /// Not known yet: a witness has asked, its answer is out.
    Open,
    /// These targets, by their numbers in the book.
    Targets(Vec<usize>),
}

/// Judges `accused`, of which too many rounds in a row were bad.
pub(super) fn judge(accused: &Wan, wans: &[Wan], book: &Book) -> Verdict {
    if !accused.gateway_answers() {
        return Verdict::Wan;
    }
    let mut dead: Vec<usize> = silent(accused, book).collect();
    let (mut open, mut witnesses) = (false, 0);
    for witness in wans.iter().filter(|wan| wan.id != accused.id && is_fit(wan)) {
        let near = Nanos(accused.spacing().max(witness.spacing()).0.saturating_mul(2));
        let before = witnesses;
        for id in silent(accused, book).filter(|id| witness.targets.ids().any(|own| own == *id)) {
            let (Some((here, _)), Some((there, lost))) = (accused.targets.dry(id), witness.targets.dry(id))
            else {
                return Verdict::Wan;
            };
            if here.0.abs_diff(there.0) > near.0 {
                return Verdict::Wan;
            }
            open |= lost == 0;
            witnesses += 1;
        }
        if witnesses > before && witness.by_targets.bad > 0 {
            dead.extend(silent(witness, book));
        }
    }
    match witnesses {
        0 => Verdict::Wan,
        _ if open => Verdict::Open,
        _ => {
            dead.sort_unstable();
            dead.dedup();
            Verdict::Targets(dead)
        }
    }
}

fn is_fit(wan: &Wan) -> bool {
    wan.status.state.is_up() && wan.gateway_answers()
}

/// Those of a WAN's targets that count and have not answered their last probes.
fn silent<'a>(wan: &'a Wan, book: &'a Book) -> impl Iterator<Item = usize> + 'a {
    let lost = |id: &usize| wan.targets.dry(*id).is_some_and(|(_, lost)| lost > 0);
    wan.targets.ids().filter(|id| book.counts(*id)).filter(lost)
}
