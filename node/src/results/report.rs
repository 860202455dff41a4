//! A job's report: its accepted chunks, folded on whichever node is asked, one host per line.
//!
//! Only one packed chunk and a block of it are in memory, whatever the job's size. Units are walks through a permutation,
//! so neighbours are far apart; a small report is sorted by address because people read it, encoded as it waits for its
//! turn, and a large one streams. A chunk that cannot be read keeps nothing else back: it is told of at the end. Whoever asks may revise each record as it is read, such as by the feeds that are in use.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::Stream;
use pentora_raft::codec::{self, Kind};
use pentora_raft::command::{UnitKey, UnitRange};
use pentora_raft::state::ChunkRef;
use pentora_raft::{Digest, JobId, NodeId, Raft};
use pentora_scanner::finding::HostRecord;
use pentora_scanner::report::json_line;
use tokio::sync::mpsc;

use super::{ChunkError, ChunkReader, EARLIER_RUN, Exchange, NotFetched};

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

/// Makes the line that tells of a unit that cannot be read.
pub type Tell = Box<dyn Fn(&Missing) -> String + Send + Sync>;

/// A unit whose chunk cannot be read, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub unit: UnitRange,
    /// Its chunk.
    pub digest: Digest,
    /// Why, where it is not for the holders.
    pub why: Option<String>,
    /// The holders that were tried, and what came of it.
    pub tried: Vec<(NodeId, String)>,
}

