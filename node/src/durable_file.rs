//! Files that appear under their name whole and on disk, or not at all.
//!
//! A file is written under a temporary name, synced, renamed, and its directory synced. What a crash leaves behind has
//! the temporary name and is removed at the next start. How much of a disk something takes is told by [`size_words`].

mod size;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use self::size::size_words;

/// What the name of a file that is not whole yet ends with.
const TEMPORARY: &str = "tmp";

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// The user alone, because it holds a secret.
    Owner,
    /// Whoever the directory and the umask let in.
    Everybody,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o666,
        }
    }
}

/// Refuses to put a file in the place of what is none: a rename would take `/dev/null` away from the whole machine.
///
/// # Errors
/// There is something of that name, and it is no regular file.
pub fn replaceable(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "there is something of that name that is no regular file"))
        }
        _ => Ok(()),
    }
}

/// Makes a folder, and those above it that are not there, for its user alone whatever the umask is. One that is there stays as it is.
///
/// # Errors
/// What the system refuses.
pub fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file that is to be read to its end, and nothing else: whoever opens a pipe waits for who writes into it, and a device may
/// have no end. Never waits itself.
///
/// # Errors
/// What the system refuses, and [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub fn regular(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY).open(path);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        // A socket is not opened at all (open(2), ENXIO).
        Err(error) if error.raw_os_error() != Some(nix::libc::ENXIO) => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Opens what a command line or configuration names: a file as [`regular`] takes it, or a pipe of this process's own, as a shell makes
/// it of `<(command)`: whoever started this process writes into it.
///
/// # Errors
/// As [`regular`].
pub fn given(path: &Path) -> io::Result<File> {
    let refused = match regular(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => error,
        opened => return opened,
    };
    // It leads to no place, where a pipe that others know has one.
    let is_own = std::fs::metadata(path)?.file_type().is_fifo() && path.canonicalize().is_err();
    if is_own { File::open(path) } else { Err(refused) }
}

/// Writes a file, or replaces it; on disk when this returns.
///
/// # Errors
/// What the system refuses; an older file of that name is then still whole.
pub fn write(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mut draft = Draft::begin(path, readers)?;
    draft.file.write_all(bytes)?;
    draft.keep()
}

/// A file that is written piece by piece, and is there under its name only once it is kept. What is not kept goes when this does.
#[derive(Debug)]
pub struct Draft {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Begins a file that is to stand at `path`.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn begin(path: &Path, readers: Readers) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file needs a directory and a name"));
        };
        replaceable(path)?;
        let mut temporary = name.to_owned();
        temporary.push(format!(".{:08x}.{TEMPORARY}", rand::random::<u32>()));
        let temporary = openable(directory).join(temporary);
        let file = OpenOptions::new().create_new(true).write(true).mode(readers.mode()).open(&temporary)?;
        Ok(Self { file, temporary, path: path.to_owned() })
    }

    /// The file as it is so far.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is until it is kept.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Puts it under its name; on disk when this returns.
    ///
    /// # Errors
    /// What the system refuses; an older file of that name is then still whole.
    pub fn keep(self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.temporary, &self.path)?;
        self.directory_synced()
    }

    /// Puts it under its name, and leaves it to the system when it is on disk.
    ///
    /// # Errors
    /// What the system refuses; an older file of that name is then still whole.
    pub fn show(self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.path)
    }

    /// The same as [`Self::keep`] where nothing has its name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where something has, which is left as it is; and what the system refuses.
    pub fn keep_new(self) -> io::Result<()> {
        self.file.sync_all()?;
        match std::fs::hard_link(&self.temporary, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // Of a file system without links, such as that of most sticks.
            Err(_) if self.path.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(&self.temporary, &self.path).and_then(|()| self.directory_synced()),
            Ok(()) => std::fs::remove_file(&self.temporary).and_then(|()| self.directory_synced()),
        }
    }

    fn directory_synced(&self) -> io::Result<()> {
        File::open(openable(self.path.parent().unwrap_or(Path::new("."))))?.sync_all()
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A full disk should not be filled further. Once it is kept there is nothing of that name.
        drop(std::fs::remove_file(&self.temporary));
    }
}

