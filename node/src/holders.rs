//! Keeps chunks on the nodes that should hold them: results, specs and bundles of feeds alike, and nothing else does.
//!
//! The log says who holds what. The leader's step (`reconcile`) moves that towards what should be: as many copies as are
//! wanted, in different regions, surplus ones let go, jobs that are over the retention forgotten. Each node's step
//! (`inventory`) moves its files towards what the log says: what is missing or damaged is fetched from another holder,
//! what is named for it no more is removed after a grace time. `scrub` reads everything now and then to find damage.
//! Both steps are pure; this file carries out what they come to.

mod backoff;
mod inventory;
mod lost;
mod named;
mod reconcile;
mod retention;
mod scrub;
#[cfg(test)]
mod state_test;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pentora_raft::command::Command;
use pentora_raft::{NodeId, Raft, Role};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::inventory::Inventory;
use self::lost::Lost;
use self::named::Object;
use self::reconcile::{Copy, Reconciler};
pub use self::retention::Retention;
use crate::results::{Exchange, NotKept};
use crate::rpc::proposer::Proposer;

/// How often the leader looks at holders.
const ROUND: Duration = Duration::from_secs(1);
/// The same while copies are being made: a few hundred go in a second, as many as an entry of the log each time.
const BUSY_ROUND: Duration = Duration::from_millis(100);
/// How often it looks for jobs that are over the retention.
const RETENTION_ROUND: Duration = Duration::from_secs(10);
/// How often a node compares its files with the log, at most and at least.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often the leader asks members for what they should hold and do not get, at most and at least.
const ASK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How results are kept.
#[derive(Debug, Clone, Copy)]
pub struct HoldersConfig {
    /// How long a copy that is no longer needed stays.
    pub grace: Duration,
    /// How often every chunk is read again.
    pub scrub_interval: Duration,
    /// What is kept of ended jobs.
    pub retention: Retention,
}

/// The care for chunks: of all as the leader, of its own on every node.
#[derive(Debug, Clone)]
pub struct Holders {
    /// Consensus.
    pub raft: Raft,
    /// The chunks.
    pub exchange: Exchange,
    /// The way into the log.
    pub proposer: Proposer,
    /// How results are kept.
    pub config: HoldersConfig,
}

/// Copies that are being made, each with what came of it.
type Copies = JoinSet<(Copy, Result<(), NotKept>)>;

