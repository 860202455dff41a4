//! Calling another node: openraft's network traits over a [`Transport`].
//!
//! `stream_append` keeps one stream and many appends in flight; a writer task of its own feeds it, because a reader
//! that waits for a write can deadlock two busy peers on flow control. Pre-vote and leader transfer are implemented:
//! their defaults would silently grant, or silently do nothing.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RaftNetworkFactory, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, alias::SnapshotOf};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::wire::{Answer, Hello, Request, frame, read};
use super::{Class, Duplex, Transport};
use crate::id::NodeId;
use crate::raft_types::{LogId, Member, TypeConfig, Vote};
use crate::store::record::{LogIdRecord, MetaRecord};
use crate::store::snapshot::SnapshotData;

/// How many bytes of a snapshot one frame carries.
const SNAPSHOT_PART_BYTES: usize = 192 << 10;

/// A peer that could not be reached is left alone for so long: below a heartbeat of the `lan` profile, and ten tries a
/// second cost nothing.
const REOPEN_AFTER: Duration = Duration::from_millis(100);

/// How many parts of a snapshot wait between the disk and the stream.
const SNAPSHOT_PARTS_QUEUED: usize = 4;

/// How long appends may go unanswered before their stream counts as broken. Ours: a follower answers after a sync of
/// its disk; a connection that swallows frames is otherwise found only when the mesh's own keep-alive ends it.
const APPEND_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a [`Peer`] for each target.
pub(crate) struct Factory {
    pub(crate) own: NodeId,
    pub(crate) transport: Arc<dyn Transport>,
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        Peer {
            own: self.own,
            target,
            peer: node.peer.clone(),
            transport: Arc::clone(&self.transport),
            control: Mutex::new(None),
            refused: Arc::default(),
            beats: false,
        }
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Peer {
        Peer { beats: true, ..self.new_client(target, node).await }
    }
}

/// Calls to one target. Streams are opened when first needed and again after they break.
pub(crate) struct Peer {
    own: NodeId,
    target: NodeId,
    peer: String,
    transport: Arc<dyn Transport>,
    /// In a mutex only to be `Sync`; every use has the whole peer to itself.
    control: Mutex<Option<Duplex>>,
    /// When a stream could last not be opened, or broke.
    refused: Arc<Mutex<Option<Instant>>>,
    /// Whether only heartbeats go through here: those are single calls, for which a kept stream beats a new one each.
    beats: bool,
}

type Rpc<T> = Result<T, RPCError<TypeConfig>>;

impl Peer {
    fn control_mut(&mut self) -> &mut Option<Duplex> {
        self.control.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other side took a stream and did not serve it, or it broke.
    fn was_refused(&self) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    async fn open(&self, class: Class, limit: Duration) -> Rpc<Duplex> {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = refused {
            // The core's replication asks again at once, and a peer that is gone, or no member, refuses at once.
            tokio::time::sleep_until(at + REOPEN_AFTER).await;
        }
        let opening = tokio::time::timeout(limit, self.transport.open(self.target, &self.peer, class)).await;
        let opened = opening
            .map_err(|_elapsed| unreachable_error(&io::Error::from(io::ErrorKind::TimedOut)))
            .and_then(|opened| opened.map_err(|error| unreachable_error(&error)));
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = opened.is_err().then(Instant::now);
        let mut duplex = opened?;
        let hello = frame(&Hello { from: self.own, to: self.target });
        if let Err(lost) = duplex.sink.send(hello).await {
            self.was_refused();
            return Err(network_error(&last_word(&mut duplex.source, lost)));
        }
        Ok(duplex)
    }

    /// One call on the control stream, which is dropped where it does not answer in time: a late answer must not be
    /// taken for that of the next call.
    async fn call(&mut self, request: &Request, option: &RPCOption) -> Rpc<Answer> {
        let limit = option.soft_ttl();
        let mut duplex = match self.control_mut().take() {
            Some(duplex) => duplex,
            None => self.open(Class::Control, limit).await?,
        };
        let exchange = async {
            let sent = duplex.sink.send(frame(request)).await;
            answer_to(sent, &mut duplex.source).await
        };
        let answer = tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_elapsed| network_error(&io::Error::from(io::ErrorKind::TimedOut)))?
            .map_err(|error| {
                self.was_refused();
                network_error(&error)
            })?;
        if let Answer::Failed(reason) = answer {
            self.was_refused();
            return Err(network_error(&io::Error::other(reason)));
        }
        *self.control_mut() = Some(duplex);
        Ok(answer)
    }