/// A directory as the system opens it: the parent of a bare name has no name, and stands for the one that we are in.
fn openable(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
}

/// Removes what a crash left half-written in `directory`, before its mode or contents can be mistaken for anything.
///
/// # Errors
/// Where the directory cannot be read or changed.
pub fn remove_half_written(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == TEMPORARY) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_private_folder_is_of_its_user_alone_with_those_above_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (above, path) = (folder.path().join("a"), folder.path().join("a/b"));
        private_folder(&path).unwrap();
        private_folder(&path).unwrap();
        for made in [above, path] {
            assert_eq!(std::fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened_and_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert_eq!(regular(path).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{}", path.display());
        }
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert_eq!(given(path).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{}", path.display());
        }
        let socket = folder.path().join("socket");
        let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(given(&socket).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(regular(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(io::read_to_string(regular(&file).unwrap()).unwrap(), "text");
    }

    /// As of `pentora-node join --token-file <(command)`.
    #[test]
    fn a_pipe_of_this_process_is_read_to_its_end_where_it_is_given() {
        use std::os::fd::AsRawFd;
        let (read, write) = nix::unistd::pipe().unwrap();
        File::from(write).write_all(b"text").unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", read.as_raw_fd()));
        assert_eq!(io::read_to_string(given(&path).unwrap()).unwrap(), "text");
        assert_eq!(regular(&path).unwrap_err().kind(), io::ErrorKind::InvalidInput, "and read again it has nothing");
    }

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_no_file_is_not_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(write(&pipe, b"x", Readers::Owner).is_err());
        assert!(!std::fs::metadata(&pipe).unwrap().is_file() && write(folder.path(), b"x", Readers::Owner).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(replaceable(Path::new("/dev/null")).is_err() && replaceable(&folder.path().join("new")).is_ok());
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_secret_is_for_the_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        write(&path, b"longer than the second", Readers::Owner).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, b"second", Readers::Owner).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_draft_that_is_not_kept_leaves_the_older_file_and_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        write(&path, b"older", Readers::Owner).unwrap();
        let mut draft = Draft::begin(&path, Readers::Owner).unwrap();
        draft.write_all(b"half").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"older");
        drop(draft);
        assert_eq!(std::fs::read(&path).unwrap(), b"older");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let mut draft = Draft::begin(&path, Readers::Owner).unwrap();
        draft.write_all(b"in two ").and_then(|()| draft.write_all(b"pieces")).unwrap();
        draft.keep().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"in two pieces");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_kept_as_new_takes_the_place_of_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let draft = |text: &[u8]| {
            let mut draft = Draft::begin(&path, Readers::Owner).unwrap();
            draft.write_all(text).unwrap();
            draft
        };
        // Of two that are written at once the first has the name.
        let (first, second) = (draft(b"first"), draft(b"second"));
        first.keep_new().unwrap();
        assert_eq!(second.keep_new().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_bare_name_is_in_the_directory_that_we_are_in() {
        assert_eq!(Path::new("n2.token").parent().map(openable), Some(Path::new(".")));
        assert_eq!(Path::new("tokens/n2.token").parent().map(openable), Some(Path::new("tokens")));
        assert_eq!(Path::new("/n2.token").parent().map(openable), Some(Path::new("/")));
    }

    #[test]
    fn a_file_that_cannot_be_renamed_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(write(&taken, b"x", Readers::Everybody).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_left_half_written_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("f.0badcafe.tmp"), b"half").unwrap();
        std::fs::write(directory.path().join("g.tmp"), b"half, by an earlier release").unwrap();
        std::fs::write(directory.path().join("whole"), b"whole").unwrap();
        remove_half_written(directory.path()).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["whole"]);
    }
}
