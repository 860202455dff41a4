//! Jobs against the cluster's policy, before their work is leased: what is not allowed now is held with the rule that says
//! so, and let go on once it is. A window that ends is told to nodes by their own clocks (`worker/permits.rs`); the leader takes
//! back what they have not handed back after a grace, so that what they had found is counted.
//!
//! [`verdicts`] is pure. What a job scans is read from its spec; one in a chunk is fetched beside the rounds, and until it is here
//! the job is as it was admitted: the nodes that scan hold to policy in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_raft::command::{Command, LeaseRef, SpecRef};
use pentora_raft::state::{JobStatus, RulesMark};
use pentora_raft::{JobId, Raft, State};
use pentora_scanner::spec::ScanSpec;
use pentora_scanner::target::TargetSet;
use tokio::task::JoinSet;

use super::budgets::Budgets;
use crate::exclusions;
use crate::policy::Policy;
use crate::results::Exchange;
use crate::spec;

/// How long nodes get to hand in what they had found when a window closed: it has to be written by two of them.
const HAND_IN: Duration = Duration::from_secs(3);
/// How long names are looked up before a job goes on without their addresses. Ours: a resolver that answers does so by then.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(3);
/// Jobs whose names are looked up at once.
const LOOKED_UP_AT_ONCE: usize = 16;
/// Specs that are fetched at once.
const FETCHED_AT_ONCE: usize = 4;

/// What the leader knows of what open jobs scan, and which of them it has looked at.
#[derive(Debug)]
pub(super) struct Holds {
    specs: BTreeMap<JobId, Arc<ScanSpec>>,
    /// Whose spec is on its way.
    asked: BTreeSet<JobId>,
    /// The addresses of the names that a job scans, by this node's resolver, where rules have hours.
    addresses: BTreeMap<JobId, TargetSet>,
    /// Jobs that wait for theirs.
    awaiting: BTreeSet<JobId>,
    /// Those of them whose names are being looked up.
    asked_names: BTreeSet<JobId>,
    /// These look-ups; they end with this.
    looking_up: JoinSet<(JobId, TargetSet)>,
    /// Reads of specs that are in chunks; they end with this.
    coming: JoinSet<(JobId, Option<ScanSpec>)>,
    /// The rules that the jobs in `looked` were held against, with those of them that have hours and whether they held.
    rules: Option<(RulesMark, Policy)>,
    held_at: Vec<bool>,
    budgets: Budgets,
    /// Leases that have the share of a budget that is gone or was raised.
    loosened: Vec<LeaseRef>,
    /// Whether specs came or went since `budgets` was made.
    is_stale: bool,
    looked: BTreeSet<JobId>,
    /// Jobs whose time is over, with when this leader saw it.
    closing: BTreeMap<JobId, Instant>,
}

/// What the rules say of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It may go on.
    Allowed,
    /// It may not, for this reason.
    Refused(String),
    /// It may not now.
    Closed(String),
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            specs: BTreeMap::new(),
            asked: BTreeSet::new(),
            addresses: BTreeMap::new(),
            awaiting: BTreeSet::new(),
            asked_names: BTreeSet::new(),
            looking_up: JoinSet::new(),
            coming: JoinSet::new(),
            rules: None,
            held_at: Vec::new(),
            budgets: Budgets::default(),
            loosened: Vec::new(),
            is_stale: true,
            looked: BTreeSet::new(),
            closing: BTreeMap::new(),
        }
    }
}

