//! Laws of the state under random command sequences: the invariants after every step, replicas equal, rows and
//! snapshots equal to the tables, and a ledger kept beside that counts for itself.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::command::draw_test::{Move, Past, Scene, any_move, any_move_of};
use crate::command::sample_test::two_nodes;
use crate::command::{Arrangement, Command, Completion, LeaseRef, Proposal, Refusal, Response, Submission, UnitKey};
use crate::event::EventKind;
use crate::id::{Digest, JobId, NodeId};
use crate::invariant;
use crate::state::table::RowChange;
use crate::state::{CommandKind, EarlierSubmission, JobStatus, Lease, State};

/// The first index: what consensus itself writes comes before.
const FIRST_INDEX: u64 = 2;

/// A sequence of moves with the leader's clock at each, which now and then jumps back or a day ahead.
fn any_run(steps: usize) -> impl Strategy<Value = Vec<(Move, i64)>> {
    any_run_of(any_move(), steps)
}

fn any_run_of(moves: impl Strategy<Value = Move>, steps: usize) -> impl Strategy<Value = Vec<(Move, i64)>> {
    let tick = prop_oneof![12 => 0i64..50, 2 => -2_000i64..0, 1 => Just(25 * 3600 * 1000)];
    prop::collection::vec((moves, tick), 1..steps)
}

/// Plays a run on a cluster of two working nodes; `see` gets each index, proposal, response and the state after it.
fn play(run: &[(Move, i64)], mut see: impl FnMut(u64, &Proposal, &Response, &State)) -> State {
    let mut state = State::default();
    let (mut past, mut clock_ms) = (Past::default(), 1_000_000i64);
    let opening = two_nodes();
    let moves =
        opening.iter().map(|command| (Err(command), &0)).chain(run.iter().map(|(drawn, tick)| (Ok(drawn), tick)));
    for (index, (step, tick)) in (FIRST_INDEX..).zip(moves) {
        clock_ms = clock_ms.saturating_add(*tick).max(0);
        let command = step.map_or_else(Command::clone, |drawn| drawn.at(&Scene { state: &state, past: &past }));
        let proposal = Proposal { at_ms: clock_ms.unsigned_abs(), command };
        let response = state.apply(index, &proposal);
        past.note(&response);
        see(index, &proposal, &response, &state);
    }
    state
}

/// The store's rows as they would be on disk.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn load(rows: &Rows) -> State {
    let mut state = State::default();
    rows.iter().for_each(|(key, value)| state.load_row(key, value).unwrap());
    state
}

fn snapshot(state: &State) -> Rows {
    let mut rows = Rows::new();
    state.for_each_row(|key, value| assert!(rows.insert(key, value).is_none(), "a key twice"));
    rows
}

/// Counts for itself what the state should count, from commands and responses alone.
#[derive(Default)]
struct Ledger {
    standing: BTreeMap<LeaseRef, Held>,
    /// By the first index of the part that was counted, under the lease's epoch.
    accepted: BTreeMap<LeaseRef, Digest>,
    counted: BTreeMap<JobId, BTreeSet<(u32, u64)>>,
    hosts_up: BTreeMap<JobId, u64>,
    keys: BTreeMap<Digest, EarlierSubmission>,
    now_ms: u64,
}

/// Who has a lease, from where on it is not counted, and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    node: NodeId,
    start: u64,
    end: u64,
}

impl Held {
    fn of(lease: &Lease) -> Self {
        Self { node: lease.node, start: lease.start, end: lease.end }
    }
}

