//! The operator's overrides on disk, beside the control socket, so that they outlast a restart.
//!
//! Clients' threads write what the manager has decided; of two at once the later decision stays, whichever thread comes
//! last. Written aside and moved into place, so that a crash leaves the old or the new.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// The file.
#[derive(Debug)]
pub(super) struct Overrides {
    path: PathBuf,
    /// The number of the decision that it holds.
    written: Mutex<u64>,
}

impl Overrides {
    pub(super) fn new(path: PathBuf) -> Overrides {
        Overrides { path, written: Mutex::new(0) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier run has left; `Null` if that is nothing, or not to be read.
    pub(super) fn read(&self) -> Value {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Keeps the overrides as they are after the `order`-th decision.
    pub(super) fn keep(&self, order: u64, overrides: &Value) -> std::io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if order <= *written {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        fs::write(&new, serde_json::to_vec(overrides)?)?;
        fs::rename(&new, &self.path)?;
        *written = order;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_two_decisions_the_later_one_stays_whichever_is_written_last() {
        let dir = tempfile::tempdir().unwrap();
        let file = Overrides::new(dir.path().join("socket.overrides"));
        assert_eq!(file.read(), Value::Null);
        file.keep(2, &json!({ "isp1": "down" })).unwrap();
        file.keep(1, &json!({})).unwrap();
        assert_eq!(file.read(), json!({ "isp1": "down" }));
        file.keep(3, &json!({})).unwrap();
        assert_eq!(file.read(), json!({}));
    }
}
