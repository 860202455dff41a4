//! That an order is carried out once: which job of the log was made of it, and which schedule has it.
//!
//! The log remembers what became of each order for one job until that ends (`raft`'s `state/orders`), and refuses a second job of it.
//! A leader that goes its own way may put a job there without saying so: a node that scans looks at the specs that are there as well.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pentora_raft::command::SpecRef;
use pentora_raft::state::Schedule;
use pentora_raft::{Digest, JobId, State};

use crate::document::ScanRequest;
use crate::orders;
use crate::spec;

/// The name in the log of an order for one job.
pub(super) fn key_of(order: &str) -> Digest {
    Digest::of(format!("order:{order}").as_bytes())
}

/// The job that was made of the order for one job with this id, with the digest of its spec where it is not forgotten.
pub(super) fn job_of_order(state: &State, order: &str) -> Option<(JobId, Option<Digest>)> {
    let job = state.job_of_order(&key_of(order))?;
    Some((job, state.spec(job).map(spec::digest)))
}

/// Which of the log's signed jobs are of which order for one job: each spec is looked into once. One that is too large for the log is
/// not looked into.
#[derive(Debug, Default)]
pub struct OrdersRead(Mutex<BTreeMap<JobId, Option<String>>>);

/// What the log has of an order.
#[derive(Debug)]
pub enum Looked {
    /// It says which job is of it.
    Job(JobId),
    /// It says nothing; these are the specs of signed jobs that were not looked into yet.
    Unread(Vec<(JobId, Vec<u8>)>),
}

impl OrdersRead {
    /// Looks up the order for one job with this id, for a node that is given `job` as of it.
    #[must_use]
    pub fn look(&self, state: &State, order: &str, job: JobId) -> Looked {
        if let Some(first) = state.job_of_order(&key_of(order)) {
            return Looked::Job(first);
        }
        let mut read = self.lock();
        read.retain(|job, _| state.job(*job).is_some());
        let unread = state.jobs().filter(|(id, _)| *id < job && !read.contains_key(id));
        let signed = unread.filter(|(_, job)| job.partitions.iter().any(|part| part.needs.signer().is_some()));
        let spec = |(id, _)| match state.spec(id) {
            Some(SpecRef::Inline(bytes)) => Some((id, bytes.clone())),
            _ => None,
        };
        Looked::Unread(signed.filter_map(spec).collect())
    }