impl Holds {
    /// What to propose now: each open job is held against the rules when it is new, and when they or the hour change.
    pub(super) fn look(&mut self, raft: &Raft, exchange: &Exchange, now: Instant) -> Vec<Command> {
        self.learn(raft, exchange);
        let now_ms = raft.now_ms();
        raft.read(|state| {
            self.renew(state, now_ms);
            let due = self.specs.iter().filter(|(job, _)| !self.looked.contains(job));
            let mut due: Vec<(JobId, Arc<ScanSpec>)> = due.map(|(job, spec)| (*job, Arc::clone(spec))).collect();
            due.retain(|(job, spec)| !self.awaits_names(*job, spec));
            let due = due.iter().map(|(job, spec)| (*job, spec.as_ref()));
            let verdicts = verdicts(state, due, &self.addresses, now_ms);
            let mut commands = Vec::new();
            for (job, verdict) in verdicts {
                let (is_held, is_out) = (state.hold(job).is_some(), state.job_leases(job).next().is_some());
                let hold = match verdict {
                    Verdict::Closed(_) if is_out && !is_held && self.hands_in(job, now) => continue,
                    Verdict::Refused(why) | Verdict::Closed(why) => Some(why),
                    Verdict::Allowed => None,
                };
                if hold.is_some() == is_held {
                    self.closing.remove(&job);
                    self.looked.insert(job);
                } else {
                    // What is proposed is looked at again until it stands.
                    commands.push(Command::HoldJob { job, hold });
                }
            }
            commands
        })
    }

    /// The budgets of networks, and who draws on them.
    pub(super) fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Leases that would keep the share of a budget that is gone or was raised.
    pub(super) fn loosened(&self) -> &[LeaseRef] {
        &self.loosened
    }

    /// They were taken back.
    pub(super) fn forget_loosened(&mut self) {
        self.loosened.clear();
    }

    /// Whether nothing more of a job is given out for now: its time is over and nodes hand in what they have of it, or its names
    /// are being looked up.
    pub(super) fn is_closing(&self, job: JobId) -> bool {
        self.closing.contains_key(&job) || self.awaiting.contains(&job)
    }

    /// Whether a job scans names whose addresses are not known yet and which rules that have hours may close. They are looked up
    /// beside the rounds, once for each job.
    fn awaits_names(&mut self, job: JobId, spec: &Arc<ScanSpec>) -> bool {
        let has_names = || spec.partitions.iter().any(|targets| targets.names().len() > 0);
        if self.held_at.is_empty() || self.addresses.contains_key(&job) || !has_names() {
            self.awaiting.remove(&job);
            return false;
        }
        self.awaiting.insert(job);
        if self.asked_names.len() < LOOKED_UP_AT_ONCE && self.asked_names.insert(job) {
            let spec = Arc::clone(spec);
            self.looking_up.spawn(async move {
                let looking_up = tokio::task::spawn_blocking(move || addresses_of(&spec));
                let found = tokio::time::timeout(LOOKED_UP_WITHIN, looking_up).await;
                // What a resolver does not say is held against the rules where it is scanned.
                (job, found.ok().and_then(Result::ok).unwrap_or_default())
            });
        }
        true
    }

    /// Whether nodes may still hand in what they had found of a job whose time is over.
    fn hands_in(&mut self, job: JobId, now: Instant) -> bool {
        now.duration_since(*self.closing.entry(job).or_insert(now)) < HAND_IN
    }

    /// Forgets what was looked at where rules or hours have changed since.
    fn renew(&mut self, state: &State, now_ms: u64) {
        let mark = state.rules_mark();
        let is_same = self.rules.as_ref().is_some_and(|(before, _)| *before == mark);
        if !is_same {
            self.rules = Some((mark, Policy::of(state, "")));
        }
        if !is_same || std::mem::take(&mut self.is_stale) {
            let jobs = self.specs.iter().map(|(job, spec)| (*job, spec.as_ref()));
            let budgets = self.rules.as_ref().map_or_else(Budgets::default, |(_, rules)| Budgets::of(rules, jobs));
            let before = std::mem::replace(&mut self.budgets, budgets);
            self.loosened.extend(self.budgets.loosened(&before, state));
        }
        let held_at = self.rules.as_ref().map_or_else(Vec::new, |(_, rules)| rules.hold_at(now_ms));
        if !is_same || held_at != self.held_at {
            self.looked.clear();
            self.held_at = held_at;
        }
    }

