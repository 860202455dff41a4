//! The medium that bundles travel on: mounted where that is asked for, never filled up, and with whole files alone.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use crate::durable_file::{Draft, Readers, size_words};

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// What should be a mounted medium is a directory of this machine.
    #[error("nothing is mounted at {path} or above it, and sync.require_mount is true", path = path.display())]
    NotMounted {
        /// Where.
        path: PathBuf,
    },
    /// There is too little space.
    #[error(
        "{path} has {free} free; {needed} are needed above the floor of {floor} (results.free_space_floor)",
        path = path.display(),
        free = size_words(*free_bytes),
        needed = size_words(*needed_bytes),
        floor = size_words(*floor_bytes)
    )]
    Full {
        /// Where.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
        /// What is to be written.
        needed_bytes: u64,
        /// What must stay free.
        floor_bytes: u64,
    },
    /// A file of that name is there.
    #[error("{path} is there already, and no bundle is written over another file", path = path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// Whether something is mounted at `path` or above it, other than the root of all.
///
/// # Errors
/// [`MediumError::NotMounted`], or what the system says.
pub fn require_mount(path: &Path) -> Result<(), MediumError> {
    let failed = |source| MediumError::Io { path: path.to_owned(), source };
    // What does not exist yet is judged by the directory that it would be made in.
    let there = path.ancestors().find(|part| part.exists()).unwrap_or(Path::new("/"));
    let real = std::fs::canonicalize(there).map_err(failed)?;
    let mounts = std::fs::read("/proc/self/mountinfo").map_err(failed)?;
    if is_mounted(&real, &mounts) { Ok(()) } else { Err(MediumError::NotMounted { path: path.to_owned() }) }
}

/// Whether one of the mounts is at `path` or above it, and is not the root.
fn is_mounted(path: &Path, mountinfo: &[u8]) -> bool {
    mountinfo.split(|byte| *byte == b'\n').any(|line| {
        let point = line.split(|byte| *byte == b' ').nth(4).map(unescaped);
        point.is_some_and(|point| point != Path::new("/") && path.starts_with(&point))
    })
}

/// A path as the kernel lists it: blanks and the like are three octal digits behind a backslash (proc_pid_mountinfo(5)).
fn unescaped(text: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| first == b'\\');
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = behind.get(if code.is_some() { 3.. } else { 0.. }).unwrap_or_default();
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Whether `needed_bytes` fit above the floor on the file system of `directory`.
///
/// # Errors
/// [`MediumError::Full`], or what the system says.
pub fn require_space(directory: &Path, needed_bytes: u64, floor_bytes: u64) -> Result<(), MediumError> {
    let space =
        statvfs(directory).map_err(|error| MediumError::Io { path: directory.to_owned(), source: error.into() })?;
    let free_bytes = space.blocks_available().saturating_mul(space.fragment_size());
    if free_bytes < needed_bytes.saturating_add(floor_bytes) {
        return Err(MediumError::Full { path: directory.to_owned(), free_bytes, needed_bytes, floor_bytes });
    }
    Ok(())
}

/// The directory of a file.
#[must_use]
pub fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes a new file, which appears under its name once it is whole and on the medium. Nothing is left of one that failed.
///
/// # Errors
/// [`MediumError`], or what `write` answers.
pub fn write_new<T, E: From<MediumError>>(path: &Path, write: impl FnOnce(&File) -> Result<T, E>) -> Result<T, E> {
    let failed = |source| MediumError::Io { path: path.to_owned(), source };
    if path.symlink_metadata().is_ok() {
        return Err(MediumError::Exists { path: path.to_owned() }.into());
    }
    let draft = Draft::begin(path, Readers::Owner).map_err(failed)?;
    let value = write(draft.file())?;
    draft.keep_new().map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => MediumError::Exists { path: path.to_owned() },
        _ => failed(error),
    })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n\
        40 22 8:1 / /mnt/usb\\040stick rw shared:1 - vfat /dev/sda1 rw\n41 22 8:2 / /mnt/b rw - vfat /dev/sdb1 rw\n";

    #[test]
    fn a_path_is_mounted_where_something_but_the_root_is() {
        for (path, expected) in [
            ("/mnt/usb stick", true),
            ("/mnt/usb stick/exports", true),
            ("/mnt/b", true),
            ("/mnt/bb", false),
            ("/mnt", false),
            ("/", false),
            ("/mnt/usb", false),
        ] {
            assert_eq!(is_mounted(Path::new(path), MOUNTS), expected, "{path}");
        }
        assert!(!is_mounted(Path::new("/x"), b"\n\\ \\4 1 2 3 \\999"));
    }

    #[test]
    fn a_directory_of_the_root_file_system_is_refused_and_a_mounted_one_is_not() {
        require_mount(Path::new("/proc/self")).unwrap();
        let error = require_mount(Path::new("/no/such/directory")).unwrap_err();
        assert!(matches!(error, MediumError::NotMounted { .. }), "{error}");
    }

    #[test]
    fn what_does_not_fit_above_the_floor_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        require_space(directory.path(), 1, 0).unwrap();
        for (needed, floor) in [(u64::MAX, 0), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            let error = require_space(directory.path(), needed, floor).unwrap_err();
            assert!(matches!(error, MediumError::Full { .. }), "{error}");
        }
        let path = "/mnt/usb".into();
        let full = MediumError::Full { path, free_bytes: 300 << 20, needed_bytes: 70, floor_bytes: 512 << 20 };
        let told =
            "/mnt/usb has 300 MiB free; 70 bytes are needed above the floor of 512 MiB (results.free_space_floor)";
        assert_eq!(full.to_string(), told);
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all_and_never_over_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let failing = write_new(&path, |_| Err::<(), _>(MediumError::NotMounted { path: "x".into() }));
        assert!(failing.is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left of one that failed");
        write_new(&path, |mut file| {
            io::Write::write_all(&mut file, b"x").map_err(|source| MediumError::Io { path: path.clone(), source })
        })
        .unwrap();
        let again = write_new(&path, |_| Ok::<(), MediumError>(())).unwrap_err();
        assert!(matches!(again, MediumError::Exists { .. }), "{again}");
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
    }
}
