//! Orders that were signed for one job, and the job that each became: once is once.
//!
//! A row outlasts its job, which may be deleted or forgotten while somebody still holds the order, and stays until the order
//! ends: from then on no node takes it.

use serde::{Deserialize, Serialize};

use super::State;
use super::submit::is_same_spec;
use crate::command::{OrderedJob, Refusal, Response};
use crate::id::{Digest, JobId};

/// How many orders are remembered; when there are more, those that have ended go, and where too few have, a tenth that ends first.
/// Ours: an order each second of a day, in about 5 MB.
pub const ORDERS_KEPT_MAX: usize = 86_400;

/// What became of an order for one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// Its job, which may be forgotten by now.
    pub job: JobId,
    /// When it ends, unix milliseconds by the clock of whoever signed it.
    pub expires_at_ms: u64,
}

impl State {
    /// The job that was made of the order with this name, as far as the log remembers.
    #[must_use]
    pub fn job_of_order(&self, order: &Digest) -> Option<JobId> {
        self.orders.get(order).map(|record| record.job)
    }

    /// Accepts the job of an order, unless there was one: the same once more is that job, and anything else is refused.
    pub(super) fn submit_ordered(&mut self, index: u64, ordered: &OrderedJob) -> Result<Response, Refusal> {
        let OrderedJob { order, expires_at_ms, author, submission, is_carried } = ordered;
        if let Some(job) = self.job_of_order(order) {
            let is_same = self.specs.get(&job).is_some_and(|spec| is_same_spec(spec, &submission.spec));
            return if is_same {
                Ok(Response::Submitted { job, existing: true })
            } else {
                Err(Refusal::KeyReused { job })
            };
        }
        let accept = if *is_carried { Self::carry } else { Self::submit };
        let response = self.accept_as(index, submission, author, accept)?;
        if let Response::Submitted { job, existing: false } = response {
            self.forget_old_orders();
            self.orders.insert(*order, OrderRecord { job, expires_at_ms: *expires_at_ms });
        }
        Ok(response)
    }

    /// Forgets orders only when there are as many as are kept, so that a submission does not look at all of them.
    fn forget_old_orders(&mut self) {
        if self.orders.len() < ORDERS_KEPT_MAX {
            return;
        }
        let now_ms = self.now_ms();
        let mut by_end: Vec<(u64, Digest)> =
            self.orders.iter().map(|(order, record)| (record.expires_at_ms, *order)).collect();
        by_end.sort_unstable();
        let tenth = ORDERS_KEPT_MAX / 10;
        let old = by_end.iter().enumerate().take_while(|(place, (ends, _))| *place < tenth || *ends < now_ms);
        for (_, (_, order)) in old {
            self.orders.remove(order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample_test::{begin, limits, submission};
    use crate::command::{Author, Command, Proposal, SpecRef, Submission};

    struct Log {
        state: State,
        index: u64,
        at_ms: u64,
    }

    impl Log {
        fn begun() -> Self {
            let mut log = Self { state: State::default(), index: 0, at_ms: 1_000 };
            log.apply(begin("n1"));
            log
        }

        fn apply(&mut self, command: Command) -> Response {
            self.index += 1;
            self.state.apply(self.index, &Proposal { at_ms: self.at_ms, command })
        }

        fn order(&mut self, order: u64, expires_at_ms: u64, spec: &[u8], is_carried: bool) -> Response {
            let submission = Submission { spec: SpecRef::Inline(spec.to_vec()), ..submission(&[20], limits()) };
            self.apply(Command::SubmitOrdered(Box::new(OrderedJob {
                order: Digest::of(&order.to_be_bytes()),
                expires_at_ms,
                author: Author { who: "alice".into(), from: String::new() },
                submission: Submission { idempotency_key: None, ..submission },
                is_carried,
            })))
        }
    }

    #[test]
    fn an_order_is_one_job_and_stays_so_when_that_is_forgotten() {
        for is_carried in [false, true] {
            let mut log = Log::begun();
            let Response::Submitted { job, existing: false } = log.order(7, 5_000, b"spec", is_carried) else {
                panic!("no job")
            };
            assert_eq!(log.state.author(job).map(|author| author.who.as_str()), Some("alice"));
            assert_eq!(log.order(7, 5_000, b"spec", is_carried), Response::Submitted { job, existing: true });
            assert_eq!(log.order(7, 5_000, b"other", is_carried), Response::Refused(Refusal::KeyReused { job }));
            log.apply(Command::Cancel { job, reason: "done".into() });
            assert_eq!(log.apply(Command::DeleteJob { job }), Response::Done);
            log.at_ms += 48 * 3_600_000;
            assert_eq!(log.order(7, 5_000, b"spec", is_carried), Response::Refused(Refusal::KeyReused { job }));
            assert_eq!(log.state.jobs().count(), 0, "nothing is scanned again");
            let order = Digest::of(&7u64.to_be_bytes());
            assert_eq!(log.state.job_of_order(&order), Some(job));
        }
    }

    #[test]
    fn what_is_remembered_of_orders_has_a_bound_and_those_that_hold_longest_stay() {
        let mut log = Log::begun();
        let record = |ends| OrderRecord { job: JobId(1), expires_at_ms: ends };
        for order in 0..ORDERS_KEPT_MAX as u64 {
            log.state.orders.insert(Digest::of(&order.to_be_bytes()), record(1_000_000 + order));
        }
        let is_known = |log: &Log, order: u64| log.state.job_of_order(&Digest::of(&order.to_be_bytes())).is_some();
        assert!(matches!(log.order(1 << 40, 9_000_000, b"spec", false), Response::Submitted { .. }));
        assert!(!is_known(&log, 0) && is_known(&log, 1 << 40) && is_known(&log, ORDERS_KEPT_MAX as u64 - 1));
        assert_eq!(log.state.orders.len(), ORDERS_KEPT_MAX - ORDERS_KEPT_MAX / 10 + 1);
    }
}
