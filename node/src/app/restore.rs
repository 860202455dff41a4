//! A cluster that begins with what was kept of another: its jobs, feeds and results, on a first node with keys of its own.

use std::io::BufReader;
use std::path::Path;

use pentora_raft::command::NodeInfo;
use pentora_raft::state::Beginning;
use pentora_raft::{ClusterId, Digest, NodeId, recovery};

use crate::backup;
use crate::data_dir::DataDir;
use crate::durable_file::{self, Readers};
use crate::failure::{ExitCode, Failure};

/// Fills a data directory in which no node lives with the backup in `path`. Answers the id of the node that is to live
/// there. What an interrupted restoration left is replaced.
///
/// # Errors
/// The backup is not whole, or the disk refuses.
pub(super) fn restore(
    data_dir: &DataDir,
    path: &Path,
    cluster: ClusterId,
    info: NodeInfo,
    admin_token: Digest,
) -> Result<NodeId, Failure> {
    let failed = |why: String| {
        Failure::new(ExitCode::Failure, "the cluster does not begin with the backup")
            .because(format!("{}: {why}", path.display()))
            .next("look at it with `pentora cluster snapshot inspect FILE`; nothing runs yet, so try again")
    };
    let file = durable_file::regular(path).map_err(|error| failed(error.to_string()))?;
    let chunks = data_dir.chunk_dir();
    for left_over in [&chunks, &data_dir.store_dir()] {
        match std::fs::remove_dir_all(left_over) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error.to_string())),
            _ => {}
        }
    }
    std::fs::create_dir_all(&chunks).map_err(|error| failed(error.to_string()))?;
    let contents = backup::read(BufReader::new(file), |digest, bytes| {
        durable_file::write(&chunks.join(digest.to_string()), &bytes, Readers::Everybody)
    });
    let contents = contents.map_err(|error| failed(error.to_string()))?;
    let mut state = contents.state;
    let node = state.last_index() + 1;
    let peer = info.peer.clone();
    state.begin_again(&Beginning { cluster, node, info, admin_token });
    recovery::seed(&data_dir.store_dir(), node, &peer, &state).map_err(|error| failed(error.to_string()))?;
    let tokens = state.access_tokens().map(|token| token.name).filter(|name| state.waits_for_secret(name));
    let tokens = tokens.collect::<Vec<_>>().join(", ");
    if !tokens.is_empty() {
        tracing::warn!(
            tokens,
            "these keep their names and limits and let nobody in: `pentora token rotate NAME` gives each a secret of this cluster"
        );
    }
    let jobs = state.jobs().count();
    tracing::info!(node, jobs, chunks = contents.chunks, missing = contents.missing.len(), "begun with a backup");
    Ok(node)
}