    async fn ask_for_vote(&mut self, request: &Request, option: &RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        match self.call(request, option).await? {
            Answer::Voted { vote, granted, last } => {
                Ok(VoteResponse::new(Vote::from(vote), last.map(LogId::from), granted))
            }
            _ => Err(unexpected_answer()),
        }
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        option: &RPCOption,
    ) -> Rpc<SnapshotResponse<TypeConfig>> {
        let mut duplex = self.open(Class::Snapshot, option.soft_ttl().min(Duration::from_secs(10))).await?;
        let begin = Request::Snapshot { vote: (&vote).into(), meta: MetaRecord::from(&snapshot.meta) };
        let transfer = async {
            let sending = async {
                duplex.sink.send(frame(&begin)).await?;
                let mut parts = read_parts(&snapshot.snapshot)?;
                while let Some(part) = parts.recv().await {
                    duplex.sink.send(frame(&Request::SnapshotPart(part?))).await?;
                }
                duplex.sink.send(frame(&Request::SnapshotEnd)).await
            };
            let sent = sending.await;
            answer_to(sent, &mut duplex.source).await
        };
        let answer = tokio::time::timeout(option.hard_ttl(), transfer)
            .await
            .map_err(|_elapsed| network_error(&io::Error::from(io::ErrorKind::TimedOut)))?
            .map_err(|error| network_error(&error))?;
        match answer {
            Answer::Installed { vote } => Ok(SnapshotResponse::new(Vote::from(vote))),
            Answer::Failed(reason) => Err(network_error(&io::Error::other(reason))),
            _ => Err(unexpected_answer()),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let answer = self.call(&Request::append(&request), &option).await?;
        match answer.into_append().map_err(|error| network_error(&error))? {
            Ok(id) => Ok(AppendEntriesResponse::PartialSuccess(id)),
            Err(StreamAppendError::Conflict(_)) => Ok(AppendEntriesResponse::Conflict),
            Err(StreamAppendError::HigherVote(vote)) => Ok(AppendEntriesResponse::HigherVote(vote)),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.beats {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            let Duplex { mut sink, source } = self.open(Class::Append, option.soft_ttl()).await?;
            let mut input = input;
            let unanswered = Arc::new(AtomicUsize::new(0));
            let sent = Arc::clone(&unanswered);
            let writer = AbortOnDropHandle::new(spawn_owned(async move {
                while let Some(request) = input.next().await {
                    sent.fetch_add(1, Ordering::Relaxed);
                    if sink.send(frame(&Request::append(&request))).await.is_err() {
                        return;
                    }
                }
                // Nothing more will come: tell the other side, so that it answers what it has and ends.
                if let Err(error) = sink.close().await {
                    tracing::trace!(%error, "append stream was gone at its end");
                }
            }));
            let refused = Arc::clone(&self.refused);
            let answers = answers_in_time(source, unanswered).map(move |frame| {
                let _owned_until_the_stream_goes = &writer;
                frame.and_then(|bytes| read::<Answer>(&bytes)?.into_append()).map_err(|error| {
                    *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    network_error(&error)
                })
            });
            Ok(Box::pin(answers) as BoxStream<'s, _>)
        })
    }

    async fn vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_for_vote(&Request::Vote((&request).into()), &option).await
    }

    async fn pre_vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_for_vote(&Request::PreVote((&request).into()), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot, &option) => sent.map_err(StreamingError::from),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        let wire = Request::Transfer {
            from: request.from_leader().into(),
            to: *request.to_node_id(),
            last: request.last_log_id().map(LogIdRecord::from),
        };
        match self.call(&wire, &option).await? {
            Answer::Transferred(Ok(())) => Ok(Ok(())),
            Answer::Transferred(Err(reason)) => Err(network_error(&io::Error::other(reason))),
            _ => Err(unexpected_answer()),
        }
    }
}

/// The answer to what was sent, or where it was not sent, why.
async fn answer_to(
    sent: io::Result<()>,
    source: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
) -> io::Result<Answer> {
    match sent {
        Ok(()) => read(&source.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?),
        Err(lost) => Err(last_word(source, lost)),
    }
}

