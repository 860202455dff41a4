//! How a node ends: what asks it to, what it waits for, and what it says and hands over before it stops.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use pentora_raft::command::Command;
use pentora_raft::{LogVersion, Raft, Role, kill_point};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::log_version;
use crate::api::Departure;
use crate::failure::{ExitCode, Failure};
use crate::rpc::proposer::Proposer;

/// A voter that answered within so many milliseconds can be handed the leadership: a few heartbeats of any profile.
const HEARD_WITHIN_MS: u64 = 2_000;
/// How long a leader that stops waits for another to take over.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);

/// What signals ask of a node: to end, and to read its configuration again. They are received from its first moment on: the first
/// process of a container ignores a signal that it takes no notice of, so that whoever asked it to end would have to kill it, and any
/// other is ended by one that only wants it to read.
#[derive(Debug)]
pub struct Asked {
    terminate: Signal,
    interrupt: Signal,
    /// `None` once somebody reads at each.
    hang_up: Option<Signal>,
}

impl Asked {
    /// Receives them from here on.
    ///
    /// # Errors
    /// The system does not let this process.
    pub fn receive() -> Result<Self, Failure> {
        let received = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(ExitCode::Failure, "signals cannot be received").because(error.to_string())
            })
        };
        Ok(Self {
            terminate: received(SignalKind::terminate())?,
            interrupt: received(SignalKind::interrupt())?,
            hang_up: Some(received(SignalKind::hangup())?),
        })
    }

    /// The signals to read the configuration again, for the one who does: those that came before are one, which is there still.
    pub(super) fn take_hang_ups(&mut self) -> Option<Signal> {
        self.hang_up.take()
    }

    /// Waits for one and answers what happened. Cancel safe: one that comes while nobody waits is there for the next who does.
    pub(super) async fn asked_to_end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "asked to stop",
            _ = self.interrupt.recv() => "interrupted",
        }
    }

    /// Does what may wait for others, for ever even; nothing where this node is asked to end before that is done.
    pub async fn unless<T>(&mut self, waiting: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            how = self.asked_to_end() => {
                tracing::info!("{how} before this node was up; it ends");
                None
            }
            done = waiting => Some(done),
        }
    }
}

/// Does work without which the node is none. Where that breaks, `broken` says so: a node whose coordinator is gone would go on
/// to be heard, and to lead, and do nothing.
pub(super) async fn vital<T>(
    what: &'static str,
    work: impl Future<Output = T>,
    broken: watch::Sender<Option<&'static str>>,
) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        broken.send_replace(Some(what));
    }
}

/// Waits until something vital has broken; the answer says what.
pub(super) async fn until_broken(broke: &mut watch::Receiver<Option<&'static str>>) -> Failure {
    let what = broke.wait_for(Option::is_some).await.ok().and_then(|what| *what);
    let Some(what) = what else { return std::future::pending().await };
    Failure::new(ExitCode::Failure, format!("{what} broke: the node stops, so that others take over"))
        .because("a fault in this program; the lines above say where")
        .next("start it again, which a supervisor does by itself, and report it")
}

/// Waits for a signal, for this node's removal, for a log that this release does not read, or for consensus to stop, which
/// only a restart heals.
pub(super) async fn until_end(
    asked: &mut Asked,
    raft: &Raft,
    departure: &Departure,
    other_version: &mut watch::Receiver<Option<LogVersion>>,
    name: &str,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            how = asked.asked_to_end() => {
                tracing::info!("{how}");
                return Ok(());
            }
            () = departure.until_removed() => {
                if departure.is_asked_for() {
                    tracing::info!("left the cluster; the data directory can be deleted");
                    return Ok(());
                }
                return Err(Failure::new(ExitCode::Refused, format!("{name} was removed from the cluster"))
                    .because(
                        "a member says so: somebody gave `pentora cluster remove`, it was away for too long, or a `pentora-node \
                         recover` went on without it",
                    )
                    .next("to use this machine again, join with a new token and an empty --data-dir"));
            }
            Ok(found) = other_version.wait_for(Option::is_some) => {
                return Err(log_version::other_version(found.unwrap_or_default()));
            }
            () = raft.status_changed(Duration::from_secs(1)) => {
                if let Some(reason) = raft.status().stopped {
                    return Err(Failure::new(ExitCode::Failure, "consensus has stopped on this node")
                        .because(reason)
                        .next("look at the disk, then start the node again; a supervisor does that by itself"));
                }
            }
        }
    }
}

/// A node that stops in order says so, so that it shows as stopped and not as failed. Where nobody can take it down, it shows
/// as failed after a while.
pub(super) async fn say_goodbye(proposer: &Proposer, raft: &Raft) {
    match proposer.propose(Command::NodeLeft { node: raft.node() }).await {
        Ok(_) => {
            kill_point::reached("goodbye-said");
            tracing::info!("the cluster knows that this node stops");
        }
        Err(error) => tracing::warn!(%error, "the cluster does not know that this node stops"),
    }
}

/// A leader that stops hands over first, which is a thousand times quicker than an election after silence.
pub(super) async fn hand_over(raft: &Raft) {
    let status = raft.status();
    if status.role != Role::Leader {
        return;
    }
    let Some(to) = status
        .voters
        .iter()
        .copied()
        .filter(|voter| *voter != status.node && status.heard_ms.get(voter).is_some_and(|ms| *ms <= HEARD_WITHIN_MS))
        .max_by_key(|voter| status.matched.get(voter))
    else {
        return;
    };
    if let Err(error) = raft.transfer_leader(to).await {
        tracing::warn!(to, %error, "leadership was not handed over");
        return;
    }
    let end = Instant::now() + HAND_OVER_WITHIN;
    while raft.status().leader != Some(to) && Instant::now() < end {
        raft.status_changed(Duration::from_millis(20)).await;
    }
    kill_point::reached("handed-over");
    tracing::info!(to, done = raft.status().leader == Some(to), "leadership handed over");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_breaks_ends_the_node_and_what_ends_by_itself_does_not() {
        let (broken, mut broke) = watch::channel(None);
        vital("the gateway", async { 5 }, broken.clone()).await;
        assert!(until_broken(&mut broke).now_or_never().is_none());
        vital("the coordinator", async { panic!("for the test") }, broken.clone()).await;
        let failure = until_broken(&mut broke).await;
        assert!(failure.what.starts_with("the coordinator broke"), "{failure}");
        assert_eq!(failure.exit, ExitCode::Failure);
    }
}
