//! The cluster and its nodes, as the API tells and changes them.

use std::sync::atomic::{AtomicBool, Ordering};

use pentora_raft::command::{Arrangement, Author, NodeInfo, NodePolicy, SpecRef, Submission, TokenGrant};
use pentora_raft::state::{JobLimits, KeepSpec, Needs, Partition, Priority};
use pentora_raft::{Digest, TokenId};
use pentora_scanner::spec::ScanSpec;
use serde_json::{Value, json};

use super::tests::TestNode;
use super::*;
use crate::spec;

#[tokio::test(flavor = "multi_thread")]
async fn cluster_workers_metrics_and_version_describe_the_node() {
    let node = TestNode::open().await;
    let cluster = node.get("/api/v1/cluster").await.json();
    assert_eq!((&cluster["leader"], &cluster["answered_by"]), (&json!("n1"), &json!("n1")), "{cluster}");
    assert_eq!(cluster["nodes"][0]["role"], "voter", "{cluster}");
    assert_eq!(cluster["quorum"]["voters"], 1);
    let worker = node.worker_heard().await;
    assert_eq!((&worker["worker_id"], &worker["load"]["running"]), (&json!("wrk_n1"), &json!(0)), "{worker}");
    assert_eq!(node.get("/version").await.json()["api"], "v1");
    let metrics = node.get("/metrics").await.body;
    for name in ["pentora_queue_depth 0", "pentora_cluster_queue_depth 0", "pentora_raft_leader 1", "pentora_leases 0"]
    {
        assert!(metrics.lines().any(|line| line == name), "{name} in:\n{metrics}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_the_log_as_it_is_at_one_moment() {
    const ROUNDS: usize = 150;
    let node = TestNode::open().await;
    let spec = KeepSpec { request: b"{}".to_vec(), title: "k".into(), fresh_ms: 60_000, rate_pps: 1, slices: vec![1] };
    let needs = Needs { required_tags: vec!["none".into()], ..Needs::default() };
    let submission = Submission {
        spec: SpecRef::Inline(spec::encode(&ScanSpec::default())),
        partitions: vec![Partition { target_count: 1, needs }],
        priority: Priority::Normal,
        limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
        via: 1,
        idempotency_key: None,
        title: "k".into(),
        finished: Vec::new(),
    };
    let is_over = AtomicBool::new(false);
    // No job but the pass of a standing scan, which ends with it.
    let writes = async {
        for _ in 0..ROUNDS {
            let arrangement = Box::new(Arrangement::Keep { name: "k".into(), spec: spec.clone() });
            let submission = Box::new(submission.clone());
            for command in [
                Command::ArrangeAs { author: Author::default(), arrangement },
                Command::StartSlice { keep: "k".into(), slice: 0, submission },
                Command::RemoveKeep { name: "k".into() },
            ] {
                node.served.proposer.propose(command).await.unwrap();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let reads = async {
        while !is_over.load(Ordering::Relaxed) {
            let text = node.get("/metrics").await.body;
            let keeps = text.lines().filter(|line| line.starts_with("pentora_keep_fresh_share{")).count();
            let jobs = text.lines().find_map(|line| line.strip_prefix("pentora_jobs_open ")).unwrap();
            assert!(jobs.parse::<usize>().unwrap() <= keeps, "{jobs} jobs of {keeps} standing scans");
            // Nothing of this waits for anything by itself.
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writes, reads);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_node_makes_no_join_tokens_and_says_so() {
    let node = TestNode::open().await;
    assert_eq!(node.post("/api/v1/worker-tokens", &json!({"name": "x"})).await.problem(), "no_mesh");
    assert_eq!(node.get("/api/v1/worker-tokens").await.json(), json!({"items": []}));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_says_of_a_node_holds_at_once_and_the_last_node_stays() {
    let node = TestNode::open().await;
    node.worker_heard().await;
    let of_node = "/api/v1/cluster/nodes/n1";
    let patch = async |body: Value| node.ask(Method::PATCH, of_node, &[], &body.to_string()).await;
    let set = patch(json!({"region": "eu", "site": "fra1", "tags": ["pci"], "networks": ["10.0.0.0/8"]})).await;
    assert_eq!(set.status, 204, "{}", set.body);
    let worker = node.get("/api/v1/workers").await.json()["items"][0].clone();
    assert_eq!((&worker["region"], &worker["site"], &worker["tags"]), (&json!("eu"), &json!("fra1"), &json!(["pci"])));
    assert_eq!(worker["network_access"], json!(["10.0.0.0/8"]), "{worker}");
    assert_eq!(patch(json!({"region": "", "networks": []})).await.status, 204);
    let worker = node.get("/api/v1/workers").await.json()["items"][0].clone();
    assert_eq!((&worker["region"], &worker["network_access"]), (&Value::Null, &json!(["auto"])), "{worker}");
    for (body, part) in [
        (json!({"role": "king"}), "member or scanner"),
        (json!({"networks": ["10.0.0.0/40"]}), "networks"),
        (json!({"networks": ["10.0.0.1/8"]}), "10.0.0.1/8 is an address in 10.0.0.0/8"),
        (json!({"tags": ["a b"]}), "is not a label"),
        (json!({"regoin": "eu"}), "regoin"),
    ] {
        let answer = patch(body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_request"), "{}", answer.body);
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    for (path, status, code) in [
        ("/api/v1/cluster/nodes/n1/remove", 409, "removal_refused"),
        ("/api/v1/cluster/nodes/n1/remove?plan=true", 409, "removal_refused"),
        ("/api/v1/cluster/nodes/n1/demote", 409, "removal_refused"),
        ("/api/v1/cluster/nodes/n9/remove", 404, "node_unknown"),
        ("/api/v1/workers/wrk_n9/drain", 404, "node_unknown"),
        ("/api/v1/cluster/leave", 409, "no_mesh"),
    ] {
        let answer = node.ask(Method::POST, path, &[], "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{path}: {}", answer.body);
    }
    assert_eq!(node.get("/api/v1/cluster").await.json()["nodes"][0]["name"], "n1", "nothing happened to it");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_nodes_vote_is_decided_while_no_other_gives_up_its_seat_however_it_is_said() {
    let node = TestNode::open().await;
    let (raft, proposer) = (&node.served.raft, &node.served.proposer);
    let token = TokenId([1; 8]);
    let policy = NodePolicy::default();
    let (key, name, by) = (Digest::of(b"k"), "t".into(), String::new());
    let grant = TokenGrant { token, key, name, ttl_ms: 600_000, uses: 9, policy, by };
    proposer.propose(Command::MakeToken(Box::new(grant))).await.unwrap();
    for name in ["n2", "n3"] {
        let info = NodeInfo { name: name.into(), peer: name.into(), ..NodeInfo::default() };
        proposer.propose(Command::Admit { token, info: Box::new(info) }).await.unwrap();
    }
    let (ephemeral, scanner) = (json!({"ephemeral": true}), json!({"role": "scanner"}));
    let set = async |name: &str, body: &Value| {
        node.ask(Method::PATCH, &format!("/api/v1/cluster/nodes/{name}"), &[], &body.to_string()).await
    };
    let may_vote = || raft.read(|state| state.nodes().filter(|(id, _)| state.may_vote(*id)).count());
    let another_is_on = node.served.sessions.demoting().await;
    let (second, third) = tokio::join!(set("n2", &ephemeral), set("n3", &scanner));
    for answer in [second, third] {
        assert_eq!((answer.status, answer.problem().as_str()), (409, "removal_refused"), "{}", answer.body);
    }
    assert_eq!(may_vote(), 3, "nothing changed");
    drop(another_is_on);
    assert_eq!([set("n2", &ephemeral).await.status, set("n3", &scanner).await.status], [204, 204]);
    assert_eq!(may_vote(), 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_shows_so_by_its_id_or_its_name_until_it_is_resumed() {
    let node = TestNode::open().await;
    node.worker_heard().await;
    for (drained, resumed) in [("wrk_n1", "n1"), ("n1", "wrk_n1")] {
        let path = |worker, verb| format!("/api/v1/workers/{worker}/{verb}");
        assert_eq!(node.post(&path(drained, "drain"), &json!({"hand_back": true})).await.status, 204);
        assert_eq!(node.get("/api/v1/workers").await.json()["items"][0]["status"], "Draining");
        assert_eq!(node.ask(Method::POST, &path(resumed, "resume"), &[], "").await.status, 204);
        node.worker_heard().await;
    }
    node.close().await;
}
