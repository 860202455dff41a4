//! Several nodes that are asked for the same, one after the other: who is silent is waited for no longer than a moment before the next
//! one is asked beside it, and for a while is the last to be asked for anything.
//!
//! A node that is frozen or cut off counts as up until the grace period is over. Until then each chunk would be waited for anew.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pentora_raft::NodeId;
use tokio::time::{Instant, sleep_until};

/// How long a node is waited for before another is asked beside it: above any disk and line that work.
const MOMENT: Duration = Duration::from_secs(1);
/// What a thin line carries in a second, in bytes. A large chunk on its way is not sent to others as well, which would take the line from it.
const THIN_LINE: u64 = 64 << 10;
/// How long it is asked last: with members that beat each second or two, the leader knows more by then.
const REMEMBERED: Duration = Duration::from_secs(15);

/// Who lately did not answer in time, each with when that is forgotten. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Silent(Arc<Mutex<BTreeMap<NodeId, Instant>>>);

/// How long a node is waited for that is sent so many bytes, or that may give as many.
pub(super) fn moment_for(bytes: u64) -> Duration {
    MOMENT + Duration::from_millis(bytes.saturating_mul(1000) / THIN_LINE)
}

impl Silent {
    /// Asks `nodes` in their order, those that were silent lately last, until `wanted` of them have answered what `is_yes` takes, or all
    /// have answered. Others are asked beside those that are silent for `moment`; what is under way at the end is given up. Cancel-safe where
    /// `ask` is.
    pub(super) async fn ask<T, F: Future<Output = T>>(
        &self,
        mut nodes: Vec<NodeId>,
        (wanted, moment): (usize, Duration),
        ask: impl Fn(NodeId) -> F,
        mut is_yes: impl FnMut(NodeId, T) -> bool,
    ) {
        self.put_last(&mut nodes);
        let mut next = nodes.into_iter();
        let (mut lacks, mut under_way) = (wanted, FuturesUnordered::new());
        // Who may still answer in time, and until when.
        let mut hopes: VecDeque<(Instant, NodeId)> = VecDeque::new();
        while lacks > 0 {
            while hopes.len() < lacks
                && let Some(node) = next.next()
            {
                hopes.push_back((Instant::now() + moment, node));
                let answer = ask(node);
                under_way.push(async move { (node, answer.await) });
            }
            let until = hopes.front().map(|(until, _)| *until);
            tokio::select! {
                biased;
                answered = under_way.next() => {
                    let Some((node, answer)) = answered else { return };
                    hopes.retain(|(_, it)| *it != node);
                    if is_yes(node, answer) {
                        self.lock().remove(&node);
                        lacks -= 1;
                    }
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    if let Some((_, node)) = hopes.pop_front() {
                        tracing::debug!(node, "answers nothing for now; others are asked");
                        self.lock().insert(node, Instant::now() + REMEMBERED);
                    }
                }
            }
        }
    }

    fn put_last(&self, nodes: &mut [NodeId]) {
        let now = Instant::now();
        let mut silent = self.lock();
        silent.retain(|_, until| *until > now);
        nodes.sort_by_key(|node| silent.contains_key(node));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::sleep;

    use super::*;

    /// Asks nodes 1 to 4 of which `refuses` says no and `silent` nothing for 20 s; answers who was asked, who said yes, and how long it took.
    async fn asked(
        silence: &Silent,
        wanted: usize,
        silent: NodeId,
        refuses: NodeId,
    ) -> (Vec<NodeId>, Vec<NodeId>, Duration) {
        let (begun, asked, mut yes) = (Instant::now(), RefCell::new(Vec::new()), Vec::new());
        let ask = |node| {
            asked.borrow_mut().push(node);
            async move {
                let takes = if node == silent { Duration::from_secs(20) } else { Duration::from_millis(10) };
                sleep(takes).await;
                node != silent && node != refuses
            }
        };
        let mut take = |node, is_yes: bool| {
            yes.extend(is_yes.then_some(node));
            is_yes
        };
        silence.ask(vec![1, 2, 3, 4], (wanted, MOMENT), ask, &mut take).await;
        (asked.into_inner(), yes, begun.elapsed())
    }

    #[test]
    fn what_is_large_has_longer() {
        let seconds = [0, 64 << 10, 64 << 20].map(|bytes| moment_for(bytes).as_secs());
        assert_eq!(seconds, [1, 2, 1025]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_waited_for_a_moment_and_then_asked_last_until_that_is_forgotten() {
        let silence = Silent::default();
        let ms = Duration::from_millis;
        assert_eq!(asked(&silence, 1, 9, 9).await, (vec![1], vec![1], ms(10)));
        assert_eq!(asked(&silence, 2, 9, 1).await, (vec![1, 2, 3], vec![2, 3], ms(20)), "a refusal is no silence");
        assert_eq!(asked(&silence, 1, 1, 9).await, (vec![1, 2], vec![2], ms(1010)));
        assert_eq!(asked(&silence, 1, 1, 9).await, (vec![2], vec![2], ms(10)), "of another chunk it is not waited for");
        assert_eq!(asked(&silence, 4, 9, 9).await, (vec![2, 3, 4, 1], vec![2, 3, 4, 1], ms(10)));
        assert_eq!(asked(&silence, 1, 9, 9).await.0, [1], "it has answered");
        assert_eq!(asked(&silence, 2, 1, 9).await, (vec![1, 2, 3], vec![2, 3], ms(1010)));
        sleep(REMEMBERED).await;
        assert_eq!(asked(&silence, 1, 9, 9).await.0, [1], "that was long ago");
        let (all, yes, took) = asked(&silence, 4, 1, 2).await;
        assert_eq!((all, yes, took), (vec![1, 2, 3, 4], vec![3, 4], Duration::from_secs(20)), "the last is waited for");
    }
}