impl Holders {
    /// Works until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let scrubbing = scrub::scrub(self.exchange.store().clone(), self.config.scrub_interval);
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            ((), (), ()) = async { tokio::join!(self.lead(), self.hold(), scrubbing) } => {}
        }
    }

    /// The leader's part; rests while another leads.
    async fn lead(&self) {
        let mut leading: Option<Reconciler> = None;
        let (mut copies, mut lost) = (Copies::new(), Lost::default());
        let mut retention_looked = Instant::now();
        loop {
            tokio::time::sleep(if copies.is_empty() { ROUND } else { BUSY_ROUND }).await;
            if self.raft.status().role != Role::Leader {
                if leading.take().is_some() {
                    copies.abort_all();
                    (copies, lost) = (Copies::new(), Lost::default());
                    self.exchange.set_short(BTreeMap::new());
                }
                continue;
            }
            let reconciler = leading.get_or_insert_with(|| Reconciler::new(self.exchange.copies(), self.config.grace));
            let (least, most) = ASK_EVERY;
            let members = self.raft.read(lost::members);
            lost.round(&self.exchange, &members, (self.config.grace / 4).clamp(least, most));
            self.round(reconciler, &mut copies).await;
            self.exchange.set_short(self.short(reconciler, &lost));
            if retention_looked.elapsed() >= RETENTION_ROUND {
                retention_looked = Instant::now();
                self.retain().await;
            }
        }
    }

    /// Takes in what came of earlier copies, tells the log, and begins others.
    async fn round(&self, reconciler: &mut Reconciler, copies: &mut Copies) {
        let mut updates = Vec::new();
        while let Some(ended) = copies.try_join_next() {
            let Ok((copy, outcome)) = ended else { continue };
            match outcome {
                Ok(()) => updates.extend(self.raft.read(|state| reconciler.copied(state, &copy))),
                Err(why) => {
                    if reconciler.not_copied(&copy, why.clone(), Instant::now()) {
                        let (object, node) = (copy.object, copy.to);
                        tracing::warn!(?object, digest = %copy.digest, node, %why, "a copy is not made; tried again later");
                    }
                }
            }
        }
        let copied = updates.len();
        self.tell(updates).await;
        let round = self.raft.read(|state| reconciler.step(state, Instant::now()));
        let trimmed = round.trimmed.len();
        self.tell(round.trimmed).await;
        if copied + trimmed > 0 {
            tracing::info!(copied, trimmed, "chunks have the holders that they should have");
        }
        let mut cannot: BTreeMap<String, usize> = BTreeMap::new();
        for (object, why) in round.cannot {
            tracing::debug!(?object, why, "a chunk lacks a holder");
            *cannot.entry(why).or_insert(0) += 1;
        }
        for (why, chunks) in cannot {
            tracing::warn!(chunks, why, "chunks lack a holder");
        }
        for copy in round.copies {
            let exchange = self.exchange.clone();
            copies.spawn(async move {
                let kept = exchange.have_kept(copy.to, copy.digest, &copy.from).await;
                (copy, kept)
            });
        }
    }

    /// How many chunks lack a holder, by reason.
    fn short(&self, reconciler: &Reconciler, lost: &Lost) -> BTreeMap<String, u64> {
        let mut short = reconciler.reasons();
        self.raft.read(|state| {
            let name = |node| state.node(node).map_or_else(|| format!("node {node}"), |it| it.info.name.clone());
            short.extend(lost.reasons(name));
        });
        short
    }

    /// Tells the log who holds what now.
    async fn tell(&self, updates: Vec<(Object, Vec<NodeId>)>) {
        for command in named::commands(updates) {
            if let Err(error) = self.proposer.propose(command).await {
                tracing::debug!(%error, "holders are not in the log yet; the next round looks again");
            }
        }
    }

    /// Forgets ended jobs that are over a limit; their chunks go from all holders by what these do themselves.
    async fn retain(&self) {
        let now_ms = self.raft.now_ms();
        let over = self.raft.read(|state| retention::over(state, &self.config.retention, now_ms));
        for (job, why) in over {
            match self.proposer.propose(Command::DeleteJob { job }).await {
                Ok(_) => tracing::info!(%job, why, "job and results deleted"),
                Err(error) => tracing::debug!(%job, %error, "a job is not deleted; the next round looks again"),
            }
        }
    }

    /// Each node's part for the chunks that it holds, or should.
    async fn hold(&self) {
        let (least, most) = LOOK_EVERY;
        let look_every = (self.config.grace / 4).clamp(least, most);
        let mut inventory = Inventory::new(self.config.grace);
        let mut led_since: Option<Instant> = None;
        loop {
            tokio::time::sleep(least).await;
            tokio::select! {
                () = tokio::time::sleep(look_every.saturating_sub(least)) => {}
                () = self.exchange.store().found_damage() => {}
            }
            let status = self.raft.status();
            // Without a leader a finished unit may wait for long to be counted, and so may what holds it: its chunk.
            // What is named by nothing goes only after a leader was there for all of the grace time.
            led_since = status.leader.and(led_since.or_else(|| Some(Instant::now())));
            if status.role == Role::Outside {
                continue;
            }
            let may_remove = led_since.is_some_and(|since| since.elapsed() >= self.config.grace);
            if let Err(error) = self.look(&mut inventory, may_remove).await {
                tracing::warn!(%error, "the chunks of this node cannot be looked at");
            }
        }
    }

    async fn look(&self, inventory: &mut Inventory, may_remove: bool) -> std::io::Result<()> {
        // The files first: one that comes later is young, and one that the log names meanwhile is then not missed.
        let kept = self.exchange.store().list().await?;
        let named = self.raft.read(|state| named::held_by(state, self.raft.node()));
        let look = inventory.look(&named, &kept, may_remove, Instant::now());
        // Side by side, so that one whose holders are silent holds up no other.
        let mut fetches = JoinSet::new();
        for (digest, holders) in look.fetch {
            let exchange = self.exchange.clone();
            fetches.spawn(async move {
                let kept = exchange.keep(digest, &holders).await;
                (digest, kept)
            });
        }
        while let Some(ended) = fetches.join_next().await {
            let Ok((digest, kept)) = ended else { continue };
            match kept {
                Ok(()) => {
                    inventory.fetched(digest);
                    tracing::info!(%digest, "a chunk that was missing or damaged is whole again");
                }
                Err(why) => {
                    if inventory.not_fetched(digest, why.to_string(), Instant::now()) {
                        tracing::warn!(%digest, %why, "a chunk that this node should hold is not to be had");
                    }
                }
            }
        }
        self.exchange.set_lacking(inventory.lacking());
        if !look.remove.is_empty() {
            let removed = look.remove.len();
            self.exchange.store().remove(look.remove).await?;
            tracing::info!(removed, "chunks that this node need not hold were removed");
        }
        Ok(())
    }
}
