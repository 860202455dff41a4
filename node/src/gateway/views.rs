//! Shows nodes outside the log what of it concerns them.
//!
//! One task looks at the state for all of them; a stream's own task sends what changed since it sent last. A node whose
//! connection is slow skips what was overtaken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use pentora_p2p::{FrameSink, FrameStream};
use pentora_raft::codec::{self, Kind};
use pentora_raft::state::table::RowChange;
use pentora_raft::view::{GatewayWord, Look, Rows, ViewFrame, WORD_EVERY, changes};
use pentora_raft::{NodeId, Raft};
use tokio::sync::{Notify, watch};

use super::ViewHello;

/// How long a node gets to say what it was shown before.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How long it is waited until this member has applied as much.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(3);
/// The shortest time between two looks: entries that come close together are looked at together.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Rows of one frame, in bytes; a frame holds 256 KiB, and no row is larger than an entry of the log.
const ROWS_BYTES: usize = 32 << 10;

/// What a node is to be shown, as of one look. What did not change from one look to the next is the very same.
#[derive(Debug, Clone)]
struct Picture {
    word: Arc<GatewayWord>,
    looked: Instant,
    common: Arc<Rows>,
    own: Arc<Rows>,
}

impl Picture {
    /// Whether a node that has `before` should hear of this.
    fn is_news_after(&self, before: &Self) -> bool {
        let leader = |word: &GatewayWord| word.leader.map(|(leader, _)| leader);
        let is_known = |word: &GatewayWord, before: &GatewayWord| {
            (leader(word), word.term) == (leader(before), before.term) && word.voter_sets == before.voter_sets
        };
        !Arc::ptr_eq(&self.common, &before.common)
            || !Arc::ptr_eq(&self.own, &before.own)
            || !is_known(&self.word, &before.word)
            || self.looked.saturating_duration_since(before.looked) >= WORD_EVERY
    }
}

/// A node that is shown the log on one stream.
#[derive(Debug)]
struct Viewer {
    node: NodeId,
    picture: watch::Sender<Option<Picture>>,
}

/// All that are shown the log here.
#[derive(Debug)]
pub(super) struct Views {
    raft: Raft,
    viewers: Mutex<(u64, BTreeMap<u64, Viewer>)>,
    /// Told when there is a new one.
    came: Notify,
}

/// Takes a viewer off the list when its stream ends.
struct Listed<'a> {
    views: &'a Views,
    number: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.views.lock().1.remove(&self.number);
    }
}

impl Views {
    pub(super) fn new(raft: Raft) -> Self {
        Self { raft, viewers: Mutex::default(), came: Notify::new() }
    }

