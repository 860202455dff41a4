//! A leader that was taken over grants what it likes; a node whose owner asks for signed orders begins none of it.

use std::net::TcpListener;

use pentora_raft::Response;
use pentora_raft::command::{NewLease, PolicyChange, UnitKey};
use pentora_raft::event::EventKind;
use pentora_raft::state::Share;
use pentora_scanner::spec::ScanSpec;

use super::*;
use crate::document::ScanRequest;
use crate::policy::own::OwnRules;
use crate::results::ChunkReader;
use crate::signing::{PersonKey, TrustedKey};
use crate::{clock, orders, spec};

/// What the cluster is made to scan: a port of this machine that counts who comes.
struct Target {
    listener: TcpListener,
    port: u16,
}

impl Target {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    fn request(&self) -> ScanRequest {
        ScanRequest {
            targets: vec!["127.0.0.1".into()],
            ports: Some(self.port.to_string()),
            discovery: false,
            banners: false,
            services: false,
            reverse_dns: Some(false),
            ..ScanRequest::default()
        }
    }

    fn spec(&self, order: Option<String>) -> ScanSpec {
        ScanSpec {
            partitions: vec!["127.0.0.1".parse().unwrap()],
            ports: self.port.to_string().parse().unwrap(),
            discovery: Vec::new(),
            banners: false,
            order,
            ..ScanSpec::default()
        }
    }

    fn signed_at(&self, key: &PersonKey, now_ms: u64) -> Option<String> {
        orders::to_carry(&orders::sign(&self.request(), None, (now_ms, 60_000), key).unwrap())
    }

    /// Whether anybody came since the last call.
    fn was_asked(&self) -> bool {
        let mut came = false;
        while self.listener.accept().is_ok() {
            came = true;
        }
        came
    }
}

