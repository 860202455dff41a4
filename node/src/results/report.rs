//! A job's report: its accepted chunks, folded on whichever node is asked, one host per line.
//!
//! Only one chunk and the counters are in memory, whatever the job's size. Units are walks through a permutation, so
//! neighbours are far apart; a small report is sorted by address because people read it, a large one streams. Records are
//! held against the feeds of the node that is asked as they are read.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::Stream;
use pentora_raft::command::UnitKey;
use pentora_raft::state::ChunkRef;
use pentora_raft::{JobId, Raft};
use pentora_scanner::finding::HostRecord;
use pentora_scanner::report::json_line;
use tokio::sync::mpsc;

use super::chunk::ChunkError;
use super::{Chunk, EARLIER_RUN, Exchange};
use crate::feeds::rematch::Rematch;

/// Reports of up to so many hosts are sorted by address. Ours: a few tens of megabytes at most.
const SORTED_HOSTS_MAX: u64 = 20_000;
/// Lines are sent in pieces of about this size, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for a slow reader.
const PIECES_QUEUED: usize = 4;

/// Streams a job's hosts as JSON lines, as accepted up to now. An error ends the stream.
pub fn lines(
    raft: &Raft,
    exchange: Exchange,
    job: JobId,
    rematch: Rematch,
    tasks: &tokio_util::task::TaskTracker,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
    let chunks: Vec<(UnitKey, ChunkRef)> =
        raft.read(|state| state.job_chunks(job).map(|(unit, chunk)| (unit, chunk.clone())).collect());
    let hosts: u64 = chunks.iter().map(|(_, chunk)| chunk.counts.hosts_up).sum();
    let (sender, receiver) = mpsc::channel(PIECES_QUEUED);
    let reader = Reader { exchange, rematch: Arc::new(Mutex::new(rematch)) };
    tasks.spawn(async move {
        let folded = if hosts <= SORTED_HOSTS_MAX {
            sorted(&reader, chunks, &sender).await
        } else {
            streamed(&reader, chunks, &sender).await
        };
        if let Err(reason) = folded {
            // A reader that is gone needs no error.
            drop(sender.send(Err(std::io::Error::other(reason))).await);
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

type Pieces = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// Reads the records of units.
struct Reader {
    exchange: Exchange,
    rematch: Arc<Mutex<Rematch>>,
}

/// Hands every record of a job, as accepted up to now, to `each` until that answers `false`.
///
/// # Errors
/// A chunk that no holder gives, in a sentence.
pub async fn for_each_record(
    raft: &Raft,
    exchange: Exchange,
    job: JobId,
    rematch: Rematch,
    mut each: impl FnMut(&HostRecord) -> bool,
) -> Result<(), String> {
    let chunks: Vec<(UnitKey, ChunkRef)> =
        raft.read(|state| state.job_chunks(job).map(|(unit, chunk)| (unit, chunk.clone())).collect());
    let reader = Reader { exchange, rematch: Arc::new(Mutex::new(rematch)) };
    for (unit, chunk) in chunks {
        if !reader.read(unit, &chunk).await?.iter().all(&mut each) {
            break;
        }
    }
    Ok(())
}

async fn sorted(reader: &Reader, chunks: Vec<(UnitKey, ChunkRef)>, out: &Pieces) -> Result<(), String> {
    let mut records = Vec::new();
    for (unit, chunk) in chunks {
        records.extend(reader.read(unit, &chunk).await?);
    }
    records.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
    write(&records, out).await;
    Ok(())
}

async fn streamed(reader: &Reader, chunks: Vec<(UnitKey, ChunkRef)>, out: &Pieces) -> Result<(), String> {
    for (unit, chunk) in chunks {
        if !write(&reader.read(unit, &chunk).await?, out).await {
            return Ok(());
        }
    }
    Ok(())
}

impl Reader {
    /// Reads a unit's records and holds them against the log: another unit's chunk is refused.
    async fn read(&self, unit: UnitKey, chunk: &ChunkRef) -> Result<Vec<HostRecord>, String> {
        let bytes = self.exchange.fetch(chunk.digest, &chunk.holders).await?;
        let rematch = Arc::clone(&self.rematch);
        let unpacking = tokio::task::spawn_blocking(move || {
            let mut chunk = Chunk::decode(&bytes)?;
            let mut rematch = rematch.lock().unwrap_or_else(PoisonError::into_inner);
            chunk.records.iter_mut().for_each(|record| rematch.record(record));
            Ok::<_, ChunkError>(chunk)
        });
        let unpacked = unpacking.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let of_job = [unit.job, EARLIER_RUN].contains(&unpacked.unit.job);
        let names_it = of_job && (UnitKey { job: unit.job, ..unpacked.unit }) == unit;
        if names_it && unpacked.end == chunk.end {
            Ok(unpacked.records)
        } else {
            Err(format!("chunk {} holds another unit", chunk.digest))
        }
    }
}

/// Writes records as lines; `false` where the reader is gone.
async fn write(records: &[HostRecord], out: &Pieces) -> bool {
    let mut piece = String::new();
    for record in records {
        piece.push_str(&json_line(record));
        if !piece.ends_with('\n') {
            piece.push('\n');
        }
        if piece.len() >= PIECE_BYTES && out.send(Ok(std::mem::take(&mut piece).into())).await.is_err() {
            return false;
        }
    }
    piece.is_empty() || out.send(Ok(piece.into())).await.is_ok()
}
