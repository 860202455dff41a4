//! A backup of a cluster: the state and every chunk that it names, in one file that says itself whether it is whole.
//!
//! Layout: 16 bytes that name the format; `u64` length and the state's bytes, which end with their own digest; then each
//! chunk as its digest, `u64` length and bytes; 32 zero bytes; `u32` count and the digests of chunks that no holder gave.
//! Integers are little-endian. A file without its end was cut.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::Bytes;
use futures::Stream;
use pentora_raft::command::SpecRef;
use pentora_raft::{Digest, NodeId, Raft, State, recovery};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::results::Exchange;
use crate::rpc::calls::CHUNK_BYTES_MAX;

/// Names the format and its version.
const MAGIC: &[u8; 16] = b"pentora-backup-1";
/// What stands in place of a digest behind the last chunk.
const END: Digest = Digest([0; 32]);
/// The largest state that is read, in bytes. Ours: a million chunks.
const STATE_BYTES_MAX: u64 = 1 << 30;
/// Pieces that wait for a slow reader.
const PIECES_QUEUED: usize = 2;

/// A whole backup, as it was read.
#[derive(Debug)]
pub struct Contents {
    /// The state.
    pub state: State,
    /// How many chunks there are.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// Chunks that the state names and no holder gave.
    pub missing: Vec<Digest>,
}

