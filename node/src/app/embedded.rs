//! The node inside `pentora scan`: the same rooms in memory, alone, without sockets but those that scan.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_raft::command::{Author, NodeInfo};
use pentora_raft::network::memory::Network;
use pentora_raft::state::{Backoff, FIRST_NODE, Settings};
use pentora_raft::store::Storage;
use pentora_raft::{ClusterId, Config, Digest, Profile, Raft};
use pentora_scanner::engine::Engine;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::services::{Parts, Services, start_engine};
use super::{begin_cluster, node_info, suspend};
use crate::api::{self, Access, Departure, Served};
use crate::client::Client;
use crate::coordinator::CoordinatorConfig;
use crate::document::{ScanAccepted, ScanRequest};
use crate::embedded::{EmbeddedNode, EmbeddedOptions, SavedUnit, Suspended};
use crate::failure::{ExitCode, Failure};
use crate::feeds::FeedStore;
use crate::jobs::{self, RefusedRequest};
use crate::policy::own::OwnFile;
use crate::results::ChunkStore;
use crate::sign_in::SignIn;
use crate::traces::Traces;
use crate::worker::Worker;

/// How often the embedded worker beats, in milliseconds: it is what a progress bar follows, and costs microseconds here.
const HEARTBEAT_MS: u64 = 100;
/// Nobody else could take its units over, so its lease need not end soon.
const GRACE_MS: u64 = 3_600_000;
/// How long a unit of a scan with a rate takes: what Ctrl-C loses of a scan that is taken up again later.
const PACED_UNIT_SECONDS: f64 = 3.0;
/// How long its tasks may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// A node inside this process.
#[derive(Debug)]
pub struct Embedded {
    note: Option<String>,
    pub(super) served: Arc<Served>,
    pub(super) worker: Worker,
    stop: StopHandle,
}

impl Embedded {
    /// Stops the node and removes what it kept.
    pub async fn stop(self) {
        self.stop.stop().await;
    }
}

impl EmbeddedNode for Embedded {
    fn client(&self) -> Client {
        Client::in_process(api::router(Arc::clone(&self.served)), None)
    }

    fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    async fn suspend(&self, job_id: &str) -> Result<Suspended, Failure> {
        suspend::suspend(&self.served, &self.worker, job_id).await
    }

    async fn with_link_hosts(&self, request: ScanRequest) -> Result<ScanRequest, Failure> {
        let raft = self.served.raft.clone();
        let asked =
            tokio::task::spawn_blocking(move || jobs::with_link_hosts(request, &Author::default(), &raft)).await;
        let asked = asked.map_err(|error| Failure::new(ExitCode::Failure, error.to_string()))?;
        asked.map_err(|refused| {
            let exit = match refused {
                RefusedRequest::Link { is_denied: true, .. } => ExitCode::Refused,
                RefusedRequest::Link { .. } => ExitCode::JobIncomplete,
                _ => ExitCode::Usage,
            };
            Failure::new(exit, refused.to_string())
                .next("name hosts of it, or have some of its addresses scanned: --sample N")
        })
    }

    async fn resume(&self, request: ScanRequest, spec: Digest, units: Vec<SavedUnit>) -> Result<ScanAccepted, Failure> {
        suspend::resume(&self.served, request, spec, units).await
    }
}

/// Ends an embedded node.
#[derive(Debug)]
pub struct StopHandle {
    stop: CancellationToken,
    tasks: TaskTracker,
    raft: Raft,
}

impl StopHandle {
    /// Stops the node and removes what it kept.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::debug!("some tasks of the embedded node did not end in time");
        }
        self.raft.shutdown().await;
    }
}

/// Starts a node inside this process, without sockets.
///
/// # Errors
/// Why it could not start.
pub async fn embedded(options: EmbeddedOptions) -> Result<Embedded, Failure> {
    let EmbeddedOptions { name, feeds, rules, vendors } = options;
    let engine = start_engine()?;
    if let Some(rules) = rules {
        engine.set_rules(rules);
    }
    if let Some(vendors) = vendors {
        engine.set_vendors(vendors);
    }
    start_with(
        (node_info::of_embedded(&name, &engine), OwnFile::default()),
        engine,
        feeds,
        Access::Open,
        Digest::of(&[]),
    )
    .await
}

/// The same for a worker that says this of itself.
pub(super) async fn of_worker(
    own: NodeInfo,
    file: OwnFile,
    engine: Engine,
    feeds: FeedStore,
) -> Result<Embedded, Failure> {
    start_with((own, file), engine, Some(feeds), Access::Open, Digest::of(&[])).await
}

