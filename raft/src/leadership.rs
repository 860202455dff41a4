//! Whether a leader is known now, from evidence that ages: what a leader said last, and when a quorum answered last.
//!
//! The consensus core goes on naming a leader that is long dead, so its figure is no evidence. Here a leader is known
//! while its last word, or for the leader itself the last answer of a quorum, is younger than the election time-out.
//! Everything that asks whether there is a leader, or how many voters may be lost, asks this.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::id::NodeId;

/// Whether a leader is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// One is.
    Known {
        /// Who.
        leader: NodeId,
        /// How old the evidence is: the leader's last word, or where this node leads the last answer of a quorum.
        age: Duration,
    },
    /// None is: it is dead or cut off, or an election goes on.
    Lost {
        /// Who led when one was known last; `None` where none was since this process started.
        last: Option<NodeId>,
        /// How long ago that was; `None` as well where the core has forgotten.
        since: Option<Duration>,
    },
}

impl Leadership {
    /// Who leads now.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match self {
            Self::Known { leader, .. } => Some(*leader),
            Self::Lost { .. } => None,
        }
    }
}

/// The last word of a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Who said it.
    pub leader: NodeId,
    /// In which term.
    pub term: u64,
    /// When it came.
    pub at: Instant,
}

/// Keeps the last word of the leader with the highest term.
#[derive(Debug)]
pub(crate) struct Heard {
    last: Mutex<Option<Word>>,
    /// Counted up where another leader speaks, or one in another term.
    changed: watch::Sender<u64>,
}

impl Heard {
    /// Nothing was heard yet.
    pub(crate) fn new(changed: watch::Sender<u64>) -> Self {
        Self { last: Mutex::default(), changed }
    }

