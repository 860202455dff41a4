//! Reads every chunk of this node now and then, at a bounded rate, so that damage is found while there is another copy.

use std::time::{Duration, Instant};

use crate::results::{ChunkStore, StoreError};

/// How fast chunks are read. Ours: a store of 1 TB in a day and a half, beside which a disk has room for a scan.
const BYTES_PER_SECOND: u64 = 8 << 20;
/// The least pause between two chunks, so that many small ones do not keep a disk busy either.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// Goes over the store again and again, a pass in every `interval`. What it finds damaged is noted by the store, and
/// replaced by the next look of the inventory.
pub(super) async fn scrub(store: ChunkStore, interval: Duration) {
    loop {
        let began = Instant::now();
        pass(&store).await;
        tokio::time::sleep(interval.saturating_sub(began.elapsed())).await;
    }
}

async fn pass(store: &ChunkStore) {
    let chunks = match store.list().await {
        Ok(chunks) => chunks,
        Err(error) => {
            tracing::warn!(%error, "the chunks of this node cannot be listed");
            return;
        }
    };
    for digest in chunks.into_keys() {
        let read = match store.get(digest).await {
            Ok(bytes) => bytes.map_or(0, |bytes| bytes.len() as u64),
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::warn!(%error, "it is fetched from another holder");
                0
            }
            Err(error) => {
                tracing::warn!(%error, "a chunk cannot be read");
                0
            }
        };
        tokio::time::sleep(pause(read)).await;
    }
}

fn pause(read_bytes: u64) -> Duration {
    let at_rate = Duration::from_micros(read_bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND);
    at_rate.max(PAUSE_MIN)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pentora_raft::Digest;

    use super::*;

    #[test]
    fn a_pass_reads_no_faster_than_its_rate() {
        assert_eq!(pause(BYTES_PER_SECOND * 3), Duration::from_secs(3));
        assert_eq!(pause(10), PAUSE_MIN);
        assert!(pause(u64::MAX) > Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_pass_finds_each_damaged_chunk_and_leaves_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(directory.path(), 0).unwrap();
        let digests = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        for (digest, bytes) in digests.into_iter().zip(["a", "b", "c"]) {
            store.put(digest, Bytes::from_static(bytes.as_bytes())).await.unwrap();
        }
        std::fs::write(directory.path().join(digests[1].to_string()), b"turned").unwrap();
        pass(&store).await;
        let damaged: Vec<Digest> = store
            .list()
            .await
            .unwrap()
            .into_iter()
            .filter(|(_, kept)| kept.is_damaged)
            .map(|(digest, _)| digest)
            .collect();
        assert_eq!(damaged, [digests[1]]);
    }
}