/// How an embedded node shares out work: alone, there is nothing to keep room for, and nothing to wait for between tries.
fn settings() -> Settings {
    Settings {
        heartbeat_ms: HEARTBEAT_MS,
        grace_ms: GRACE_MS,
        attempt_ms: u64::MAX,
        backoff: Backoff::None,
        max_load_thousandths: 1_000,
        ..Settings::default()
    }
}

/// A node in this process and what its API serves from, for tests; `admin_token` is the digest of the token that
/// [`Access::Token`] lets in.
#[cfg(test)]
pub(crate) async fn start(
    name: String,
    access: Access,
    admin_token: Digest,
) -> Result<(Arc<Served>, StopHandle), Failure> {
    let engine = start_engine()?;
    let node =
        start_with((node_info::of_embedded(&name, &engine), OwnFile::default()), engine, None, access, admin_token)
            .await?;
    Ok((node.served, node.stop))
}

async fn start_with(
    (own, file): (NodeInfo, OwnFile),
    engine: Engine,
    feeds: Option<FeedStore>,
    access: Access,
    admin_token: Digest,
) -> Result<Embedded, Failure> {
    let failed = |why: String| Failure::new(ExitCode::Failure, "the embedded node did not start").because(why);
    let network = Network::default();
    let (transport, _no_peers) = network.join(FIRST_NODE);
    let config = Config { profile: Profile::Fast, ..Config::default() };
    let raft = Raft::start(FIRST_NODE, config, &Storage::Memory, transport)
        .await
        .map_err(|error| failed(error.to_string()))?;
    raft.initialize("embedded").await.map_err(|error| failed(error.to_string()))?;
    let cluster = ClusterId::default();
    let name = own.name.clone();
    begin_cluster(&raft, cluster, own, admin_token).await?;
    let settings = settings();
    let coordinator = CoordinatorConfig { settings: settings.clone(), paced_unit_seconds: PACED_UNIT_SECONDS };
    let note = engine.note().map(str::to_owned);
    let parts = Parts {
        name: &name,
        raft: raft.clone(),
        mesh: None,
        store: ChunkStore::memory(),
        engine,
        feeds: feeds.clone(),
        coordinator,
        copies: 1,
        own: file,
        traces: Traces::default(),
    };
    let services = Services::make(parts);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let served = Arc::new(Served {
        name,
        cluster,
        hosts: None,
        psk: None,
        raft: raft.clone(),
        mesh: None,
        proposer: services.proposer,
        exchange: services.exchange,
        sessions: Arc::clone(&services.sessions),
        settings,
        access,
        // Whoever is in this process makes as many as they like.
        token_rate: u32::MAX,
        started: Instant::now(),
        tasks: tasks.clone(),
        feeds,
        signer: None,
        departure: Departure::default(),
        rivals: services.door.rivals(),
        auto_register: true,
        sign_in: SignIn::default(),
        trail: None,
        spool: None,
        faults: None,
        meters: services.meters,
        traces: services.traces,
    });
    tasks.spawn(services.worker.clone().run(services.sessions, None, stop.clone()));
    tasks.spawn(services.coordinator.run(stop.clone()));
    Ok(Embedded { note, served, worker: services.worker, stop: StopHandle { stop, tasks, raft } })
}

#[cfg(test)]
#[path = "embedded/shares_test.rs"]
mod shares_test;

#[cfg(test)]
mod tests {
    use pentora_raft::command::{Command, SpecRef, Submission};
    use pentora_raft::state::{JobLimits, JobStatus, Partition, Priority};
    use pentora_raft::{JobId, Response};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_job_whose_spec_is_lost_fails_and_says_so() {
        let (served, handle) = start("n1".into(), Access::Open, Digest::of(&[])).await.unwrap();
        let submission = Submission {
            spec: SpecRef::Chunk { digest: Digest::of(b"lost"), holders: vec![FIRST_NODE] },
            partitions: vec![Partition { target_count: 4, ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
            via: FIRST_NODE,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        };
        let applied = served.proposer.propose(Command::SubmitJob(Box::new(submission))).await.unwrap();
        let Response::Submitted { job, .. } = applied.response else { panic!("{applied:?}") };
        let ended = |job: JobId| served.raft.read(|state| state.job(job).filter(|job| !job.is_open()).cloned());
        let mut applied = served.raft.watch_applied();
        let waiting = async {
            loop {
                if let Some(job) = ended(job) {
                    return job;
                }
                applied.changed().await.unwrap();
            }
        };
        let job = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
        assert_eq!(job.status, JobStatus::Failed);
        assert!(job.reason.as_deref().is_some_and(|why| why.contains("the job's spec was not to be had")), "{job:?}");
        handle.stop().await;
    }
}
