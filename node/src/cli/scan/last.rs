//! The results of the last scan from this machine, kept so that its findings can be explained when the scan is over.
//!
//! One file in the data directory, for its owner alone, replaced by each scan. What cannot be kept is no failure of the scan.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use pentora_scanner::finding::PortRecord;
use pentora_scanner::port::LearnedPorts;
use pentora_scanner::report::read_json_lines;

use crate::cli::api_session::ApiSession;
use crate::cli::context::Context;
use crate::client::ClientError;
use crate::config::Purpose;
use crate::durable_file::{Draft, Readers};

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

/// The copy of a job's results while they are read. That something is not kept is told to nobody but the log.
pub(in crate::cli) struct Copying {
    to: Result<BufWriter<Draft>, String>,
    bytes: usize,
}

impl Copying {
    /// Begins a copy where the last results are kept.
    pub(super) fn begin(context: &Context) -> Self {
        let begun = path(context).ok_or_else(|| "there is no configuration".to_owned()).and_then(|path| {
            let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            made.and_then(|()| Draft::begin(&path, Readers::Owner)).map_err(|error| error.to_string())
        });
        Self { to: begun.map(BufWriter::new), bytes: 0 }
    }

    /// Adds a host's line.
    pub(in crate::cli) fn add(&mut self, line: &[u8]) {
        let Ok(to) = &mut self.to else { return };
        self.bytes = self.bytes.saturating_add(line.len()).saturating_add(1);
        if self.bytes > KEPT_BYTES_MAX {
            self.to = Err("they are too large".to_owned());
        } else if let Err(error) = to.write_all(line).and_then(|()| to.write_all(b"\n")) {
            self.to = Err(error.to_string());
        }
    }

    /// Puts the copy in the place of the last results.
    pub(super) async fn keep(self) {
        let keep = move || {
            let draft = self.to?.into_inner().map_err(|error| error.to_string())?;
            draft.keep().map_err(|error| error.to_string())
        };
        let kept = tokio::task::spawn_blocking(keep).await.unwrap_or_else(|error| Err(error.to_string()));
        if let Err(why) = kept {
            tracing::debug!(why, "the results are not kept for `findings`");
        }
    }
}

/// Keeps the results of a job that were not read to their end.
pub(super) async fn keep(session: &ApiSession, job_id: &str, context: &Context) {
    let mut copying = Copying::begin(context);
    match read_all(session, job_id, &mut copying).await {
        Ok(()) => copying.keep().await,
        Err(error) => tracing::debug!(%error, "the results are not kept for `findings`"),
    }
}

async fn read_all(session: &ApiSession, job_id: &str, copying: &mut Copying) -> Result<(), ClientError> {
    let mut lines = session.client.results(job_id).await?;
    while let Some(line) = lines.next().await? {
        copying.add(&line);
    }
    Ok(())
}