    /// Reads the specs of jobs that are new, and forgets those of jobs that are over.
    fn learn(&mut self, raft: &Raft, exchange: &Exchange) {
        while let Some(found) = self.looking_up.try_join_next() {
            match found {
                Ok((job, addresses)) => {
                    self.asked_names.remove(&job);
                    self.awaiting.remove(&job);
                    self.addresses.insert(job, addresses);
                }
                Err(_) => self.asked_names.clear(),
            }
        }
        while let Some(read) = self.coming.try_join_next() {
            let Ok((job, spec)) = read else {
                // Which one broke is not known: whatever is still on its way is only read twice.
                self.asked.clear();
                continue;
            };
            self.asked.remove(&job);
            if let Some(spec) = spec {
                self.specs.insert(job, Arc::new(spec));
                self.is_stale = true;
            }
        }
        let (open, unknown) = raft.read(|state| {
            let open: BTreeSet<JobId> = state.jobs().filter(|(_, job)| job.is_open()).map(|(id, _)| id).collect();
            let unknown = open.iter().filter(|job| !self.specs.contains_key(job) && !self.asked.contains(job));
            let unknown: Vec<(JobId, SpecRef)> =
                unknown.filter_map(|job| Some((*job, state.spec(*job)?.clone()))).collect();
            (open, unknown)
        });
        let known = self.specs.len();
        self.specs.retain(|job, _| open.contains(job));
        self.is_stale |= self.specs.len() != known;
        self.looked.retain(|job| open.contains(job));
        self.addresses.retain(|job, _| open.contains(job));
        self.awaiting.retain(|job| open.contains(job));
        self.closing.retain(|job, _| open.contains(job));
        for (job, kept) in unknown {
            match kept {
                SpecRef::Inline(bytes) => {
                    if let Ok(spec) = spec::decode(&bytes) {
                        self.specs.insert(job, Arc::new(spec));
                        self.is_stale = true;
                    }
                }
                kept @ SpecRef::Chunk { .. } if self.asked.len() < FETCHED_AT_ONCE => {
                    self.asked.insert(job);
                    let exchange = exchange.clone();
                    self.coming.spawn(async move { (job, spec::read(&exchange, kept).await.ok()) });
                }
                SpecRef::Chunk { .. } => {}
            }
        }
    }
}

/// The addresses of the names that a job scans, without those that it leaves out. Looks names up.
fn addresses_of(spec: &ScanSpec) -> TargetSet {
    let mut all = TargetSet::builder();
    spec.partitions.iter().for_each(|targets| all.add_set(&exclusions::addresses_of(targets)));
    all.build_uncounted().map(|all| all.exclude(&spec.exclude)).unwrap_or_default()
}