    /// A leader said something.
    pub(crate) fn note(&self, word: Word) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *last;
        if before.is_some_and(|before| before.term > word.term || before.at > word.at) {
            return;
        }
        *last = Some(word);
        drop(last);
        if before.is_none_or(|before| (before.leader, before.term) != (word.leader, word.term)) {
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// The last word.
    pub(crate) fn last(&self) -> Option<Word> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is to judge by, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// This node.
    pub(crate) own: NodeId,
    /// The core's term.
    pub(crate) term: u64,
    /// Whom the core names.
    pub(crate) named: Option<NodeId>,
    /// Whether this node votes and no other does.
    pub(crate) alone: bool,
    /// Where this node is in office: how long ago a quorum last answered it.
    pub(crate) quorum: Option<Duration>,
    /// The last word of another leader.
    pub(crate) word: Option<Word>,
    /// Now.
    pub(crate) now: Instant,
}

/// Judges whether a leader is known, with the election time-out as `limit`.
pub(crate) fn judge(evidence: &Evidence, limit: Duration) -> Leadership {
    let Evidence { own, term, named, alone, quorum, word, now } = *evidence;
    let age_of = |word: Word| now.saturating_duration_since(word.at);
    if named == Some(own) {
        return match if alone { Some(Duration::ZERO) } else { quorum } {
            Some(age) if age <= limit => Leadership::Known { leader: own, age },
            since => Leadership::Lost { last: Some(own), since },
        };
    }
    match word {
        Some(word) if Some(word.leader) == named && word.term == term && age_of(word) <= limit => {
            Leadership::Known { leader: word.leader, age: age_of(word) }
        }
        Some(word) => Leadership::Lost { last: Some(word.leader), since: Some(age_of(word)) },
        None => Leadership::Lost { last: None, since: None },
    }
}

/// How many more voters may be lost: the least, over the voter sets (two while membership changes), of the live voters
/// beyond a majority. Zero where a set has no live majority.
#[must_use]
pub fn margin(voter_sets: &[BTreeSet<NodeId>], is_live: impl Fn(NodeId) -> bool) -> usize {
    let spare = |set: &BTreeSet<NodeId>| {
        let live = set.iter().filter(|voter| is_live(**voter)).count();
        live.saturating_sub(set.len() / 2 + 1)
    };
    voter_sets.iter().map(spare).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(800);

    fn follower(now: Instant) -> Evidence {
        Evidence { own: 3, term: 4, named: Some(1), alone: false, quorum: None, word: None, now }
    }

    #[test]
    fn a_leader_is_known_while_its_last_word_is_younger_than_an_election_whatever_the_core_names() {
        let begun = Instant::now();
        let word = Some(Word { leader: 1, term: 4, at: begun });
        let at = |ms| Evidence { word, ..follower(begun + Duration::from_millis(ms)) };
        assert_eq!(judge(&at(800), LIMIT), Leadership::Known { leader: 1, age: LIMIT });
        let since = Some(Duration::from_secs(75));
        assert_eq!(judge(&at(75_000), LIMIT), Leadership::Lost { last: Some(1), since });
        assert_eq!(judge(&follower(begun), LIMIT), Leadership::Lost { last: None, since: None });
    }

    #[test]
    fn the_word_of_an_older_term_or_of_another_than_the_core_names_is_no_evidence() {
        let now = Instant::now();
        let word = Some(Word { leader: 1, term: 3, at: now });
        assert_eq!(judge(&Evidence { word, ..follower(now) }, LIMIT).leader(), None);
        let word = Some(Word { leader: 2, term: 4, at: now });
        let lost = judge(&Evidence { word, ..follower(now) }, LIMIT);
        assert_eq!(lost, Leadership::Lost { last: Some(2), since: Some(Duration::ZERO) });
    }

    #[test]
    fn a_leader_knows_itself_while_a_quorum_answers_and_alone_always() {
        let now = Instant::now();
        let leads = |quorum| Evidence { named: Some(3), quorum, ..follower(now) };
        let age = Duration::from_millis(100);
        assert_eq!(judge(&leads(Some(age)), LIMIT), Leadership::Known { leader: 3, age });
        let since = Some(Duration::from_secs(2));
        assert_eq!(judge(&leads(since), LIMIT), Leadership::Lost { last: Some(3), since });
        assert_eq!(judge(&leads(None), LIMIT).leader(), None);
        assert_eq!(judge(&Evidence { alone: true, ..leads(None) }, LIMIT).leader(), Some(3));
    }

    #[test]
    fn an_older_word_or_term_never_replaces_a_newer_one() {
        let (changed, changes) = watch::channel(0);
        let (heard, begun) = (Heard::new(changed), Instant::now());
        let word = |leader, term, ms| Word { leader, term, at: begun + Duration::from_millis(ms) };
        [word(1, 4, 10), word(1, 4, 20), word(9, 3, 30), word(1, 4, 15)].into_iter().for_each(|word| heard.note(word));
        assert_eq!((heard.last(), *changes.borrow()), (Some(word(1, 4, 20)), 1), "one leader, one change");
        heard.note(word(2, 5, 40));
        assert_eq!((heard.last(), *changes.borrow()), (Some(word(2, 5, 40)), 2));
    }

    #[test]
    fn the_margin_counts_live_voters_beyond_a_majority_of_each_voter_set() {
        let set = |ids: &[NodeId]| ids.iter().copied().collect::<BTreeSet<_>>();
        let three = [set(&[1, 2, 3])];
        assert_eq!(margin(&three, |_| true), 1);
        assert_eq!(margin(&three, |voter| voter != 2), 0);
        assert_eq!(margin(&three, |voter| voter == 1), 0, "never below zero");
        assert_eq!(margin(&[set(&[1, 2, 3]), set(&[1, 2, 3, 4, 5])], |voter| voter < 4), 0, "the least of both");
        assert_eq!(margin(&[set(&[1, 2, 3, 4, 5])], |_| true), 2);
        assert_eq!(margin(&[], |_| true), 0);
    }
}
