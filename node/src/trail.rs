//! The way into the audit log. What is about to be carried out is in the log before it is; what came of it, and what was refused,
//! follows in batches.
//!
//! Who takes much with them (a backup, an export, a job's bundle) is noted as logins are. A login is no order: it changes nothing, and whatever is done with a session is noted as an order of its token. Logins are counted by
//! who and from where and written behind the fact, at a rate that leaves the log to orders.
//!
//! **Invariant: no order of a person is carried out that is not in the audit log.** A node that cannot write there refuses it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pentora_raft::Response;
use pentora_raft::command::{AuditEntry, Author, Command, Outcome};
use pentora_raft::state::AUDIT_AT_ONCE_MAX;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::rpc::proposer::{Proposer, Unavailable};

/// How long outcomes are gathered before they are written together.
const GATHERED: Duration = Duration::from_millis(200);
/// How long to wait where the log cannot be written.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How many different refusals are written at once, and how many a second over some time; more are counted together. Ours:
/// with these, strangers at one node need days to push out the entries that are kept.
const REFUSALS_AT_ONCE: usize = 64;
const REFUSALS_A_SECOND: f64 = 0.1;
/// Different logins that wait at most; beyond, those of one token are counted together, wherever they came from. Ours: as many as tokens.
const LOGINS_WAIT_MAX: usize = pentora_raft::state::ACCESS_TOKENS_MAX;
/// Where they came from then.
const MANY_ADDRESSES: &str = "many addresses";
/// How often refusals are looked at for which there was no budget.
const LOOKED_AT: Duration = Duration::from_secs(5);

/// What a stranger asks for who has a join token: no request of the API.
const JOIN: &str = "join";

/// In place of the number of the entry by which something was asked: a login and a download have none. Numbers begin at 1.
pub const UNASKED: u64 = 0;

/// What waits to be written: an entry's author and action, what came of it, and on what.
type Key = (String, String, String, Outcome, String);

/// Writes the audit log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Trail {
    proposer: Proposer,
    waiting: Arc<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    entries: Mutex<Entries>,
    more: Notify,
    /// What was proposed and may be in the log: it is proposed again as it was, so that the log has it once.
    unsure: Mutex<Option<Batch>>,
}

/// Entries that are written together, under one number.
#[derive(Debug, Clone)]
struct Batch {
    number: u64,
    entries: Vec<AuditEntry>,
}

#[derive(Debug)]
struct Entries {
    /// What came of orders: as many as there were orders.
    answered: BTreeMap<Key, u32>,
    /// Who asks for what is refused chooses how many these are, so that they are written as the budget has it.
    refused: Budgeted,
    /// The same holds for who may log in.
    logins: Budgeted,
}

/// Entries that are written as a budget has it.
#[derive(Debug)]
struct Budgeted {
    entries: BTreeMap<Key, u32>,
    /// The one that was written last: the next ones follow it, so that nobody who comes again and again keeps others out.
    last: Option<Key>,
    /// How many may be written, as of a time.
    budget: (f64, Instant),
    /// How many of them at once.
    most: f64,
}

impl Default for Budgeted {
    fn default() -> Self {
        let most = REFUSALS_AT_ONCE as f64;
        Self { entries: BTreeMap::new(), last: None, budget: (most, Instant::now()), most }
    }
}

impl Budgeted {
    fn take_into(&mut self, taken: &mut Vec<(Key, u32)>, now: Instant) {
        let (left, since) = &mut self.budget;
        *left = (*left + now.duration_since(*since).as_secs_f64() * REFUSALS_A_SECOND).min(self.most);
        *since = now;
        while taken.len() < AUDIT_AT_ONCE_MAX
            && *left >= 1.0
            && let Some(entry) = next_behind(&mut self.entries, self.last.as_ref())
        {
            *left -= 1.0;
            self.last = Some(entry.0.clone());
            taken.push(entry);
        }
    }
}

/// Takes the entry behind `last`, or the first where none is.
fn next_behind(entries: &mut BTreeMap<Key, u32>, last: Option<&Key>) -> Option<(Key, u32)> {
    let behind = last.and_then(|last| entries.range((Bound::Excluded(last), Bound::Unbounded)).next());
    let key = behind.or_else(|| entries.iter().next()).map(|(key, _)| key.clone())?;
    entries.remove_entry(&key)
}

