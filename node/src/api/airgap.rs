//! `/exports` and `/imports`: bundles for and from workers without a network; `/offline-workers`: who those are.
//!
//! A bundle may be larger than memory should be, so it lies in a file of this node meanwhile, above the floor of free space. One at a
//! time is written or taken in; while it is read, the next may be written. Nobody is waited for who sends or reads nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{Extensions, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::StreamExt;
use pentora_p2p::PeerId;
use pentora_raft::Refusal;
use pentora_raft::command::Command;
use pentora_raft::state::OfflineWorker;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::auth::HandedOnBy;
use super::body::{PACE_BYTES, PACE_WITHIN};
use super::jobs::job_id;
use super::listen::HangUp;
use super::listeners::{Listener, Listeners};
use super::paging::{Paging, rising};
use super::residency::check_readable;
use super::whose::Whose;
use super::{ApiError, Node};
use crate::airgap::archive::ArchiveError;
use crate::airgap::encryption::{ClusterKey, EncryptionError, PURPOSE};
use crate::airgap::incoming::{NotTaken, Taker, missing};
use crate::airgap::job_record::{self, NoRecord};
use crate::airgap::outgoing::{self, What};
use crate::airgap::{BundleError, medium};
use crate::clock::{rfc3339, wall_ms};
use crate::document::{ImportDocument, OfflineWorkerDocument, Page};
use crate::tls::{Authority, AuthorityError, Sealing};

/// How much may be written before the free space is looked at again, in bytes.
const LOOK_EVERY_BYTES: u64 = 16 << 20;
/// How much of a bundle is sent at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for a reader.
const PIECES_AHEAD: usize = 2;
/// How long a reader may leave them. Ours: the time after which streams of events end as well.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// Bundles that are read at once, each of which lies in a file. Ours: nobody but an air gap's courier and an auditor reads any.
const READ_AT_ONCE: usize = 8;
/// Of these, with one token.
const READ_OF_ONE: usize = 2;

/// Where bundles lie while they come in and go out.
#[derive(Debug, Clone)]
pub struct Spool {
    directory: PathBuf,
    floor_bytes: u64,
    one_at_a_time: Arc<Semaphore>,
    /// Places for bundles that are read.
    read: Listeners,
}

/// A file of the spool, which goes with this.
struct Spooled {
    path: PathBuf,
    /// The place among those that are written or taken in.
    place: Option<OwnedSemaphorePermit>,
}

impl Drop for Spooled {
    fn drop(&mut self) {
        // What stays is removed at the next start.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Spool {
    /// Files in a directory, which is made when it is needed.
    #[must_use]
    pub fn new(directory: PathBuf, floor_bytes: u64) -> Self {
        let read = Listeners::new(READ_AT_ONCE, READ_OF_ONE);
        Self { directory, floor_bytes, one_at_a_time: Arc::new(Semaphore::new(1)), read }
    }

    fn file(&self) -> Result<Spooled, ApiError> {
        let place = Arc::clone(&self.one_at_a_time).try_acquire_owned().map_err(|_busy| {
            let detail = "another bundle is being taken in or written on this node";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(5)
        })?;
        std::fs::create_dir_all(&self.directory).map_err(|error| self.failed(&error))?;
        let path = self.directory.join(format!("bundle-{:016x}.tmp", rand::random::<u64>()));
        Ok(Spooled { path, place: Some(place) })
    }

    fn require_space(&self, bytes: u64) -> Result<(), ApiError> {
        medium::require_space(&self.directory, bytes, self.floor_bytes).map_err(|error| BundleError::from(error).into())
    }

    fn failed(&self, error: &std::io::Error) -> ApiError {
        let detail = format!("{}: {error}", self.directory.display());
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "disk", detail)
    }

    /// Writes a request's body to a file.
    async fn receive(&self, request: Request) -> Result<Spooled, ApiError> {
        let spooled = self.file()?;
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        self.require_space(length.unwrap_or(0))?;
        let mut file = File::create_new(&spooled.path).await.map_err(|error| self.failed(&error))?;
        let mut pieces = request.into_body().into_data_stream();
        let (mut since_looked, mut paced, mut brought) = (0, Instant::now(), 0);
        loop {
            let piece = match tokio::time::timeout_at(paced + PACE_WITHIN, pieces.next()).await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(_elapsed) if brought >= PACE_BYTES => {
                    (paced, brought) = (Instant::now(), 0);
                    continue;
                }
                Err(_elapsed) => {
                    let detail = format!("the bundle came with less than {} KiB in {PACE_WITHIN:?}", PACE_BYTES >> 10);
                    return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail));
                }
            };
            let piece =
                piece.map_err(|error| ApiError::bad_request(format!("the request's body broke off: {error}")))?;
            file.write_all(&piece).await.map_err(|error| self.failed(&error))?;
            brought += piece.len();
            since_looked += piece.len() as u64;
            if since_looked >= LOOK_EVERY_BYTES {
                since_looked = 0;
                self.require_space(0)?;
            }
        }
        file.flush().await.map_err(|error| self.failed(&error))?;
        Ok(spooled)
    }
}

