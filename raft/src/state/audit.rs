//! The audit log: what was asked of the API, by whom, and what came of it, each entry bound to the one before by a digest.
//!
//! The oldest entries go when there are more than are kept; the digest before the first that is kept stays, so that the rest
//! can still be verified, with what was exported before. Nobody fills it with orders so that what others do within a day has no room:
//! where half of it is of one day, whoever wrote a large part of that is refused more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{AuditEntry, Outcome, Refusal, Response};
use crate::id::Digest;

/// How many entries are kept. Ours: about 10 MB of memory on each member; more is exported.
pub const AUDIT_KEPT_MAX: u64 = 50_000;
/// Where half of what is kept is younger than this, whoever wrote [`AUDIT_SHARE`] of that orders no more. Ours: who exports once a day
/// misses nothing.
const AUDIT_KEPT_MS: u64 = 24 * 3600 * 1000;
/// How many entries are one author's share then: a quarter.
const AUDIT_SHARE: u64 = AUDIT_KEPT_MAX / 4;
/// A command that comes again because its answer was lost has at most so many entries behind it. Ours: what a busy cluster
/// writes within the two seconds that a proposal is tried.
const RETRIED_WITHIN: u64 = 1_000;
/// How many entries one command brings.
pub const AUDIT_AT_ONCE_MAX: usize = 64;

/// The key of the one row of the log's ends.
const ENDS: u8 = 0;

/// An entry as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When, unix milliseconds of the log's clock.
    pub at_ms: u64,
    /// What was asked, or came of it.
    pub entry: AuditEntry,
    /// The command that brought it.
    pub batch: u64,
    /// The digest of this entry and of all before it.
    pub digest: Digest,
}

/// Where the audit log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuditEnds {
    /// How many entries there have been; the number of the last one.
    pub last: u64,
    /// The digest of the last one.
    pub digest: Digest,
    /// How many of the first ones are not kept any more.
    pub gone: u64,
    /// The digest of the last of those.
    pub gone_digest: Digest,
}

