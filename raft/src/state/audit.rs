//! The audit log: what was asked of the API, by whom, and what came of it, each entry bound to the one before by a digest.
//!
//! The oldest entries go when there are more than are kept; the digest before the first that is kept stays, so that the rest
//! can still be verified, with what was exported before. Nobody fills it with orders so that what others do within a day has no room:
//! where half of it is of one day, whoever wrote a large part of that is refused more, whatever tokens they did it with. The fuller
//! it is, the smaller a part, so that a few of them do not fill it either.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{AuditEntry, Outcome, Refusal, Response};
use crate::id::Digest;

/// How many entries are kept. Ours: about 10 MB of memory on each member; more is exported.
pub const AUDIT_KEPT_MAX: u64 = 50_000;
/// Where half of what is kept is younger than this, whoever wrote as much of that as half of what is left orders no more. Ours: who exports
/// once a day misses nothing.
const AUDIT_KEPT_MS: u64 = 24 * 3600 * 1000;
/// How many entries of a day are always one's share, so that nobody is kept from ordering by what others ordered. Ours: an order with what
/// came of it every four minutes.
const AUDIT_SHARE_MIN: u64 = AUDIT_KEPT_MAX / 64;
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
        let written = of_a_day().count() as u64;
        // Where no token is asked for, all are one.
        if who.is_empty() || written < AUDIT_KEPT_MAX / 2 {
            return Ok(());
        }
        let mut makers = self.makers();
        let maker = makers.of(who);
        let (mut of_all, mut oldest_ms) = (0, 0);
        // Entries of one stand beside each other more often than not.
        let mut last = (who, true);
        for record in of_a_day() {
            let by = record.entry.author.who.as_str();
            if by != last.0 {
                last = (by, makers.of(by) == maker);
            }
            if last.1 {
                (of_all, oldest_ms) = (of_all + 1, age_ms(record));
            }
        }
        let share = (AUDIT_KEPT_MAX.saturating_sub(written) / 2).max(AUDIT_SHARE_MIN);
        if of_all < share {
            return Ok(());
        }
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

    /// What pushed out in a day what others did: four tokens, each of which kept to a quarter.
    #[test]
    fn the_tokens_of_one_maker_have_one_share_and_a_few_makers_do_not_fill_a_day() {
        let made = |name: &str, who: &str| {
            let author = Author { who: who.into(), from: "a".into() };
            let key = Digest::of(name.as_bytes());
            let (role, name, ttl_ms) = (crate::command::AccessRole::Admin, name.to_owned(), None);
            let new =
                crate::command::NewAccessToken { name, key, role, ttl_ms, networks: None, scopes: Vec::new(), author };
            Command::MakeAccessToken(Box::new(new))
        };
        let of = |who: &str| AuditEntry { author: Author { who: who.into(), from: "a".into() }, ..entry("x") };
        for (maker, age_ms, left_to_others) in [
            ("eve", AUDIT_KEPT_MS, AUDIT_KEPT_MAX / 2),
            ("admin", 0, AUDIT_KEPT_MAX / 2),
            ("admin", AUDIT_KEPT_MS, AUDIT_KEPT_MAX / 8),
        ] {
            let mut state = State::default();
            let mut at_ms = 1;
            state.apply(1, &Proposal { at_ms, command: crate::command::sample_test::begin("n1") });
            for name in ["eve", "e1", "e2", "e3", "e4", "ops"] {
                at_ms += 1;
                let command = made(name, if name.starts_with('e') && name != "eve" { maker } else { "admin" });
                assert_eq!(state.apply(at_ms, &Proposal { at_ms, command }), Response::Done);
            }
            // Somebody who was there before: what is new answers together.
            let ops = if age_ms == 0 { "admin" } else { "ops" };
            at_ms = age_ms + 99;
            assert_eq!(note(&mut state, at_ms, vec![of(ops)]), Response::Audited { last: 1 });
            for who in ["e1", "e2", "e3", "e4"] {
                while matches!(note(&mut state, at_ms, vec![of(who); AUDIT_AT_ONCE_MAX]), Response::Audited { .. }) {
                    at_ms += 1;
                }
                at_ms += 1;
            }
            let left = AUDIT_KEPT_MAX - state.audit_ends().last;
            assert!(left + AUDIT_AT_ONCE_MAX as u64 > left_to_others, "{maker}: {left}");
            assert!(
                matches!(note(&mut state, at_ms, vec![of(ops)]), Response::Audited { .. }),
                "{maker}: others go on"
            );
            assert_eq!(state.audit_ends().gone, 0, "{maker}: nothing was pushed out");
        }
    }

    /// What would keep everybody from ordering: many who fill the log together.
    #[test]
    fn however_full_a_day_is_each_has_a_few_orders_in_it() {
        let mut state = State::default();
        let of = |who: &str| AuditEntry { author: Author { who: who.into(), from: "a".into() }, ..entry("x") };
        let answered = |who: &str| AuditEntry { outcome: Outcome::Answered { asked: 1, status: 200 }, ..of(who) };
        for at_ms in 1..=AUDIT_KEPT_MAX / AUDIT_AT_ONCE_MAX as u64 + 2 {
            let who = if at_ms > 772 { "ops".to_owned() } else { format!("many{}", at_ms % 50) };
            note(&mut state, at_ms, vec![answered(&who); AUDIT_AT_ONCE_MAX]);
        }
        let written = state.audit(0).filter(|(_, record)| record.entry.author.who == "ops").count() as u64;
        let taken =
            (2_000..).take_while(|at| matches!(note(&mut state, *at, vec![of("ops")]), Response::Audited { .. }));
        assert!((1..AUDIT_SHARE_MIN).contains(&written), "{written}");
        assert_eq!(written + taken.count() as u64, AUDIT_SHARE_MIN);
    }
}