/// Streams a backup of the state as it is now.
pub fn stream(
    raft: &Raft,
    exchange: Exchange,
    tasks: &TaskTracker,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + use<> {
    let mut state = raft.read(State::clone);
    // A cluster that begins with it makes one of its own, and scanners know what the key in it is sealed with.
    state.forget_authority();
    state.forget_session_keys();
    let (sender, receiver) = mpsc::channel(PIECES_QUEUED);
    tasks.spawn(async move {
        let named = named(&state);
        let encoding = tokio::task::spawn_blocking(move || recovery::state_bytes(&state)).await;
        let sent = match encoding.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(bytes) => send(&exchange, bytes, named, &sender).await,
            Err(error) => sender.send(Err(error)).await,
        };
        // A reader that is gone needs nothing more.
        drop(sent);
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

type Pieces = mpsc::Sender<Result<Bytes, io::Error>>;
type Sent = Result<(), mpsc::error::SendError<Result<Bytes, io::Error>>>;

async fn send(exchange: &Exchange, state: Vec<u8>, named: BTreeMap<Digest, Vec<NodeId>>, out: &Pieces) -> Sent {
    let mut head = MAGIC.to_vec();
    head.extend((state.len() as u64).to_le_bytes());
    out.send(Ok(head.into())).await?;
    out.send(Ok(state.into())).await?;
    let mut missing = Vec::new();
    for (digest, holders) in named {
        match exchange.fetch(digest, &holders).await {
            Ok(bytes) => {
                let mut head = digest.0.to_vec();
                head.extend((bytes.len() as u64).to_le_bytes());
                out.send(Ok(head.into())).await?;
                out.send(Ok(bytes)).await?;
            }
            Err(error) => {
                tracing::warn!(%error, "a backup lacks a chunk");
                missing.push(digest);
            }
        }
    }
    let mut end = END.0.to_vec();
    end.extend(u32::try_from(missing.len()).unwrap_or(u32::MAX).to_le_bytes());
    missing.iter().for_each(|digest| end.extend(digest.0));
    out.send(Ok(end.into())).await
}

/// Every chunk that the state names, with its holders.
fn named(state: &State) -> BTreeMap<Digest, Vec<NodeId>> {
    let specs = state.jobs().filter_map(|(id, _)| match state.spec(id) {
        Some(SpecRef::Chunk { digest, holders }) => Some((*digest, holders.clone())),
        _ => None,
    });
    let feeds = state.feeds().map(|(_, feed)| (feed.digest, feed.holders.clone()));
    let units = state.chunks().map(|(_, chunk)| (chunk.stored.digest, chunk.stored.holders.clone()));
    specs.chain(feeds).chain(units).collect()
}

/// Reads a backup to its end and hands each chunk to `take`.
///
/// # Errors
/// `InvalidData` where it was cut or changed or is no backup; what `take` answers.
pub fn read(mut input: impl Read, mut take: impl FnMut(Digest, Bytes) -> io::Result<()>) -> io::Result<Contents> {
    let mut magic = [0u8; 16];
    exactly(&mut input, &mut magic)?;
    if &magic != MAGIC {
        return Err(damaged("it is no backup of a cluster, or of another release"));
    }
    let state = recovery::read_state(sized(&mut input, STATE_BYTES_MAX)?)?;
    let (mut chunks, mut chunk_bytes) = (0, 0);
    loop {
        let digest = digest(&mut input)?;
        if digest == END {
            break;
        }
        let bytes = Bytes::from(sized(&mut input, CHUNK_BYTES_MAX as u64)?);
        if Digest::of(&bytes) != digest {
            return Err(damaged("a chunk has another digest"));
        }
        chunks += 1;
        chunk_bytes += bytes.len() as u64;
        take(digest, bytes)?;
    }
    let mut count = [0u8; 4];
    exactly(&mut input, &mut count)?;
    let missing = (0..u32::from_le_bytes(count)).map(|_| digest(&mut input)).collect::<io::Result<Vec<_>>>()?;
    if input.read(&mut [0u8; 1])? != 0 {
        return Err(damaged("there is more behind its end"));
    }
    Ok(Contents { state, chunks, chunk_bytes, missing })
}

fn digest(input: &mut impl Read) -> io::Result<Digest> {
    let mut digest = [0u8; 32];
    exactly(input, &mut digest)?;
    Ok(Digest(digest))
}

/// A length, and so many bytes; never more memory than has really come.
fn sized(input: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut length = [0u8; 8];
    exactly(input, &mut length)?;
    let length = u64::from_le_bytes(length);
    if length > most {
        return Err(damaged("a part is larger than any can be"));
    }
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length { Err(damaged("it is cut short")) } else { Ok(bytes) }
}

fn exactly(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<()> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut short"),
        _ => error,
    })
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the backup cannot be used: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backup(chunks: &[&[u8]], missing: &[Digest]) -> Vec<u8> {
        let state = recovery::state_bytes(&State::default()).unwrap();
        let mut bytes = MAGIC.to_vec();
        bytes.extend((state.len() as u64).to_le_bytes());
        bytes.extend(state);
        for chunk in chunks {
            bytes.extend(Digest::of(chunk).0);
            bytes.extend((chunk.len() as u64).to_le_bytes());
            bytes.extend(*chunk);
        }
        bytes.extend(END.0);
        bytes.extend(u32::try_from(missing.len()).unwrap().to_le_bytes());
        missing.iter().for_each(|digest| bytes.extend(digest.0));
        bytes
    }

    #[test]
    fn a_backup_reads_back_with_its_chunks_and_names_what_it_lacks() {
        let lost = Digest::of(b"lost");
        let mut taken = Vec::new();
        let read = read(backup(&[b"one", b"two"], &[lost]).as_slice(), |digest, bytes| {
            taken.push((digest, bytes));
            Ok(())
        });
        let read = read.unwrap();
        assert_eq!((read.chunks, read.chunk_bytes, read.missing), (2, 6, vec![lost]));
        assert_eq!(taken[1], (Digest::of(b"two"), Bytes::from_static(b"two")));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backup_has_neither_the_authority_nor_a_key_of_sessions() {
        use futures::TryStreamExt;
        use pentora_raft::command::Command;
        use pentora_raft::state::{Authority, NewSessionKey};

        let access = crate::api::Access::Open;
        let (served, _stop) = crate::app::start_embedded("n1".into(), access, Digest::of(&[])).await.unwrap();
        let authority = Authority { certificate: vec![1; 64], sealed_key: b"sealed-authority".repeat(4) };
        let sessions = NewSessionKey { after: 0, public: vec![2; 32], sealed: b"sealed-sessions!".repeat(4) };
        for command in [Command::SetAuthority(Box::new(authority)), Command::SetSessionKey(Box::new(sessions))] {
            served.proposer.propose(command).await.unwrap();
        }
        let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        let state = recovery::state_bytes(&served.raft.read(State::clone)).unwrap();
        let secrets: [&[u8]; 2] = [b"sealed-authority", b"sealed-sessions!"];
        assert!(secrets.iter().all(|secret| has(&state, secret)), "the node itself has both");
        let pieces = stream(&served.raft, served.exchange.clone(), &TaskTracker::new());
        let backup = pieces.try_collect::<Vec<Bytes>>().await.unwrap().concat();
        assert!(!secrets.iter().any(|secret| has(&backup, secret)));
        assert!(read(backup.as_slice(), |_, _| Ok(())).is_ok(), "it is a whole one");
    }

    proptest! {
        #[test]
        fn a_backup_that_was_cut_or_changed_is_refused(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
            let whole = backup(&[b"one", b"two"], &[]);
            let at = at.index(whole.len());
            prop_assert!(read(&whole[..at], |_, _| Ok(())).is_err());
            let mut changed = whole.clone();
            changed[at] ^= flip;
            prop_assert!(read(changed.as_slice(), |_, _| Ok(())).is_err());
        }
    }
}
