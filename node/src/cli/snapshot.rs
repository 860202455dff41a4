//! `pentora cluster snapshot save|inspect`: a backup of a running cluster in one file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use pentora_raft::Digest;
use serde_json::json;

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::output::{clean, counted, grouped};
use super::received;
use super::shown::ShownArgs;
use super::start;
use crate::backup::{self, Contents};
use crate::failure::{ExitCode, Failure};

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Write a backup of the cluster while it runs: jobs, policy, feeds, results.
    #[command(before_help = "Examples:\n  pentora cluster snapshot save pentora.backup\n  \
                             pentora-node start --init --restore pentora.backup --name n1    begins a cluster with it")]
    Save(SaveArgs),
    /// Read a backup to its end and print what is in it; asks no node.
    #[command(before_help = "Example:\n  pentora cluster snapshot inspect pentora.backup")]
    Inspect(InspectArgs),
    /// Begin a new cluster with what is in a backup, and run its first node.
    Restore(Box<start::RestoreArgs>),
}

/// Where a backup goes.
#[derive(Debug, Args)]
pub(super) struct SaveArgs {
    /// The file, which must not be there yet. It appears under its name once it is whole.
    file: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which backup.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    form: ShownArgs,
}

/// What it is called where its name is taken.
const BACKUP: &str = "backup";

/// Reads a backup and says what is in it.
///
/// # Errors
/// The file is no whole backup; exit 6 where results are missing in it.
pub(super) fn inspect(args: &InspectArgs, context: &mut Context) -> Result<(), Failure> {
    let contents = contents(&args.file)?;
    context.output.print(&args.form.text(&document(&contents), || told(&contents)))?;
    whole(&contents)
}

/// Writes a backup.
///
/// # Errors
/// There is a file of that name; no node answers or the disk refuses; exit 6 where results are missing.
pub(super) async fn save(args: SaveArgs, context: &mut Context) -> Result<(), Failure> {
    received::is_new(&args.file, BACKUP)?;
    let session = ApiSession::open(&args.node, context)?;
    let pieces = session.client.snapshot().await.map_err(|error| session.failure(&error))?;
    let contents = received::keep(&session, pieces, (&args.file, BACKUP), contents).await?;
    context.say(told(&contents).trim_end());
    whole(&contents)
}

/// Reads a backup to its end.
fn contents(path: &Path) -> Result<Contents, Failure> {
    let failed = |error: std::io::Error| Failure::new(ExitCode::Failure, format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    backup::read(BufReader::new(file), |_, _| Ok(())).map_err(failed)
}

/// The end of a command whose backup lacks results.
fn whole(contents: &Contents) -> Result<(), Failure> {
    if contents.missing.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = contents.missing.iter().take(10).map(ToString::to_string).collect();
    let what = format!("the backup lacks {}, which no holder gave", counted(contents.missing.len() as u64, "chunk"));
    let failure = Failure::new(ExitCode::JobIncomplete, what).because(named.join("\n"));
    let (regions, is_all) = bound(contents);
    let holders = "start the holders that are down, and save again; what none has any more, `pentora cluster status` counts \
                   (`Results:`)";
    if regions.is_empty() {
        return Err(failure.next(holders));
    }
    let there = regions.iter().map(|region| clean(region)).collect::<Vec<_>>().join(", ");
    let which = if is_all { "they do" } else { "some of them do" };
    let bound = format!(
        "{which} not leave region {there} (--residency), so a backup that is taken elsewhere has none of them: save on a node of \
         that region, or name its API: --api https://HOST:PORT"
    );
    Err(failure.next(if is_all { bound } else { format!("{bound}; for the others {holders}") }))
}

/// The regions that missing chunks do not leave, and whether each of them is such a one.
fn bound(contents: &Contents) -> (BTreeSet<&str>, bool) {
    let missing: BTreeSet<Digest> = contents.missing.iter().copied().collect();
    let (mut regions, mut found) = (BTreeSet::new(), BTreeSet::new());
    for (unit, chunk) in contents.state.chunks() {
        let digest = chunk.stored.digest;
        if let Some(region) = contents.state.residency(unit.job).filter(|_| missing.contains(&digest)) {
            regions.insert(region);
            found.insert(digest);
        }
    }
    let is_all = found.len() == missing.len();
    (regions, is_all)
}

fn told(contents: &Contents) -> String {
    let Contents { state, chunks, chunk_bytes, missing } = contents;
    let cluster = state.cluster();
    format!(
        "backup of cluster {}, up to log index {}: {}, {}, {}; {} of {} bytes, {} missing\n",
        cluster.id.map_or_else(|| "?".into(), |id| id.to_string()),
        grouped(state.last_index()),
        counted(state.nodes().count() as u64, "node"),
        counted(state.jobs().count() as u64, "job"),
        counted(state.feeds().count() as u64, "feed"),
        counted(*chunks, "chunk"),
        grouped(*chunk_bytes),
        missing.len(),
    )
}

fn document(contents: &Contents) -> serde_json::Value {
    let Contents { state, chunks, chunk_bytes, missing } = contents;
    json!({
        "cluster_id": state.cluster().id.map(|id| id.to_string()),
        "last_index": state.last_index(),
        "nodes": state.nodes().count(),
        "jobs": state.jobs().map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
        "feeds": state.feeds().map(|(kind, _)| kind).collect::<Vec<_>>(),
        "chunks": chunks,
        "chunk_bytes": chunk_bytes,
        "missing": missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
