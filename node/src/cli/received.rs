//! A file that a node sends in pieces: it gets its name once it is whole, on disk, and was read back.

use std::io::{self, Write};
use std::path::Path;

use super::api_session::ApiSession;
use crate::client::Pieces;
use crate::durable_file::{Draft, Readers};
use crate::failure::{ExitCode, Failure};

/// Whether a file may be written to `path`. Asked before anything is asked of a node.
///
/// # Errors
/// There is something of that name, and `kind` is written over no other file.
pub(super) fn is_new(path: &Path, kind: &str) -> Result<(), Failure> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let what = format!("{} is there already, and no {kind} is written over another file", path.display());
    Err(Failure::new(ExitCode::Refused, what).next("name another file"))
}

/// Writes `pieces` to `path`, for its owner alone, and answers what `read` finds in it. Of a file that is not whole nothing is left.
///
/// # Errors
/// The node breaks off, the disk refuses, or `read` does; or there is a file of that name by then, which is left as it is.
pub(super) async fn keep<T>(
    session: &ApiSession,
    mut pieces: Pieces,
    (path, kind): (&Path, &str),
    read: impl FnOnce(&Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let failed = |error| told(path, &error);
    let mut draft = Draft::begin(path, Readers::Owner).map_err(failed)?;
    while let Some(piece) = pieces.next().await.map_err(|error| session.failure(&error))? {
        draft.write_all(&piece).map_err(failed)?;
    }
    draft.file().sync_all().map_err(failed)?;
    let value = read(draft.temporary())?;
    draft.keep_new().map_err(|error| is_new(path, kind).err().unwrap_or_else(|| failed(error)))?;
    Ok(value)
}

fn told(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ExitCode::Failure, format!("{}: {error}", path.display()))
}
