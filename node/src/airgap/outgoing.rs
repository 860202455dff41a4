//! The cluster's orders for its workers without a network, as one bundle.
//!
//! A bundle is all that holds at one index of the log: what was in an older one and is not in it has ended. So a worker
//! needs only the newest that reaches it, and one that is lost on the way loses nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use bytes::Bytes;
use pentora_p2p::{Identity, PeerId};
use pentora_raft::command::{SpecRef, UnitRange};
use pentora_raft::state::JobStatus;
use pentora_raft::{ClusterId, Digest, JobId, NodeId, Raft, State};

use super::archive::ArchiveWriter;
use super::carried_policy::rules_of;
use super::encryption::Recipient;
use super::manifest::{Arrived, Body, Content, Feed, Manifest, Order, Orders};
use super::{BundleError, at};
use crate::clock::rfc3339;
use crate::results::Exchange;
use crate::rpc::calls::CHUNK_BYTES_MAX;
use crate::spec;

/// Where a content is: in the log itself, or with these holders.
enum Place {
    Here(Bytes),
    Held(Vec<NodeId>),
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct What {
    /// The feeds in use as well; without them a worker keeps those that it has.
    pub feeds: bool,
}

/// Writes all orders that are carried out to `file`, which must be private to this process; `recipient` is whom results can be
/// encrypted to.
///
/// # Errors
/// [`BundleError`]; chunks that no holder gives are among them.
pub async fn write(
    raft: &Raft,
    exchange: &Exchange,
    key: &Identity,
    (cluster, now_ms, recipient): (ClusterId, u64, Option<Recipient>),
    what: What,
    file: &Path,
) -> Result<Orders, BundleError> {
    let revision = *raft.watch_applied().borrow();
    let (mut orders, places) = raft.read(|state| orders_of(state, revision, what));
    orders.recipient = recipient.map(|recipient| recipient.to_string());
    let mut contents = Vec::new();
    let mut held: BTreeMap<Digest, Bytes> = BTreeMap::new();
    for (digest, place) in places {
        let bytes = match place {
            Place::Here(bytes) => bytes,
            Place::Held(holders) => {
                let fetched = exchange.fetch(digest, &holders).await;
                fetched.map_err(|error| BundleError::Contents(error.to_string()))?
            }
        };
        if bytes.len() > CHUNK_BYTES_MAX {
            return Err(BundleError::Contents(format!("content {digest} is too large to be carried")));
        }
        contents.push(Content { digest, bytes: bytes.len() as u64 });
        held.insert(digest, bytes);
    }
    let manifest =
        Manifest::new(cluster.to_string(), rfc3339(now_ms), contents, Body::Orders(orders.clone())).to_bytes();
    let (file, key) = (file.to_owned(), key.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let out = File::options().create_new(true).write(true).open(&file).map_err(at(&file))?;
        let mut out = ArchiveWriter::new(BufWriter::new(out), &key, &manifest).map_err(at(&file))?;
        held.iter().try_for_each(|(digest, bytes)| out.content(*digest, bytes)).map_err(at(&file))?;
        out.finish().and_then(|mut out| out.flush()).map_err(at(&file))
    });
    writing.await.map_err(|error| BundleError::Contents(error.to_string()))??;
    Ok(orders)
}

/// The orders, and where their contents are, by digest: a manifest lists them in this order.
fn orders_of(state: &State, revision: u64, what: What) -> (Orders, BTreeMap<Digest, Place>) {
    let mut places = BTreeMap::new();
    let carried = state.jobs().filter(|(_, job)| job.status == JobStatus::Carried);
    let mut orders = Vec::new();
    for (id, job) in carried {
        let Some(kept) = state.spec(id) else { continue };
        let spec = spec::digest(kept);
        let place = match kept {
            SpecRef::Inline(bytes) => Place::Here(Bytes::copy_from_slice(bytes)),
            SpecRef::Chunk { holders, .. } => Place::Held(holders.clone()),
        };
        places.insert(spec, place);
        orders.push(Order {
            job: id,
            title: job.title.clone(),
            author: state.author(id).cloned().unwrap_or_default(),
            priority: job.priority,
            partitions: job.partitions.clone(),
            limits: job.limits,
            spec,
            counted: counted(state, id, job.partitions.len()),
        });
    }
    let feeds = what.feeds.then(|| {
        let feed = |(kind, record): (&str, &pentora_raft::state::FeedRecord)| {
            places.insert(record.digest, Place::Held(record.holders.clone()));
            Feed { kind: kind.to_owned(), digest: record.digest }
        };
        state.feeds().map(feed).collect()
    });
    let members = state.nodes().filter(|(_, node)| node.may_vote()).filter_map(|(_, node)| node.info.peer.parse().ok());
    let arrived = |worker: &pentora_raft::state::OfflineWorker| {
        let key: PeerId = worker.peer.parse().ok()?;
        let mut numbered = worker.arrived();
        Some(Arrived { worker: key, bundles: numbered.remove(&0).unwrap_or_default(), numbered })
    };
    let orders = Orders {
        revision,
        members: members.collect(),
        orders,
        rules: rules_of(state),
        feeds,
        arrived: state.offline_workers().filter_map(|(_, worker)| arrived(worker)).collect(),
        recipient: None,
        former: state.cluster().former.iter().map(ToString::to_string).collect(),
    };
    (orders, places)
}

/// What of a job is counted.
fn counted(state: &State, job: JobId, partitions: usize) -> Vec<UnitRange> {
    let of = |partition: u32| {
        let done = state.progress(job, partition).into_iter().flat_map(|progress| progress.done.iter());
        done.map(move |range| UnitRange { partition, start: range.start, end: range.end })
    };
    (0u32..).zip(0..partitions).flat_map(|(partition, _)| of(partition)).collect()
}
