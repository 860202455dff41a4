//! Keeps this node's feeds equal to those that the log names.

use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::PeerId;
use pentora_raft::state::FeedRecord;
use pentora_raft::{Raft, State};
use pentora_scanner::detect::RuleSet;
use pentora_scanner::engine::Engine;
use tokio_util::sync::CancellationToken;

use super::rules::Questions;
use super::store::FeedError;
use super::{FeedKind, FeedStore, rules, signed_words};
use crate::policy::own::{OwnFile, OwnRules};
use crate::results::{Exchange, NotFetched};

/// How often the log is looked at; a feed is replaced a few times a day.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait after a bundle could not be had, or was refused.
const RETRY: Duration = Duration::from_secs(15);

/// Why a bundle was not taken. The feed before it stays.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Fetch(#[from] NotFetched),
    #[error("its signature is not that of node {signer}")]
    Signature { signer: String },
    #[error("it is signed by node {signer}, which only scans")]
    Signer { signer: String },
    #[error("it has {found} bytes where the log says {told}")]
    Size { found: usize, told: u64 },
    #[error(transparent)]
    Store(#[from] FeedError),
    #[error("storing it was interrupted: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Follows the log until `stop`, and gives the engine the rules of each new feed that is made of such, as far as the node's own
/// file lets them be used.
pub async fn follow(
    (raft, exchange): (Raft, Exchange),
    store: FeedStore,
    engine: Engine,
    own: OwnFile,
    stop: CancellationToken,
) {
    let mut rules = own.watch();
    use_rules(&store, &engine, &rules.borrow_and_update());
    let mut pause = LOOK_EVERY;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = rules.changed() => {
                use_rules(&store, &engine, &rules.borrow_and_update());
                continue;
            }
            () = tokio::time::sleep(pause) => {}
        }
        pause = LOOK_EVERY;
        for kind in FeedKind::ALL {
            match catch_up(&raft, &exchange, &store, kind).await {
                Ok(Some(records)) => {
                    tracing::info!(%kind, records, "feed replaced");
                    if kind.of_advisories().is_none() {
                        use_rules(&store, &engine, &own.now());
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%kind, %error, "the cluster's new feed is not taken; the one before it stays");
                    pause = RETRY;
                }
            }
        }
    }
}

/// Gives the engine the rules of the feeds that are made of such, with their questions where the node's `own` file asks for no
/// signed orders.
pub fn use_rules(store: &FeedStore, engine: &Engine, own: &OwnRules) {
    engine.set_rules(or_built_in(rules::with_feed(Some(store), Questions::of(own))));
}

/// These rules, or the program's own where a feed could not be read: those before it may ask what the node's own file no longer
/// lets be asked.
fn or_built_in(rules: Result<RuleSet, String>) -> RuleSet {
    rules.unwrap_or_else(|why| {
        tracing::warn!(%why, "the feeds of rules are not used, only the program's own");
        RuleSet::builtin()
    })
}

/// Takes the feed of a kind that the log names, if this node has another. Answers how many records it has: none where it was
/// taken away.
async fn catch_up(
    raft: &Raft,
    exchange: &Exchange,
    store: &FeedStore,
    kind: FeedKind,
) -> Result<Option<u64>, NotTaken> {
    let wanted =
        raft.read(|state| state.feeds().find(|(name, _)| *name == kind.as_str()).map(|(_, record)| record.clone()));
    let current = store.current(kind)?;
    match (wanted, current) {
        (None, None) => Ok(None),
        (None, Some(_)) => {
            // An empty log is one that this node has not read yet.
            if raft.read(|state| state.cluster().id.is_some()) && raft.status().leader.is_some() {
                store.remove(kind)?;
                return Ok(Some(0));
            }
            Ok(None)
        }
        (Some(record), Some(current)) if current.digest == record.digest => Ok(None),
        (Some(record), _) => {
            // Whoever has left since was a member when the leader took the feed in; one that only scans never was.
            let only_scans =
                |state: &State| state.nodes().any(|(_, node)| node.info.peer == record.signer && !node.may_vote());
            if raft.read(only_scans) {
                return Err(NotTaken::Signer { signer: record.signer });
            }
            take(exchange, store, kind, &record).await.map(Some)
        }
    }
}

async fn take(exchange: &Exchange, store: &FeedStore, kind: FeedKind, record: &FeedRecord) -> Result<u64, NotTaken> {
    let bytes = exchange.fetch(record.digest, &record.holders).await?;
    check(kind, record, &bytes)?;
    let store = store.clone();
    let current = tokio::task::spawn_blocking(move || store.replace(kind, &bytes)).await??;
    Ok(current.heading.records)
}

/// Holds a bundle against what the log says of it; its digest was checked when it was fetched.
fn check(kind: FeedKind, record: &FeedRecord, bytes: &Bytes) -> Result<(), NotTaken> {
    if bytes.len() as u64 != record.bytes {
        return Err(NotTaken::Size { found: bytes.len(), told: record.bytes });
    }
    let words = signed_words(kind.as_str(), &record.digest, record.bytes, record.records);
    let is_signed = record.signer.parse::<PeerId>().is_ok_and(|signer| signer.verify(&words, &record.signature));
    if is_signed { Ok(()) } else { Err(NotTaken::Signature { signer: record.signer.clone() }) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use pentora_p2p::Identity;
    use pentora_raft::Digest;
    use pentora_scanner::detect::ServiceProbes;

    use super::*;

    fn record(identity: &Identity, bytes: &[u8]) -> FeedRecord {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        FeedRecord {
            digest,
            bytes: size,
            records: 1,
            source: String::new(),
            holders: vec![1],
            signer: identity.peer_id().to_string(),
            signature: identity.sign(&signed_words("cve", &digest, size, 1)),
            imported_at_ms: 0,
        }
    }

    #[test]
    fn a_feed_that_cannot_be_read_leaves_no_rules_of_feeds_in_force() {
        let text = b"Probe TCP Theirs q|OVERWRITE|\nports 1-65535\nrarity 1\nmatch a m|^b| p/B/\n";
        let probes = ServiceProbes::of_bytes(Path::new("theirs.probes"), text).unwrap();
        let with_feed = RuleSet::builtin().with_service_probes(Arc::new(probes));
        let words = |rules: Result<RuleSet, String>| format!("{:?}", or_built_in(rules));
        let built_in = format!("{:?}", RuleSet::builtin());
        assert_ne!(words(Ok(with_feed)), built_in, "else this test shows nothing");
        assert_eq!(words(Err("cut off".to_owned())), built_in);
    }

    #[test]
    fn a_bundle_is_taken_only_as_it_was_signed() {
        let (identity, stranger) = (Identity::generate(), Identity::generate());
        let bytes = Bytes::from_static(b"bundle");
        let good = record(&identity, &bytes);
        assert!(check(FeedKind::Cve, &good, &bytes).is_ok());
        assert!(check(FeedKind::Osv, &good, &bytes).is_err(), "a feed of another kind");
        let more = FeedRecord { records: 2, ..good.clone() };
        assert!(check(FeedKind::Cve, &more, &bytes).is_err(), "another number of records");
        let other = FeedRecord { signer: stranger.peer_id().to_string(), ..good.clone() };
        assert!(check(FeedKind::Cve, &other, &bytes).is_err(), "another signer");
        assert!(matches!(
            check(FeedKind::Cve, &good, &Bytes::from_static(b"longer bundle")),
            Err(NotTaken::Size { .. })
        ));
    }
}
