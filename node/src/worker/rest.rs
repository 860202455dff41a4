//! Why this node takes no work for now: its disk takes no results, or another process runs from a copy of its data
//! directory. While it rests it hands every lease back that the log gives it, so that others scan those units, and it tells
//! the leader why.
//!
//! A disk is tried again by itself; one that refuses again as soon as there is work is left alone for longer each time. That there
//! is a copy is the leader's word, and so is its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pentora_raft::command::{Command, LeaseRef};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::coordinator::granted;

/// How often a resting node looks for leases to hand back, and tries its disk.
const LOOK: Duration = Duration::from_secs(1);
/// How long it rests at least where results could not be written a second time; twice as long each time after that. Ours: as a
/// worker that fails its units is set aside.
const AGAIN: Duration = Duration::from_secs(30);
/// The longest of these, and for how long it has to work without trouble for the next time to be the first again. Ours.
const AGAIN_MAX: Duration = Duration::from_secs(600);

/// What the leader says of this node, and its own trouble with results.
#[derive(Debug)]
pub struct Rest {
    told: watch::Sender<Option<String>>,
    refused: Mutex<Refused>,
}

impl Default for Rest {
    fn default() -> Self {
        Self { told: watch::Sender::new(None), refused: Mutex::default() }
    }
}

impl Rest {
    /// The leader has this node rest, or no longer.
    pub(super) fn told(&self, reason: Option<String>) {
        self.told.send_if_modified(|known| {
            let is_news = *known != reason;
            *known = reason;
            is_news
        });
    }
}

/// How often results could not be written one time after the other, though the trials between went well: what a trial does not
/// meet, such as a limit that only a scan comes to, would have this node begin unit after unit in vain.
#[derive(Debug, Default)]
struct Refused {
    is_now: bool,
    times: u32,
    why: String,
    /// Until when it rests at least.
    until: Option<Instant>,
    /// When it was seen to rest last.
    rested: Option<Instant>,
}

impl Refused {
    /// Why this node takes no work at `now`, where its results meet `trouble` or did lately.
    fn reason(&mut self, trouble: Option<&str>, now: Instant) -> Option<String> {
        let is_over = |until: Instant| until <= now;
        if let Some(why) = trouble {
            why.clone_into(&mut self.why);
            if !self.is_now && self.until.is_none_or(is_over) {
                if self.rested.is_some_and(|rested| now.saturating_duration_since(rested) >= AGAIN_MAX) {
                    self.times = 0;
                }
                self.until = Some(now + least(self.times));
                self.times = self.times.saturating_add(1);
            }
        }
        self.is_now = trouble.is_some();
        let rests = self.is_now || !self.until.is_none_or(is_over);
        rests.then(|| {
            self.rested = Some(now);
            format!("results cannot be written: {}", self.why)
        })
    }
}

/// How long it rests at least, where it did so many times before.
fn least(times: u32) -> Duration {
    let doubled = times.checked_sub(1).map(|times| AGAIN.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX)));
    doubled.map_or(LOOK, |again| again.min(AGAIN_MAX))
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
        let (told, trouble) = (self.rest.told.subscribe(), self.exchange.trouble());
        Changes { told, trouble, held_up: self.exchange.watch_held_up() }
    }

    /// Why this node takes no work, if it takes none.
    pub(super) fn rests(&self) -> Option<String> {
        let trouble = self.exchange.trouble().borrow().clone();
        let mut refused = self.rest.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = refused.reason(trouble.as_deref(), Instant::now());
        self.rest.told.borrow().clone().or(refused)
    }

    /// Why this node is to get no more work for now: it takes none, or what it has done already waits for a disk. In the latter
    /// case it keeps its units, whose results would otherwise be sought again, and be as much in the way.
    pub(super) fn gets_none(&self) -> Option<String> {
        self.rests().or_else(|| self.exchange.held_up())
    }
}

/// Rests and works again as there is reason to, until `stop`.
pub(super) async fn keep(context: Arc<Context>, stop: CancellationToken) {
    let (mut told, mut trouble) = (context.rest.told.subscribe(), context.exchange.trouble());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_write_results_under_work_rests_longer_each_time_though_a_trial_goes_well() {
        let (mut refused, start) = (Refused::default(), Instant::now());
        let why = Some("results cannot be written: too many open files".to_owned());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let trouble = Some("too many open files");
        assert_eq!(refused.reason(None, at(0)), None);
        assert_eq!(refused.reason(trouble, at(0)), why);
        assert_eq!(refused.reason(trouble, at(100)), why, "for as long as trials fail");
        assert_eq!(refused.reason(None, at(101)), None, "once, a trial that goes well is enough");
        for (begun, least) in [(110, 30), (150, 60), (220, 120), (350, 240), (600, 480), (1_090, 600), (1_700, 600)] {
            assert_eq!(refused.reason(trouble, at(begun)), why);
            assert_eq!(refused.reason(None, at(begun + 1)), why, "a trial went well");
            assert_eq!(refused.reason(trouble, at(begun + 2)), why, "another's copy does not fit");
            assert_eq!(refused.reason(None, at(begun + least - 1)), why, "{begun}");
            assert_eq!(refused.reason(None, at(begun + least)), None, "{begun}");
        }
        let later = 1_700 + 600 + AGAIN_MAX.as_secs();
        assert_eq!(refused.reason(trouble, at(later)), why);
        assert_eq!(refused.reason(None, at(later + 1)), None, "it worked well for long");
    }
}
