//! `worker.local_queue`: the newest orders that a worker without a network was given, in a directory.
//!
//! `orders.json` is the manifest of the bundle that was taken in last, with its signer; writing it is the one step that
//! makes a bundle the worker's. Contents lie beside it by their digests and are written before it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pentora_p2p::PeerId;
use pentora_raft::Digest;
use pentora_scanner::spec::ScanSpec;
use serde::{Deserialize, Serialize};

use super::carried_policy::policy_of;
use super::encryption::Recipient;
use super::manifest::{Body, Content, Manifest, Order, Orders};
use super::{BundleError, IS_A_RECORD, at, locked, medium, open};
use crate::durable_file::{self, Readers};
use crate::spec;

const RESULTS: &str = "it holds results; they go to the cluster: pentora coordinator import";
const ORDERS: &str = "orders.json";

/// The queue of a worker without a network.
#[derive(Debug, Clone)]
pub struct Queue {
    path: PathBuf,
}

/// What a worker has been told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Who signed it.
    pub signer: PeerId,
    /// The cluster.
    pub cluster: String,
    /// When it was made.
    pub made_at: String,
    /// What is to be done.
    pub orders: Orders,
}

impl Queue {
    /// The queue in a directory, which is made.
    ///
    /// # Errors
    /// [`BundleError::Io`].
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let contents = path.join("content");
        std::fs::create_dir_all(&contents).map_err(at(&contents))?;
        Ok(Self { path: path.to_owned() })
    }

    /// What a bundle of orders says, read to its end and not taken in, whoever signed it.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn peek(file: &Path) -> Result<Told, BundleError> {
        let (reader, manifest) = open(file, None, |_anybody| Ok(()))?;
        let signer = reader.signer();
        let Manifest { cluster, made_at, contents, body, .. } = manifest;
        let orders = orders_in(body)?;
        reader.contents(&contents, |_, _| Ok::<(), BundleError>(()))?;
        Ok(Told { signer, cluster, made_at, orders })
    }

    /// What the worker was told last; `None` before it was told anything.
    ///
    /// # Errors
    /// [`BundleError`] where the file is there and does not read.
    pub fn told(&self) -> Result<Option<Told>, BundleError> {
        let path = self.path.join(ORDERS);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| BundleError::Contents(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(BundleError::Io { path, source }),
        }
    }

    /// Whom results are encrypted to: the key of the cluster that gave the orders.
    ///
    /// # Errors
    /// [`BundleError::NoRecipient`] where the orders name none that this release encrypts to, [`BundleError::NoOrders`] where
    /// there are none.
    pub fn recipient(&self) -> Result<Recipient, BundleError> {
        let named = self.told()?.ok_or(BundleError::NoOrders)?.orders.recipient;
        named.and_then(|named| named.parse().ok()).ok_or(BundleError::NoRecipient)
    }

    /// Takes a bundle of orders in, in place of those before. `trust` names a signer that is to be trusted from now on;
    /// without it the signer is a member of the cluster that gave the orders before. A worker is one cluster's, whoever is
    /// trusted: it, or one that was restored from its backup, gives all further orders.
    ///
    /// # Errors
    /// [`BundleError`].
    ///
    /// # Panics
    /// Never: what is written is plain data.
    pub fn take_in(&self, file: &Path, trust: Option<PeerId>, floor_bytes: u64) -> Result<Told, BundleError> {
        let _lock = locked(&self.path)?;
        let before = self.told()?;
        let told = self.checked(file, trust, before.as_ref(), floor_bytes)?;
        let (reader, manifest) = open(file, None, |_checked| Ok(()))?;
        reader.contents(&manifest.contents, |digest, bytes| {
            let path = self.content_path(digest);
            durable_file::write(&path, &bytes, Readers::Everybody).map_err(at(&path))
        })?;
        let path = self.path.join(ORDERS);
        let bytes = serde_json::to_vec_pretty(&told).expect("numbers, texts and lists are JSON");
        durable_file::write(&path, &bytes, Readers::Everybody).map_err(at(&path))?;
        self.tidy(&told);
        Ok(told)
    }

    /// Reads a bundle to its end, and says what it tells where all of it is right.
    fn checked(
        &self,
        file: &Path,
        trust: Option<PeerId>,
        before: Option<&Told>,
        floor_bytes: u64,
    ) -> Result<Told, BundleError> {
        let (reader, manifest) = open(file, None, |signer| match trust {
            Some(named) if named != signer => Err(BundleError::OtherSigner { signer, named }),
            Some(_) => Ok(()),
            None if before.is_some_and(|told| told.orders.members.contains(&signer)) => Ok(()),
            None => Err(BundleError::UnknownSigner { signer }),
        })?;
        let signer = reader.signer();
        let Manifest { cluster, made_at, contents, body, .. } = manifest;
        let orders = orders_in(body)?;
        if let Some(Told { cluster: here, orders: last, .. }) = before {
            if *here != cluster && !orders.former.contains(here) {
                let whose = "this worker works for";
                return Err(BundleError::OtherCluster { named: cluster, whose, here: here.clone() });
            }
            // A cluster that was restored counts its log on from where its backup was.
            if *here == cluster && orders.revision < last.revision {
                return Err(BundleError::Older { revision: orders.revision, here: last.revision });
            }
        }
        policy_of(&orders.rules, "").map_err(BundleError::Contents)?;
        let bytes = contents.iter().fold(0u64, |sum, content: &Content| sum.saturating_add(content.bytes));
        medium::require_space(&self.path, bytes, floor_bytes)?;
        reader.contents(&contents, |digest, bytes| {
            let of_spec = |order: &&Order| order.spec == digest;
            orders.orders.iter().filter(of_spec).try_for_each(|order| spec_of(order, &bytes).map(drop))
        })?;
        Ok(Told { signer, cluster, made_at, orders })
    }

    /// What an order says to scan.
    ///
    /// # Errors
    /// [`BundleError`] where the disk lost it.
    pub fn spec(&self, order: &Order) -> Result<ScanSpec, BundleError> {
        spec_of(order, &self.content(order.spec)?)
    }

    /// Something that the orders name.
    ///
    /// # Errors
    /// [`BundleError`] where it is not there, or was changed.
    pub fn content(&self, digest: Digest) -> Result<Bytes, BundleError> {
        let path = self.content_path(digest);
        let bytes = std::fs::read(&path).map_err(at(&path))?;
        if Digest::of(&bytes) != digest {
            return Err(BundleError::Contents(format!("{} is damaged: take the orders in again", path.display())));
        }
        Ok(bytes.into())
    }

    fn content_path(&self, digest: Digest) -> PathBuf {
        self.path.join("content").join(digest.to_string())
    }

    /// Removes what the orders do not name any more; what cannot be removed is tried again with the next ones.
    fn tidy(&self, told: &Told) {
        // Feeds that were left out of this bundle may be those of the one before.
        if told.orders.feeds.is_none() {
            return;
        }
        let feeds = told.orders.feeds.iter().flatten().map(|feed| feed.digest);
        let named: BTreeSet<String> =
            told.orders.orders.iter().map(|order| order.spec).chain(feeds).map(|digest| digest.to_string()).collect();
        let Ok(entries) = std::fs::read_dir(self.path.join("content")) else { return };
        for entry in entries.flatten().filter(|entry| !named.contains(&*entry.file_name().to_string_lossy())) {
            if let Err(error) = std::fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "a file that no order names stays");
            }
        }
    }
}

/// The orders of a bundle.
fn orders_in(body: Body) -> Result<Orders, BundleError> {
    match body {
        Body::Orders(orders) => Ok(orders),
        Body::Results(_) => Err(BundleError::Direction(RESULTS)),
        Body::Job(_) => Err(BundleError::Direction(IS_A_RECORD)),
    }
}

/// The spec of an order, held against what the order says of it.
fn spec_of(order: &Order, bytes: &[u8]) -> Result<ScanSpec, BundleError> {
    let wrong =
        |what: String| BundleError::Contents(format!("the order of {} cannot be carried out: {what}", order.job));
    let spec = spec::decode(bytes).map_err(|error| wrong(error.to_string()))?;
    spec.validate().map_err(|error| wrong(error.to_string()))?;
    let counts = spec.partitions.iter().map(pentora_scanner::target::TargetSet::count);
    if !counts.eq(order.partitions.iter().map(|part| part.target_count)) {
        return Err(wrong("its targets are not as many as it says".into()));
    }
    Ok(spec)
}

#[cfg(test)]
#[path = "queue_test.rs"]
pub(crate) mod tests;