/// The digest of entry `number`, of `at_ms` unix milliseconds, after one whose digest is `before`: of its fields in the order
/// of this signature, each text behind its length, numbers as eight bytes, the least first.
#[must_use]
pub fn chained(before: &Digest, number: u64, at_ms: u64, entry: &AuditEntry) -> Digest {
    let mut bytes = before.0.to_vec();
    let (kind, asked, status) = match entry.outcome {
        Outcome::Asked => (0, 0, 0),
        Outcome::Answered { asked, status } => (1, asked, u64::from(status)),
        Outcome::Refused { status } => (2, 0, u64::from(status)),
    };
    for number in [number, at_ms] {
        bytes.extend(number.to_le_bytes());
    }
    for text in [&entry.author.who, &entry.author.from, &entry.action, &entry.object] {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    for number in [kind, asked, status, u64::from(entry.times)] {
        bytes.extend(number.to_le_bytes());
    }
    Digest::of(&bytes)
}

impl State {
    /// Where the audit log begins and ends.
    #[must_use]
    pub fn audit_ends(&self) -> AuditEnds {
        self.audit_ends.get(&ENDS).copied().unwrap_or_default()
    }

    /// The entries after `after`, by their numbers.
    pub fn audit(&self, after: u64) -> impl Iterator<Item = (u64, &AuditRecord)> {
        self.audit.range(after.saturating_add(1)..).map(|(number, record)| (*number, record))
    }

    /// Adds entries, once for each batch; the answer is the number of the last one.
    pub(super) fn note_audit(&mut self, batch: u64, entries: &[AuditEntry]) -> Result<Response, Refusal> {
        if entries.is_empty() || entries.len() > AUDIT_AT_ONCE_MAX {
            return Err(Refusal::Malformed { what: format!("1 to {AUDIT_AT_ONCE_MAX} audit entries at once") });
        }
        let (at_ms, mut ends) = (self.now_ms(), self.audit_ends());
        let lately = self.audit.range(ends.last.saturating_sub(RETRIED_WITHIN)..);
        let earlier = lately.filter(|(_, record)| record.batch == batch).map(|(number, _)| *number).max();
        if let Some(last) = earlier {
            return Ok(Response::Audited { last });
        }
        let asked = entries.iter().filter(|entry| entry.outcome == Outcome::Asked);
        let who: BTreeSet<String> = asked.map(|entry| entry.author.cut().who).collect();
        who.iter().try_for_each(|who| self.leaves_to_others(who))?;
        for entry in entries {
            let entry = entry.cut();
            ends.last += 1;
            ends.digest = chained(&ends.digest, ends.last, at_ms, &entry);
            self.audit.insert(ends.last, AuditRecord { at_ms, entry, batch, digest: ends.digest });
        }
        while ends.last - ends.gone > AUDIT_KEPT_MAX {
            ends.gone += 1;
            if let Some(record) = self.audit.remove(&ends.gone) {
                ends.gone_digest = record.digest;
            }
        }
        self.audit_ends.insert(ENDS, ends);
        Ok(Response::Audited { last: ends.last })
    }

    /// Whether one more order of `who` leaves room for what others do within a day. Asked before the log is full: by then, what others
    /// did would go, and what filled it stay.
    fn leaves_to_others(&self, who: &str) -> Result<(), Refusal> {
        let age_ms = |record: &AuditRecord| self.now_ms().saturating_sub(record.at_ms);
        let of_a_day =
            || self.audit.iter().rev().map(|(_, record)| record).take_while(|record| age_ms(record) < AUDIT_KEPT_MS);
        // Where no token is asked for, all are one.
        if who.is_empty() || (of_a_day().count() as u64) < AUDIT_KEPT_MAX / 2 {
            return Ok(());
        }
        let its = || of_a_day().filter(|record| record.entry.author.who == who);
        let of_all = its().count() as u64;
        if of_all < AUDIT_SHARE {
            return Ok(());
        }
        let oldest_ms = its().last().map_or(0, age_ms);
        let wait_seconds = AUDIT_KEPT_MS.saturating_sub(oldest_ms).div_ceil(1_000);
        Err(Refusal::AuditShare { name: who.to_owned(), of_all, wait_seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Author, Command, Proposal};

    fn entry(action: &str) -> AuditEntry {
        let author = Author { who: "ci".into(), from: "10.0.0.9".into() };
        AuditEntry { author, action: action.into(), object: String::new(), outcome: Outcome::Asked, times: 1 }
    }

    fn note(state: &mut State, at_ms: u64, entries: Vec<AuditEntry>) -> Response {
        state.apply(at_ms, &Proposal { at_ms, command: Command::NoteAudit { batch: at_ms, entries } })
    }

    #[test]
    fn entries_are_numbered_and_each_is_bound_to_the_one_before() {
        let mut state = State::default();
        assert_eq!(note(&mut state, 5, vec![entry("a"), entry("b")]), Response::Audited { last: 2 });
        assert_eq!(note(&mut state, 7, vec![entry("c")]), Response::Audited { last: 3 });
        assert_eq!(note(&mut state, 5, vec![entry("a"), entry("b")]), Response::Audited { last: 2 }, "asked again");
        let mut before = Digest([0; 32]);
        for (number, record) in state.audit(0) {
            assert_eq!(record.digest, chained(&before, number, record.at_ms, &record.entry));
            before = record.digest;
        }
        assert_eq!((state.audit_ends().digest, state.audit(2).count()), (before, 1));
        for odd in [Vec::new(), vec![entry("x"); AUDIT_AT_ONCE_MAX + 1]] {
            assert!(matches!(note(&mut state, 8, odd), Response::Refused(Refusal::Malformed { .. })));
        }
    }

    #[test]
    fn every_field_is_bound_and_no_field_runs_into_the_next() {
        let plain = entry("a");
        let digest = |number, at_ms, entry: &AuditEntry| chained(&Digest([0; 32]), number, at_ms, entry);
        let who = |who: &str, from: &str| AuditEntry {
            author: Author { who: who.into(), from: from.into() },
            ..plain.clone()
        };
        let others = [
            digest(2, 1, &plain),
            digest(1, 2, &plain),
            digest(1, 1, &entry("b")),
            digest(1, 1, &AuditEntry { outcome: Outcome::Refused { status: 401 }, ..plain.clone() }),
            digest(1, 1, &AuditEntry { outcome: Outcome::Answered { asked: 1, status: 202 }, ..plain.clone() }),
            digest(1, 1, &AuditEntry { times: 2, ..plain.clone() }),
            digest(1, 1, &AuditEntry { object: "b".into(), ..plain.clone() }),
            digest(1, 1, &AuditEntry { object: "a".into(), action: String::new(), ..plain.clone() }),
            digest(1, 1, &who("c", "i10.0.0.9")),
            digest(1, 1, &who("ci1", "0.0.0.9")),
        ];
        assert!(others.iter().all(|other| *other != digest(1, 1, &plain)));
        let distinct: std::collections::BTreeSet<_> = others.iter().collect();
        assert_eq!(distinct.len(), others.len());
    }

    #[test]
    fn the_oldest_go_at_the_bound_and_the_rest_can_still_be_verified() {
        let mut state = State::default();
        let batch = AUDIT_AT_ONCE_MAX as u64;
        let rounds = AUDIT_KEPT_MAX / batch + 2;
        for round in 0..rounds {
            let answered = AuditEntry { outcome: Outcome::Answered { asked: 1, status: 200 }, ..entry("a") };
            note(&mut state, round, vec![answered; AUDIT_AT_ONCE_MAX]);
        }
        let ends = state.audit_ends();
        assert_eq!((ends.last, ends.last - ends.gone), (rounds * batch, AUDIT_KEPT_MAX));
        assert_eq!(state.audit(0).count() as u64, AUDIT_KEPT_MAX);
        let digest = state
            .audit(0)
            .fold(ends.gone_digest, |before, (number, record)| chained(&before, number, record.at_ms, &record.entry));
        assert_eq!(digest, ends.digest);
    }

    #[test]
    fn whoever_wrote_much_of_a_days_entries_leaves_as_many_to_others() {
        let mut state = State::default();
        let of = |who: &str| AuditEntry { author: Author { who: who.into(), from: "a".into() }, ..entry("x") };
        assert_eq!(note(&mut state, 1, vec![of("admin")]), Response::Audited { last: 1 });
        let mut at_ms = 1;
        let refused = loop {
            at_ms += 1;
            let told = note(&mut state, at_ms, vec![of("op"); AUDIT_AT_ONCE_MAX]);
            if !matches!(told, Response::Audited { .. }) {
                break told;
            }
        };
        assert!(matches!(&refused, Response::Refused(Refusal::AuditShare { name, .. }) if name == "op"), "{refused:?}");
        let kept = state.audit(0).count() as u64;
        assert!(kept.abs_diff(AUDIT_KEPT_MAX / 2) <= AUDIT_AT_ONCE_MAX as u64, "{kept}: half is for others");
        let ends = state.audit_ends();
        assert!(matches!(note(&mut state, at_ms + 1, vec![of("admin")]), Response::Audited { .. }), "others go on");
        assert_eq!(state.audit_ends().last, ends.last + 1);
        let day = at_ms + AUDIT_KEPT_MS;
        assert!(matches!(note(&mut state, day, vec![of("op")]), Response::Audited { .. }), "a day later");
    }
}
