//! That an order is carried out once: which job of the log was made of it, and which schedule has it.
//!
//! Orders are looked for in what the log holds, so each node finds what every other finds. A spec that is too large for the log is
//! not looked into: of such a job the log knows the key alone that its order makes (`jobs::submit`), for a day.

use pentora_raft::command::SpecRef;
use pentora_raft::state::Schedule;
use pentora_raft::{Digest, JobId, State};

use crate::document::ScanRequest;
use crate::orders;
use crate::spec;

/// The key in the log of the job that is made of an order for one job: of two submissions through two nodes one is a job.
pub(super) fn key_of(order: &str) -> Digest {
    Digest::of(format!("order:{order}").as_bytes())
}

/// The first job that was made of the order for one job with this id, with the digest of its spec.
#[must_use]
pub fn job_of_order(state: &State, order: &str) -> Option<(JobId, Digest)> {
    let signed = state.jobs().filter(|(_, job)| job.partitions.iter().any(|part| part.needs.signer().is_some()));
    signed.map(|(id, _)| id).find_map(|id| match state.spec(id) {
        Some(SpecRef::Inline(bytes)) if is_of(bytes, order) => Some((id, Digest::of(bytes))),
        _ => None,
    })
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
    use pentora_raft::command::{Command, Proposal, Submission};
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

    fn submit(state: &mut State, index: u64, signed: Option<&SignedOrder>) {
        let spec = ScanSpec { order: signed.and_then(orders::to_carry), ..ScanSpec::default() };
        let required_tags = signed.iter().map(|signed| of_signer(&signed.key)).collect();
        let needs = Needs { required_tags, ..Needs::default() };
        let command = Command::SubmitJob(Box::new(Submission {
            spec: SpecRef::Inline(spec::encode(&spec)),
            partitions: vec![Partition { target_count: 1, needs }],
            priority: Priority::Normal,
            limits: JobLimits::default(),
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        }));
        state.apply(index, &Proposal { at_ms: index, command });
    }

    #[test]
    fn the_first_job_of_an_order_is_found_and_no_job_of_another_order_or_of_one_that_repeats() {
        let mut state = State::default();
        let (once, other, nightly) = (signed(false), signed(false), signed(true));
        for (index, signed) in (1..).zip([None, Some(&other), Some(&once), Some(&once), Some(&nightly)]) {
            submit(&mut state, index, signed);
        }
        let job = |signed: &SignedOrder| job_of_order(&state, &id(signed)).map(|(job, _)| job);
        assert_eq!([job(&once), job(&other), job(&nightly)], [Some(JobId(3)), Some(JobId(2)), None]);
        assert_eq!(job_of_order(&state, &id(&signed(false))), None);
        assert_eq!(job_of_order(&state, ""), None);
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