/// Streams a job's hosts as JSON lines, as accepted up to now, and behind them what `missing` says of each unit that
/// cannot be read. An error ends the stream.
pub fn lines(
    raft: &Raft,
    exchange: Exchange,
    job: JobId,
    revise: Revise,
    tasks: &tokio_util::task::TaskTracker,
    missing: Tell,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
    let chunks: Vec<(UnitKey, ChunkRef)> =
        raft.read(|state| state.job_chunks(job).map(|(unit, chunk)| (unit, chunk.clone())).collect());
    let hosts: u64 = chunks.iter().map(|(_, chunk)| chunk.counts.hosts_up).sum();
    let (sender, receiver) = mpsc::channel(PIECES_QUEUED);
    let mut reader = Reader { exchange, revise: Arc::new(Mutex::new(revise)), missing: Vec::new() };
    tasks.spawn(async move {
        let folded = if hosts <= SORTED_HOSTS_MAX {
            sorted(&mut reader, chunks, &sender).await
        } else {
            streamed(&mut reader, chunks, &sender).await
        };
        match folded {
            // A reader that is gone needs no error.
            Err(reason) => drop(sender.send(Err(std::io::Error::other(reason))).await),
            Ok(()) => {
                for unit in &reader.missing {
                    let line = format!("{}\n", missing(unit));
                    if sender.send(Ok(line.into())).await.is_err() {
                        break;
                    }
                }
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

type Pieces = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// Reads the records of units.
struct Reader {
    exchange: Exchange,
    revise: Arc<Mutex<Revise>>,
    /// What could not be read so far.
    missing: Vec<Missing>,
}

/// Hands every record of a job, as accepted up to now, to `each` until that answers `false`. Answers which units could
/// not be read.
pub async fn for_each_record(
    raft: &Raft,
    exchange: Exchange,
    job: JobId,
    revise: Revise,
    mut each: impl FnMut(&HostRecord) -> bool,
) -> Vec<Missing> {
    let chunks: Vec<(UnitKey, ChunkRef)> =
        raft.read(|state| state.job_chunks(job).map(|(unit, chunk)| (unit, chunk.clone())).collect());
    let mut reader = Reader { exchange, revise: Arc::new(Mutex::new(revise)), missing: Vec::new() };
    for (unit, chunk) in chunks {
        let mut records = reader.open(unit, &chunk).await;
        while let Some(block) = reader.next(&mut records).await {
            if !block.iter().all(&mut each) {
                return reader.missing;
            }
        }
    }
    reader.missing
}

async fn sorted(reader: &mut Reader, chunks: Vec<(UnitKey, ChunkRef)>, out: &Pieces) -> Result<(), String> {
    let mut hosts: Vec<Sortable> = Vec::new();
    for (unit, chunk) in chunks {
        let mut records = reader.open(unit, &chunk).await;
        while let Some(block) = reader.next(&mut records).await {
            hosts.extend(block.into_iter().map(|host| {
                let encoded = codec::encode(Kind::Host, &host).into();
                (host.address, host.name, encoded)
            }));
            // One address may have any number of names.
            if hosts.len() as u64 > SORTED_HOSTS_MAX && !write_sorted(&mut hosts, out).await? {
                return Ok(());
            }
        }
    }
    write_sorted(&mut hosts, out).await.map(drop)
}

/// An encoded record, and what it is sorted by.
type Sortable = (IpAddr, Option<String>, Box<[u8]>);

/// Writes what is held, by address. Answers whether anybody still reads.
async fn write_sorted(hosts: &mut Vec<Sortable>, out: &Pieces) -> Result<bool, String> {
    hosts.sort();
    for some in hosts.chunks(SORTED_AT_ONCE) {
        let records = some.iter().map(|(_, _, host)| codec::decode(Kind::Host, host));
        let records = records.collect::<Result<Vec<HostRecord>, _>>().map_err(|error| error.to_string())?;
        if !write(&records, out).await {
            return Ok(false);
        }
    }
    hosts.clear();
    Ok(true)
}

async fn streamed(reader: &mut Reader, chunks: Vec<(UnitKey, ChunkRef)>, out: &Pieces) -> Result<(), String> {
    for (unit, chunk) in chunks {
        let mut records = reader.open(unit, &chunk).await;
        while let Some(block) = reader.next(&mut records).await {
            if !write(&block, out).await {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A chunk that is being read.
struct Open {
    reader: ChunkReader,
    unit: UnitRange,
    digest: Digest,
}

impl Reader {
    /// Fetches a unit's chunk and holds it against the log: another unit's is refused. `None` where it cannot be read,
    /// which is noted.
    async fn open(&mut self, unit: UnitKey, chunk: &ChunkRef) -> Option<Open> {
        let (range, digest) = (unit.until(chunk.end), chunk.stored.digest);
        let bytes = match self.exchange.fetch(digest, &chunk.stored.holders).await {
            Ok(bytes) => bytes,
            Err(NotFetched { tried, .. }) => {
                self.missing.push(Missing { unit: range, digest, why: None, tried });
                return None;
            }
        };
        match opened(bytes, unit, chunk.end) {
            Ok(reader) => Some(Open { reader, unit: range, digest }),
            Err(why) => {
                self.missing.push(Missing { unit: range, digest, why: Some(why), tried: Vec::new() });
                None
            }
        }
    }

    /// The next records of an open chunk, which is taken when there are none left.
    async fn next(&mut self, open: &mut Option<Open>) -> Option<Vec<HostRecord>> {
        let Open { mut reader, unit, digest } = open.take()?;
        let revise = Arc::clone(&self.revise);
        let unpacking = tokio::task::spawn_blocking(move || {
            let mut block = reader.next_block()?;
            let mut revise = revise.lock().unwrap_or_else(PoisonError::into_inner);
            block.iter_mut().flatten().for_each(&mut *revise);
            Ok::<_, ChunkError>((reader, block))
        });
        let unpacked = match unpacking.await {
            Ok(unpacked) => unpacked.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match unpacked {
            Ok((_, None)) => None,
            Ok((reader, block)) => {
                *open = Some(Open { reader, unit, digest });
                block
            }
            Err(why) => {
                self.missing.push(Missing { unit, digest, why: Some(why), tried: Vec::new() });
                None
            }
        }
    }
}

/// Opens a chunk that is to hold the results of `unit` up to `end`.
fn opened(bytes: Bytes, unit: UnitKey, end: u64) -> Result<ChunkReader, String> {
    let reader = ChunkReader::open(bytes).map_err(|error| error.to_string())?;
    let heading = reader.heading();
    let of_job = [unit.job, EARLIER_RUN].contains(&heading.unit.job);
    let names_it = of_job && (UnitKey { job: unit.job, ..heading.unit }) == unit;
    if names_it && heading.end == end { Ok(reader) } else { Err("it holds another unit".into()) }
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
