//! What makes many small chunks durable with one sync: each is written to its file, which the system syncs when it likes, and to
//! the end of this journal, which is synced once for all that come together.
//!
//! There are two files in turn. Once one is long enough the other is begun; then everything that was written is synced beside
//! ongoing work, and the first is emptied. What is found in them at a start may not have reached its file before a crash, and is
//! written there again. A record is its length, the chunk's name and its bytes; the name tells whether they are whole. What is damaged is
//! passed over (`Records`), so that it takes nothing behind it along. A file that was not looked through to its end stays under another
//! name, for whoever wants to look: one at most.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pentora_raft::{Digest, kill_point};

use super::records::{Records, TORN_BYTES_MAX};

/// The longest chunk that is written twice, in bytes. Ours: below this the sync costs more than the bytes.
pub(super) const SMALL_BYTES_MAX: usize = 64 << 10;
/// A file of this length is emptied as soon as the other one is, in bytes.
const LONG_BYTES: u64 = 4 << 20;
/// One that grows so long because the disk is slow takes no more, in bytes.
const LONGEST_BYTES: u64 = 8 * LONG_BYTES;
/// A journal in which removed chunks may stand is emptied so long after the last one was.
const EMPTIED_AFTER: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(60) };
/// When it is looked again where the other one is still to be emptied.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Their names, which are none of a chunk.
const NAMES: [&str; 2] = ["journal.0", "journal.1"];
/// The name of the last one that was not looked through to its end.
const GIVEN_UP: &str = "journal.damaged";

/// The journal of a directory of chunks.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    root: Arc<Root>,
    /// What is written to, once there is something to write.
    file: Option<File>,
    /// Which of the two that is.
    at: usize,
    bytes: u64,
    /// Whether the other one is still to be emptied.
    is_other_full: bool,
    /// Set where what it takes could not be read again.
    is_broken: bool,
    emptied: Instant,
    /// Whether chunks were removed since the last turn, which stand in it perhaps.
    has_removed: bool,
    /// Whether somebody waits until it is time to empty it for that.
    is_awaited: bool,
    #[cfg(test)]
    pub(super) syncs: usize,
}

/// One of the two that takes nothing more until it is emptied.
#[derive(Debug)]
pub(super) struct Retired {
    root: Arc<Root>,
    file: File,
}

/// The directory, by one descriptor from before anything was written: of a write that failed beforehand the system tells nobody who opens
/// it later.
#[derive(Debug)]
struct Root(File);

impl Root {
    fn open(directory: &Path) -> io::Result<Self> {
        File::open(directory).map(Self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(nix::unistd::syncfs(&self.0)?)
    }
}

/// What is to be done about chunks that were removed.
#[derive(Debug)]
pub(super) enum AfterRemoval {
    /// They stand in no journal, or in one that is being emptied.
    Nothing,
    /// To be looked at again then.
    Later(Duration),
    /// This is to be emptied.
    Empty(Retired),
}

impl Journal {
    /// The journal in `directory`. What an earlier process left in it is in the files first, as `write` makes them durable.
    ///
    /// # Errors
    /// Where the directory cannot be opened.
    pub(super) fn open(directory: &Path, write: impl Fn(Digest, &Bytes) -> io::Result<()>) -> io::Result<Self> {
        let root = Root::open(directory)?;
        let left: Vec<PathBuf> = paths(directory).into_iter().filter(|path| path.exists()).collect();
        // What cannot be read or written again keeps nothing else from it.
        let (mut done, mut given_up) = (Ok(()), Vec::new());
        for path in &left {
            let is_looked_through = read_again(path, &write);
            if matches!(is_looked_through, Ok(false)) {
                given_up.push(path);
            }
            done = done.and(is_looked_through.map(drop));
        }
        // A process that was killed has left whole files that are not on the disk yet.
        let done = if left.is_empty() { done } else { done.and_then(|()| root.sync_all()) };
        let put_away = |path: &PathBuf| match given_up.contains(&path) {
            true => std::fs::rename(path, directory.join(GIVEN_UP)),
            false => std::fs::remove_file(path),
        };
        let done = done.and_then(|()| left.iter().try_for_each(put_away));
        if let Err(error) = &done {
            tracing::error!(%error, "small results of an earlier run may be missing here; what is written now is synced file by file");
        }
        Ok(Self {
            directory: directory.to_owned(),
            root: Arc::new(root),
            file: None,
            at: 0,
            bytes: 0,
            is_other_full: false,
            is_broken: done.is_err(),
            emptied: Instant::now(),
            has_removed: false,
            is_awaited: false,
            #[cfg(test)]
            syncs: 0,
        })
    }

    /// From now on everything is synced file by file.
    pub(super) fn take_nothing(&mut self) {
        self.is_broken = true;
    }

    /// Has it take chunks, and answers whether it does. Their files are written between this and [`Self::append`], so that whoever
    /// finds them after this process was killed finds a journal as well, and syncs them.
    pub(super) fn is_ready(&mut self) -> bool {
        if !self.is_broken && self.file.is_none() {
            // A disk that is full may have room again.
            let begun = begin(&self.directory, self.at);
            self.file = begun.inspect_err(|error| tracing::debug!(%error, "no journal of small results")).ok();
        }
        !self.is_broken && self.file.is_some() && self.bytes < LONGEST_BYTES
    }