/// Has the leader grant a job to `node`, whatever any planner would say, and answers why that declined it; `None` where it was done.
async fn granted(leader: &TestNode, node: NodeId, spec: &ScanSpec) -> Option<String> {
    // Nobody else may have it.
    let change = Box::new(PolicyChange { region: Some("apart".into()), ..PolicyChange::default() });
    leader.proposer.propose(Command::SetPolicy { node, change }).await.unwrap();
    let needs = Needs { region: Some("apart".into()), ..Needs::default() };
    let submission = Submission {
        spec: SpecRef::Inline(spec::encode(spec)),
        partitions: vec![Partition { target_count: 1, needs }],
        priority: Priority::Normal,
        limits: JobLimits { max_attempts: 20, ..JobLimits::default() },
        via: FIRST_NODE,
        idempotency_key: None,
        title: "by a rogue".into(),
        finished: Vec::new(),
    };
    let submitted = leader.proposer.propose(Command::SubmitJob(Box::new(submission))).await.unwrap().response;
    let Response::Submitted { job, .. } = submitted else { panic!("{submitted:?}") };
    let unit = UnitKey { job, partition: 0, start: 0 };
    let grants = vec![NewLease { unit, end: 1, node, share: Share { rate_pps: Some(1_000_000), network_pps: None } }];
    let granted = leader.proposer.propose(Command::Grant { grants }).await.unwrap().response;
    // The planner, which knows no better, may have been before it.
    assert!(matches!(&granted, Response::Granted { .. }), "{granted:?}");
    let declined = |state: &pentora_raft::State| {
        assert!(state.failing().next().is_none(), "who declines has not failed");
        state.job_events(job, 0).find_map(|(_, event)| match &event.what {
            EventKind::Expired { reason } => Some(reason.clone()),
            _ => None,
        })
    };
    for _ in 0..400 {
        if let Some(why) = leader.raft.read(declined) {
            assert!(
                leader.raft.read(|state| state.job(job).is_some_and(|job| job.is_open() && job.done == 0)),
                "{why}"
            );
            let over = Command::Cancel { job, reason: "it was declined".into() };
            leader.proposer.propose(over).await.unwrap();
            return Some(why);
        }
        if leader.raft.read(|state| state.job(job).is_some_and(|job| job.done == 1)) {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("job {job} does not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_times_of_hosts_are_of_the_logs_clock_whatever_a_workers_own_says() {
    const BEHIND_MS: u64 = 7_200_000;
    let (cluster, target) = (TestCluster::new(), Target::new());
    let first = cluster.first_with(WallClock::new(|| clock::wall_ms() - BEHIND_MS), ChunkStore::memory()).await;
    let second = cluster.second(&first).await;
    let node = second.raft.node();
    first.until_heard(node).await;
    let before_ms = first.raft.now_ms();
    assert_eq!(granted(&first, node, &target.spec(None)).await, None);
    let chunks = |state: &pentora_raft::State| {
        state.chunks().map(|(_, chunk)| (chunk.stored.digest, chunk.stored.holders.clone())).collect::<Vec<_>>()
    };
    let chunks = first.raft.read(chunks);
    assert_eq!(chunks.len(), 1);
    for (digest, holders) in chunks {
        let bytes = first.exchange.fetch(digest, &holders).await.unwrap();
        let records = ChunkReader::open(bytes).unwrap().into_records().unwrap();
        assert_eq!(records.len(), 1);
        for record in records {
            let (started_ms, ended_ms) = (record.started_at_ms, record.ended_at_ms);
            assert!(started_ms.abs_diff(before_ms) < BEHIND_MS / 2 && ended_ms >= started_ms, "{record:?}");
        }
    }
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_leader_cannot_make_a_node_scan_what_its_owners_signers_did_not_sign() {
    let (cluster, target) = (TestCluster::new(), Target::new());
    let first = cluster.first().await;
    let (alice, mallory) = (PersonKey::generate(), PersonKey::generate());
    let trusted = vec![TrustedKey { key: alice.public(), name: Some("alice".into()) }];
    let own = OwnFile::new(OwnRules::default().signed_by(trusted));
    let second = cluster.second_with(&first, own.clone()).await;
    let node = second.raft.node();
    first.until_heard(node).await;
    let now_ms = clock::wall_ms();
    let signed = |key| target.spec(target.signed_at(key, now_ms));
    let wider = ScanSpec { partitions: vec!["127.0.0.2".parse().unwrap()], ..signed(&alice) };
    let altered = target.signed_at(&alice, now_ms).map(|order| order.replace("127.0.0.1", "127.0.0.2"));
    let altered = ScanSpec { order: altered, ..wider.clone() };
    for (spec, part) in [
        (target.spec(None), "nobody signed this one"),
        (signed(&mallory), "is not among worker.trusted_keys"),
        (wider, "does not ask for 127.0.0.2"),
        (altered, "was not signed by"),
        (target.spec(target.signed_at(&alice, now_ms - 60_000)), "expired at"),
        (ScanSpec { services: Some(9), ..signed(&alice) }, "services is not what the order asks for"),
    ] {
        let reason = granted(&first, node, &spec).await.expect("it is refused");
        assert!(reason.contains(part), "{reason} without {part}");
        assert!(!target.was_asked(), "{reason}");
    }
    let good = signed(&alice);
    assert_eq!(granted(&first, node, &good).await, None, "what alice signed is scanned");
    assert!(target.was_asked());
    let again = granted(&first, node, &good).await.expect("the order was for one job");
    assert!(again.contains("was carried out as job-"), "{again}");
    assert!(!target.was_asked());

    // Its owner trusts somebody else from now on.
    let trusted = vec![TrustedKey { key: mallory.public(), name: None }];
    own.set(OwnRules::default().signed_by(trusted));
    assert!(granted(&first, node, &signed(&alice)).await.is_some_and(|why| why.contains("not among")));
    assert_eq!(granted(&first, node, &signed(&mallory)).await, None);
    assert!(granted(&first, FIRST_NODE, &target.spec(None)).await.is_none(), "a node that asks for none takes all");
    second.close().await;
    first.close().await;
}
