//! A file that a node sends in pieces: it gets its name once it is whole, on disk, and was read back.

use std::io::{self, Write};
use std::path::Path;

use super::api_session::ApiSession;
use crate::client::Pieces;
use crate::durable_file::{Draft, Readers};
use crate::failure::{ExitCode, Failure};

/// Writes `pieces` to `path`, for its owner alone, and answers what `read` finds in it. An older file is replaced; of one
/// that is not whole nothing is left.
///
/// # Errors
/// The node breaks off, the disk refuses, or `read` does.
pub(super) async fn keep<T>(
    session: &ApiSession,
    mut pieces: Pieces,
    path: &Path,
    read: impl FnOnce(&Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let failed = |error| told(path, &error);
    let mut draft = Draft::begin(path, Readers::Owner).map_err(failed)?;
    while let Some(piece) = pieces.next().await.map_err(|error| session.failure(&error))? {
        draft.write_all(&piece).map_err(failed)?;
    }
    draft.file().sync_all().map_err(failed)?;
    let value = read(draft.temporary())?;
    draft.keep().map_err(failed)?;
    Ok(value)
}

fn told(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ExitCode::Failure, format!("{}: {error}", path.display()))
}
