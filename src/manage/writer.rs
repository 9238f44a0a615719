//! A thread that writes lines to files: what comes from a `Source`, into `Files`.
//!
//! Nobody waits for it. It is at work every `BEAT`, so that a line is in its file a moment after what it tells; what it cannot write
//! it keeps, says so once, and tries again every `RETRY`. Meanwhile its source's rings fill up, and who fills them
//! counts what is lost. Whatever a disk does, the management thread and the workers never touch it.

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::files::Files;

/// The source is emptied this often.
const BEAT: Duration = Duration::from_millis(50);
/// What failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end waits for a disk.
const PATIENCE: Duration = Duration::from_secs(1);
/// Reports that wait for the management thread.
const REPORTS: usize = 16;

/// Where the lines come from.
pub(super) trait Source: Send + 'static {
    /// Appends what stands first.
    fn begin(&mut self, to: &mut Vec<u8>);

    /// Appends some lines, a bounded number, if there are any.
    fn take(&mut self, to: &mut Vec<u8>) -> Taken;

    /// Appends what stands last.
    fn end(&mut self, to: &mut Vec<u8>);
}

/// What a source had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing
    Nothing,
    /// Lines
    Some,
    /// Lines with which a file begins
    File,
}

/// Writing has failed (`Some`), or goes on after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The folder
    pub folder: PathBuf,
    /// Why
    pub error: Option<String>,
}

/// The running thread. When this goes, what the source has is written first, as far as the disk is ready for it.
#[derive(Debug)]
pub struct Writer {
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
    /// How writing goes
    pub reports: Receiver<Report>,
}

impl Writer {
    /// Starts to write, in a thread of this name.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn start(name: &str, source: impl Source, files: Files) -> std::io::Result<Writer> {
        let (stop, stopped) = bounded(0);
        let (tell_end, ended) = bounded(0);
        let (report, reports) = bounded(REPORTS);
        let mut thread = Thread { source, files, text: Vec::new(), turning: false, failing: false, report };
        let work = move || {
            thread.run(&stopped);
            drop::<Sender<()>>(tell_end);
        };
        std::thread::Builder::new().name(name.into()).spawn(work)?;
        Ok(Writer { stop: Some(stop), ended, reports })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop = None;
        // A disk that hangs must not keep the router from its end.
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

struct Thread<S> {
    source: S,
    files: Files,
    /// Lines that are not written yet
    text: Vec<u8>,
    /// A file begins with them
    turning: bool,
    failing: bool,
    report: Sender<Report>,
}

impl<S: Source> Thread<S> {
    fn run(&mut self, stopped: &Receiver<()>) {
        self.source.begin(&mut self.text);
        loop {
            // Asked before the source is: what it had at the end is written.
            let over = stopped.try_recv() == Err(TryRecvError::Disconnected);
            let more = self.text.is_empty() && self.take();
            self.write();
            if over && (self.failing || !more) {
                break;
            }
            let pause = match (self.failing, more) {
                (true, _) => RETRY,
                (false, true) => continue,
                (false, false) => BEAT,
            };
            // The end of the pause, or of everything: the next round sees which.
            let _ = stopped.recv_timeout(pause);
        }
        self.source.end(&mut self.text);
        self.write();
    }

    /// Gives whether there was anything.
    fn take(&mut self) -> bool {
        let taken = self.source.take(&mut self.text);
        self.turning |= taken == Taken::File;
        taken != Taken::Nothing
    }

    fn write(&mut self) {
        let turned = if self.turning { self.files.turn() } else { Ok(()) };
        self.turning &= turned.is_err();
        let error = turned.and_then(|()| self.files.write(&mut self.text)).err();
        if error.is_some() != self.failing {
            self.failing = error.is_some();
            let folder = self.files.folder().to_path_buf();
            // Nobody may hear it any more.
            let _ = self.report.try_send(Report { folder, error: error.map(|e| e.to_string()) });
        }
    }
}