impl Ledger {
    fn see(&mut self, index: u64, proposal: &Proposal, response: &Response) {
        self.now_ms = self.now_ms.max(proposal.at_ms);
        match (&proposal.command, response) {
            (
                Command::SubmitJob(submission) | Command::SubmitAs { submission, .. },
                Response::Submitted { job, existing },
            ) => {
                let key = submission.idempotency_key;
                let before = key.and_then(|key| self.keys.get(&key)).copied();
                let before = before.filter(|before| before.at_ms + 24 * 3600 * 1000 >= self.now_ms);
                assert_eq!((*job, *existing), before.map_or((JobId(index), false), |before| (before.job, true)));
                if !*existing {
                    self.remember(*job, submission);
                    self.add_finished(*job, index, submission);
                }
            }
            (Command::Grant { .. }, Response::Granted { leases }) => {
                for (unit, lease) in leases {
                    assert_eq!(lease.epoch, index, "a lease's epoch is the index of its grant");
                    let named = LeaseRef { unit: *unit, epoch: index };
                    let twice = self.standing.insert(named, Held::of(lease));
                    assert!(twice.is_none(), "one lease twice in one command");
                }
            }
            (Command::Complete { completions }, Response::Completed { accepted }) => {
                assert_eq!(completions.len(), accepted.len());
                for (completion, accepted) in completions.iter().zip(accepted) {
                    assert_eq!(*accepted, self.count(completion), "{completion:?}");
                }
            }
            (
                Command::CompleteWith { completion, .. } | Command::CompleteMeasured { completion, .. },
                Response::Completed { accepted },
            ) => {
                assert_eq!(*accepted, [self.count(completion)], "{completion:?}");
            }
            (Command::CarryJob(submission), Response::Submitted { job, existing: false }) => {
                self.remember(*job, submission);
            }
            (Command::ArrangeAs { arrangement, .. }, Response::Submitted { job, existing: false }) => {
                let Arrangement::Carried(submission) = &**arrangement else { panic!("nothing else makes a job") };
                self.remember(*job, submission);
            }
            (Command::SubmitOrdered(ordered), Response::Submitted { job, existing: false }) => {
                assert_eq!(*job, JobId(index));
                self.remember(*job, &ordered.submission);
                self.add_finished(*job, index, &ordered.submission);
            }
            (Command::Import(imported), Response::Completed { accepted }) => {
                assert_eq!(imported.units.len(), accepted.len());
                for (unit, _) in imported.units.iter().zip(accepted).filter(|(_, accepted)| **accepted) {
                    let part = unit.finished.unit.of(imported.job);
                    let named = LeaseRef { unit: part, epoch: 0 };
                    if self.accepted.insert(named, unit.finished.stored.digest).is_none() {
                        self.add(part, unit.finished.unit.end, unit.finished.counts.hosts_up);
                    }
                }
            }
            (Command::DeleteJob { job }, Response::Done) => {
                self.keys.retain(|_, earlier| earlier.job != *job);
                self.accepted.retain(|lease, _| lease.unit.job != *job);
            }
            _ => {}
        }
    }

    /// The key of a submission that made a job.
    fn remember(&mut self, job: JobId, submission: &Submission) {
        if let Some(key) = submission.idempotency_key {
            self.keys.insert(key, EarlierSubmission { job, at_ms: self.now_ms });
        }
    }

    /// What was finished before the job was submitted.
    fn add_finished(&mut self, job: JobId, index: u64, submission: &Submission) {
        for finished in &submission.finished {
            let part = finished.unit.of(job);
            self.accepted.insert(LeaseRef { unit: part, epoch: index }, finished.stored.digest);
            self.add(part, finished.unit.end, finished.counts.hosts_up);
        }
    }

    /// Whether a completion should be accepted; counts it where it is new.
    fn count(&mut self, completion: &Completion) -> bool {
        let lease = completion.lease;
        let part = UnitKey { start: completion.start, ..lease.unit };
        let named = LeaseRef { unit: part, epoch: lease.epoch };
        if self.accepted.get(&named) == Some(&completion.stored.digest) {
            return true;
        }
        let Some(held) = self.standing.get(&lease).copied() else { return false };
        let stands = (held.node, held.start) == (completion.node, completion.start)
            && held.start < completion.end
            && completion.end <= held.end
            && !completion.stored.holders.is_empty();
        if stands {
            self.standing.remove(&lease);
            if completion.goes_on && completion.end < held.end {
                self.standing.insert(lease, Held { start: completion.end, ..held });
            }
            self.accepted.insert(named, completion.stored.digest);
            self.add(part, completion.end, completion.counts.hosts_up);
        }
        stands
    }

    fn add(&mut self, part: UnitKey, end: u64, hosts_up: u64) {
        let counted = self.counted.entry(part.job).or_default();
        for target in part.start..end {
            assert!(counted.insert((part.partition, target)), "target {target} is counted twice");
        }
        *self.hosts_up.entry(part.job).or_default() += hosts_up;
    }

