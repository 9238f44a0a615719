//! Which member of a pair this machine is: what the command line says, else one word in a file.
//!
//! A profile without `cluster` asks for neither: there the file is not even looked at, and a name that was given is refused.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::ReadError;
use super::mistake::show;

/// Where the member's name is unless the command line says it.
pub const MEMBER_FILE: &str = "/etc/turnout/member";
/// More than any name is long, with blanks around it.
const MOST: u64 = 256;

/// Where this machine's name as a member comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As the command line says it.
    pub given: Option<String>,
    /// The file that says it else, in one word.
    pub file: PathBuf,
}

impl Default for Identity {
    fn default() -> Identity {
        Identity::new(None)
    }
}

impl Identity {
    /// This name; without one, that in `/etc/turnout/member`.
    pub fn new(given: Option<&str>) -> Identity {
        Identity { given: given.map(str::to_owned), file: PathBuf::from(MEMBER_FILE) }
    }

    /// The name; `None`: nothing says it.
    pub(super) fn name(&self) -> Result<Option<String>, ReadError> {
        if let Some(name) = &self.given {
            return Ok(Some(name.clone()));
        }
        let failed = |error| ReadError::Io { path: self.file.clone(), error };
        let mut text = String::new();
        match File::open(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?.take(MOST).read_to_string(&mut text).map_err(failed)?,
        };
        let mut words = text.split_whitespace();
        match (words.next(), words.next()) {
            (Some(word), None) => Ok(Some(word.to_owned())),
            _ => {
                let found = show(text.lines().next().unwrap_or_default().trim());
                let text = format!(
                    "{} is not one word but {found}; write the name of this member into it",
                    self.file.display()
                );
                Err(ReadError::Member { text })
            }
        }
    }
}