/// `?dry_run=true&trust=KEY`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct How {
    dry_run: Option<bool>,
    trust: Option<String>,
}

/// Takes a bundle of results in.
pub(super) async fn import(
    State(node): State<Node>,
    Query(how): Query<How>,
    request: Request,
) -> Result<Json<ImportDocument>, ApiError> {
    let spool = spool_of(&node)?;
    let trust = how.trust.as_deref().map(str::parse::<PeerId>).transpose();
    let trust = trust.map_err(|error| ApiError::bad_request(format!("trust: {error}")))?;
    // Before a long upload: what cannot be counted now need not be sent.
    node.proposer.leader().await?;
    let spooled = spool.receive(request).await?;
    let key = cluster_key(&node)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "no_cluster_key", error.to_string()))?;
    let taker =
        Taker { raft: node.raft.clone(), proposer: node.proposer.clone(), exchange: node.exchange.clone(), key };
    let taken = taker.take_in(spooled.path.clone(), trust, how.dry_run == Some(true)).await;
    Ok(Json(taken?))
}

/// `?feeds=false`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parts {
    feeds: Option<bool>,
}

/// Writes all orders that are carried out.
pub(super) async fn export(
    State(node): State<Node>,
    Query(parts): Query<Parts>,
    beside: Extensions,
) -> Result<Response, ApiError> {
    let (spool, Some(signer)) = (spool_of(&node)?, &node.signer) else { return Err(no_mesh()) };
    // A node that lost its cluster would sign orders of yesterday.
    node.proposer.leader().await?;
    let reader = Reader::of(spool, &beside)?;
    let spooled = spool.file()?;
    spool.require_space(0)?;
    let what = What { feeds: parts.feeds != Some(false) };
    let recipient = cluster_key(&node).unwrap_or_else(|error| {
        tracing::warn!(%error, "orders go out without the cluster's key");
        None
    });
    let cluster = (node.cluster, wall_ms(), recipient.map(|key| key.recipient()));
    outgoing::write(&node.raft, &node.exchange, signer, cluster, what, &spooled.path).await?;
    sent(&node, spool, spooled, reader).await
}

/// Writes a finished job with all by which it can be verified without a node.
pub(super) async fn job(
    State(node): State<Node>,
    by: Option<Extension<HandedOnBy>>,
    Path(id): Path<String>,
    beside: Extensions,
) -> Result<Response, ApiError> {
    let id = job_id(&id)?;
    let (spool, Some(signer)) = (spool_of(&node)?, &node.signer) else { return Err(no_mesh()) };
    check_readable(&node, id, by.map(|Extension(by)| by))?;
    let reader = Reader::of(spool, &beside)?;
    let spooled = spool.file()?;
    spool.require_space(0)?;
    let cluster = (node.cluster, wall_ms());
    match job_record::write(&node.raft, &node.exchange, signer, cluster, id, &spooled.path).await {
        Ok(()) => sent(&node, spool, spooled, reader).await,
        Err(NoRecord::Unknown(job)) => Err(Refusal::JobUnknown { job }.into()),
        Err(NoRecord::Bundle(error)) => Err(error.into()),
        Err(refused) => Err(ApiError::new(StatusCode::CONFLICT, "job_open", refused.to_string())),
    }
}

/// Who reads a bundle: their place, and the end of their connection.
struct Reader {
    _place: Listener,
    hang_up: Option<HangUp>,
}

impl Reader {
    /// From what was put beside a request, before anything is written for it.
    fn of(spool: &Spool, beside: &Extensions) -> Result<Self, ApiError> {
        let told = |most, whose: &str| format!("{most} bundles are read{whose} from this node already");
        let place = spool.read.take(&Whose::beside(beside)).map_err(|full| full.busy(told).retry_after(5))?;
        Ok(Self { _place: place, hang_up: beside.get::<HangUp>().cloned() })
    }
}

/// A file of the spool in pieces, as they are read.
async fn sent(node: &Node, spool: &Spool, mut spooled: Spooled, reader: Reader) -> Result<Response, ApiError> {
    let file = File::open(&spooled.path).await.map_err(|error| spool.failed(&error))?;
    // It is written: the next may be.
    spooled.place = None;
    let (sender, receiver) = channel(PIECES_AHEAD);
    node.tasks.spawn(give_out(file, spooled, reader, sender));
    let pieces = futures::stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(piece)) if piece.is_empty() => None,
            Some(Ok(piece)) => Some((Ok(piece), Some(receiver))),
            Some(Err(error)) => Some((Err(error), None)),
            // It breaks off, so that nobody takes a part for the whole.
            None => Some((Err(std::io::Error::from(std::io::ErrorKind::TimedOut)), None)),
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/gzip")], Body::from_stream(pieces)).into_response())
}

