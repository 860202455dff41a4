//! A worker without a mesh: orders from its queue, results into its directory, bundles onto its medium. It opens no port.
//!
//! One order is worked on at a time, the most urgent first, by an embedded node that lives as long as the order is worked on:
//! so the engine, the planner and the limits are those of any scan. A unit is saved before it counts as done, and a process
//! that starts again goes on with what is not saved. New orders, withdrawn ones and feeds are noticed within a second.

mod begun;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pentora_p2p::Identity;
use pentora_raft::command::{NewRule, NodeInfo};
use pentora_raft::state::{NodeRecord, NodeStatus};
use pentora_raft::{IntervalSet, JobId};
use pentora_scanner::engine::Engine;
use pentora_scanner::spec::ScanSpec;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::begun::Begun;
use self::work::{Next, Work};
use super::ending::Asked;
use super::own_addresses::Advertised;
use super::services::start_engine;
use super::{node_info, reload};
use crate::airgap::carried_policy::policy_of;
use crate::airgap::kept::{Kept, Which};
use crate::airgap::manifest::{Order, Unit};
use crate::airgap::queue::{Queue, Told};
use crate::airgap::{BundleError, medium};
use crate::clock::{rfc3339, wall_ms};
use crate::config::{NetworkAccess, StartPlan};
use crate::coordinator::{VERSION, placement};
use crate::data_dir::{DataDir, DataDirError};
use crate::failure::{ExitCode, Failure};
use crate::feeds::follow::use_rules;
use crate::feeds::{FeedKind, FeedStore};
use crate::malloc;
use crate::orders::Verified;
use crate::policy::own::OwnFile;
use crate::sign_in::SignIn;
use crate::worker::order_of;

/// How often orders are looked at and finished units are saved.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an order rests of which a part was given up, or that could not be begun or saved.
const REST: Duration = Duration::from_secs(60);
/// How soon a bundle is tried again that could not be written: a medium may be put in at any time.
const EXPORT_AGAIN: Duration = Duration::from_secs(60);

