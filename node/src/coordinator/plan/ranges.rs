//! What of a partition can be granted: what came back, piece by piece, and what nobody had yet.

use pentora_raft::command::UnitKey;
use pentora_raft::state::{Backoff, Progress, Retry};
use pentora_raft::{JobId, NodeId};

use super::View;

/// How many pieces of a partition are offered at once; the others follow when these are given. Ours: pieces that nobody
/// may take now must not hide all others, nor cost a look each.
const PIECES_MAX: usize = 16;

/// A range that can be granted, with what is known of the tries before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    start: u64,
    end: u64,
    attempts: u32,
    /// Who failed it.
    pub(super) failed_by: Vec<NodeId>,
    /// The only node that gets it.
    pub(super) only: Option<NodeId>,
}

/// What of a partition can be granted.
#[derive(Debug)]
pub(super) struct Cursor {
    free: Vec<Piece>,
    next: u64,
    end: u64,
    /// Targets that rest until they may be tried again.
    resting: u64,
}

impl Cursor {
    pub(super) fn new(view: &View<'_>, job: JobId, partition: u32, progress: &Progress, end: u64) -> Self {
        let retries = || view.state.job_retries(job).filter(|(unit, _)| unit.partition == partition);
        let mut cursor = Self { free: Vec::new(), next: progress.next, end, resting: 0 };
        for (start, free) in &progress.free {
            for piece in pieces_of(*start, free.end, free.attempts, retries()) {
                match piece {
                    (piece, Some(retry)) if rests(view, retry) => cursor.resting += piece.end - piece.start,
                    (piece, _) => cursor.free.push(piece),
                }
            }
        }
        cursor
    }

    pub(super) fn has_any(&self) -> bool {
        !self.free.is_empty() || self.next < self.end
    }

    /// Targets that are not given out, those that rest among them.
    pub(super) fn left(&self) -> u64 {
        let free: u64 = self.free.iter().map(|piece| piece.end - piece.start).sum();
        self.end.saturating_sub(self.next) + free + self.resting
    }

    /// The pieces to be tried in turn: what came back first.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let fresh = (self.next < self.end).then(|| Piece {
            start: self.next,
            end: self.end,
            attempts: 0,
            failed_by: Vec::new(),
            only: None,
        });
        self.free.iter().take(PIECES_MAX).cloned().chain(fresh).collect()
    }

    /// Takes up to `wanted` targets off a piece.
    pub(super) fn take(&mut self, piece: &Piece, wanted: u64) -> Option<(u64, u64)> {
        let halved = (wanted >> piece.attempts.min(63)).max(1);
        let until = piece.start.saturating_add(halved).min(piece.end);
        if piece.start >= until {
            return None;
        }
        if piece.start == self.next {
            self.next = until;
            return Some((piece.start, until));
        }
        let at = self.free.iter().position(|free| free.start == piece.start)?;
        if until >= piece.end {
            self.free.remove(at);
        } else if let Some(free) = self.free.get_mut(at) {
            free.start = until;
        }
        Some((piece.start, until))
    }
}

/// Whether a range may not be tried again yet.
pub(super) fn rests(view: &View<'_>, retry: &Retry) -> bool {
    match retry.not_before_ms {
        Some(not_before_ms) => not_before_ms > view.now_ms,
        // The leader has not drawn its pause yet, and will at once.
        None => view.settings.backoff != Backoff::None,
    }
}

/// A free range, cut where what is known of it changes.
fn pieces_of<'a>(
    start: u64,
    end: u64,
    attempts: u32,
    retries: impl Iterator<Item = (UnitKey, &'a Retry)>,
) -> Vec<(Piece, Option<&'a Retry>)> {
    let plain = |start, end| Piece { start, end, attempts, failed_by: Vec::new(), only: None };
    let (mut pieces, mut reached) = (Vec::new(), start);
    for (unit, retry) in retries.filter(|(unit, retry)| unit.start < end && retry.end > start) {
        let (from, until) = (unit.start.max(start), retry.end.min(end));
        if from > reached {
            pieces.push((plain(reached, from), None));
        }
        let piece = Piece { failed_by: retry.failed_by.clone(), only: retry.only, ..plain(from, until) };
        pieces.push((piece, Some(retry)));
        reached = until;
    }
    if reached < end {
        pieces.push((plain(reached, end), None));
    }
    pieces
}
