//! Connections over time: both sides dialing at once, restarts, silence, idleness, shutdown.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt, SinkExt};
use pentora_p2p::{Class, DialError, FrameError, FrameStream, Member, OpenError, PeerEvent};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::nodes::{Node, acquainted, config, event, frame, introduce, is_down, is_up, stream_between, within};

#[tokio::test(flavor = "multi_thread")]
async fn members_to_keep_connect_by_themselves_and_their_round_trip_is_measured() {
    let (one, other) = (Node::start(config()), Node::start(config()));
    let mut events = one.mesh.events();
    introduce(&one, &other, true);
    let up = event(&mut events, is_up).await;
    assert_eq!(up, PeerEvent::Up { peer: other.id(), rtt: None });
    within(async {
        while one.mesh.peers()[0].rtt.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let known = one.mesh.peers().remove(0);
    assert!(known.connected && known.member && known.keep_connected, "{known:?}");
    assert!(known.rtt.unwrap() < Duration::from_secs(1) && known.last_contact.unwrap() < Duration::from_secs(5));
    assert_eq!(known.addresses, [other.mesh.listen_addrs()[0].into()]);
    assert!(known.remote.unwrap().ip().is_loopback());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_dialing_at_once_ends_in_a_working_connection_that_stays() {
    for _ in 0..20 {
        let (mut one, mut other) = (Node::start(config()), Node::start(config()));
        let (mut seen_here, mut seen_there) = (one.mesh.events(), other.mesh.events());
        introduce(&one, &other, true);
        let (here, there) =
            tokio::join!(one.mesh.open(other.id(), Class::Work), other.mesh.open(one.id(), Class::Work));
        let (mut here, mut there) = (here.unwrap(), there.unwrap());
        let (mut from_there, mut from_here) = (one.accept().await, other.accept().await);
        here.send(frame("a")).await.unwrap();
        there.send(frame("b")).await.unwrap();
        assert_eq!(within(from_here.receive()).await.unwrap(), Some(frame("a")));
        assert_eq!(within(from_there.receive()).await.unwrap(), Some(frame("b")));
        event(&mut seen_here, is_up).await;
        event(&mut seen_there, is_up).await;
        assert!(seen_here.try_recv().is_err() && seen_there.try_recv().is_err(), "up once, and nothing after");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_restarts_is_connected_again_and_its_old_streams_are_lost() {
    let one = Node::start(config());
    let mut settings = config();
    let mut other = Node::start(settings.clone());
    settings.listen = other.mesh.listen_addrs();
    introduce(&one, &other, true);
    for _ in 0..3 {
        let (mut old, _there) = within(stream_in_the_end(&one, &mut other)).await;
        other.mesh.shutdown().await;
        let error = within(old.receive()).await.unwrap_err();
        assert!(matches!(error, FrameError::Lost { .. }), "{error}");

        other = Node::start(settings.clone());
        other.mesh.set_members(vec![Member { addresses: vec![], ..one.member(false) }]);
        let (mut here, mut there) = within(stream_in_the_end(&one, &mut other)).await;
        here.send(frame("again")).await.unwrap();
        assert_eq!(within(there.receive()).await.unwrap(), Some(frame("again")));
    }
}

/// Waits for a connection and opens a stream on it. Dials that were under way when a peer stopped may still fail.
async fn stream_in_the_end(one: &Node, other: &mut Node) -> (FrameStream, FrameStream) {
    loop {
        match one.mesh.open(other.id(), Class::Work).await {
            Ok(opened) => return (opened, other.accept().await),
            Err(OpenError::Unreachable { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_is_down_and_its_streams_are_lost() {
    let mut watchful = config();
    watchful.timings.ping_interval = Duration::from_millis(100);
    watchful.timings.silence_max = Duration::from_millis(500);
    let (one, mut other) = (Node::start(watchful), Node::start(config()));

    // A relay that can stop carrying without closing anything, as a cut cable does.
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (front, back) = (relay.local_addr().unwrap(), other.mesh.listen_addrs()[0]);
    let (carrying, stop) = tokio::sync::oneshot::channel::<()>();
    let mut relaying = JoinSet::new();
    relaying.spawn(async move {
        let (mut inside, _) = relay.accept().await.unwrap();
        let mut outside = TcpStream::connect(back).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut inside, &mut outside) => {}
            _ = stop => {}
        }
        (relay, inside, outside)
    });
    let mut events = one.mesh.events();
    one.mesh.set_members(vec![Member { addresses: vec![front.into()], ..other.member(true) }]);
    other.mesh.set_members(vec![one.member(false)]);
    event(&mut events, is_up).await;
    let (mut here, _there) = stream_between(&one, &mut other, Class::Work).await;
    assert!(here.receive().now_or_never().is_none());

    carrying.send(()).unwrap();
    let _still_open = within(relaying.join_next()).await;
    let cut = Instant::now();
    let down = event(&mut events, is_down).await;
    assert_eq!(down, PeerEvent::Down { peer: other.id(), hung_up: false });
    assert!(cut.elapsed() < Duration::from_secs(5), "{:?}", cut.elapsed());
    let error = within(here.receive()).await.unwrap_err();
    assert!(matches!(error, FrameError::Lost { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_unless_somebody_wants_it() {
    let mut brief = config();
    brief.timings.idle_timeout = Duration::from_millis(200);
    let (one, other, third) = (Node::start(brief.clone()), Node::start(config()), Node::start(config()));
    let mut events = one.mesh.events();
    one.mesh.set_members(vec![other.member(false), third.member(true)]);
    other.mesh.set_members(vec![one.member(false)]);
    third.mesh.set_members(vec![one.member(false)]);
    event(&mut events, is_up).await;
    drop(within(one.mesh.open(other.id(), Class::Work)).await.unwrap());
    let down = event(&mut events, is_down).await;
    assert_eq!(down, PeerEvent::Down { peer: other.id(), hung_up: false }, "this side ended it");
    assert!(one.mesh.is_connected(third.id()), "a member to keep outlives the time that ended the other");

    // On demand it comes back.
    within(one.mesh.open(other.id(), Class::Work)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_only_dials_out_is_reached_over_its_own_connection() {
    let mut hidden = config();
    hidden.listen.clear();
    let (gateway, mut worker) = (Node::start(config()), Node::start(hidden));
    assert!(worker.mesh.listen_addrs().is_empty());
    let mut events = gateway.mesh.events();
    introduce(&gateway, &worker, false);
    let error = within(gateway.mesh.open(worker.id(), Class::Work)).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    worker.mesh.set_members(vec![gateway.member(true)]);
    event(&mut events, is_up).await;
    stream_between(&gateway, &mut worker, Class::Work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_to_a_dead_address_fails_with_the_reason() {
    let (one, other) = acquainted();
    other.mesh.shutdown().await;
    let error = within(one.mesh.open(other.id(), Class::Work)).await.unwrap_err();
    assert!(matches!(&error, OpenError::Unreachable { reason, .. } if reason.contains("refused")), "{error}");
    let error = within(one.mesh.open(other.id(), Class::Work)).await.unwrap_err();
    assert!(matches!(&error, OpenError::Unreachable { reason, .. } if reason.contains("just now")), "{error}");
    assert!(one.mesh.peers()[0].last_error.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_everything_and_frees_the_port() {
    let mut settings = config();
    let mut one = Node::start(settings.clone());
    settings.listen = one.mesh.listen_addrs();
    let mut other = Node::start(config());
    introduce(&one, &other, true);
    let mut seen_there = other.mesh.events();
    event(&mut seen_there, is_up).await;
    let (mut here, mut there) = stream_between(&one, &mut other, Class::Work).await;
    let started = Instant::now();
    one.mesh.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(4), "it ends by itself and is not cut: {:?}", started.elapsed());
    let down = event(&mut seen_there, is_down).await;
    assert_eq!(down, PeerEvent::Down { peer: one.id(), hung_up: true });
    assert!(within(here.receive()).await.is_err() && within(there.receive()).await.is_err());
    assert!(within(one.incoming.next()).await.is_none());
    assert_eq!(one.mesh.open(other.id(), Class::Work).await.unwrap_err(), OpenError::Closed);
    let address = other.mesh.listen_addrs()[0].into();
    assert_eq!(one.mesh.dial(address, None).await.unwrap_err(), DialError::Closed);
    one.mesh.shutdown().await;
    Node::start(settings);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_and_closed_before_a_shutdown_arrives() {
    for _ in 0..20 {
        let (one, mut other) = acquainted();
        let (mut here, mut there) = stream_between(&one, &mut other, Class::Chunk).await;
        for number in 0..20_u8 {
            here.sink.feed(Bytes::from(vec![number; 10_000])).await.unwrap();
        }
        here.sink.close().await.unwrap();
        one.mesh.shutdown().await;
        for number in 0..20_u8 {
            assert_eq!(within(there.receive()).await.unwrap(), Some(Bytes::from(vec![number; 10_000])));
        }
        assert_eq!(within(there.receive()).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_last_handle_ends_the_mesh() {
    let (one, other) = acquainted();
    let mut events = other.mesh.events();
    let mut stream = within(one.mesh.open(other.id(), Class::Work)).await.unwrap();
    event(&mut events, is_up).await;
    let Node { mesh, mut incoming } = one;
    let clone = mesh.clone();
    drop(mesh);
    assert_eq!(clone.peers().len(), 1);
    drop(clone);
    event(&mut events, is_down).await;
    assert!(within(incoming.next()).await.is_none());
    assert!(within(stream.receive()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_open_leaves_no_stream_behind() {
    let (one, mut other) = acquainted();
    for _ in 0..50 {
        // Polled once: the request is on its way, then nobody waits for it.
        let _ = one.mesh.open(other.id(), Class::RaftSnapshot).now_or_never();
    }
    let _open = stream_between_ignoring_lost(&one, &mut other).await;
}

/// Opens a stream whose far end carries a frame, and skips those of cancelled calls.
async fn stream_between_ignoring_lost(one: &Node, other: &mut Node) -> pentora_p2p::FrameStream {
    within(async {
        loop {
            match one.mesh.open(other.id(), Class::RaftSnapshot).await {
                Ok(mut stream) => {
                    stream.send(frame("wanted")).await.unwrap();
                    loop {
                        let mut accepted = other.accept().await;
                        if let Ok(Some(_)) = accepted.receive().await {
                            return stream;
                        }
                    }
                }
                // The places of the cancelled ones are still being given back.
                Err(OpenError::Busy { .. } | OpenError::Unreachable { .. }) => {
                    while let Some(Some(stale)) = other.incoming.next().now_or_never() {
                        drop(stale);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}