/// Runs a worker without a mesh until a signal ends it.
///
/// # Errors
/// Why it could not start.
pub(super) async fn run(plan: StartPlan, asked: &mut Asked) -> Result<(), Failure> {
    malloc::leave_what_is_freed();
    let data_dir = DataDir::open(&plan.config.data_dir)?;
    let station = Station::open(&plan, &data_dir)?;
    plan.remember().map_err(|error| {
        Failure::new(ExitCode::Failure, "the data directory does not take this worker's settings")
            .because(error.to_string())
    })?;
    let (tasks, reading) = (TaskTracker::new(), CancellationToken::new());
    if let Some(hang_ups) = asked.take_hang_ups() {
        let (read_from, file) = (plan.read_from.clone(), station.file.clone());
        // Nobody reaches it.
        let nowhere = Advertised::new(Vec::new());
        tasks.spawn(reload::keep(hang_ups, read_from, (file, nowhere), SignIn::default(), None, reading.clone()));
    }
    let stop = async {
        let how = asked.asked_to_end().await;
        tracing::info!("{how}");
    };
    station.run(stop).await;
    reading.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// What a worker without a mesh consists of.
struct Station {
    own: NodeInfo,
    /// What its own file lets it scan.
    file: OwnFile,
    key: Identity,
    queue: Queue,
    kept: Kept,
    /// The signed orders of which work was begun here.
    begun: Begun,
    feeds: FeedStore,
    engine: Engine,
    networks: Option<Vec<ipnet::IpNet>>,
    export: Option<Export>,
    floor_bytes: u64,
}

/// Bundles that are written by themselves.
struct Export {
    directory: PathBuf,
    interval: Duration,
    require_mount: bool,
    /// Whether to the cluster's key.
    encrypt: bool,
}

/// What changes while it runs.
#[derive(Default)]
struct Desk {
    told: Option<Told>,
    work: Option<Work>,
    /// Orders that are not begun again before then.
    resting: BTreeMap<JobId, Instant>,
    /// Why an order is not begun, as far as it was said.
    said: BTreeMap<JobId, String>,
    /// Why something else does not work, said once.
    trouble: BTreeMap<&'static str, String>,
}

impl Station {
    fn open(plan: &StartPlan, data_dir: &DataDir) -> Result<Self, Failure> {
        let config = &plan.config;
        let of_directory = |error: DataDirError| Failure::new(ExitCode::Failure, error.to_string());
        if let Some(identity) = data_dir.identity().map_err(of_directory)? {
            let what = format!("{} is the data directory of node {}", data_dir.path().display(), identity.name);
            return Err(Failure::new(ExitCode::Failure, what)
                .because("that node is in a cluster, and a standalone worker is in none")
                .next("name another --data-dir, or set worker.mode: cluster"));
        }
        let failed = |error: BundleError| Failure::new(ExitCode::Failure, error.to_string());
        let floor_bytes = config.results.free_space_floor.0;
        let in_data_dir =
            |named: &Option<PathBuf>, name: &str| named.clone().unwrap_or_else(|| data_dir.path().join(name));
        let queue_dir = in_data_dir(&config.worker.local_queue, "queue");
        let results_dir = in_data_dir(&config.worker.local_results, "results");
        let engine = start_engine()?;
        match engine.note() {
            Some(note) => tracing::warn!("{note}"),
            None => tracing::info!("scanning with raw packets"),
        }
        let feeds = FeedStore::open(&data_dir.feed_dir());
        let own_rules = node_info::own_rules(&config.worker).map_err(|error| Failure::new(ExitCode::Config, error))?;
        let station = Self {
            own: node_info::of_standalone(config, &engine),
            file: OwnFile::new(own_rules),
            key: data_dir.key().map_err(of_directory)?,
            queue: Queue::open(&queue_dir).map_err(failed)?,
            kept: Kept::open(&results_dir, floor_bytes).map_err(failed)?,
            begun: Begun::open(data_dir.path()).map_err(|why| Failure::new(ExitCode::Failure, why))?,
            feeds: feeds.map_err(|error| Failure::new(ExitCode::Failure, error.to_string()))?,
            engine,
            networks: match &config.worker.network_access {
                NetworkAccess::Auto => None,
                NetworkAccess::Networks(nets) => Some(nets.clone()),
            },
            export: config.sync.export_path.clone().map(|directory| Export {
                directory,
                interval: config.sync.export_interval,
                require_mount: config.sync.require_mount,
                encrypt: config.sync.encrypt,
            }),
            floor_bytes,
        };
        tracing::info!(
            name = station.own.name,
            key = %station.key.peer_id(),
            queue = %queue_dir.display(),
            results = %results_dir.display(),
            "standalone worker runs; it opens no port"
        );
        Ok(station)
    }

    async fn run(self, stop: impl Future<Output = ()>) {
        use_rules(&self.feeds, &self.engine, &self.file.now());
        let mut desk = Desk::default();
        let mut export_at = Instant::now();
        tokio::pin!(stop);
        loop {
            self.hear(&mut desk).await;
            self.work(&mut desk).await;
            if let Some(export) = self.export.as_ref().filter(|_| Instant::now() >= export_at) {
                let written = self.write_bundle(export).await;
                let is_well = written.is_ok();
                desk.note("export", written.map_err(|error| error.to_string()));
                export_at = Instant::now() + if is_well { export.interval } else { EXPORT_AGAIN.min(export.interval) };
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        if let Some(work) = desk.work.take()
            && let Err(error) = work.end(&self.kept).await
        {
            tracing::warn!(%error, "what was finished last is not saved; it will be scanned again");
        }
    }

    /// Takes notice of new orders.
    async fn hear(&self, desk: &mut Desk) {
        let queue = self.queue.clone();
        let told = tokio::task::spawn_blocking(move || queue.told()).await;
        let told = match told {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => return desk.note("queue", Err(error.to_string())),
            Err(error) => return desk.note("queue", Err(error.to_string())),
        };
        if told == desk.told {
            return;
        }
        if let Some(told) = &told {
            let orders = &told.orders;
            tracing::info!(revision = orders.revision, orders = orders.orders.len(), "new orders");
            if let Some(work) = &desk.work {
                let held = work.hold_to(&orders.rules).await;
                desk.note("policy", held);
            }
            let taken = self.take_feeds(told).await;
            desk.note("feeds", taken);
            let open: BTreeSet<JobId> = orders.orders.iter().map(|order| order.job).collect();
            for arrived in orders.arrived.iter().filter(|arrived| arrived.worker == self.key.peer_id()) {
                let (kept, arrived, open) = (self.kept.clone(), arrived.clone(), open.clone());
                let noted = tokio::task::spawn_blocking(move || kept.arrived(&arrived, &open)).await;
                let noted = noted.map_err(|error| error.to_string());
                desk.note("results", noted.and_then(|noted| noted.map_err(|error| error.to_string())));
            }
        }
        desk.said.clear();
        desk.resting.clear();
        desk.told = told;
    }

    /// Keeps the feeds equal to those of the orders.
    async fn take_feeds(&self, told: &Told) -> Result<(), String> {
        let Some(wanted) = &told.orders.feeds else { return Ok(()) };
        for kind in FeedKind::ALL {
            let feed = wanted.iter().find(|feed| feed.kind == kind.as_str());
            let current = self.feeds.current(kind).map_err(|error| error.to_string())?;
            match (feed, current) {
                (Some(feed), Some(current)) if current.digest == feed.digest => continue,
                (None, None) => continue,
                (None, Some(_)) => self.feeds.remove(kind).map_err(|error| error.to_string())?,
                (Some(feed), _) => {
                    let bytes = self.queue.content(feed.digest).map_err(|error| error.to_string())?;
                    let store = self.feeds.clone();
                    let replaced = tokio::task::spawn_blocking(move || store.replace(kind, &bytes)).await;
                    let replaced = replaced.map_err(|error| error.to_string())?;
                    let records = replaced.map_err(|error| error.to_string())?.heading.records;
                    tracing::info!(%kind, records, "feed replaced");
                }
            }
            if kind.of_advisories().is_none() {
                use_rules(&self.feeds, &self.engine, &self.file.now());
            }
        }
        Ok(())
    }

    /// Goes on with the order that is worked on, or begins another.
    async fn work(&self, desk: &mut Desk) {
        if let Some(mut work) = desk.work.take() {
            let saved = work.save(&self.kept).await;
            let over = work.is_over();
            let order = work.order.clone();
            let is_wanted =
                desk.told.as_ref().is_some_and(|told| told.orders.orders.iter().any(|now| same(now, &order)));
            let next = self.next(desk).await.filter(|next| next.order.priority < order.priority);
            match (&saved, over) {
                (Err(error), _) => {
                    desk.note("saving", Err(error.to_string()));
                    desk.resting.insert(order.job, Instant::now() + REST);
                    work.stop().await;
                }
                (Ok(()), Some(end)) => {
                    desk.note("saving", Ok(()));
                    work.stop().await;
                    match end {
                        Ok(()) => tracing::info!(job = %order.job, "order carried out"),
                        Err(why) => {
                            tracing::warn!(job = %order.job, why, "a part of the order was given up; it is tried again");
                            desk.resting.insert(order.job, Instant::now() + REST);
                        }
                    }
                }
                (Ok(()), None) if !is_wanted || next.is_some() => {
                    tracing::info!(job = %order.job, withdrawn = !is_wanted, "work on the order ends for now");
                    let ended = work.end(&self.kept).await.map_err(|error| error.to_string());
                    desk.note("saving", ended);
                }
                (Ok(()), None) => {
                    desk.note("saving", Ok(()));
                    desk.work = Some(work);
                }
            }
        }
        if desk.work.is_none()
            && let Some(next) = self.next(desk).await
        {
            let job = next.order.job;
            let rules = desk.told.as_ref().map(|told| told.orders.rules.clone()).unwrap_or_default();
            let own = (self.own.clone(), self.file.clone());
            let begun = match self.begun.note(&next.order, next.signed.as_ref(), wall_ms()) {
                Ok(()) => Work::begin(next, &rules, own, self.engine.clone(), self.feeds.clone()).await,
                Err(why) => Err(why),
            };
            match begun {
                Ok(work) => {
                    tracing::info!(%job, "order begun");
                    desk.work = Some(work);
                }
                Err(why) => {
                    tracing::warn!(%job, why, "the order cannot be begun");
                    desk.resting.insert(job, Instant::now() + REST);
                }
            }
        }
    }

    /// The most urgent order of which something is left to do and which this worker may do.
    async fn next(&self, desk: &mut Desk) -> Option<Next> {
        let told = desk.told.as_ref()?;
        let now = Instant::now();
        let working = desk.work.as_ref().map(|work| work.order.job);
        let mut orders: Vec<&Order> = told
            .orders
            .orders
            .iter()
            .filter(|order| {
                Some(order.job) != working && desk.resting.get(&order.job).is_none_or(|until| *until <= now)
            })
            .collect();
        orders.sort_by_key(|order| (order.priority, order.job));
        if orders.is_empty() {
            return None;
        }
        let kept = self.kept.clone();
        let units = tokio::task::spawn_blocking(move || kept.units()).await.ok()?.ok()?;
        for order in orders {
            let done = done_of(order, units.values());
            let left: u64 =
                order.partitions.iter().zip(&done).map(|(part, done)| part.target_count - done.total()).sum();
            if left == 0 {
                continue;
            }
            match self.may_do(order, &told.orders.rules) {
                Ok((spec, signed)) => return Some(Next { order: order.clone(), spec, done, signed }),
                Err(why) if desk.said.get(&order.job) == Some(&why) => {}
                Err(why) => {
                    tracing::warn!(job = %order.job, why, "this worker does not do the order");
                    desk.said.insert(order.job, why);
                }
            }
        }
        None
    }

    /// The order's spec, and what was signed where that is asked for, where this worker may do it.
    fn may_do(&self, order: &Order, rules: &[NewRule]) -> Result<(Vec<u8>, Option<Verified>), String> {
        let own = NodeRecord {
            info: self.own.clone(),
            status: NodeStatus::Active,
            draining: false,
            joined_at_ms: 0,
            started_at_ms: 0,
            changed_at_ms: 0,
        };
        let refusal = order.partitions.iter().find_map(|part| placement::refusal(&own, None, &part.needs, VERSION));
        if let Some(why) = refusal {
            return Err(why);
        }
        let spec: ScanSpec = self.queue.spec(order).map_err(|error| error.to_string())?;
        let signed = order_of(&self.file.now(), &spec, wall_ms()).map_err(|error| error.to_string())?;
        self.begun.check(order, signed.as_ref(), wall_ms())?;
        let (policy, file) = (policy_of(rules, &order.author.who)?, self.file.now());
        for targets in &spec.partitions {
            policy.check(targets).map_err(|error| error.to_string())?;
            if let Some(Err(error)) = file.scope().map(|scope| scope.check(targets)) {
                return Err(format!("{} is outside worker.scope, which allows {}", error.outside, error.scope));
            }
            if let Some(closed) = policy.closed(targets, wall_ms()).or_else(|| file.closed(targets, wall_ms())) {
                return Err(closed.to_string());
            }
        }
        let beyond = |nets: &Vec<ipnet::IpNet>| {
            spec.partitions.iter().any(|targets| targets.subtract_nets(nets).address_count() > 0)
        };
        if self.networks.as_ref().is_some_and(beyond) {
            return Err("its worker.network_access does not reach all of the targets".into());
        }
        let spec = self.queue.content(order.spec).map_err(|error| error.to_string())?;
        Ok((spec.to_vec(), signed))
    }

    /// Writes a bundle where there is something new.
    async fn write_bundle(&self, export: &Export) -> Result<(), BundleError> {
        let (kept, key, name) = (self.kept.clone(), self.key.clone(), self.own.name.clone());
        let (directory, require_mount, cluster) = (export.directory.clone(), export.require_mount, self.cluster()?);
        let (floor_bytes, encrypt, queue) = (self.floor_bytes, export.encrypt, self.queue.clone());
        let writing = tokio::task::spawn_blocking(move || {
            if !kept.has_news()? {
                return Ok(());
            }
            if require_mount {
                medium::require_mount(&directory)?;
            }
            let at = |source| BundleError::Io { path: directory.clone(), source };
            std::fs::create_dir_all(&directory).map_err(at)?;
            medium::require_space(&directory, 0, floor_bytes)?;
            let number = kept.bundles()?.count() + 1;
            let to = encrypt.then(|| queue.recipient()).transpose()?;
            let ending = if encrypt { ".age" } else { "" };
            let file = directory.join(format!("{}-{number:06}.tar.gz{ending}", file_name(&name)));
            let written = kept.write(&file, Which::New, &key, to.as_ref(), (cluster, name, rfc3339(wall_ms())))?;
            tracing::info!(bundle = written.last, units = written.units, file = %file.display(), "results written");
            Ok(())
        });
        writing.await.unwrap_or_else(|error| Err(BundleError::Contents(error.to_string())))
    }

    fn cluster(&self) -> Result<String, BundleError> {
        Ok(self.queue.told()?.map(|told| told.cluster).unwrap_or_default())
    }
}

/// A name as a part of a file's name.
pub(crate) fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// Whether two orders are of the same work.
fn same(a: &Order, b: &Order) -> bool {
    a.job == b.job && a.spec == b.spec
}

/// What of an order is done, by partition: what the cluster counted, and what is kept here.
fn done_of<'a>(order: &Order, units: impl Iterator<Item = &'a Unit>) -> Vec<IntervalSet> {
    let mut done = vec![IntervalSet::default(); order.partitions.len()];
    let kept = units.filter(|unit| unit.job == order.job && unit.spec == order.spec).map(|unit| unit.unit);
    for range in order.counted.iter().copied().chain(kept) {
        let part = usize::try_from(range.partition).ok();
        let most = part.and_then(|at| order.partitions.get(at)).map_or(0, |part| part.target_count);
        if let Some(part) = part.and_then(|at| done.get_mut(at)) {
            part.insert(range.start.min(most)..range.end.min(most));
        }
    }
    done
}

impl Desk {
    /// Says what does not work when it begins not to, and when it works again.
    fn note(&mut self, what: &'static str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                if self.trouble.remove(what).is_some() {
                    tracing::info!(what, "works again");
                }
            }
            Err(why) if self.trouble.get(what) == Some(&why) => {}
            Err(why) => {
                tracing::warn!(what, why, "does not work");
                self.trouble.insert(what, why);
            }
        }
    }
}

#[cfg(test)]
#[path = "standalone/standalone_test.rs"]
mod tests;
