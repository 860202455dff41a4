//! Who gets in: pre-shared keys, strangers, members, and members no longer.

use std::time::{Duration, Instant};

use pentora_p2p::{Class, ClusterId, DialError, FrameError, Mesh, MeshError, OpenError, PeerAddress, PreSharedKey};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::nodes::{Node, acquainted, config, event, frame, introduce, is_down, is_up, stream_between, within};

fn address_of(node: &Node) -> PeerAddress {
    node.mesh.listen_addrs()[0].into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pre_shared_key_is_named_as_such_on_both_ways_of_dialing() {
    let mut foreign = config();
    foreign.psk = PreSharedKey::generate();
    let (one, other) = (Node::start(config()), Node::start(foreign));
    let started = Instant::now();
    let error = within(one.mesh.dial(address_of(&other), None)).await.unwrap_err();
    assert!(matches!(error, DialError::HandshakeFailed { .. }), "{error}");
    assert!(error.to_string().contains("wrong pre-shared key, or not a pentora mesh port"), "{error}");
    assert!(!error.is_retryable(), "no waiting makes it the right one");
    assert!(started.elapsed() < Duration::from_secs(4), "it is found out, not timed out");

    introduce(&one, &other, false);
    let error = within(one.mesh.open(other.id(), Class::Work)).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::Unreachable { reason, .. } if reason.contains("wrong pre-shared key")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_another_program_or_of_nobody_is_told_apart() {
    let mut hasty = config();
    hasty.timings.handshake_timeout = Duration::from_millis(200);
    let one = Node::start(hasty);

    let talker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: PeerAddress = talker.local_addr().unwrap().into();
    let talking = async {
        let (mut socket, _) = talker.accept().await.unwrap();
        socket.write_all(&[b'x'; 200]).await.unwrap();
        socket
    };
    let (_socket, dialed) = tokio::join!(within(talking), within(one.mesh.dial(address, None)));
    let error = dialed.unwrap_err();
    assert!(matches!(error, DialError::HandshakeFailed { .. }), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = within(one.mesh.dial(silent.local_addr().unwrap().into(), None)).await.unwrap_err();
    assert!(matches!(&error, DialError::Silent { reason, .. } if reason.contains("no answer")), "{error}");
    assert!(error.is_retryable(), "it may be a node that is starting");

    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: PeerAddress = proxy.local_addr().unwrap().into();
    let hanging_up = async { drop(proxy.accept().await.unwrap()) };
    let ((), dialed) = tokio::join!(within(hanging_up), within(one.mesh.dial(address, None)));
    let error = dialed.unwrap_err();
    assert!(matches!(&error, DialError::HungUp { .. }) && error.is_retryable(), "{error}");

    let nobody = silent.local_addr().unwrap();
    drop(silent);
    let error = within(one.mesh.dial(nobody.into(), None)).await.unwrap_err();
    assert!(matches!(&error, DialError::Unreachable { reason, .. } if reason.contains("refused")), "{error}");

    let error = within(one.mesh.dial("no-such-host.invalid:4040".parse().unwrap(), None)).await.unwrap_err();
    assert!(matches!(error, DialError::Unresolved { .. }), "{error}");

    let error = within(one.mesh.dial(address_of(&one), None)).await.unwrap_err();
    assert!(matches!(error, DialError::Oneself { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_says_who_is_there_and_whether_it_is_the_expected_one() {
    let (one, other, third) = (Node::start(config()), Node::start(config()), Node::start(config()));
    assert_eq!(within(one.mesh.dial(address_of(&other), None)).await.unwrap(), other.id());
    assert_eq!(within(one.mesh.dial(address_of(&other), Some(other.id()))).await.unwrap(), other.id());
    let known = within(one.mesh.dial(address_of(&third), Some(other.id()))).await;
    assert_eq!(known.unwrap(), other.id(), "who is connected already is not dialed again");

    let fourth = Node::start(config());
    let error = within(fourth.mesh.dial(address_of(&third), Some(one.id()))).await.unwrap_err();
    assert!(
        matches!(&error, DialError::WrongPeer { expected, found, .. } if *expected == one.id() && *found == third.id()),
        "{error}"
    );
    let port = other.mesh.listen_addrs()[0].port();
    let by_name = format!("localhost:{port}").parse().unwrap();
    assert_eq!(within(fourth.mesh.dial(by_name, None)).await.unwrap(), other.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_may_join_and_nothing_else() {
    let (mut member, joiner) = (Node::start(config()), Node::start(config()));
    within(joiner.mesh.dial(address_of(&member), None)).await.unwrap();
    let (mut asking, mut answering) = stream_between(&joiner, &mut member, Class::Join).await;
    asking.send(frame("token")).await.unwrap();
    assert_eq!(within(answering.receive()).await.unwrap(), Some(frame("token")));

    for class in Class::ALL.into_iter().filter(|class| *class != Class::Join) {
        let error = within(joiner.mesh.open(member.id(), class)).await.unwrap_err();
        assert!(matches!(error, OpenError::NotAllowed { refused_by, .. } if refused_by == joiner.id()), "{error}");
    }
    // The joiner believes that it is in; the other side decides for itself.
    joiner.mesh.set_members(vec![member.member(false)]);
    for class in Class::ALL.into_iter().filter(|class| *class != Class::Join) {
        let error = within(joiner.mesh.open(member.id(), class)).await.unwrap_err();
        assert!(matches!(error, OpenError::NotAllowed { refused_by, .. } if refused_by == member.id()), "{error}");
        assert!(error.is_retryable(), "its list may be behind ours");
    }
    member.mesh.set_members(vec![joiner.member(false)]);
    stream_between(&joiner, &mut member, Class::Work).await;
    assert_eq!(member.mesh.peers().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_becomes_a_member_comes_up_and_one_that_does_not_is_sent_away() {
    let mut brief = config();
    brief.timings.pending_member_ttl = Duration::from_millis(300);
    let (mut member, joiner, loafer) = (Node::start(brief), Node::start(config()), Node::start(config()));
    let mut events = member.mesh.events();
    for stranger in [&joiner, &loafer] {
        within(stranger.mesh.dial(address_of(&member), None)).await.unwrap();
    }
    let (_asking, _answering) = stream_between(&joiner, &mut member, Class::Join).await;
    let (_idling, mut waiting) = stream_between(&loafer, &mut member, Class::Join).await;
    member.mesh.set_members(vec![joiner.member(false)]);
    event(&mut events, is_up).await;
    let error = within(waiting.receive()).await.unwrap_err();
    assert!(matches!(error, FrameError::Lost { .. }), "an open stream does not hold a stranger's place: {error}");
    within(async {
        while loafer.mesh.is_connected(member.id()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(member.mesh.is_connected(joiner.id()));
    assert!(!member.mesh.is_connected(loafer.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_strangers_are_let_in_and_members_still_are() {
    let mut strict = config();
    strict.limits.pending_members_max = 2;
    let mut guarded = Node::start(strict);
    let member = Node::start(config());
    introduce(&guarded, &member, false);
    let strangers: Vec<Node> = (0..2).map(|_| Node::start(config())).collect();
    for stranger in &strangers {
        within(stranger.mesh.dial(address_of(&guarded), None)).await.unwrap();
        stream_between(stranger, &mut guarded, Class::Join).await;
    }
    let late = Node::start(config());
    // The handshake works, the connection is closed behind it; either is seen first.
    if within(late.mesh.dial(address_of(&guarded), None)).await.is_ok() {
        let error = within(late.mesh.open(guarded.id(), Class::Join)).await.unwrap_err();
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    }
    assert!(!guarded.mesh.is_connected(late.id()));
    stream_between(&member, &mut guarded, Class::Work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_dropped_with_its_streams_on_both_sides() {
    let (one, mut other) = acquainted();
    let (mut here, mut there) = stream_between(&one, &mut other, Class::Work).await;
    let (mut seen_here, mut seen_there) = (one.mesh.events(), other.mesh.events());
    one.mesh.set_members(vec![]);
    event(&mut seen_here, is_down).await;
    event(&mut seen_there, is_down).await;
    for stream in [&mut here, &mut there] {
        let error = within(stream.receive()).await.unwrap_err();
        assert!(matches!(error, FrameError::Lost { .. }), "{error}");
    }
    assert!(here.send(frame("late")).await.is_err());
    let error = within(other.mesh.open(one.id(), Class::Work)).await.unwrap_err();
    assert!(matches!(error, OpenError::NotAllowed { refused_by, .. } if refused_by == one.id()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_with_the_same_key_is_unsupported() {
    let mut foreign = config();
    foreign.cluster = ClusterId::generate();
    let (one, other) = (Node::start(config()), Node::start(foreign));
    introduce(&one, &other, false);
    let error = within(one.mesh.open(other.id(), Class::Work)).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::Unsupported { protocol, .. } if protocol.ends_with(&format!("/{}/1", Class::Work))),
        "{error}"
    );
    assert!(!error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_the_key_does_not_keep_the_others_out() {
    let mut patient = config();
    patient.limits.handshakes_max = 8;
    patient.limits.handshakes_per_ip_max = 4;
    patient.timings.handshake_timeout = Duration::from_secs(20);
    let guarded = Node::start(patient);
    let address = guarded.mesh.listen_addrs()[0];
    let mut flood: Vec<TcpStream> = Vec::new();
    for _ in 0..40 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        flood.push(within(socket.connect(address)).await.unwrap());
    }
    let one = Node::start(config());
    assert_eq!(within(one.mesh.dial(address.into(), None)).await.unwrap(), guarded.id());
    drop(flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_an_error_with_its_address_even_when_a_mesh_has_it() {
    let one = Node::start(config());
    let mut same = config();
    same.listen = one.mesh.listen_addrs();
    let error = Mesh::start(same).map(|_| ()).unwrap_err();
    let MeshError::Listen { address, source } = error else { panic!("{error}") };
    assert_eq!((address, source.kind()), (one.mesh.listen_addrs()[0], std::io::ErrorKind::AddrInUse));
}