    /// Looks whenever the state or the leadership changed, and often enough for words, for ever.
    pub(super) async fn keep(&self) {
        let (mut applied, mut look) = (self.raft.watch_applied(), Look::default());
        loop {
            tokio::select! {
                biased;
                () = self.came.notified() => {}
                changed = applied.changed() => if changed.is_err() { return },
                () = self.raft.status_changed(WORD_EVERY) => {}
            }
            self.look(&mut look);
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    fn look(&self, look: &mut Look) {
        let nodes: BTreeSet<NodeId> = self.lock().1.values().map(|viewer| viewer.node).collect();
        if nodes.is_empty() {
            return;
        }
        // The index is read first: the rows are as of it or later, and never older than they are said to be.
        let applied = *self.raft.watch_applied().borrow();
        let seen = self.raft.read(|state| look.at(state, &nodes));
        let word = Arc::new(self.raft.word(applied));
        let looked = Instant::now();
        for viewer in self.lock().1.values() {
            let Some(own) = seen.own.get(&viewer.node) else { continue };
            let (word, common, own) = (Arc::clone(&word), Arc::clone(&seen.common), Arc::clone(own));
            let picture = Picture { word, looked, common, own };
            viewer.picture.send_if_modified(|shown| {
                let is_news = shown.as_ref().is_none_or(|before| picture.is_news_after(before));
                if is_news {
                    *shown = Some(picture);
                }
                is_news
            });
        }
    }

    /// Shows `node` the log until one side ends it.
    pub(super) async fn show(&self, mut stream: FrameStream, node: NodeId) -> Result<(), String> {
        let hello = tokio::time::timeout(HELLO_WITHIN, stream.receive()).await;
        let hello = hello.map_err(|_elapsed| "it does not say what it was shown before")?;
        let hello = hello.map_err(|error| error.to_string())?.ok_or("it hung up")?;
        let ViewHello { applied } = codec::decode(Kind::CallFrame, &hello).map_err(|error| error.to_string())?;
        if !self.raft.wait_applied(applied, CAUGHT_UP_WITHIN).await {
            return Err(format!("it was shown entry {applied} elsewhere, which this member does not have yet"));
        }
        let (mut sink, mut source) = stream.split();
        let (listed, mut pictures) = self.list(node);
        let showing = async {
            let mut sent: Option<Picture> = None;
            while pictures.changed().await.is_ok() {
                let Some(picture) = pictures.borrow_and_update().clone() else { continue };
                send(&mut sink, sent.as_ref(), &picture).await?;
                sent = Some(picture);
            }
            Ok(())
        };
        let ended = tokio::select! {
            ended = showing => ended,
            // It says nothing more: what comes is the stream's end.
            _ = source.next() => Ok(()),
        };
        drop(listed);
        ended
    }

    fn list(&self, node: NodeId) -> (Listed<'_>, watch::Receiver<Option<Picture>>) {
        let (picture, pictures) = watch::channel(None);
        let mut viewers = self.lock();
        viewers.0 += 1;
        let number = viewers.0;
        viewers.1.insert(number, Viewer { node, picture });
        drop(viewers);
        self.came.notify_one();
        (Listed { views: self, number }, pictures)
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Viewer>)> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what changed from one picture to the next, and the word of it; all of it in one write where it fits.
async fn send(sink: &mut FrameSink, before: Option<&Picture>, now: &Picture) -> Result<(), String> {
    let changed = match before {
        None => {
            put(sink, &ViewFrame::Anew).await?;
            changes(&Rows::new(), &all(now))
        }
        Some(before) => changed(before, now),
    };
    for rows in parts(changed) {
        put(sink, &ViewFrame::Rows(rows)).await?;
    }
    let mut word = GatewayWord::clone(&now.word);
    let waited = u64::try_from(now.looked.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let Some((_, age_ms)) = &mut word.leader {
        *age_ms = age_ms.saturating_add(waited);
    }
    word.now_ms = word.now_ms.saturating_add(waited);
    put(sink, &ViewFrame::Word(word)).await?;
    sink.flush().await.map_err(|error| error.to_string())
}

/// Everything in a picture.
fn all(picture: &Picture) -> Rows {
    let rows = picture.own.iter().chain(picture.common.iter());
    rows.map(|(key, row)| (key.clone(), Arc::clone(row))).collect()
}

/// What changed from one picture to the next.
fn changed(before: &Picture, now: &Picture) -> Vec<RowChange> {
    if !Arc::ptr_eq(&before.common, &now.common) {
        return changes(&all(before), &all(now));
    }
    if Arc::ptr_eq(&before.own, &now.own) {
        return Vec::new();
    }
    // A row that is common as well stays as it is.
    let mut changed = changes(&before.own, &now.own);
    changed.retain(|row| !now.common.contains_key(&row.key));
    changed
}

/// Puts a frame behind those that are to be written.
async fn put(sink: &mut FrameSink, frame: &ViewFrame) -> Result<(), String> {
    let frame: Bytes = codec::encode(Kind::CallFrame, frame).into();
    sink.feed(frame).await.map_err(|error| error.to_string())
}

/// Rows in parts that each fit a frame.
fn parts(rows: Vec<RowChange>) -> Vec<Vec<RowChange>> {
    let mut parts: Vec<Vec<RowChange>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let size = row.key.len() + row.value.as_ref().map_or(0, Vec::len);
        if parts.is_empty() || bytes + size > ROWS_BYTES {
            bytes = 0;
            parts.push(Vec::new());
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(row);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_travel_in_parts_that_fit_a_frame_and_none_is_lost() {
        let row = |number: u8, bytes: usize| RowChange { key: vec![number], value: Some(vec![0; bytes]) };
        let rows =
            vec![row(1, 20_000), row(2, 20_000), row(3, 190_000), row(4, 10), RowChange { key: vec![5], value: None }];
        let parts = parts(rows.clone());
        let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, 1, 2]);
        assert_eq!(parts.concat(), rows);
        assert!(super::parts(Vec::new()).is_empty());
    }

    #[test]
    fn what_changed_is_told_the_same_whether_or_not_the_common_rows_did() {
        let rows = |rows: &[(u8, u8)]| -> Arc<Rows> {
            Arc::new(rows.iter().map(|(key, row)| (vec![*key], Arc::from([*row].as_slice()))).collect())
        };
        let word = Arc::new(GatewayWord { applied: 1, leader: None, term: 1, voter_sets: Vec::new(), now_ms: 1 });
        let picture = |own: &Arc<Rows>, common: &Arc<Rows>| {
            let (word, own, common) = (Arc::clone(&word), Arc::clone(own), Arc::clone(common));
            Picture { word, looked: Instant::now(), common, own }
        };
        let (common, own) = (rows(&[(1, 1), (2, 1)]), rows(&[(2, 1), (3, 1), (4, 1)]));
        let before = picture(&own, &common);
        for now in [rows(&[(2, 1), (3, 2), (5, 1)]), rows(&[(3, 1), (4, 1)]), Arc::clone(&own)] {
            let (same, copied) = (picture(&now, &common), picture(&now, &Arc::new(Rows::clone(&common))));
            assert_eq!(changed(&before, &same), changed(&before, &copied));
            assert_eq!(changed(&before, &same), changes(&all(&before), &all(&same)));
        }
        assert_eq!(changed(&before, &picture(&rows(&[(3, 1), (4, 1)]), &common)), [], "row 2 is common as well");
    }
}
