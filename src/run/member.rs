//! What a member of a pair brings with it: the key that both sign with, what it has kept on disk, and its next boot id.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use turnout::cluster::{Kept, Key};
use turnout::manage::Joining;
use turnout::manage::keeping::Keeper;
use turnout::manage::status_http::Endpoint;
use turnout::profile::Profile;
use turnout::worker::now;

use super::Failure;

/// A key file is not longer than this.
const LONGEST: u64 = 4096;

/// What this router joins its pair with, if its profile has one.
///
/// # Errors
/// The key file is not to be used, or what was kept is torn; each with what to do.
pub(super) fn joining(profile: &Profile, workers: usize) -> Result<Option<Joining>, Failure> {
    let Some(cluster) = &profile.cluster else { return Ok(None) };
    let key = key(&cluster.key_file)?;
    let path = Keeper::path(&profile.management.journal);
    let kept = Keeper::read(&path).map_err(|e| {
        format!(
            "{}: {e}; it says who is preferred: restore it, or remove it and say `turnout cluster prefer` again",
            path.display()
        )
    })?;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let boot = Kept::next_boot(kept.as_ref(), u64::try_from(unix.as_millis()).unwrap_or(0));
    Ok(Some(Joining {
        key,
        kept,
        boot,
        keeper: Some(Keeper::start(path)?),
        workers,
        endpoint: Some(Endpoint::new(Arc::default(), now)),
    }))
}

fn key(path: &Path) -> Result<Key, Failure> {
    let shown = path.display();
    let hint = format!(
        "make one with `openssl rand -hex 32 > {shown} && chmod 600 {shown}` and copy it to the partner"
    );
    let mut file =
        File::open(path).map_err(|e| format!("cannot read the cluster's key file {shown}: {e}; {hint}"))?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(
            format!("others may read the cluster's key file; mend it with `chmod 600 {shown}`").into()
        );
    }
    let mut bytes = Vec::new();
    file.by_ref().take(LONGEST).read_to_end(&mut bytes)?;
    Ok(Key::new(bytes.trim_ascii())
        .ok_or_else(|| format!("the cluster's key in {shown} is shorter than 16 characters; {hint}"))?)
}