/// Reads a file to its end, which is told as an empty piece, unless nobody takes it. The file and the reader's place go with this.
async fn give_out(mut file: File, _spooled: Spooled, reader: Reader, sender: Sender<std::io::Result<Bytes>>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = match file.read(&mut piece).await {
            Ok(read) => {
                piece.truncate(read);
                Ok(piece.into())
            }
            Err(error) => Err(error),
        };
        let is_last = read.as_ref().map_or(true, Bytes::is_empty);
        match sender.send_timeout(read, READ_WITHIN).await {
            Ok(()) if !is_last => {}
            Ok(()) | Err(SendTimeoutError::Closed(_)) => return,
            Err(SendTimeoutError::Timeout(_)) => {
                tracing::info!("a reader of a bundle that does not read is dropped");
                if let Some(HangUp(connection)) = &reader.hang_up {
                    connection.cancel();
                }
                return;
            }
        }
    }
}

/// The workers without a network.
pub(super) async fn workers(
    State(node): State<Node>,
    paging: Paging,
) -> Result<Json<Page<OfflineWorkerDocument>>, ApiError> {
    let document = |worker: &OfflineWorker| OfflineWorkerDocument {
        worker_id: worker.worker_id(),
        name: worker.name.clone(),
        key: worker.peer.clone(),
        since: rfc3339(worker.since_ms),
        last_import: (worker.imported_at_ms > 0).then(|| rfc3339(worker.imported_at_ms)),
        last_bundle: worker.last_number(),
        missing_bundles: missing(worker),
    };
    let page = node.raft.read(|state| {
        let workers = state.offline_workers().map(|(id, worker)| (rising(id), worker));
        paging.part("offline-workers", workers, document)
    });
    page.map(Json)
}

/// Lets no more results of a worker in; those that were counted stay.
pub(super) async fn remove(State(node): State<Node>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    let is_named = |worker: &OfflineWorker| worker.name == name || worker.worker_id() == name;
    let found = node.raft.read(|state| {
        state.offline_workers().find(|(_, worker)| is_named(worker)).map(|(_, worker)| worker.peer.clone())
    });
    let Some(peer) = found else {
        let detail = format!("there is no worker `{name}` without a network");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "worker_unknown", detail));
    };
    node.proposer.propose(Command::SetOffline { peer, name: None }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn spool_of(node: &Node) -> Result<&Spool, ApiError> {
    let own = node.raft.node();
    if node.raft.is_outside() || node.raft.read(|state| state.node(own).is_some_and(|record| !record.may_vote())) {
        let detail = "this node only scans; bundles are written and taken in by members of the cluster";
        return Err(ApiError::new(StatusCode::CONFLICT, "not_a_member", detail));
    }
    node.spool.as_ref().ok_or_else(no_mesh)
}

/// The cluster's key, made of its authority's; `None` before there is one.
fn cluster_key(node: &Node) -> Result<Option<ClusterKey>, AuthorityError> {
    let (Some(psk), Some(noted)) = (&node.psk, node.raft.read(|state| state.authority().cloned())) else {
        return Ok(None);
    };
    let sealing = Sealing { psk: psk.as_bytes(), cluster: &node.cluster.0 };
    let authority = Authority::open(&noted.certificate, &noted.sealed_key, sealing)?;
    Ok(Some(ClusterKey::from_secret(&authority.secret(PURPOSE))))
}

fn no_mesh() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "no_mesh", "this node is in no cluster that orders could be of")
}

impl From<BundleError> for ApiError {
    fn from(error: BundleError) -> Self {
        let detail = match &error {
            error if error.is_of_bundle() => format!("the bundle is refused, and nothing was changed: {error}"),
            error => error.to_string(),
        };
        match error {
            BundleError::UnknownSigner { .. } | BundleError::OtherSigner { .. } => {
                Self::new(StatusCode::FORBIDDEN, "unknown_signer", detail)
            }
            BundleError::Medium(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", detail),
            BundleError::Io { .. }
            | BundleError::Archive(ArchiveError::Io(_))
            | BundleError::Encryption(EncryptionError::Io(_)) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "disk", detail)
            }
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bundle_refused", detail),
        }
    }
}

impl From<NotTaken> for ApiError {
    fn from(error: NotTaken) -> Self {
        let detail = error.to_string();
        match error {
            NotTaken::Bundle(error) => error.into(),
            NotTaken::Unavailable(error) => error.into(),
            NotTaken::NotDurable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_durable", detail).retry_after(5)
            }
        }
    }
}

#[cfg(test)]
#[path = "airgap_test.rs"]
mod tests;