/// Why a stream took no more: what the other side said last, which was here before the stream was `lost`. One that refuses
/// a stream may end it before all of a request has gone.
fn last_word(source: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin), lost: io::Error) -> io::Error {
    while let Some(Some(item)) = source.next().now_or_never() {
        match item.and_then(|bytes| read(&bytes)) {
            Ok(Answer::Failed(reason)) => return io::Error::other(reason),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
    lost
}

/// Passes frames on, and breaks off when none comes for [`APPEND_ANSWER_TIMEOUT`] though some are `unanswered`.
fn answers_in_time(
    source: impl Stream<Item = io::Result<Bytes>> + Send + Unpin,
    unanswered: Arc<AtomicUsize>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::unfold(Some(source), move |source| {
        let unanswered = Arc::clone(&unanswered);
        async move {
            let mut source = source?;
            loop {
                let waited_for = unanswered.load(Ordering::Relaxed);
                match tokio::time::timeout(APPEND_ANSWER_TIMEOUT, source.next()).await {
                    Ok(None) => return None,
                    Ok(Some(answer)) => {
                        // Never below zero: a peer may send answers that nothing asked for.
                        let one_less = |count: usize| count.checked_sub(1);
                        let _ = unanswered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
                        return Some((answer, Some(source)));
                    }
                    Err(_elapsed) if waited_for > 0 => return Some((Err(io::ErrorKind::TimedOut.into()), None)),
                    Err(_elapsed) => {}
                }
            }
        }
    })
}

/// Reads a snapshot on a blocking thread, a bounded number of parts ahead of the stream.
fn read_parts(data: &SnapshotData) -> io::Result<tokio::sync::mpsc::Receiver<io::Result<Vec<u8>>>> {
    let mut reader = data.reader()?;
    let (sender, receiver) = tokio::sync::mpsc::channel(SNAPSHOT_PARTS_QUEUED);
    if let SnapshotData::Memory(bytes) = data {
        let bytes = Arc::clone(bytes);
        // It ends with its receiver.
        drop(spawn_owned(async move {
            for part in bytes.chunks(SNAPSHOT_PART_BYTES) {
                if sender.send(Ok(part.to_vec())).await.is_err() {
                    return;
                }
            }
        }));
        return Ok(receiver);
    }
    tokio::task::spawn_blocking(move || {
        loop {
            let mut part = Vec::new();
            let read = io::Read::take(&mut reader, SNAPSHOT_PART_BYTES as u64);
            let result = {
                let mut read = read;
                io::Read::read_to_end(&mut read, &mut part)
            };
            let end = matches!(result, Ok(0));
            if end || sender.blocking_send(result.map(|_| part)).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one spawn of this crate: every task is owned by an abort-on-drop handle"
)]
pub(crate) fn spawn_owned<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

fn unreachable_error<E: std::error::Error + 'static>(error: &E) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(error))
}

fn network_error(error: &io::Error) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(error))
}

fn unexpected_answer() -> RPCError<TypeConfig> {
    network_error(&io::Error::new(io::ErrorKind::InvalidData, "an answer of another kind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(items: Vec<io::Result<Bytes>>) -> String {
        let mut source = futures::stream::iter(items).chain(futures::stream::pending());
        last_word(&mut source, io::Error::other("lost")).to_string()
    }

    #[tokio::test]
    async fn a_request_that_did_not_go_out_fails_with_what_the_other_side_said_last() {
        let failed = || Ok(frame(&Answer::Failed("the key is that of node 3".into())));
        assert_eq!(told(vec![failed()]), "the key is that of node 3");
        assert_eq!(
            told(vec![Err(io::Error::other("it only scans"))]),
            "it only scans",
            "the stream itself was refused"
        );
        assert_eq!(told(vec![]), "lost", "nothing is waited for");
        let mut source = futures::stream::iter([failed()]);
        let error = answer_to(Err(io::Error::other("lost")), &mut source).await.unwrap_err();
        assert_eq!(error.to_string(), "the key is that of node 3");
        assert!(matches!(answer_to(Ok(()), &mut futures::stream::iter([failed()])).await, Ok(Answer::Failed(_))));
    }
}