    /// The job of that order which came before `job`. Specs are read here, and not under the log's lock.
    #[must_use]
    pub fn earlier(&self, looked: Looked, order: &str, job: JobId) -> Option<JobId> {
        let unread = match looked {
            Looked::Job(first) => return (first < job).then_some(first),
            Looked::Unread(unread) => unread,
        };
        let of: Vec<_> = unread.into_iter().map(|(id, bytes)| (id, once_in(&bytes))).collect();
        let mut read = self.lock();
        read.extend(of);
        read.range(..job).find(|(_, of)| of.as_deref() == Some(order)).map(|(id, _)| *id)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of the order for one job that a spec carries.
fn once_in(bytes: &[u8]) -> Option<String> {
    let order = orders::id_of(&orders::carried(spec::decode(bytes).ok()?.order.as_deref())?)?;
    (!order.repeats).then_some(order.id)
}

fn holds(bytes: &[u8], order: &str) -> bool {
    !order.is_empty() && bytes.windows(order.len()).any(|part| part == order.as_bytes())
}

/// The schedule that had this request's order before `name` has or would have it: an order is one schedule's, and of several that
/// of the one that was made first. `None` for what nobody signed.
#[must_use]
pub fn schedule_of_order(state: &State, request: &ScanRequest, name: &str) -> Option<String> {
    let order = request.order.as_ref().and_then(orders::id_of)?.id;
    let has = |schedule: &Schedule| {
        let bytes = &schedule.spec.request;
        let read = || serde_json::from_slice::<ScanRequest>(bytes).ok()?.order.as_ref().and_then(orders::id_of);
        holds(bytes, &order) && read().is_some_and(|of| of.id == order)
    };
    let mut having: Vec<(u64, &String)> =
        state.schedules().filter(|(_, it)| has(it)).map(|(name, it)| (it.made_at_ms, name)).collect();
    having.sort_unstable();
    having.first().map(|(_, first)| *first).filter(|first| *first != name).cloned()
}

#[cfg(test)]
mod tests {
    use pentora_raft::command::{Author, Command, OrderedJob, Proposal, Submission};
    use pentora_raft::state::{JobLimits, Needs, Partition, Priority, ScheduleSpec, of_signer};
    use pentora_scanner::spec::ScanSpec;

    use super::*;
    use crate::document::SignedOrder;
    use crate::orders::Repeats;
    use crate::signing::PersonKey;

    fn signed(repeats: bool) -> SignedOrder {
        let repeats = repeats.then(|| Repeats { cron: "@daily".into(), timezone: "UTC".into() });
        let request = ScanRequest { targets: vec!["10.0.0.0/24".into()], ..ScanRequest::default() };
        orders::sign(&request, repeats, (1, 1_000), &PersonKey::generate()).unwrap()
    }

    fn id(signed: &SignedOrder) -> String {
        orders::id_of(signed).unwrap().id
    }

    fn submission(signed: Option<&SignedOrder>) -> Submission {
        let spec = ScanSpec { order: signed.and_then(orders::to_carry), ..ScanSpec::default() };
        let required_tags = signed.iter().map(|signed| of_signer(&signed.key)).collect();
        let needs = Needs { required_tags, ..Needs::default() };
        Submission {
            spec: SpecRef::Inline(spec::encode(&spec)),
            partitions: vec![Partition { target_count: 1, needs }],
            priority: Priority::Normal,
            limits: JobLimits::default(),
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        }
    }

    fn submit(state: &mut State, index: u64, signed: Option<&SignedOrder>) {
        let command = Command::SubmitJob(Box::new(submission(signed)));
        state.apply(index, &Proposal { at_ms: index, command });
    }

    #[test]
    fn an_order_that_the_log_has_is_found_by_its_id_and_stays_when_its_job_is_forgotten() {
        let mut state = State::default();
        let once = signed(false);
        submit(&mut state, 1, Some(&signed(false)));
        let of_order = |id: &str| job_of_order(&state, id).map(|(job, _)| job);
        assert_eq!([of_order(&id(&once)), of_order("")], [None, None]);
        let submission = submission(Some(&once));
        let spec = spec::digest(&submission.spec);
        let ordered = OrderedJob {
            order: key_of(&id(&once)),
            expires_at_ms: 1_000,
            author: Author::default(),
            submission,
            is_carried: false,
        };
        let mut apply = |index, command| state.apply(index, &Proposal { at_ms: index, command });
        apply(2, Command::SubmitOrdered(Box::new(ordered)));
        assert_eq!(job_of_order(&state, &id(&once)), Some((JobId(2), Some(spec))));
        let read = OrdersRead::default();
        let earlier = |state: &State, job| {
            let looked = read.look(state, &id(&once), JobId(job));
            assert!(matches!(looked, Looked::Job(_)), "no spec is looked into");
            read.earlier(looked, &id(&once), JobId(job))
        };
        assert_eq!([earlier(&state, 2), earlier(&state, 3)], [None, Some(JobId(2))]);
        let mut apply = |index, command| state.apply(index, &Proposal { at_ms: index, command });
        apply(3, Command::Cancel { job: JobId(2), reason: String::new() });
        apply(4, Command::DeleteJob { job: JobId(2) });
        assert_eq!(job_of_order(&state, &id(&once)), Some((JobId(2), None)));
        assert_eq!(earlier(&state, 5), Some(JobId(2)));
    }

    #[test]
    fn of_an_order_that_a_leader_kept_from_the_logs_memory_the_first_job_is_found_and_none_of_one_that_repeats() {
        let mut state = State::default();
        let (once, other, nightly) = (signed(false), signed(false), signed(true));
        for (index, signed) in (1..).zip([None, Some(&other), Some(&once), Some(&once), Some(&nightly)]) {
            submit(&mut state, index, signed);
        }
        let read = OrdersRead::default();
        let specs = std::cell::Cell::new(0);
        let earlier_of = |state: &State, order: &str, job| {
            let looked = read.look(state, order, JobId(job));
            let Looked::Unread(unread) = &looked else { panic!("{looked:?}") };
            specs.set(specs.get() + unread.len());
            read.earlier(looked, order, JobId(job))
        };
        let earlier = |signed: &SignedOrder, job| earlier_of(&state, &id(signed), job);
        assert_eq!([earlier(&once, 4), earlier(&once, 3), earlier(&other, 2)], [Some(JobId(3)), None, None]);
        assert_eq!([earlier(&nightly, 6), earlier(&signed(false), 6)], [None, None]);
        assert_eq!(earlier_of(&state, "", 9), None);
        assert_eq!(specs.get(), 4, "each signed spec is looked into once");
        for (index, command) in
            [(6, Command::Cancel { job: JobId(3), reason: String::new() }), (7, Command::DeleteJob { job: JobId(3) })]
        {
            state.apply(index, &Proposal { at_ms: index, command });
        }
        assert_eq!(earlier_of(&state, &id(&once), 9), Some(JobId(4)), "what the log has no more is none of it");
        assert_eq!(read.lock().len(), 3);
    }

    #[test]
    fn an_order_is_the_schedules_that_was_made_first_with_it() {
        let mut state = State::default();
        let request = |signed: &SignedOrder| ScanRequest { order: Some(signed.clone()), ..ScanRequest::default() };
        let (nightly, other) = (signed(true), signed(true));
        for (index, name, signed) in [(1, "b", &nightly), (2, "a", &nightly), (3, "c", &other)] {
            let spec = ScheduleSpec {
                cron: "0 2 * * *".into(),
                timezone: "UTC".into(),
                missed: pentora_raft::state::MissedPolicy::Skip,
                overlap: pentora_raft::state::OverlapPolicy::Skip,
                request: serde_json::to_vec(&request(signed)).unwrap(),
                title: String::new(),
            };
            let command = Command::AddSchedule { name: name.into(), spec: Box::new(spec) };
            state.apply(index, &Proposal { at_ms: index, command });
        }
        let first = |signed: &SignedOrder, name| schedule_of_order(&state, &request(signed), name);
        assert_eq!(state.schedules().count(), 3);
        assert_eq!([first(&nightly, "b"), first(&other, "c")], [None, None], "its own");
        assert_eq!([first(&nightly, "a"), first(&nightly, "new")], [Some("b".into()), Some("b".into())]);
        assert_eq!(schedule_of_order(&state, &ScanRequest::default(), "a"), None);
    }
}
