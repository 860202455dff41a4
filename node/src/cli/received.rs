//! A file that a node sends in pieces: it gets its name once it is whole, on disk, and was read back.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::api_session::ApiSession;
use crate::client::Pieces;
use crate::durable_file;
use crate::failure::{ExitCode, Failure};

/// Writes `pieces` to `path`, for its owner alone, and answers what `read` finds in it. An older file is replaced; of one
/// that is not whole nothing is left.
///
/// # Errors
/// The node breaks off, the disk refuses, or `read` does.
pub(super) async fn keep<T>(
    session: &ApiSession,
    pieces: Pieces,
    path: &Path,
    read: impl FnOnce(&Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let failed = |error| told(path, &error);
    durable_file::replaceable(path).map_err(failed)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{:08x}.tmp", rand::random::<u32>()));
    let temporary = PathBuf::from(temporary);
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary).map_err(failed)?;
    let kept = match receive(session, pieces, file, path).await {
        Ok(()) => read(&temporary),
        Err(failure) => Err(failure),
    };
    let kept = kept.and_then(|value| std::fs::rename(&temporary, path).map_err(failed).map(|()| value));
    if kept.is_err() {
        drop(std::fs::remove_file(&temporary));
    }
    kept
}

async fn receive(session: &ApiSession, mut pieces: Pieces, mut file: File, path: &Path) -> Result<(), Failure> {
    while let Some(piece) = pieces.next().await.map_err(|error| session.failure(&error))? {
        file.write_all(&piece).map_err(|error| told(path, &error))?;
    }
    file.sync_all().map_err(|error| told(path, &error))
}

fn told(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ExitCode::Failure, format!("{}: {error}", path.display()))
}
