//! Completions that wait for the log at the same time become one entry of it: those of many units of a node that scans, and at a
//! gateway those of many nodes.
//!
//! While one proposal is under way the next ones gather, so nobody waits for others and whoever is busy proposes seldom.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pentora_raft::command::{Command, Completion};
use pentora_raft::{Applied, Response};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::proposer::{Proposer, Unavailable};

/// Completions of one entry: some hundred bytes each, so that it stays far below the largest.
const COMPLETIONS_MAX: usize = 128;

/// One caller's completions, and where its answer goes.
#[derive(Debug)]
struct Caller {
    completions: Vec<Completion>,
    answer: oneshot::Sender<Result<Applied, Unavailable>>,
}

#[derive(Debug, Default)]
struct Waiting {
    callers: Vec<Caller>,
    /// Whether some are being proposed, after which those that wait then are.
    is_proposing: bool,
}

/// The completions that wait. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batch {
    proposer: Proposer,
    waiting: Arc<Mutex<Waiting>>,
}

/// Whoever proposes what waits; where that breaks off, those who wait are told so and the next one begins anew.
struct Proposing<'a> {
    waiting: &'a Mutex<Waiting>,
    is_over: bool,
}

impl Drop for Proposing<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            *lock(self.waiting) = Waiting::default();
        }
    }
}

impl Batch {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(proposer: Proposer) -> Self {
        Self { proposer, waiting: Arc::default() }
    }

    /// Puts completions into the log together with others that wait. Once they wait they are proposed, whoever gives up the answer.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn complete(&self, completions: Vec<Completion>) -> Result<Applied, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut waiting = lock(&self.waiting);
            waiting.callers.push(Caller { completions, answer });
            !std::mem::replace(&mut waiting.is_proposing, true)
        };
        if begins {
            let batch = self.clone();
            drop(TaskTracker::new().spawn(async move { batch.propose_waiting().await }));
        }
        answered.await.unwrap_or_else(|_ended| Err(Unavailable::Stopped("this node stops".into())))
    }

    /// Proposes what waits, until nothing does.
    async fn propose_waiting(&self) {
        let mut proposing = Proposing { waiting: &self.waiting, is_over: false };
        loop {
            let together = {
                let mut waiting = lock(&self.waiting);
                let count = fit(&waiting.callers);
                if count == 0 {
                    (waiting.is_proposing, proposing.is_over) = (false, true);
                    return;
                }
                waiting.callers.drain(..count).collect::<Vec<_>>()
            };
            let applied = self.propose(&together).await;
            // What is said of one of them is not said of all.
            let is_turned_away = matches!(applied, Err(Unavailable::Denied(_) | Unavailable::Refused(_)));
            if is_turned_away && together.len() > 1 {
                for caller in together {
                    let alone = [caller];
                    let applied = self.propose(&alone).await;
                    share_out(alone, applied);
                }
            } else {
                share_out(together, applied);
            }
        }
    }

    async fn propose(&self, callers: &[Caller]) -> Result<Applied, Unavailable> {
        let completions = callers.iter().flat_map(|caller| caller.completions.clone()).collect();
        self.proposer.propose(Command::Complete { completions }).await
    }
}

/// How many of those who wait fit one entry; one at least, if any waits.
fn fit(callers: &[Caller]) -> usize {
    let mut count = 0;
    let fits = |caller: &&Caller| {
        let is_first = count == 0;
        count += caller.completions.len();
        is_first || count <= COMPLETIONS_MAX
    };
    callers.iter().take_while(fits).count()
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives each caller the part of the answer that is its own.
fn share_out(together: impl IntoIterator<Item = Caller>, applied: Result<Applied, Unavailable>) {
    let mut verdicts = match &applied {
        Ok(Applied { response: Response::Completed { accepted }, .. }) => accepted.clone().into_iter(),
        _ => Vec::new().into_iter(),
    };
    for Caller { completions, answer } in together {
        let own = match &applied {
            Ok(Applied { index, response: Response::Completed { .. } }) => {
                let accepted = verdicts.by_ref().take(completions.len()).collect();
                Ok(Applied { index: *index, response: Response::Completed { accepted } })
            }
            other => other.clone(),
        };
        // Whoever does not wait any more asks again.
        let _ = answer.send(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::command::{LeaseRef, StoredChunk, UnitKey};
    use pentora_raft::state::Counts;
    use pentora_raft::{Digest, JobId};

    fn completion(start: u64) -> Completion {
        let unit = UnitKey { job: JobId(1), partition: 0, start };
        let stored = StoredChunk { digest: Digest::of(b"chunk"), bytes: 5, holders: vec![1] };
        let (lease, counts) = (LeaseRef { unit, epoch: 2 }, Counts::default());
        Completion { lease, start, end: start + 1, goes_on: false, node: 3, stored, counts }
    }

    #[tokio::test]
    async fn each_caller_gets_its_own_part_of_the_answer_and_an_error_is_everybodys() {
        let waiting = |starts: &[u64]| {
            let (answer, answered) = oneshot::channel();
            (Caller { completions: starts.iter().copied().map(completion).collect(), answer }, answered)
        };
        let ((a, to_a), (b, to_b)) = (waiting(&[0, 1]), waiting(&[2]));
        let response = Response::Completed { accepted: vec![true, false, true] };
        share_out(vec![a, b], Ok(Applied { index: 7, response }));
        let applied = |accepted| Ok(Applied { index: 7, response: Response::Completed { accepted } });
        assert_eq!(to_a.await.unwrap(), applied(vec![true, false]));
        assert_eq!(to_b.await.unwrap(), applied(vec![true]));
        let (a, to_a) = waiting(&[0]);
        let lost = Unavailable::QuorumLost { reason: "nobody".into(), may_be_done: false };
        share_out(vec![a], Err(lost.clone()));
        assert_eq!(to_a.await.unwrap(), Err(lost));
    }
    #[test]
    fn as_many_go_together_as_fit_an_entry_and_one_that_is_larger_goes_alone() {
        let caller = |count: u64| {
            let (answer, _) = oneshot::channel();
            Caller { completions: (0..count).map(completion).collect(), answer }
        };
        assert_eq!(fit(&[]), 0);
        assert_eq!(fit(&[caller(100), caller(28), caller(1)]), 2);
        assert_eq!(fit(&[caller(200), caller(1)]), 1);
    }
}