    /// Forgets the leases that the command took back, as the state has it, and compares what both count.
    fn compare(&mut self, state: &State) {
        let standing: BTreeMap<_, _> =
            state.leases().map(|(unit, lease)| (LeaseRef { unit, epoch: lease.epoch }, Held::of(lease))).collect();
        assert!(standing.iter().all(|(lease, held)| self.standing.get(lease) == Some(held)), "a lease from nowhere");
        self.standing = standing;
        // The job of an earlier pass is forgotten with the end of the next.
        self.accepted.retain(|lease, _| state.job(lease.unit.job).is_some());
        assert_eq!(state.now_ms(), self.now_ms);
        for (id, job) in state.jobs() {
            assert_eq!(job.done, self.counted.get(&id).map_or(0, |counted| counted.len() as u64));
            assert_eq!(job.counts.hosts_up, self.hosts_up.get(&id).copied().unwrap_or(0));
        }
    }
}

/// How a command that was not refused went.
fn outcome(kind: CommandKind, response: &Response) -> String {
    match response {
        Response::Refused(refusal) => format!("refused: {}", refusal.code()),
        Response::Granted { leases } => format!("{} of {} leases", kind.name(), leases.len().min(2)),
        Response::Completed { accepted } => format!("{}, accepted {}", kind.name(), accepted.contains(&true)),
        Response::Submitted { existing, .. } => format!("{}, existing {existing}", kind.name()),
        Response::Done | Response::Joined { .. } | Response::LogVersion { .. } | Response::Audited { .. } => {
            format!("{} done", kind.name())
        }
    }
}

/// Everything that some run should come to; made from the tables of words, so that what is added there is asked for here.
fn outcomes() -> BTreeSet<String> {
    let done = |kind: &CommandKind| match kind {
        CommandKind::Grant => [0, 2].map(|leases| format!("grant of {leases} leases")).to_vec(),
        CommandKind::Complete | CommandKind::CompleteWith | CommandKind::CompleteMeasured | CommandKind::Import => {
            [true, false].map(|accepted| format!("{}, accepted {accepted}", kind.name())).to_vec()
        }
        CommandKind::StartSlice => vec!["start-slice, existing false".to_owned()],
        CommandKind::StartOccurrence => vec!["start-occurrence, existing false".to_owned()],
        CommandKind::SubmitJob | CommandKind::CarryJob | CommandKind::SubmitAs | CommandKind::SubmitOrdered => {
            [true, false].map(|existing| format!("{}, existing {existing}", kind.name())).to_vec()
        }
        CommandKind::ArrangeAs => {
            [" done", ", existing true", ", existing false"].map(|how| format!("{}{how}", kind.name())).to_vec()
        }
        other => vec![format!("{} done", other.name())],
    };
    // Met only with a thousand jobs, or as many tokens or feeds as there may be: `cases_test`. Or with a full audit log: `audit`. Or by
    // another release.
    let rare =
        ["queue_full", "schedules_full", "keeps_full", "tokens_full", "rate_limited", "newer_than_log", "incompatible"];
    let codes = Refusal::CODES.iter().filter(|code| !rare.contains(*code));
    let refused = codes.map(|code| format!("refused: {code}"));
    let statuses = JobStatus::NAMES.iter().map(|status| format!("a job is {status}"));
    CommandKind::ALL.iter().flat_map(done).chain(refused).chain(statuses).collect()
}

