//! Which cores do what, by the profile and by what this process may use.
#![forbid(unsafe_code)]

use turnout::profile::Profile;

/// Workers without `engine.workers`, at most: Linux ports and many NICs have no more queues.
const DEFAULT_WORKERS: usize = 16;

/// Which cores do what.
pub(super) struct Cores {
    pub(super) manager: usize,
    pub(super) workers: Vec<usize>,
}

impl Cores {
    /// As the profile says; else every allowed core works but the manager's, which is the first one that is not given to a worker.
    pub(super) fn choose(profile: &Profile) -> Cores {
        let allowed: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|c| c.id).collect();
        let first = allowed.first().copied().unwrap_or(0);
        let taken = profile.engine.workers.as_deref().unwrap_or_default();
        let free = allowed.iter().copied().find(|core| !taken.contains(core));
        let manager = profile.engine.manager.or(free).unwrap_or(first);
        let others =
            || allowed.iter().copied().filter(|core| *core != manager).take(DEFAULT_WORKERS).collect();
        let workers = profile.engine.workers.clone().unwrap_or_else(others);
        Cores { manager, workers: if workers.is_empty() { vec![manager] } else { workers } }
    }
}
