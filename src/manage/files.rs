//! Files of lines: one that grows and older ones, numbered (`.1` is the newest of them); together they are bounded. A file ends with a
//! whole line, so that each can be read alone; one that a crash has cut off gets its line's end before the next line.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What the files are called, and their bounds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The file that grows
    pub name: &'static str,
    /// Bytes of a file, at most, but for a single write that is longer
    pub size: u64,
    /// Files, at most
    pub files: u32,
}

/// The files.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    bounds: Bounds,
    file: Option<File>,
    size: u64,
    /// What was written last is no line's end
    torn: bool,
}

impl Files {
    pub(super) fn new(folder: &Path, bounds: Bounds) -> Files {
        Files { folder: folder.to_path_buf(), bounds, file: None, size: 0, torn: false }
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, number: u32) -> PathBuf {
        let name = self.bounds.name;
        self.folder.join(if number == 0 { name.to_owned() } else { format!("{name}.{number}") })
    }

    fn open(&mut self) -> std::io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o750).create(&self.folder)?;
        let path = self.path(0);
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path)?;
        self.size = file.seek(SeekFrom::End(0))?;
        let mut last = [b'\n'];
        if self.size > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        // What was begun here goes on; what somebody else left unfinished ends.
        if last != *b"\n" && !self.torn {
            file.write_all(b"\n")?;
            self.size += 1;
        }
        Ok(file)
    }

    /// Every file becomes the next older one; the oldest goes.
    pub(super) fn turn(&mut self) -> std::io::Result<()> {
        self.file = None;
        for number in (0..self.bounds.files.saturating_sub(1)).rev() {
            match fs::rename(self.path(number), self.path(number + 1)) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes whole lines and empties `lines`. What an error leaves in it is written by the next call.
    pub(super) fn write(&mut self, lines: &mut Vec<u8>) -> std::io::Result<()> {
        // Somebody may have moved the file away: what is written then nobody finds.
        let same = |file: &File| {
            let (its, there) = (file.metadata().ok()?, fs::metadata(self.path(0)).ok()?);
            (its.dev() == there.dev() && its.ino() == there.ino()).then_some(())
        };
        if self.file.as_ref().and_then(same).is_none() {
            self.file = None;
        }
        while !lines.is_empty() {
            let mut file = match self.file.take() {
                Some(file) => file,
                None => self.open()?,
            };
            let full = self.size > 0 && self.size + lines.len() as u64 > self.bounds.size;
            if full && !self.torn {
                self.turn()?;
                continue;
            }
            let written = match file.write(lines) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(e) if e.kind() == ErrorKind::Interrupted => 0,
                done => done?,
            };
            self.size += written as u64;
            if let Some(last) = written.checked_sub(1).and_then(|at| lines.get(at)) {
                self.torn = *last != b'\n';
            }
            lines.drain(..written);
            self.file = Some(file);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NAME: &str = "lines.jsonl";

    fn files(folder: &Path, size: u64) -> Files {
        Files::new(folder, Bounds { name: NAME, size, files: 8 })
    }

    fn read(folder: &Path, number: u32) -> Option<String> {
        fs::read_to_string(files(folder, 0).path(number)).ok()
    }

    #[test]
    fn rfc6888_14_files_turn_at_their_size_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let mut files = files(&folder, 20);
        for n in 0..100 {
            files.write(&mut format!("line {n:03}\n").into_bytes()).unwrap();
        }
        // Two lines of nine bytes in each.
        assert_eq!(read(&folder, 0).unwrap(), "line 098\nline 099\n");
        assert_eq!(read(&folder, 7).unwrap(), "line 084\nline 085\n");
        assert_eq!(read(&folder, 8), None);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder) & 0o027, mode(&files.path(0)) & 0o137), (0, 0));
    }

    #[test]
    fn a_file_goes_on_after_a_restart_a_crash_and_when_it_was_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let write = |files: &mut Files, text: &str| files.write(&mut text.as_bytes().to_vec()).unwrap();
        write(&mut files(dir.path(), 1000), "a\n");
        fs::write(dir.path().join(NAME), "a\n{\"cut").unwrap();
        let mut files = files(dir.path(), 1000);
        write(&mut files, "b\n");
        assert_eq!(read(dir.path(), 0).unwrap(), "a\n{\"cut\nb\n");
        fs::rename(dir.path().join(NAME), dir.path().join("elsewhere")).unwrap();
        write(&mut files, "c\n");
        assert_eq!(read(dir.path(), 0).unwrap(), "c\n");
        fs::rename(dir.path().join(NAME), dir.path().join("elsewhere")).unwrap();
        fs::write(dir.path().join(NAME), "by another hand\n").unwrap();
        write(&mut files, "d\n");
        assert_eq!(read(dir.path(), 0).unwrap(), "by another hand\nd\n");
    }

    #[test]
    fn what_could_not_be_written_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("journal");
        fs::write(&folder, "a file where the folder should be").unwrap();
        let mut files = files(&folder, 1000);
        let mut lines = b"a\n".to_vec();
        assert!(files.write(&mut lines).is_err());
        assert_eq!(lines, b"a\n");
        fs::remove_file(&folder).unwrap();
        files.write(&mut lines).unwrap();
        assert_eq!((read(&folder, 0).unwrap().as_str(), lines.len()), ("a\n", 0));
    }
}