#[test]
fn the_random_runs_reach_every_outcome_and_a_command_brings_the_events_of_its_row_and_no_other() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut brought: BTreeMap<CommandKind, BTreeSet<&str>> = BTreeMap::new();
    let runs = any_run(90);
    // What is given back to its end needs the same unit to come to the same node again and again.
    let giving_back = [CommandKind::SubmitJob, CommandKind::Grant, CommandKind::Decline, CommandKind::TakeBack];
    let giving_back = any_run_of(any_move_of(&giving_back), 400);
    for number in 0..10_000 {
        let of_all = runs.new_tree(&mut runner).unwrap().current();
        let run = if number % 20 == 0 { giving_back.new_tree(&mut runner).unwrap().current() } else { of_all };
        play(&run, |index, proposal, response, state| {
            let kind = proposal.command.kind();
            seen.insert(outcome(kind, response));
            seen.extend(state.jobs().map(|(_, job)| format!("a job is {}", job.status.name())));
            let new = state.jobs().flat_map(|(id, _)| state.job_events(id, index - 1));
            brought.entry(kind).or_default().extend(new.map(|(_, event)| event.what.name()));
        });
    }
    let missing: Vec<String> = outcomes().difference(&seen).cloned().collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
    for kind in CommandKind::ALL {
        let row: BTreeSet<&str> = kind.events().iter().copied().collect();
        assert_eq!(brought.get(kind), Some(&row), "the events of {}", kind.name());
    }
    let all: BTreeSet<&str> = brought.into_values().flatten().collect();
    assert_eq!(all, EventKind::NAMES.iter().copied().collect::<BTreeSet<_>>(), "each event is brought by some command");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_state_that_commands_lead_to_keeps_every_law(run in any_run(90)) {
        play(&run, |index, proposal, _, state| {
            if let Err(broken) = invariant::check(state, index) {
                panic!("after {index} {:?}: {broken}", proposal.command);
            }
        });
    }

    #[test]
    fn late_repeated_and_foreign_completions_count_once_and_keys_make_one_job(run in any_run(90)) {
        let mut ledger = Ledger::default();
        play(&run, |index, proposal, response, state| {
            ledger.see(index, proposal, response);
            ledger.compare(state);
        });
    }

    #[test]
    fn a_refused_command_changes_nothing_but_the_clock(run in any_run(60)) {
        let mut before = State::default();
        play(&run, |_, proposal, response, state| {
            if matches!(response, Response::Refused(_)) {
                let mut same = before.clone();
                same.cluster = state.cluster.clone();
                assert_eq!(&same, state, "{:?}", proposal.command);
                assert_eq!(before.cluster().id, state.cluster().id);
            }
            before = state.clone();
        });
    }

    #[test]
    fn replicas_rows_and_snapshots_all_hold_the_same_state(run in any_run(60), cut in any::<prop::sample::Index>()) {
        let (mut replica, mut rows) = (State::default(), Rows::new());
        let mut restored: Option<State> = None;
        let cut = FIRST_INDEX + cut.index(run.len() + two_nodes().len()) as u64;
        let last = play(&run, |index, proposal, response, state| {
            assert_eq!(&replica.apply(index, proposal), response);
            assert_eq!(&replica, state);
            for RowChange { key, value } in replica.drain_changes() {
                match value {
                    Some(value) => drop(rows.insert(key, value)),
                    None => drop(rows.remove(&key)),
                }
            }
            if let Some(restored) = &mut restored {
                assert_eq!(&restored.apply(index, proposal), response);
            }
            if index == cut {
                restored = Some(load(&snapshot(state)));
            }
        });
        prop_assert_eq!(&load(&rows), &last);
        prop_assert_eq!(&rows, &snapshot(&last));
        prop_assert_eq!(restored, Some(last));
    }

    #[test]
    fn asking_again_changes_nothing_more(run in any_run(40)) {
        play(&run, |index, proposal, _, state| {
            let mut again = state.clone();
            // Not idempotent by design: a grant takes the next free part, a submission without a key is another job.
            let another = match &proposal.command {
                Command::Grant { .. } => true,
                Command::SubmitJob(submission)
                | Command::CarryJob(submission)
                | Command::SubmitAs { submission, .. } => submission.idempotency_key.is_none(),
                Command::ArrangeAs { arrangement, .. } => {
                    matches!(&**arrangement, Arrangement::Carried(it) if it.idempotency_key.is_none())
                }
                // A part of a unit that is told before the one that it goes on from is refused, and counted where it is told again
                // behind it: once either way.
                Command::Complete { completions } => completions.iter().enumerate().any(|(at, one)| {
                    completions.iter().take(at).any(|before| before.lease == one.lease && before.start > one.start)
                }),
                _ => false,
            };
            if !another {
                again.apply(index + 1, proposal);
                assert_eq!(&again, state, "{:?}", proposal.command);
            }
        });
    }
}
