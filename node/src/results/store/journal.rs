//! What makes many small chunks durable with one sync: each is written to its file, which the system syncs when it likes, and to
//! the end of this journal, which is synced once for all that come together.
//!
//! There are two files in turn. Once one is long enough the other is begun; then everything that was written is synced beside
//! ongoing work, and the first is emptied. What is found in them at a start may not have reached its file before a crash, and is
//! written there again. A record is its length, the chunk's name and its bytes; the name tells whether they are whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pentora_raft::{Digest, kill_point};

/// The longest chunk that is written twice, in bytes. Ours: below this the sync costs more than the bytes.
pub(super) const SMALL_BYTES_MAX: usize = 64 << 10;
/// A file of this length is emptied as soon as the other one is, in bytes.
const LONG_BYTES: u64 = 4 << 20;
/// One that grows so long because the disk is slow takes no more, in bytes.
const LONGEST_BYTES: u64 = 8 * LONG_BYTES;
/// Removed chunks stay in a journal for so long at most while others are removed.
const EMPTIED_AFTER: Duration = Duration::from_secs(60);
/// Their names, which are none of a chunk.
const NAMES: [&str; 2] = ["journal.0", "journal.1"];

/// The journal of a directory of chunks.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
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
    #[cfg(test)]
    pub(super) syncs: usize,
}

/// One of the two that takes nothing more until it is emptied.
#[derive(Debug)]
pub(super) struct Retired {
    directory: PathBuf,
    file: File,
}

impl Journal {
    /// The journal in `directory`. What an earlier process left in it is in the files first, as `write` makes them durable.
    pub(super) fn open(directory: &Path, write: impl Fn(Digest, &Bytes) -> io::Result<()>) -> Self {
        let left: Vec<PathBuf> = NAMES.iter().map(|name| directory.join(name)).filter(|path| path.exists()).collect();
        // What cannot be read or written again keeps nothing else from it.
        let done = left.iter().map(|path| read_again(path, &write)).fold(Ok(()), Result::and);
        // A process that was killed has left whole files that are not on the disk yet.
        let done = if left.is_empty() { done } else { done.and_then(|()| sync_all_of(directory)) };
        let done = done.and_then(|()| left.iter().try_for_each(std::fs::remove_file));
        if let Err(error) = &done {
            tracing::error!(%error, "small results of an earlier run may be missing here; what is written now is synced file by file");
        }
        Self {
            directory: directory.to_owned(),
            file: None,
            at: 0,
            bytes: 0,
            is_other_full: false,
            is_broken: done.is_err(),
            emptied: Instant::now(),
            #[cfg(test)]
            syncs: 0,
        }
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

    /// The same where chunks were removed that it may still have.
    pub(super) fn turn_after_removal(&mut self) -> Option<Retired> {
        if self.emptied.elapsed() < EMPTIED_AFTER { None } else { self.retire() }
    }

    fn retire(&mut self) -> Option<Retired> {
        if self.is_other_full || self.is_broken || self.bytes == 0 {
            return None;
        }
        let retired = Retired { directory: self.directory.clone(), file: self.file.take()? };
        (self.at, self.bytes, self.is_other_full) = (1 - self.at, 0, true);
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
        let Self { directory, file } = self;
        sync_all_of(&directory)?;
        // By its descriptor: another store of this directory may have begun one of that name meanwhile.
        file.set_len(0)
    }
}

fn path_of(directory: &Path, at: usize) -> PathBuf {
    directory.join(if at == 0 { NAMES[0] } else { NAMES[1] })
}

/// A file that is empty, and there after a crash.
fn begin(directory: &Path, at: usize) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path_of(directory, at))?;
    file.set_len(0)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

fn sync_all_of(directory: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(directory)?)?)
}

/// Gives `write` the whole records of a file. What is behind them came to nothing.
fn read_again(path: &Path, write: &impl Fn(Digest, &Bytes) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut done = Ok(());
    while let Some((digest, bytes)) = next_record(&mut file)? {
        done = done.and(write(digest, &bytes));
    }
    done
}

/// The next whole record; `None` where there is none.
fn next_record(file: &mut impl Read) -> io::Result<Option<(Digest, Bytes)>> {
    let (mut length, mut name) = ([0; 4], [0; 32]);
    let mut is_there = |into: &mut [u8]| match file.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    };
    if !is_there(&mut length)? || !is_there(&mut name)? {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > SMALL_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    if !is_there(&mut bytes)? {
        return Ok(None);
    }
    let (digest, bytes) = (Digest(name), Bytes::from(bytes));
    Ok((Digest::of(&bytes) == digest).then_some((digest, bytes)))
}
