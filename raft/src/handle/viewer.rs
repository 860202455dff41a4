//! What a node outside the log has of it: what its gateways showed it, in the form that a node has which follows the log.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{RaftStatus, Role};
use crate::id::NodeId;
use crate::leadership::Leadership;
use crate::state::State;
use crate::state::table::RowChange;
use crate::store::machine::Shared;
use crate::view::{GatewayWord, ViewFrame, WORD_EVERY};

/// Rows of one view, in bytes, that are taken from a gateway before they are shown: beyond any that a node has leases for.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// What a node outside the log was told last, and by whom.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The gateway whose words come.
    pub(crate) gateway: Option<NodeId>,
    word: Option<(GatewayWord, Instant)>,
    /// The leader that was known last, and when it spoke.
    led: Option<(NodeId, Instant)>,
}

impl Shown {
    /// A leader is known while its last word, as the gateway told of it, is younger than an election and the time between
    /// two words of a gateway.
    pub(crate) fn leadership(&self, election_max: Duration, now: Instant) -> Leadership {
        let is_led = self.word.as_ref().is_some_and(|(word, _)| word.leader.is_some());
        match self.led {
            None => Leadership::Lost { last: None, since: None },
            Some((leader, at)) => {
                let age = now.saturating_duration_since(at);
                let fresh = is_led && self.gateway.is_some() && age <= election_max + WORD_EVERY * 2;
                if fresh {
                    Leadership::Known { leader, age }
                } else {
                    Leadership::Lost { last: Some(leader), since: Some(age) }
                }
            }
        }
    }

    /// The term that the gateway told of.
    pub(crate) fn term(&self) -> u64 {
        self.word.as_ref().map_or(0, |(word, _)| word.term)
    }

    pub(crate) fn status(&self, node: NodeId, election_max: Duration, applied: u64, now: Instant) -> RaftStatus {
        let leadership = self.leadership(election_max, now);
        let word = self.word.as_ref().map(|(word, _)| word);
        let voter_sets = word.map(|word| word.voter_sets.clone()).unwrap_or_default();
        RaftStatus {
            node,
            role: Role::Outside,
            leadership,
            leader: leadership.leader(),
            election_max,
            term: self.term(),
            last_index: applied,
            commit_index: applied,
            applied_index: applied,
            voters: voter_sets.iter().flatten().copied().collect(),
            joint: voter_sets.len() > 1,
            becoming: voter_sets.get(1..).and_then(<[_]>::last).cloned(),
            voter_sets,
            learners: BTreeSet::new(),
            matched: BTreeMap::new(),
            heard_ms: BTreeMap::new(),
            quorum_heard_ms: None,
            stopped: None,
        }
    }
}

/// Takes what gateways send, one gateway after another.
pub struct Viewer {
    shared: Arc<Shared>,
    shown: Arc<Mutex<Shown>>,
    changed: watch::Sender<u64>,
    pending: Vec<RowChange>,
    pending_bytes: usize,
    is_anew: bool,
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer").finish_non_exhaustive()
    }
}

impl Viewer {
    pub(crate) fn new(shared: Arc<Shared>, shown: Arc<Mutex<Shown>>, changed: watch::Sender<u64>) -> Self {
        Self { shared, shown, changed, pending: Vec::new(), pending_bytes: 0, is_anew: false }
    }

    /// How far what is shown is: a gateway has to have as much before it is of use.
    #[must_use]
    pub fn applied(&self) -> u64 {
        *self.shared.watch_applied().borrow()
    }

    /// The present gateway is gone; what is shown stays.
    pub fn lost(&mut self) {
        (self.pending, self.pending_bytes, self.is_anew) = (Vec::new(), 0, false);
        self.comes_from(None);
    }

    /// The words that come are this gateway's.
    pub fn comes_from(&self, gateway: Option<NodeId>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.gateway == gateway {
            return;
        }
        shown.gateway = gateway;
        drop(shown);
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes a frame of the present gateway; rows are shown with the word behind them.
    ///
    /// # Errors
    /// `InvalidData` where a frame makes no sense; what is shown stays as it was.
    pub fn take(&mut self, frame: ViewFrame) -> io::Result<()> {
        match frame {
            ViewFrame::Anew => {
                (self.pending, self.pending_bytes, self.is_anew) = (Vec::new(), 0, true);
                Ok(())
            }
            ViewFrame::Rows(rows) => {
                let bytes = |row: &RowChange| row.key.len() + row.value.as_ref().map_or(0, Vec::len);
                self.pending_bytes += rows.iter().map(bytes).sum::<usize>();
                if self.pending_bytes > PENDING_BYTES_MAX {
                    return Err(invalid("a gateway shows more than any node needs"));
                }
                self.pending.extend(rows);
                Ok(())
            }
            ViewFrame::Word(word) => self.take_word(word),
        }
    }

    fn take_word(&mut self, word: GatewayWord) -> io::Result<()> {
        let before = self.applied();
        if word.applied < before {
            return Err(invalid("a gateway shows the past"));
        }
        let rows = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if self.is_anew || !rows.is_empty() || word.applied > before {
            let is_anew = std::mem::take(&mut self.is_anew);
            self.shared.show(word.applied, |state| {
                if rows.is_empty() && !is_anew {
                    return Ok(());
                }
                // Made beside it first, so that a row that does not read changes nothing.
                let mut beside = State::default();
                rows.iter().try_for_each(|row| change(&mut beside, row))?;
                if is_anew {
                    beside.take_place_of(state);
                    *state = beside;
                    return Ok(());
                }
                rows.iter().try_for_each(|row| change(state, row))
            })?;
        }
        let now = Instant::now();
        self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner).note(word.now_ms, now);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |word: &GatewayWord| (word.leader.map(|(leader, _)| leader), word.term, word.voter_sets.clone());
        let is_news = shown.word.as_ref().is_none_or(|(before, _)| known(before) != known(&word));
        if let Some((leader, age_ms)) = word.leader {
            let at = now.checked_sub(Duration::from_millis(age_ms)).unwrap_or(now);
            shown.led = Some((leader, at));
        }
        shown.word = Some((word, now));
        drop(shown);
        if is_news {
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }
}

/// Puts a row in, or takes it out.
fn change(state: &mut State, RowChange { key, value }: &RowChange) -> io::Result<()> {
    match value {
        Some(value) => state.load_row(key, value),
        None => state.unload_row(key),
    }
}

/// One that no node has, for the fuzz targets.
#[cfg(fuzzing)]
impl Viewer {
    /// One that was shown nothing.
    #[must_use]
    pub fn alone() -> Self {
        Self::new(Arc::new(Shared::of_a_view()), Arc::default(), watch::channel(0).0)
    }

    /// What was shown.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.read().clone()
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod viewer_test;
