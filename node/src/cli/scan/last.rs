//! The results of the last scan from this machine, kept so that its findings can be explained when the scan is over.
//!
//! One file in the data directory, for its owner alone, replaced by each scan. What cannot be kept is no failure of the scan.

use std::path::PathBuf;

use pentora_scanner::finding::PortRecord;
use pentora_scanner::port::LearnedPorts;
use pentora_scanner::report::read_json_lines;

use crate::cli::api_session::ApiSession;
use crate::cli::context::Context;
use crate::config::Purpose;
use crate::durable_file::{self, Readers};

/// The largest results that are kept, in bytes: tens of thousands of hosts. Larger ones go to a file that a user names.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// Where the results of the last scan are.
pub(in crate::cli) fn path(context: &Context) -> Option<PathBuf> {
    let loaded = context.load(Purpose::Client, Vec::new()).ok()?;
    Some(loaded.config.data_dir.join("last-scan.jsonl"))
}

/// The ports that the last scan found open; none where there is no last scan.
///
/// # Errors
/// The results are there and cannot be read: a sentence.
pub(super) fn learned(context: &Context) -> Result<LearnedPorts, String> {
    let mut learned = LearnedPorts::default();
    let Some(path) = path(context) else { return Ok(learned) };
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(learned),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    for record in read_json_lines(std::io::BufReader::new(file)) {
        let record = record.map_err(|error| format!("{}: {error}", path.display()))?;
        if !learned.add(record.address, record.open_ports().map(PortRecord::to_port)) {
            break;
        }
    }
    Ok(learned)
}

/// Keeps the results of a job.
pub(super) async fn keep(session: &ApiSession, job_id: &str, context: &Context) {
    if let Err(why) = try_keep(session, job_id, context).await {
        tracing::debug!(why, "the results are not kept for `findings`");
    }
}

async fn try_keep(session: &ApiSession, job_id: &str, context: &Context) -> Result<(), String> {
    let Some(path) = path(context) else { return Err("there is no configuration".to_owned()) };
    let mut lines = session.client.results(job_id).await.map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    while let Some(line) = lines.next().await.map_err(|error| error.to_string())? {
        if text.len() + line.len() >= KEPT_BYTES_MAX {
            return Err("they are too large".to_owned());
        }
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    let write = move || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        durable_file::write(&path, &text, Readers::Owner)
    };
    let written = tokio::task::spawn_blocking(write).await.map_err(|error| error.to_string())?;
    written.map_err(|error| error.to_string())
}