    /// Writes chunks to it; on disk when this returns.
    ///
    /// # Errors
    /// What the system refuses; none of them counts as written then.
    pub(super) fn append<'a>(&mut self, chunks: impl Iterator<Item = (Digest, &'a Bytes)>) -> io::Result<()> {
        let mut records = Vec::new();
        for (digest, bytes) in chunks {
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            records.extend_from_slice(&length.to_le_bytes());
            records.extend_from_slice(&digest.0);
            records.extend_from_slice(bytes);
        }
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("the journal of small results was not begun"))?;
        if let Err(error) = file.write_all(&records) {
            // Nothing behind half a record would be found again.
            self.is_broken = file.set_len(self.bytes).is_err();
            return Err(error);
        }
        kill_point::reached("chunks-journaled");
        if let Err(error) = file.sync_data() {
            // Whether a later sync would tell of the same loss is not known.
            self.is_broken = true;
            return Err(error);
        }
        self.bytes += records.len() as u64;
        #[cfg(test)]
        {
            self.syncs += 1;
        }
        Ok(())
    }

    /// Turns to the other file where this one is long and that one is empty. Whoever gets the answer empties it, and says so.
    pub(super) fn turn(&mut self) -> Option<Retired> {
        if self.bytes < LONG_BYTES { None } else { self.retire() }
    }

    /// Chunks were removed that it may still have. Answers whether the caller is to see to that, by [`Self::after_removal`]: otherwise
    /// somebody does already.
    pub(super) fn removed(&mut self) -> bool {
        self.has_removed = true;
        !std::mem::replace(&mut self.is_awaited, true)
    }

    /// What whoever sees to removed chunks is to do now.
    pub(super) fn after_removal(&mut self) -> AfterRemoval {
        let left = EMPTIED_AFTER.saturating_sub(self.emptied.elapsed());
        if self.has_removed && !self.is_broken && self.bytes > 0 {
            if !left.is_zero() {
                return AfterRemoval::Later(left);
            }
            match self.retire() {
                Some(retired) => {
                    self.is_awaited = false;
                    return AfterRemoval::Empty(retired);
                }
                None if self.is_other_full => return AfterRemoval::Later(LOOK_AGAIN),
                None => {}
            }
        }
        (self.has_removed, self.is_awaited) = (false, false);
        AfterRemoval::Nothing
    }

    fn retire(&mut self) -> Option<Retired> {
        if self.is_other_full || self.is_broken || self.bytes == 0 {
            return None;
        }
        let retired = Retired { root: Arc::clone(&self.root), file: self.file.take()? };
        (self.at, self.bytes, self.is_other_full, self.has_removed) = (1 - self.at, 0, true, false);
        Some(retired)
    }

    /// What was retired is emptied, or could not be.
    pub(super) fn is_emptied(&mut self, emptied: io::Result<()>) {
        match emptied {
            Ok(()) => (self.is_other_full, self.emptied) = (false, Instant::now()),
            Err(error) => {
                tracing::error!(%error, "the disk does not say that it has small results; they are synced file by file from now on");
                self.is_broken = true;
            }
        }
    }
}

impl Retired {
    /// Has the system put everything on disk that was written, and forgets what it held.
    ///
    /// # Errors
    /// What the system refuses; it is as it was then.
    pub(super) fn empty(self) -> io::Result<()> {
        let Self { root, file } = self;
        root.sync_all()?;
        // By its descriptor: another store of this directory may have begun one of that name meanwhile.
        file.set_len(0)
    }
}

/// Whether a directory has chunks in a journal.
pub(super) fn has_any(directory: &Path) -> bool {
    paths(directory).iter().any(|path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0))
}

fn paths(directory: &Path) -> [PathBuf; 2] {
    NAMES.map(|name| directory.join(name))
}

/// A file that is empty, and there after a crash.
fn begin(directory: &Path, at: usize) -> io::Result<File> {
    let name = if at == 0 { NAMES[0] } else { NAMES[1] };
    let file = OpenOptions::new().create(true).append(true).open(directory.join(name))?;
    file.set_len(0)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

/// Gives `write` the whole records of a file. Answers whether it was looked through to its end.
fn read_again(path: &Path, write: &impl Fn(Digest, &Bytes) -> io::Result<()>) -> io::Result<bool> {
    let mut done = Ok(());
    let mut records = Records::new(std::fs::read(path)?.into());
    for (digest, bytes) in &mut records {
        done = done.and(write(digest, &bytes));
    }
    if records.passed_over > 0 {
        let bytes = records.passed_over;
        tracing::error!(path = %path.display(), bytes, "a journal of small results is damaged; what stands behind that is read");
    }
    let bytes = records.left_over;
    if records.has_given_up {
        let kept = path.with_file_name(GIVEN_UP);
        tracing::warn!(
            path = %path.display(), bytes, kept = %kept.display(),
            "the end of a journal of small results is damaged and was not looked through; it is kept under another name"
        );
    } else if bytes > TORN_BYTES_MAX {
        // Less than that is what a crash leaves of chunks that nobody was told are kept.
        tracing::warn!(path = %path.display(), bytes, "the end of a journal of small results is damaged; nothing whole is in it");
    }
    done.map(|()| !records.has_given_up)
}