/// What the rules say of each of these jobs at an instant, with the addresses of the names that they scan, but for those that a
/// person paused.
fn verdicts<'a>(
    state: &State,
    jobs: impl Iterator<Item = (JobId, &'a ScanSpec)>,
    addresses: &BTreeMap<JobId, TargetSet>,
    at_ms: u64,
) -> Vec<(JobId, Verdict)> {
    let mut policies: BTreeMap<&str, Policy> = BTreeMap::new();
    let mut verdicts = Vec::new();
    for (job, spec) in jobs {
        let Some(record) = state.job(job) else { continue };
        let is_anothers = record.status == JobStatus::Paused && state.hold(job).is_none();
        if is_anothers || record.status == JobStatus::Carried {
            continue;
        }
        let who = state.author(job).map_or("", |author| author.who.as_str());
        let policy = policies.entry(who).or_insert_with(|| Policy::of(state, who));
        let refused = spec.partitions.iter().find_map(|targets| policy.check(targets).err());
        let all = || spec.partitions.iter().chain(addresses.get(&job));
        let closed = || all().find_map(|targets| policy.closed(targets, at_ms));
        verdicts.push((
            job,
            match refused {
                Some(refused) => Verdict::Refused(refused.to_string()),
                None => closed().map_or(Verdict::Allowed, |closed| Verdict::Closed(closed.to_string())),
            },
        ));
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use pentora_raft::command::{
        Author, NewRule, Proposal, Rule, ScopeEffect, ScopeRule, Submission, When, WindowEffect, WindowRule,
    };

    use super::*;

    const JOB: JobId = JobId(5);

    fn apply(state: &mut State, index: u64, command: Command) {
        state.apply(index, &Proposal { at_ms: index, command });
    }

    fn scope() -> Command {
        let networks = vec!["203.0.113.0/24".parse().unwrap()];
        let rule = Rule::Scope(ScopeRule { networks, tokens: vec!["ci".into()], effect: ScopeEffect::Allow });
        Command::SetRule(Box::new(NewRule { name: "lab".into(), rule, reason: "r".into(), author: Author::default() }))
    }

    #[test]
    fn a_job_is_held_while_no_rule_allows_it_and_goes_on_when_one_does() {
        let mut state = State::default();
        let spec = ScanSpec { partitions: vec!["203.0.113.7".parse().unwrap()], ..ScanSpec::default() };
        let submission = Submission::plain(SpecRef::Inline(spec::encode(&spec)), 1, 1);
        let author = Author { who: "ci".into(), from: String::new() };
        apply(&mut state, JOB.0, Command::SubmitAs { submission: Box::new(submission), author });
        let look = |state: &State, at_ms| verdicts(state, [(JOB, &spec)].into_iter(), &BTreeMap::new(), at_ms);
        let looked = look(&state, 0);
        let [(JOB, Verdict::Refused(why))] = looked.as_slice() else { panic!("{looked:?}") };
        assert!(why.contains("203.0.113.7 is outside"), "{why}");
        apply(&mut state, 6, Command::HoldJob { job: JOB, hold: Some(why.clone()) });
        apply(&mut state, 7, scope());
        assert_eq!(look(&state, 0), [(JOB, Verdict::Allowed)]);
        let rule = Rule::Window(WindowRule {
            networks: Vec::new(),
            when: When::Once { from_ms: 10, until_ms: 20 },
            effect: WindowEffect::Blackout,
        });
        let new = NewRule { name: "freeze".into(), rule, reason: String::new(), author: Author::default() };
        apply(&mut state, 8, Command::SetRule(Box::new(new)));
        assert!(matches!(look(&state, 10).as_slice(), [(JOB, Verdict::Closed(why))] if why.contains("`freeze`")));
        assert_eq!(look(&state, 20), [(JOB, Verdict::Allowed)]);
        apply(&mut state, 9, Command::HoldJob { job: JOB, hold: None });
        apply(&mut state, 10, Command::PauseJob { job: JOB, paused: true, reason: "me".into() });
        assert_eq!(look(&state, 10), [], "somebody paused it");
    }

    #[test]
    fn a_name_is_closed_where_its_address_is() {
        let mut state = State::default();
        let spec = ScanSpec { partitions: vec!["plant.example".parse().unwrap()], ..ScanSpec::default() };
        let submission = Submission::plain(SpecRef::Inline(spec::encode(&spec)), 1, 1);
        let author = Author { who: "ci".into(), from: String::new() };
        apply(&mut state, JOB.0, Command::SubmitAs { submission: Box::new(submission), author });
        let rule = Rule::Window(WindowRule {
            networks: vec!["10.77.0.0/16".parse().unwrap()],
            when: When::Once { from_ms: 10, until_ms: 20 },
            effect: WindowEffect::Blackout,
        });
        let new = NewRule { name: "freeze".into(), rule, reason: String::new(), author: Author::default() };
        apply(&mut state, 8, Command::SetRule(Box::new(new)));
        let look = |addresses: &str, at_ms| {
            let addresses = BTreeMap::from([(JOB, addresses.parse().unwrap())]);
            verdicts(&state, [(JOB, &spec)].into_iter(), &addresses, at_ms)
        };
        let closed = look("10.77.0.5,10.1.0.1", 10);
        assert!(matches!(closed.as_slice(), [(JOB, Verdict::Closed(why))] if why.contains("`freeze`")), "{closed:?}");
        assert_eq!(look("10.77.0.5", 20), [(JOB, Verdict::Allowed)]);
        assert_eq!(look("10.1.0.1", 10), [(JOB, Verdict::Allowed)]);
    }
}
