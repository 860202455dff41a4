//! A peer with the key of a node that only scans tries everything else, and keeps its connection.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::PeerId;
use pentora_raft::codec::{self, Kind};
use pentora_raft::command::{Author, LeaseRef, NodeInfo, NodeRole, NotedRetirement, UnitKey};
use pentora_raft::state::{CommandKind, FIRST_NODE};
use pentora_raft::{Digest, JobId, NodeId};

use super::tests::{TestCluster, TestNode, first_address, said};
use super::*;
use crate::access::tests::{OF_SCANNERS, sample};
use crate::app::membership_sync;
use crate::drill::Fault;
use crate::gateway::ViewHello;
use crate::join;
use crate::rpc::calls::{Calls, Receipt};

const WITHIN: Duration = Duration::from_secs(5);

/// The scanner's key in the hands of somebody else: a mesh without a node.
struct Rogue {
    mesh: pentora_p2p::Mesh,
    calls: Calls,
    node: NodeId,
    victim: PeerId,
    _incoming: Incoming,
}

impl Rogue {
    /// Joins as a scanner and waits until the member's mesh knows it.
    async fn join(cluster: &TestCluster, first: &TestNode) -> Self {
        let token = cluster.token_of(first, 1, NodeRole::Scanner).await;
        let (mesh, incoming) = cluster.mesh(2);
        let info = NodeInfo { role: NodeRole::Scanner, ..said("rogue", &mesh) };
        let admission = join::request_admission(&mesh, first_address(), &token, info).await.unwrap();
        assert!(admission.is_outside, "it is told that it stands outside the log");
        let welcome = admission.welcome;
        mesh.set_members(membership_sync::members(&welcome.members, &BTreeSet::new()));
        let (calls, victim) = (Calls::new(mesh.clone()), first.mesh.peer_id());
        let rogue = Self { mesh, calls, node: welcome.node, victim, _incoming: incoming };
        for _ in 0..100 {
            if rogue.calls.ask(victim, &Request::Addresses(Vec::new()), WITHIN).await.is_ok() {
                return rogue;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the member does not know the scanner");
    }

    async fn ask(&self, request: Request) -> Answer {
        self.calls.ask(self.victim, &request, WITHIN).await.unwrap()
    }

    /// What it is shown of the log: the member and itself, and no token.
    async fn is_shown_itself_and_no_token(&self) {
        let (raft, mut viewer) = Raft::outside(self.node, pentora_raft::Config::default());
        let mut stream = self.opens(Class::View).await;
        let hello = codec::encode(Kind::CallFrame, &ViewHello { applied: 0 });
        stream.send(hello.into()).await.unwrap();
        while viewer.applied() == 0 {
            let frame =
                tokio::time::timeout(WITHIN, stream.receive()).await.expect("a frame").unwrap().expect("a frame");
            viewer.take(codec::decode(Kind::CallFrame, &frame).unwrap()).unwrap();
        }
        raft.read(|state| {
            assert_eq!(state.nodes().map(|(id, _)| id).collect::<Vec<_>>(), [FIRST_NODE, self.node]);
            assert_eq!(state.tokens().count(), 0);
            assert!(state.admin_token(&Digest::of(b"admin")).is_none(), "no digest of a token is shown");
        });
        // One that was shown more by somebody than this member has is shown nothing here.
        let mut stream = self.opens(Class::View).await;
        let hello = codec::encode(Kind::CallFrame, &ViewHello { applied: u64::MAX });
        stream.send(hello.into()).await.unwrap();
        let told = tokio::time::timeout(WITHIN * 2, stream.receive()).await.expect("an end");
        assert!(!matches!(told, Ok(Some(_))), "{told:?}");
    }

    async fn opens(&self, class: Class) -> FrameStream {
        self.mesh.open(self.victim, class).await.unwrap_or_else(|error| panic!("{class}: {error}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_only_scans_is_told_how_much_work_waits_of_which_it_is_shown_nothing() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let scanner = Rogue::join(&cluster, &first).await;
    let lease = LeaseRef { unit: UnitKey { job: JobId(1), partition: 0, start: 0 }, epoch: 1 };
    let job = sample(CommandKind::SubmitJob, scanner.node, lease);
    first.raft.propose(job).await.unwrap();
    let Answer::Figures(told) = scanner.ask(Request::Figures).await else { panic!("no figures") };
    assert!(told.jobs_open == 1 && told.units_waiting > 0 && told.targets_waiting > 0, "{told:?}");
    assert_eq!(*told, first.raft.read(|state| LogFigures::of(state, scanner.node)), "its own share");
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_a_scanners_key_is_refused_all_but_its_part_with_the_reason_and_keeps_its_connection() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let rogue = Rogue::join(&cluster, &first).await;
    let nodes_before = first.raft.read(|state| state.nodes().count());
    let lease = LeaseRef { unit: UnitKey { job: JobId(1), partition: 0, start: 0 }, epoch: 1 };
    // It may leave, and would be out of the cluster then.
    for kind in CommandKind::ALL.iter().filter(|kind| **kind != CommandKind::Retire) {
        let command = Box::new(sample(*kind, rogue.node, lease));
        let answer = rogue.ask(Request::Propose { term: first.raft.status().term, command }).await;
        match answer {
            Answer::Applied { .. } => assert!(OF_SCANNERS.contains(kind), "{} was taken", kind.name()),
            Answer::Denied(why) => {
                assert!(!OF_SCANNERS.contains(kind), "{why}");
                assert!(why.contains(kind.name()) && why.contains("only scans"), "{why}");
            }
            other => panic!("{}: {other:?}", kind.name()),
        }
    }
    for class in [Class::RaftAppend, Class::RaftControl, Class::RaftSnapshot, Class::Relay] {
        let mut stream = rogue.opens(class).await;
        // A refusal may end the stream before this is sent; its reason arrives either way.
        let told = match stream.send(Bytes::from_static(b"anything")).await {
            Ok(()) => tokio::time::timeout(WITHIN, stream.receive()).await.expect("an answer").map(|_| ()),
            Err(error) => Err(error),
        };
        let told = told.expect_err("a reason").to_string();
        assert!(told.contains("only scans, may not open a r"), "{told:?}");
    }
    let foreign = Bytes::from_static(b"not the result of any unit");
    let put = rogue.calls.put_chunk(rogue.victim, Digest::of(&foreign), &foreign, WITHIN).await;
    assert!(matches!(&put, Err(CallError::Denied(why)) if why.contains("a unit that it holds")), "{put:?}");
    let handed_in = rogue.calls.hand_in(rogue.victim, Digest::of(&foreign), &foreign, WITHIN).await;
    assert!(matches!(&handed_in, Err(CallError::Denied(why)) if why.contains("a unit that it holds")), "{handed_in:?}");
    for to_hand_in in [false, true] {
        let both = [(Digest::of(&foreign), foreign.clone()), (Digest::of(b"else"), foreign.clone())];
        let receipts = rogue.calls.bring(rogue.victim, &both, to_hand_in, WITHIN).await.unwrap();
        assert!(matches!(&receipts[0], Receipt::Denied(why) if why.contains("a unit that it holds")), "{receipts:?}");
        assert!(matches!(&receipts[1], Receipt::Unavailable(why) if why.contains("its name")), "{receipts:?}");
    }
    assert_eq!(first.exchange.store().get(Digest::of(&foreign)).await.unwrap(), None);
    first.exchange.write(Digest::of(&foreign), foreign.clone()).await.unwrap();
    let read = rogue.calls.get_chunk(rogue.victim, Digest::of(&foreign), WITHIN).await;
    assert!(matches!(&read, Err(CallError::Denied(why)) if why.contains("no feed")), "others' results: {read:?}");
    for request in [
        Request::Soft,
        Request::Lacking,
        Request::PlanRemoval(rogue.node),
        Request::Demote(FIRST_NODE, Box::default()),
        Request::Retire(FIRST_NODE),
        Request::RetireNoted(Box::new(NotedRetirement {
            node: FIRST_NODE,
            author: Author::default(),
            action: String::new(),
            asked: 1,
            batch: 1,
        })),
        Request::TransferLeader(rogue.node),
        Request::KeepChunk { digest: Digest::of(b"x"), holders: vec![rogue.node] },
        Request::Suffer { node: FIRST_NODE, fault: Fault::Cut { from: Vec::new(), for_ms: 60_000 }, after_ms: 0 },
    ] {
        let answer = rogue.ask(request.clone()).await;
        assert!(matches!(&answer, Answer::Denied(why) if why.contains("only scans")), "{request:?}: {answer:?}");
    }
    assert!(rogue.mesh.is_connected(rogue.victim), "refusals end no connection");
    rogue.is_shown_itself_and_no_token().await;
    let (role, nodes) =
        first.raft.read(|state| (state.node(rogue.node).map(|record| record.info.role), state.nodes().count()));
    assert_eq!((role, nodes), (Some(NodeRole::Scanner), nodes_before), "it is what it was admitted as");
    assert_eq!(first.raft.status().leader, Some(FIRST_NODE));
    first.close().await;
}
