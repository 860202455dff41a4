//! The mesh in memory: the same behaviour as over TCP, the faults it is there for, and that a seed repeats a run.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use pentora_p2p::memory::Network;
use pentora_p2p::{Class, DialError, FrameError, MeshConfig, MeshError, OpenError, PeerEvent, PreSharedKey};
use tokio::time::Instant;

use crate::nodes::{Node, config, event, frame, introduce, is_down, is_up, stream_between, within};

fn start(network: &Network, config: MeshConfig) -> Node {
    let (mesh, incoming) = network.start(config).unwrap();
    Node { mesh, incoming }
}

/// Two members that stay connected.
async fn connected(network: &Network) -> (Node, Node) {
    let (one, other) = (start(network, config()), start(network, config()));
    let (mut seen_here, mut seen_there) = (one.mesh.events(), other.mesh.events());
    introduce(&one, &other, true);
    event(&mut seen_here, is_up).await;
    event(&mut seen_there, is_up).await;
    (one, other)
}

#[tokio::test(start_paused = true)]
async fn every_class_carries_frames_both_ways_and_ends_cleanly() {
    let (one, mut other) = connected(&Network::new(1)).await;
    for class in Class::ALL {
        let (mut here, mut there) = stream_between(&one, &mut other, class).await;
        here.send(frame("question")).await.unwrap();
        assert_eq!(within(there.receive()).await.unwrap(), Some(frame("question")));
        there.send(frame("answer")).await.unwrap();
        futures::SinkExt::close(&mut there.sink).await.unwrap();
        assert_eq!(within(here.receive()).await.unwrap(), Some(frame("answer")));
        assert_eq!(within(here.receive()).await.unwrap(), None);
        let error = here.send(Bytes::from(vec![0; class.frame_bytes_max() + 1])).await.unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
        drop(here);
        let error = within(there.receive()).await.unwrap_err();
        assert!(matches!(error, FrameError::Lost { .. }), "{error}");
        let (mut here, there) = stream_between(&one, &mut other, class).await;
        there.refuse("not for you").await.unwrap();
        let error = within(here.receive()).await.unwrap_err();
        assert!(matches!(&error, FrameError::Refused { reason } if reason == "not for you"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_door_is_the_real_one() {
    let network = Network::new(2);
    let mut foreign = config();
    foreign.psk = PreSharedKey::generate();
    let (mut member, joiner, stranger) =
        (start(&network, config()), start(&network, config()), start(&network, foreign));
    let address = member.mesh.listen_addrs()[0];
    let error = within(stranger.mesh.dial(address.into(), None)).await.unwrap_err();
    assert!(matches!(error, DialError::HandshakeFailed { .. }), "{error}");
    assert_eq!(within(joiner.mesh.dial(address.into(), None)).await.unwrap(), member.id());
    stream_between(&joiner, &mut member, Class::Join).await;
    joiner.mesh.set_members(vec![member.member(false)]);
    let error = within(joiner.mesh.open(member.id(), Class::Work)).await.unwrap_err();
    assert!(matches!(error, OpenError::NotAllowed { refused_by, .. } if refused_by == member.id()), "{error}");
    let nobody = "127.0.0.1:9".parse().unwrap();
    let error = within(joiner.mesh.dial(nobody, None)).await.unwrap_err();
    assert!(matches!(error, DialError::Unreachable { .. }), "{error}");
    let mut taken = config();
    taken.listen = vec![address];
    assert!(matches!(network.start(taken).map(|_| ()), Err(MeshError::Listen { .. })));
    // Thirty seconds later the joiner, which is no member there, is gone.
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(!member.mesh.is_connected(joiner.id()));
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_noticed_by_silence_and_a_healed_one_is_connected_again() {
    let network = Network::new(3);
    let (one, mut other) = connected(&network).await;
    let (mut here, mut there) = stream_between(&one, &mut other, Class::Work).await;
    let mut events = one.mesh.events();
    network.cut(one.id(), other.id());
    let cut = Instant::now();
    here.send(frame("into the void")).await.unwrap();
    event(&mut events, is_down).await;
    let noticed = cut.elapsed();
    assert!(noticed > Duration::from_secs(5) && noticed <= Duration::from_secs(13), "{noticed:?}");
    assert!(matches!(here.receive().await, Err(FrameError::Lost { .. })));
    assert!(matches!(within(there.receive()).await, Err(FrameError::Lost { .. })), "the other side gives up by itself");
    let error = within(one.mesh.open(other.id(), Class::Work)).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    network.heal();
    event(&mut events, is_up).await;
    stream_between(&one, &mut other, Class::Work).await;
}

#[tokio::test(start_paused = true)]
async fn a_short_cut_only_delays() {
    let network = Network::new(4);
    let (one, mut other) = connected(&network).await;
    let (mut here, mut there) = stream_between(&one, &mut other, Class::Work).await;
    network.isolate(other.id());
    here.send(frame("patience")).await.unwrap();
    assert!(there.receive().now_or_never().is_none());
    tokio::time::sleep(Duration::from_secs(3)).await;
    network.heal();
    assert_eq!(within(there.receive()).await.unwrap(), Some(frame("patience")));
}

#[tokio::test(start_paused = true)]
async fn one_way_loss_stops_one_direction() {
    let network = Network::new(5);
    let (one, mut other) = connected(&network).await;
    let (mut here, mut there) = stream_between(&one, &mut other, Class::Work).await;
    network.oneway(one.id(), other.id());
    there.send(frame("heard")).await.unwrap();
    assert_eq!(within(here.receive()).await.unwrap(), Some(frame("heard")));
    here.send(frame("unheard")).await.unwrap();
    let lost = within(there.receive()).await.unwrap_err();
    assert!(matches!(lost, FrameError::Lost { .. }), "no ping is answered either, so it ends: {lost}");
}

#[tokio::test(start_paused = true)]
async fn a_frame_takes_its_time_and_frames_keep_their_order() {
    let network = Network::new(6);
    network.set_delay(Duration::from_millis(10), Duration::from_millis(90));
    let (one, mut other) = connected(&network).await;
    let (mut here, mut there) = stream_between(&one, &mut other, Class::Work).await;
    let sent = Instant::now();
    for number in 0..20_u8 {
        here.send(Bytes::copy_from_slice(&[number])).await.unwrap();
    }
    for number in 0..20_u8 {
        assert_eq!(within(there.receive()).await.unwrap().unwrap()[0], number);
    }
    assert!((Duration::from_millis(10)..=Duration::from_millis(95)).contains(&sent.elapsed()), "{:?}", sent.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lost_frame_loses_its_stream_on_both_sides_and_no_other() {
    let network = Network::new(7);
    let (one, mut other) = connected(&network).await;
    let (mut here, mut there) = stream_between(&one, &mut other, Class::Work).await;
    let (mut steady, mut steadied) = stream_between(&one, &mut other, Class::Work).await;
    network.set_loss(1.0);
    assert!(matches!(here.send(frame("gone")).await, Err(FrameError::Lost { .. })));
    assert!(matches!(here.receive().await, Err(FrameError::Lost { .. })));
    assert!(matches!(within(there.receive()).await, Err(FrameError::Lost { .. })));
    network.set_loss(0.0);
    steady.send(frame("here")).await.unwrap();
    assert_eq!(within(steadied.receive()).await.unwrap(), Some(frame("here")));
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_noticed_at_once() {
    let network = Network::new(8);
    let (one, mut other) = connected(&network).await;
    let (mut here, _there) = stream_between(&one, &mut other, Class::Work).await;
    let mut events = one.mesh.events();
    let started = Instant::now();
    network.reset(one.id(), other.id());
    event(&mut events, is_down).await;
    assert!(within(here.receive()).await.is_err());
    event(&mut events, is_up).await;
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_and_restart_under_the_same_name() {
    let network = Network::new(9);
    let one = start(&network, config());
    let mut settings = config();
    let mut other = start(&network, settings.clone());
    settings.listen = other.mesh.listen_addrs();
    let mut events = one.mesh.events();
    introduce(&one, &other, true);
    event(&mut events, is_up).await;
    other.mesh.shutdown().await;
    event(&mut events, is_down).await;
    assert!(within(other.incoming.next()).await.is_none());
    other = start(&network, settings);
    other.mesh.set_members(vec![one.member(false)]);
    event(&mut events, is_up).await;
    stream_between(&one, &mut other, Class::Work).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_and_closed_before_a_shutdown_arrives() {
    let (one, mut other) = connected(&Network::new(10)).await;
    let (mut here, mut there) = stream_between(&one, &mut other, Class::Chunk).await;
    here.send(frame("last words")).await.unwrap();
    futures::SinkExt::close(&mut here.sink).await.unwrap();
    one.mesh.shutdown().await;
    assert_eq!(within(there.receive()).await.unwrap(), Some(frame("last words")));
    assert_eq!(within(there.receive()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_loop_around_a_failing_open_does_not_spin() {
    let network = Network::new(12);
    let (one, other) = connected(&network).await;
    other.mesh.shutdown().await;
    let started = Instant::now();
    let mut attempts = 0;
    while started.elapsed() < Duration::from_secs(10) {
        let error = one.mesh.open(other.id(), Class::RaftAppend).await.unwrap_err();
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
        attempts += 1;
    }
    assert!(attempts <= 200, "{attempts}");
}

/// What a node saw, with the times, during a run full of faults.
fn troubled_run(seed: u64) -> Vec<(Duration, PeerEvent)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let started = Instant::now();
        let network = Network::new(seed);
        network.set_delay(Duration::from_millis(1), Duration::from_millis(200));
        let nodes: Vec<Node> = (1..=4)
            .map(|number| {
                let mut config = config();
                config.identity = pentora_p2p::Identity::from_secret([number; 32]);
                start(&network, config)
            })
            .collect();
        for node in &nodes {
            node.mesh.set_members(nodes.iter().map(|other| other.member(true)).collect());
        }
        let mut events = nodes[0].mesh.events();
        let mut seen = Vec::new();
        for round in 0..6 {
            let (a, b) = (nodes[0].id(), nodes[1 + round % 3].id());
            if round % 2 == 0 {
                network.cut(a, b)
            } else {
                network.reset(a, b)
            }
            tokio::time::sleep(Duration::from_secs(20)).await;
            network.heal();
            tokio::time::sleep(Duration::from_secs(20)).await;
            while let Ok(event) = events.try_recv() {
                seen.push((started.elapsed(), event));
            }
        }
        assert!(nodes[0].mesh.peers().iter().all(|peer| peer.connected), "it heals");
        seen
    })
}

#[test]
fn one_seed_gives_one_run() {
    let run = troubled_run(11);
    assert!(run.iter().any(|(_, event)| is_down(event)), "the run had faults");
    assert_eq!(run, troubled_run(11));
}
