//! Why this node takes no work for now: its disk takes no results, or another process runs from a copy of its data
//! directory. While it rests it hands every lease back that the log gives it, so that others scan those units, and it tells
//! the leader why.
//!
//! A disk is tried again by itself. That there is a copy is the leader's word, and so is its end.

use std::sync::Arc;
use std::time::Duration;

use pentora_raft::command::{Command, LeaseRef};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::coordinator::granted;

/// How often a resting node looks for leases to hand back, and tries its disk.
const LOOK: Duration = Duration::from_secs(1);

/// What the leader says of this node.
#[derive(Debug)]
pub struct Rest(watch::Sender<Option<String>>);

impl Default for Rest {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Rest {
    /// The leader has this node rest, or no longer.
    pub(super) fn told(&self, reason: Option<String>) {
        self.0.send_if_modified(|known| {
            let is_news = *known != reason;
            *known = reason;
            is_news
        });
    }
}

/// Tells when what is told of a node's rest is another.
#[derive(Debug)]
pub(super) struct Changes {
    told: watch::Receiver<Option<String>>,
    trouble: watch::Receiver<Option<String>>,
    held_up: watch::Receiver<Option<String>>,
}

impl Changes {
    /// Waits for the next change. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.told.changed() => {}
            Ok(()) = self.trouble.changed() => {}
            Ok(()) = self.held_up.changed() => {}
            else => std::future::pending().await,
        }
    }
}

impl Context {
    /// Changes of [`Self::gets_none`] from here on.
    pub(super) fn changes_of_rest(&self) -> Changes {
        let (told, trouble) = (self.rest.0.subscribe(), self.exchange.trouble());
        Changes { told, trouble, held_up: self.exchange.watch_held_up() }
    }

    /// Why this node takes no work, if it takes none.
    pub(super) fn rests(&self) -> Option<String> {
        let full = self.exchange.trouble().borrow().as_ref().map(|why| format!("results cannot be written: {why}"));
        self.rest.0.borrow().clone().or(full)
    }

    /// Why this node is to get no more work for now: it takes none, or what it has done already waits for a disk. In the latter
    /// case it keeps its units, whose results would otherwise be sought again, and be as much in the way.
    pub(super) fn gets_none(&self) -> Option<String> {
        self.rests().or_else(|| self.exchange.held_up())
    }
}

/// Rests and works again as there is reason to, until `stop`.
pub(super) async fn keep(context: Arc<Context>, stop: CancellationToken) {
    let (mut told, mut trouble) = (context.rest.0.subscribe(), context.exchange.trouble());
    let mut rested = None;
    loop {
        let reason = context.rests();
        if reason != rested {
            match &reason {
                Some(reason) => tracing::error!(%reason, "this node takes no work"),
                None => tracing::info!("this node takes work again"),
            }
            context.units.rest(reason.is_some());
            rested = reason;
        }
        if rested.is_some() {
            hand_back(&context).await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = told.changed() => {}
            Ok(()) = trouble.changed() => {}
            () = tokio::time::sleep(LOOK), if rested.is_some() => context.exchange.try_disk().await,
        }
    }
}

/// Gives back what the log says this node holds: also what was granted before the leader knew that it rests.
async fn hand_back(context: &Context) {
    context.units.stop_all();
    let held = granted(&context.raft, context.node);
    let leases: Vec<LeaseRef> = held.iter().map(|(unit, lease)| LeaseRef { unit: *unit, epoch: lease.epoch }).collect();
    if leases.is_empty() {
        return;
    }
    let count = leases.len();
    match context.proposer.propose(Command::Release { leases }).await {
        Ok(_) => tracing::info!(count, "units handed back: this node takes no work"),
        Err(error) => tracing::debug!(count, %error, "units not handed back yet"),
    }
}
