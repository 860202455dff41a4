//! That an order is carried out once: which job of the log was made of it, and which schedule has it.
//!
//! The log remembers what became of each order for one job until that ends (`raft`'s `state/orders`), and refuses a second job of it.
//! A leader that goes its own way may put a job there without saying so: a node that scans looks at the specs that are there as well.

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

/// The job of the order for one job with this id that came before `job`, which is of it as well. The cost is that of a look at
/// one row where the log says that `job` is the one, and of a look at each signed spec where it says nothing.
#[must_use]
pub fn earlier_of_order(state: &State, order: &str, job: JobId) -> Option<JobId> {
    let first = state.job_of_order(&key_of(order)).or_else(|| first_with_order(state, order))?;
    (first < job).then_some(first)
}

/// The first job whose spec carries the order for one job with this id. A spec that is too large for the log is not looked into.
fn first_with_order(state: &State, order: &str) -> Option<JobId> {
    let signed = state.jobs().filter(|(_, job)| job.partitions.iter().any(|part| part.needs.signer().is_some()));
    let is_its = |id: &JobId| matches!(state.spec(*id), Some(SpecRef::Inline(bytes)) if is_of(bytes, order));
    signed.map(|(id, _)| id).find(is_its)
}

/// Whether a spec carries the order for one job with this id. Few have its digits anywhere, and those alone are read.
fn is_of(bytes: &[u8], order: &str) -> bool {
    holds(bytes, order)
        && spec::decode(bytes).is_ok_and(|spec| {
            let carried = orders::carried(spec.order.as_deref());
            carried.and_then(|signed| orders::id_of(&signed)).is_some_and(|of| !of.repeats && of.id == order)
        })
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
        let earlier = |state: &State, job| earlier_of_order(state, &id(&once), JobId(job));
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
        let earlier = |signed: &SignedOrder, job| earlier_of_order(&state, &id(signed), JobId(job));
        assert_eq!([earlier(&once, 4), earlier(&once, 3), earlier(&other, 2)], [Some(JobId(3)), None, None]);
        assert_eq!([earlier(&nightly, 6), earlier(&signed(false), 6)], [None, None]);
        assert_eq!(earlier_of_order(&state, "", JobId(9)), None);
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
