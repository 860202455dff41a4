//! Completions of many nodes that wait for the log at the same time become one entry of it.
//!
//! While one proposal is under way the next ones gather, so nobody waits for others and a busy gateway proposes seldom.

use std::sync::{Arc, Mutex, PoisonError};

use pentora_raft::command::{Command, Completion};
use pentora_raft::{Applied, Response};
use tokio::sync::{mpsc, oneshot};

use crate::rpc::proposer::{Proposer, Unavailable};

/// Completions of one entry: some hundred bytes each, so that it stays far below the largest.
const COMPLETIONS_MAX: usize = 128;
/// Callers that wait.
const WAITING_MAX: usize = 1_024;

/// One caller's completions, and where its answer goes.
#[derive(Debug)]
struct Waiting {
    completions: Vec<Completion>,
    answer: oneshot::Sender<Result<Applied, Unavailable>>,
}

/// The completions that wait. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    waiting: mpsc::Sender<Waiting>,
    taken: Arc<Mutex<Option<mpsc::Receiver<Waiting>>>>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let (waiting, taken) = mpsc::channel(WAITING_MAX);
        Self { waiting, taken: Arc::new(Mutex::new(Some(taken))) }
    }

    /// Puts completions into the log together with others that wait.
    pub(super) async fn complete(&self, completions: Vec<Completion>) -> Result<Applied, Unavailable> {
        let stopped = || Unavailable::Stopped("this gateway stops".into());
        let (answer, answered) = oneshot::channel();
        self.waiting.send(Waiting { completions, answer }).await.map_err(|_ended| stopped())?;
        answered.await.unwrap_or_else(|_ended| Err(stopped()))
    }

    /// Proposes what waits, for ever.
    pub(super) async fn keep(&self, proposer: &Proposer) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut taken) = taken else { return };
        let mut next = None;
        loop {
            let Some(first) = (match next.take() {
                Some(first) => Some(first),
                None => taken.recv().await,
            }) else {
                return;
            };
            let mut together = vec![first];
            while let Ok(more) = taken.try_recv() {
                let count: usize = together.iter().map(|waiting| waiting.completions.len()).sum();
                if count + more.completions.len() > COMPLETIONS_MAX {
                    next = Some(more);
                    break;
                }
                together.push(more);
            }
            let completions = together.iter().flat_map(|waiting| waiting.completions.clone()).collect();
            let applied = proposer.propose(Command::Complete { completions }).await;
            share_out(together, applied);
        }
    }
}

/// Gives each caller the part of the answer that is its own.
fn share_out(together: Vec<Waiting>, applied: Result<Applied, Unavailable>) {
    let mut verdicts = match &applied {
        Ok(Applied { response: Response::Completed { accepted }, .. }) => accepted.clone().into_iter(),
        _ => Vec::new().into_iter(),
    };
    for Waiting { completions, answer } in together {
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
            (Waiting { completions: starts.iter().copied().map(completion).collect(), answer }, answered)
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
}
