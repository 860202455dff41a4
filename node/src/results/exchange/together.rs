//! Small chunks on their way to the same node, which travel together: while some are under way the next ones gather, so that
//! nobody waits for others, and a node that brings many opens one stream for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use pentora_p2p::PeerId;
use pentora_raft::Digest;
use pentora_raft::command::StoredChunk;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::rpc::calls::{BROUGHT_MAX, CallError, Calls, Receipt};

/// A chunk above this goes by itself, in bytes: others would wait for it.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// What goes together at most, in bytes: it is there in time on a way of half a megabit a second.
const TOGETHER_BYTES_MAX: usize = 1 << 20;
/// Chunks that go one by one at the same time, below what the other side takes.
const ALONE_AT_ONCE: usize = 8;

/// Where chunks go, and whether they are to be on as many nodes as there should be.
type Way = (PeerId, bool);

#[derive(Debug)]
struct Waiting {
    chunk: (Digest, Bytes),
    within: Duration,
    answer: oneshot::Sender<Result<Receipt, CallError>>,
}

/// The chunks that wait, by where they go; whoever is in here is being brought something now. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Together {
    calls: Calls,
    waiting: Arc<Mutex<HashMap<Way, Vec<Waiting>>>>,
}

/// Whoever brings what waits; where that breaks off, those who wait are told so and the next one begins anew.
struct Bringing<'a> {
    together: &'a Together,
    way: Way,
    is_over: bool,
}

impl Drop for Bringing<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.together.lock().remove(&self.way);
        }
    }
}

impl Together {
    pub(super) fn new(calls: Calls) -> Self {
        Self { calls, waiting: Arc::default() }
    }

    /// What they are brought with, for whatever goes by itself.
    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Sends a chunk and waits until the other side has it on disk.
    pub(super) async fn put(&self, peer: PeerId, chunk: (Digest, &Bytes), within: Duration) -> Result<(), CallError> {
        if chunk.1.len() > SMALL_BYTES_MAX {
            return self.calls.put_chunk(peer, chunk.0, chunk.1, within).await;
        }
        match self.bring((peer, false), chunk, within).await? {
            Receipt::Kept => Ok(()),
            other => Err(refused(other)),
        }
    }

    /// Has a gateway make a chunk durable, and waits for its word on where it is. One that goes `alone` has longer at the gateway, and
    /// holds up no other.
    pub(super) async fn hand_in(
        &self,
        peer: PeerId,
        chunk: (Digest, &Bytes),
        within: Duration,
        alone: bool,
    ) -> Result<StoredChunk, CallError> {
        if alone || chunk.1.len() > SMALL_BYTES_MAX {
            return self.calls.hand_in(peer, chunk.0, chunk.1, within).await;
        }
        match self.bring((peer, true), chunk, within).await? {
            Receipt::Stored(stored) => Ok(stored),
            other => Err(refused(other)),
        }
    }

    async fn bring(&self, way: Way, (digest, bytes): (Digest, &Bytes), within: Duration) -> Result<Receipt, CallError> {
        let (answer, answered) = oneshot::channel();
        let own = Waiting { chunk: (digest, bytes.clone()), within, answer };
        let begins = {
            let mut waiting = self.lock();
            let begins = !waiting.contains_key(&way);
            waiting.entry(way).or_default().push(own);
            begins
        };
        if begins {
            let together = self.clone();
            drop(TaskTracker::new().spawn(async move { together.bring_waiting(way).await }));
        }
        // The wait for those before it counts as well.
        match tokio::time::timeout(within, answered).await {
            Ok(answer) => answer.unwrap_or(Err(CallError::HungUp)),
            Err(_elapsed) => Err(CallError::TimedOut { after: within }),
        }
    }

    /// Brings what waits, until nothing does.
    async fn bring_waiting(&self, way: Way) {
        let mut bringing = Bringing { together: self, way, is_over: false };
        while let Some(those) = self.next_of(way) {
            self.bring_those(way, those).await;
        }
        // It is out of the list, and another may be in it by now.
        bringing.is_over = true;
    }

    /// What goes together next; with the last of it the way is out of the list.
    fn next_of(&self, way: Way) -> Option<Vec<Waiting>> {
        let mut waiting = self.lock();
        let those = waiting.get_mut(&way)?;
        // Nobody waits any more for what was given up.
        those.retain(|one| !one.answer.is_closed());
        if those.is_empty() {
            waiting.remove(&way);
            return None;
        }
        let mut bytes = 0;
        let fits = |one: &&Waiting| {
            bytes += one.chunk.1.len();
            bytes <= TOGETHER_BYTES_MAX
        };
        let count = those.iter().take(BROUGHT_MAX).take_while(fits).count().max(1);
        Some(those.drain(..count).collect())
    }

    async fn bring_those(&self, (peer, to_hand_in): Way, those: Vec<Waiting>) {
        let within = those.iter().map(|one| one.within).max().unwrap_or_default();
        if those.len() > 1 {
            let chunks: Vec<(Digest, Bytes)> = those.iter().map(|one| one.chunk.clone()).collect();
            match self.calls.bring(peer, &chunks, to_hand_in, within).await {
                Ok(receipts) => {
                    for (one, receipt) in those.into_iter().zip(receipts) {
                        // Whoever does not wait any more asks again.
                        let _ = one.answer.send(Ok(receipt));
                    }
                    return;
                }
                // Perhaps it is of an earlier release, which knows them one by one.
                Err(CallError::HungUp | CallError::Frame(_)) => {}
                Err(error) => {
                    let why = error.to_string();
                    for one in those {
                        let _ = one.answer.send(Err(CallError::NotDone(why.clone())));
                    }
                    return;
                }
            }
        }
        let one_by_one = |Waiting { chunk: (digest, bytes), within, mut answer }| async move {
            let sending = async {
                if to_hand_in {
                    self.calls.hand_in(peer, digest, &bytes, within).await.map(Receipt::Stored)
                } else {
                    self.calls.put_chunk(peer, digest, &bytes, within).await.map(|()| Receipt::Kept)
                }
            };
            let receipt = tokio::select! {
                biased;
                () = answer.closed() => return,
                receipt = sending => receipt,
            };
            let _ = answer.send(receipt);
        };
        futures::stream::iter(those).for_each_concurrent(ALONE_AT_ONCE, one_by_one).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Way, Vec<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(receipt: Receipt) -> CallError {
    match receipt {
        Receipt::Full(why) => CallError::Full(why),
        Receipt::Unavailable(why) => CallError::NotDone(why),
        Receipt::Denied(why) => CallError::Denied(why),
        Receipt::Kept | Receipt::Stored(_) => CallError::Unexpected("expected another receipt for the chunk"),
    }
}