impl Default for Waiting {
    fn default() -> Self {
        let entries = Entries { answered: BTreeMap::new(), refused: Budgeted::default(), logins: Budgeted::default() };
        Self { entries: Mutex::new(entries), more: Notify::new(), unsure: Mutex::default() }
    }
}

impl Waiting {
    fn add(&self, key: Key, times: u32) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = match key.3 {
            outcome @ Outcome::Refused { .. } => {
                let refused = &mut entries.refused.entries;
                let is_one_more = refused.len() >= REFUSALS_AT_ONCE && !refused.contains_key(&key);
                // Of whoever showed a token it stays known whose it was, as long as these are few enough themselves.
                let who =
                    if refused.len() >= REFUSALS_AT_ONCE + LOGINS_WAIT_MAX { String::new() } else { key.0.clone() };
                let of_many = || (who, MANY_ADDRESSES.to_owned(), "many requests".to_owned(), outcome, String::new());
                refused.entry(if is_one_more { of_many() } else { key }).or_insert(0)
            }
            Outcome::Answered { asked: UNASKED, .. } => {
                let logins = &mut entries.logins.entries;
                let is_one_more = logins.len() >= LOGINS_WAIT_MAX && !logins.contains_key(&key);
                let (who, from, action, outcome, object) = key;
                // Each under its name, as long as these are few enough themselves.
                let who = if is_one_more && logins.len() >= 2 * LOGINS_WAIT_MAX { String::new() } else { who };
                let from = if is_one_more { MANY_ADDRESSES.to_owned() } else { from };
                let object = if is_one_more { String::new() } else { object };
                logins.entry((who, from, action, outcome, object)).or_insert(0)
            }
            _ => entries.answered.entry(key).or_insert(0),
        };
        *waiting = waiting.saturating_add(times);
        drop(entries);
        self.more.notify_one();
    }

    fn take(&self, now: Instant) -> Vec<(Key, u32)> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Entries { answered, refused, logins } = &mut *entries;
        let mut taken = Vec::new();
        while taken.len() < AUDIT_AT_ONCE_MAX
            && let Some(entry) = answered.pop_first()
        {
            taken.push(entry);
        }
        logins.take_into(&mut taken, now);
        refused.take_into(&mut taken, now);
        taken
    }

    /// What is to be written next: what may have been written before anything else.
    fn batch(&self, now: Instant, draw: impl FnOnce() -> u64) -> Option<Batch> {
        let mut unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        if unsure.is_none() {
            let entries = self.take(now).into_iter().map(|((who, from, action, outcome, object), times)| AuditEntry {
                author: Author { who, from },
                action,
                object,
                outcome,
                times,
            });
            let entries: Vec<AuditEntry> = entries.collect();
            *unsure = (!entries.is_empty()).then(|| Batch { number: draw(), entries });
        }
        unsure.clone()
    }

    /// Has everything that waits be written at once: a node that ends keeps nothing for later, and does not end often.
    fn hold_nothing_back(&self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Entries { refused, logins, .. } = &mut *entries;
        for budgeted in [refused, logins] {
            budgeted.most = budgeted.entries.len().max(REFUSALS_AT_ONCE) as f64;
            budgeted.budget.0 = budgeted.most;
        }
    }

    /// What was to be written is in the log.
    fn written(&self) {
        *self.unsure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Trail {
    /// Writes through `proposer`.
    #[must_use]
    pub fn new(proposer: Proposer) -> Self {
        Self { proposer, waiting: Arc::default() }
    }

    /// Notes that something is about to be carried out. The answer is for [`Self::answered`].
    ///
    /// # Errors
    /// It is not in the log, and must not be carried out.
    pub async fn asked(&self, author: &Author, action: &str) -> Result<u64, Unavailable> {
        let (author, action) = (author.clone(), action.to_owned());
        let entry = AuditEntry { author, action, object: String::new(), outcome: Outcome::Asked, times: 1 };
        let command = Command::NoteAudit { batch: rand::random(), entries: vec![entry] };
        match self.proposer.propose(command).await?.response {
            Response::Audited { last } => Ok(last),
            _ => Err(Unavailable::Stopped("the log answered an audit entry with something else".into())),
        }
    }

    /// Notes what came of it, and on what it was done as far as that tells.
    pub fn answered(&self, author: &Author, action: &str, object: String, asked: u64, status: u16) {
        self.note(author, action, object, Outcome::Answered { asked, status });
    }

    /// Notes what came of a login or of a worker's registration, which no entry says was asked for, and of whom.
    pub fn came_in(&self, author: &Author, action: &str, object: String, status: u16) {
        self.note(author, action, object, Outcome::Answered { asked: UNASKED, status });
    }

    /// Notes that something was refused before anything was done.
    pub fn refused(&self, author: &Author, action: &str, status: u16) {
        self.note(author, action, String::new(), Outcome::Refused { status });
    }

    /// Notes what came of a stranger's wish to join at the mesh's own door, by which token and as what.
    pub fn asked_in(&self, from: String, object: String, is_in: bool) {
        let author = Author { who: String::new(), from };
        let outcome =
            if is_in { Outcome::Answered { asked: UNASKED, status: 200 } } else { Outcome::Refused { status: 403 } };
        self.note(&author, JOIN, object, outcome);
    }

    fn note(&self, author: &Author, action: &str, object: String, outcome: Outcome) {
        let author = author.cut();
        self.waiting.add((author.who, author.from, action.to_owned(), outcome, object), 1);
    }

    /// Writes what waits until `stop`, and what waits then.
    pub async fn keep(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.waiting.more.notified() => {}
                () = tokio::time::sleep(LOOKED_AT) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(GATHERED) => {}
            }
            while self.write().await {}
        }
        self.waiting.hold_nothing_back();
        while self.write().await {}
    }

    /// Writes some of what waits, and says whether more may be written at once.
    async fn write(&self) -> bool {
        let Some(Batch { number: batch, entries }) = self.waiting.batch(Instant::now(), rand::random) else {
            return false;
        };
        let count = entries.len();
        let Err(error) = self.proposer.propose(Command::NoteAudit { batch, entries }).await else {
            self.waiting.written();
            return true;
        };
        tracing::warn!(%error, entries = count, "what came of requests is not in the audit log yet");
        tokio::time::sleep(AGAIN_AFTER).await;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_whose_answer_was_lost_is_written_again_as_it_was_before_anything_else() {
        let (waiting, now) = (Waiting::default(), Instant::now());
        let key = |asked| {
            let outcome = Outcome::Answered { asked, status: 200 };
            ("ci".to_owned(), "a".to_owned(), "POST /api/v1/scans".to_owned(), outcome, String::new())
        };
        assert!(waiting.batch(now, || 1).is_none(), "there is nothing");
        waiting.add(key(1), 1);
        let first = waiting.batch(now, || 7).unwrap();
        waiting.add(key(2), 1);
        let again = waiting.batch(now, || 8).unwrap();
        assert_eq!((again.number, &again.entries), (7, &first.entries), "the log may have it under this number");
        waiting.written();
        let next = waiting.batch(now, || 9).unwrap();
        assert_eq!((next.number, next.entries.len()), (9, 1));
        assert_ne!(next.entries, first.entries);
    }

    #[test]
    fn logins_fill_no_more_of_the_log_than_their_budget_and_each_is_counted_under_its_token() {
        let (waiting, begun) = (Waiting::default(), Instant::now());
        let key = |who: &str, from: u64| {
            let outcome = Outcome::Answered { asked: UNASKED, status: 200 };
            (who.to_owned(), from.to_string(), "POST /api/v1/auth/login".to_owned(), outcome, String::new())
        };
        for number in 0..10_000 {
            waiting.add(key("ci", number % 3), 1);
        }
        for number in 0..5_000 {
            waiting.add(key("viewer", number), 1);
        }
        let mut written = Vec::new();
        for second in 0..2_000 {
            let taken = waiting.take(begun + Duration::from_secs(second * 10));
            assert!(second == 0 || taken.len() <= 1, "ten seconds");
            written.extend(taken);
        }
        assert!(written.len() <= LOGINS_WAIT_MAX + 1);
        let of = |who: &str| written.iter().filter(|(key, _)| key.0 == who).map(|(_, times)| *times).sum::<u32>();
        assert_eq!((of("ci"), of("viewer")), (10_000, 5_000), "none is lost");
    }

    /// What hid somebody's refusals behind their own: beyond the budget they had no name, and an orderly end forgot them.
    #[test]
    fn refusals_beyond_the_budget_keep_the_name_of_their_token_and_a_node_that_ends_writes_all_that_waits() {
        let (waiting, begun) = (Waiting::default(), Instant::now());
        let key = |who: &str, from: u64| {
            let outcome = Outcome::Refused { status: 403 };
            (who.to_owned(), from.to_string(), "GET /api/v1/tokens".to_owned(), outcome, String::new())
        };
        (0..500).for_each(|number| waiting.add(key("viewer", number), 1));
        waiting.add(key("other", 1), 1);
        let mut written = waiting.take(begun);
        assert_eq!(written.len(), REFUSALS_AT_ONCE, "the budget");
        assert!(waiting.take(begun).is_empty());
        waiting.hold_nothing_back();
        loop {
            let taken = waiting.take(begun);
            if taken.is_empty() {
                break;
            }
            written.extend(taken);
        }
        let of = |who: &str| written.iter().filter(|(key, _)| key.0 == who).map(|(_, times)| *times).sum::<u32>();
        assert_eq!((of("viewer"), of("other"), of("")), (500, 1, 0));
    }

    #[test]
    fn strangers_fill_no_more_of_the_log_than_their_budget_and_what_came_of_orders_is_never_counted_together() {
        let waiting = Waiting::default();
        let begun = Instant::now();
        let key =
            |from: &str, outcome| (String::new(), from.to_owned(), "GET /api/v1".to_owned(), outcome, String::new());
        for number in 0..10_000u64 {
            waiting.add(key(&number.to_string(), Outcome::Refused { status: 401 }), 1);
            waiting.add(key("ci", Outcome::Answered { asked: number, status: 200 }), 1);
        }
        let (mut refused, mut answered) = (Vec::new(), 0);
        loop {
            let taken = waiting.take(begun);
            if taken.is_empty() {
                break;
            }
            assert!(taken.len() <= AUDIT_AT_ONCE_MAX);
            let of_refusals = |(key, _): &&(Key, u32)| matches!(key.3, Outcome::Refused { .. });
            answered += taken.iter().filter(|entry| !of_refusals(entry)).count();
            refused.extend(taken.iter().filter(of_refusals).map(|(_, times)| *times));
        }
        assert_eq!((answered, refused.len()), (10_000, REFUSALS_AT_ONCE));
        waiting.add(key("late", Outcome::Refused { status: 401 }), 1);
        assert!(waiting.take(begun).is_empty(), "the budget is used up");
        let later = waiting.take(begun + Duration::from_secs(100));
        refused.extend(later.iter().map(|(_, times)| *times));
        assert_eq!(refused.iter().map(|times| u64::from(*times)).sum::<u64>(), 10_001, "none is lost");
    }

    #[test]
    fn who_joins_is_noted_once_with_the_token_and_who_is_refused_as_strangers_are() {
        let waiting = Arc::new(Waiting::default());
        let key =
            |outcome, object: &str| (String::new(), "192.0.2.9".to_owned(), JOIN.to_owned(), outcome, object.into());
        waiting.add(key(Outcome::Answered { asked: UNASKED, status: 200 }, "token=a node=n2"), 1);
        waiting.add(key(Outcome::Answered { asked: UNASKED, status: 200 }, "token=a node=n3"), 1);
        waiting.add(key(Outcome::Refused { status: 403 }, "token=a code=token_used"), 1);
        let entries = waiting.batch(Instant::now(), || 1).unwrap().entries;
        let objects: Vec<&str> = entries.iter().map(|entry| entry.object.as_str()).collect();
        assert_eq!(objects, ["token=a node=n2", "token=a node=n3", "token=a code=token_used"]);
    }
}
