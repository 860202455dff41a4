//! A job's report: its accepted chunks, folded on whichever node is asked, one host per line.
//!
//! Only one packed chunk and a block of it are in memory, whatever the job's size. Units are walks through a permutation,
//! so neighbours are far apart; a small report is sorted by address because people read it, encoded as it waits for its
//! turn, and a large one streams. Whoever asks may revise each record as it is read, such as by the feeds that are in use.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::Stream;
use pentora_raft::codec::{self, Kind};
use pentora_raft::command::UnitKey;
use pentora_raft::state::ChunkRef;
use pentora_raft::{JobId, Raft};
use pentora_scanner::finding::HostRecord;
use pentora_scanner::report::json_line;
use tokio::sync::mpsc;

use super::{ChunkError, ChunkReader, EARLIER_RUN, Exchange};

/// Reports of up to so many hosts are sorted by address. Ours: some hundred bytes each without what services say.
const SORTED_HOSTS_MAX: u64 = 20_000;
/// Lines are sent in pieces of about this size, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for a slow reader.
const PIECES_QUEUED: usize = 4;
/// Hosts of a sorted report that are decoded at once.
const SORTED_AT_ONCE: usize = 256;

/// Changes a record to what is known of its host now.
pub type Revise = Box<dyn FnMut(&mut HostRecord) + Send>;

/// Streams a job's hosts as JSON lines, as accepted up to now. An error ends the stream.
pub fn lines(
    raft: &Raft,
    exchange: Exchange,
    job: JobId,
    revise: Revise,
    tasks: &tokio_util::task::TaskTracker,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
    let chunks: Vec<(UnitKey, ChunkRef)> =
        raft.read(|state| state.job_chunks(job).map(|(unit, chunk)| (unit, chunk.clone())).collect());
    let hosts: u64 = chunks.iter().map(|(_, chunk)| chunk.counts.hosts_up).sum();
    let (sender, receiver) = mpsc::channel(PIECES_QUEUED);
    let reader = Reader { exchange, revise: Arc::new(Mutex::new(revise)) };
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
    revise: Arc<Mutex<Revise>>,
}

/// Hands every record of a job, as accepted up to now, to `each` until that answers `false`.
///
/// # Errors
/// A chunk that no holder gives, in a sentence.
pub async fn for_each_record(
    raft: &Raft,
    exchange: Exchange,
    job: JobId,
    revise: Revise,
    mut each: impl FnMut(&HostRecord) -> bool,
) -> Result<(), String> {
    let chunks: Vec<(UnitKey, ChunkRef)> =
        raft.read(|state| state.job_chunks(job).map(|(unit, chunk)| (unit, chunk.clone())).collect());
    let reader = Reader { exchange, revise: Arc::new(Mutex::new(revise)) };
    for (unit, chunk) in chunks {
        let mut records = reader.open(unit, &chunk).await?;
        while let Some(block) = reader.next(&mut records).await? {
            if !block.iter().all(&mut each) {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn sorted(reader: &Reader, chunks: Vec<(UnitKey, ChunkRef)>, out: &Pieces) -> Result<(), String> {
    let mut hosts: Vec<(IpAddr, Option<String>, Box<[u8]>)> = Vec::new();
    for (unit, chunk) in chunks {
        let mut records = reader.open(unit, &chunk).await?;
        while let Some(block) = reader.next(&mut records).await? {
            hosts.extend(block.into_iter().map(|host| {
                let encoded = codec::encode(Kind::Host, &host).into();
                (host.address, host.name, encoded)
            }));
        }
    }
    hosts.sort();
    for some in hosts.chunks(SORTED_AT_ONCE) {
        let records = some.iter().map(|(_, _, host)| codec::decode(Kind::Host, host));
        let records = records.collect::<Result<Vec<HostRecord>, _>>().map_err(|error| error.to_string())?;
        if !write(&records, out).await {
            break;
        }
    }
    Ok(())
}

async fn streamed(reader: &Reader, chunks: Vec<(UnitKey, ChunkRef)>, out: &Pieces) -> Result<(), String> {
    for (unit, chunk) in chunks {
        let mut records = reader.open(unit, &chunk).await?;
        while let Some(block) = reader.next(&mut records).await? {
            if !write(&block, out).await {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Reader {
    /// Fetches a unit's chunk and holds it against the log: another unit's is refused.
    async fn open(&self, unit: UnitKey, chunk: &ChunkRef) -> Result<Option<ChunkReader>, String> {
        let bytes = self.exchange.fetch(chunk.stored.digest, &chunk.stored.holders).await?;
        let reader = ChunkReader::open(bytes).map_err(|error| error.to_string())?;
        let heading = reader.heading();
        let of_job = [unit.job, EARLIER_RUN].contains(&heading.unit.job);
        let names_it = of_job && (UnitKey { job: unit.job, ..heading.unit }) == unit;
        if names_it && heading.end == chunk.end {
            Ok(Some(reader))
        } else {
            Err(format!("chunk {} holds another unit", chunk.stored.digest))
        }
    }

    /// The next records of an open chunk, which is taken when there are none left.
    async fn next(&self, open: &mut Option<ChunkReader>) -> Result<Option<Vec<HostRecord>>, String> {
        let Some(mut reader) = open.take() else { return Ok(None) };
        let revise = Arc::clone(&self.revise);
        let unpacking = tokio::task::spawn_blocking(move || {
            let mut block = reader.next_block()?;
            let mut revise = revise.lock().unwrap_or_else(PoisonError::into_inner);
            block.iter_mut().flatten().for_each(&mut *revise);
            Ok::<_, ChunkError>((reader, block))
        });
        let unpacked = unpacking.await.map_err(|error| error.to_string())?;
        let (reader, block) = unpacked.map_err(|error| error.to_string())?;
        *open = block.is_some().then_some(reader);
        Ok(block)
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
