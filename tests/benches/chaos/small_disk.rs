//! Data directories on small disks of their own, filled to the last byte and emptied again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// A member's log, state and results in all rounds are some tens of millions of bytes.
const SIZE: &str = "128m";
/// What fills it, beside the node's own files.
const FILLER: &str = "filler";

/// A disk in memory, mounted while this lives.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

/// Gives this thread, and what it starts, mounts of its own.
pub(crate) fn keep_mounts_to_ourselves() -> anyhow::Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace of this thread's own")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("keeping mounts to ourselves")
}

impl SmallDisk {
    /// Mounts one at `folder`, which is made.
    pub(crate) fn at(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        let options = format!("mode=0700,size={SIZE}");
        mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .context("a small disk")?;
        Ok(Self(folder))
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let mut filler =
            OpenOptions::new().create(true).append(true).open(self.0.join(FILLER)).context("the filler")?;
        for piece in [1 << 20, 4096, 1] {
            let zeros = vec![0_u8; piece];
            loop {
                match filler.write(&zeros) {
                    Ok(written) if written > 0 => {}
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => bail!("filling {}: {error}", self.0.display()),
                }
            }
        }
        Ok(())
    }

    /// Takes the filler away.
    pub(crate) fn make_room(&self) -> anyhow::Result<()> {
        let path = self.0.join(FILLER);
        // Also where nothing was left to make it with.
        File::options().write(true).open(&path).and_then(|file| file.set_len(0)).or_else(missing)?;
        fs::remove_file(&path).or_else(missing).context("making room")
    }

    /// Bytes in use on it.
    pub(crate) fn used_bytes(&self) -> anyhow::Result<u64> {
        bytes_below(&self.0)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still has files open there goes on with them; the mount is gone for all others.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Removes what is in a folder, and not the folder: it may be where a disk is mounted.
pub(crate) fn empty(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// The bytes of all files below a folder.
pub(crate) fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        // A node may remove a file at this moment.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { bytes_below(&entry.path()).unwrap_or_default() } else { metadata.len() };
    }
    Ok(bytes)
}

fn missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
