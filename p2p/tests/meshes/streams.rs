//! Streams between two nodes over loopback TCP: what they carry, how they end, and how many there may be.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use pentora_p2p::{Class, FrameError, OpenError};
use tokio::task::JoinSet;

use crate::nodes::{Node, acquainted, config, echo, frame, introduce, stream_between, within};

#[tokio::test(flavor = "multi_thread")]
async fn every_class_carries_frames_both_ways_and_ends_cleanly() {
    let (one, mut other) = acquainted();
    for class in Class::ALL {
        let (mut here, mut there) = stream_between(&one, &mut other, class).await;
        here.send(frame("question")).await.unwrap();
        assert_eq!(within(there.receive()).await.unwrap(), Some(frame("question")));
        there.send(frame("answer")).await.unwrap();
        there.send(Bytes::new()).await.unwrap();
        there.sink.close().await.unwrap();
        assert_eq!(within(here.receive()).await.unwrap(), Some(frame("answer")));
        assert_eq!(within(here.receive()).await.unwrap(), Some(Bytes::new()), "an empty frame is a frame");
        assert_eq!(within(here.receive()).await.unwrap(), None);
        assert_eq!(within(here.receive()).await.unwrap(), None, "the end stays the end");
        assert!(matches!(there.sink.send(frame("late")).await, Err(FrameError::Closed)));
        here.send(frame("one side may go on alone")).await.unwrap();
        assert!(within(there.receive()).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pipelined_frames_arrive_in_order() {
    let (one, mut other) = acquainted();
    let (here, there) = stream_between(&one, &mut other, Class::RaftAppend).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(echo(there));
    let (mut sink, source) = here.split();
    tasks.spawn(async move {
        for number in 0..1000_u32 {
            sink.feed(Bytes::copy_from_slice(&number.to_be_bytes())).await.unwrap();
        }
        sink.close().await.unwrap();
    });
    let frames: Vec<_> = within(source.collect()).await;
    let numbers: Vec<u32> =
        frames.into_iter().map(|frame| u32::from_be_bytes(frame.unwrap()[..].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    within(tasks.join_all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_megabytes_pass_both_ways_at_once() {
    let (one, mut other) = acquainted();
    let (here, there) = stream_between(&one, &mut other, Class::RaftSnapshot).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(echo(there));
    let (mut sink, mut source) = here.split();
    let sent = Bytes::from(vec![0xa5; Class::RaftSnapshot.frame_bytes_max()]);
    let payload = sent.clone();
    tasks.spawn(async move {
        for _ in 0..128 {
            sink.send(payload.clone()).await.unwrap();
        }
        sink.close().await.unwrap();
    });
    let mut received = 0;
    while let Some(frame) = within(source.next()).await {
        assert!(frame.unwrap() == sent);
        received += 1;
    }
    assert_eq!(received, 128);
    within(tasks.join_all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_above_the_limit_is_refused_by_the_sink_and_the_stream_goes_on() {
    let (one, mut other) = acquainted();
    for class in [Class::Work, Class::Join] {
        let (mut here, mut there) = stream_between(&one, &mut other, class).await;
        let max = class.frame_bytes_max();
        let error = here.send(Bytes::from(vec![0; max + 1])).await.unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { bytes, .. } if bytes == max + 1), "{error}");
        // With its header it is just above a stream's window, so it is only sent whole while it is read.
        let (sent, received) =
            within(async { tokio::join!(here.send(Bytes::from(vec![0; max])), there.receive()) }).await;
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap().len(), max);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_not_closed_is_lost_and_not_at_its_end() {
    let (one, mut other) = acquainted();
    let (here, mut there) = stream_between(&one, &mut other, Class::Chunk).await;
    drop(here);
    let error = within(there.receive()).await.unwrap_err();
    assert!(matches!(error, FrameError::Lost { .. }), "{error}");
    assert_eq!(within(there.receive()).await.unwrap(), None);

    let (mut here, mut there) = stream_between(&one, &mut other, Class::Chunk).await;
    here.send(frame("half of it")).await.unwrap();
    drop(here.sink);
    assert_eq!(within(there.receive()).await.unwrap(), Some(frame("half of it")));
    let error = within(there.receive()).await.unwrap_err();
    assert!(matches!(error, FrameError::Lost { .. }), "a dropped sink is noticed while its source lives: {error}");
    drop(here.source);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_opens_no_more_streams_of_a_class_than_it_may_and_gets_its_places_back() {
    let (one, mut other) = acquainted();
    let mut open = Vec::new();
    for _ in 0..Class::RaftSnapshot.inbound_streams_max() {
        open.push(stream_between(&one, &mut other, Class::RaftSnapshot).await);
    }
    let error = within(one.mesh.open(other.id(), Class::RaftSnapshot)).await.unwrap_err();
    assert!(matches!(error, OpenError::Busy { .. }) && error.is_retryable(), "{error}");
    stream_between(&one, &mut other, Class::RaftControl).await;

    drop(open);
    within(async {
        while one.mesh.open(other.id(), Class::RaftSnapshot).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_accept_refuses_streams_beyond_its_queue() {
    let mut small = config();
    small.limits.incoming_streams_max = 3;
    let (one, mut other) = (Node::start(config()), Node::start(small));
    introduce(&one, &other, false);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(within(one.mesh.open(other.id(), Class::Admin)).await.unwrap());
    }
    for class in Class::ALL {
        let error = within(one.mesh.open(other.id(), class)).await.unwrap_err();
        assert!(matches!(error, OpenError::Busy { .. }), "{error}");
    }
    other.accept().await;
    within(one.mesh.open(other.id(), Class::Admin)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_calls_leaves_the_mesh_whole() {
    let (one, mut other) = acquainted();
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut streams = JoinSet::new();
        while let Some(stream) = other.incoming.next().await {
            streams.spawn(echo(stream));
        }
    });
    let peer = one.mesh.peers()[0].peer;
    let mut calls = JoinSet::new();
    for _ in 0..500 {
        let mesh = one.mesh.clone();
        calls.spawn(async move { mesh.open(peer, Class::Admin).await });
    }
    let mut opened = Vec::new();
    let mut refused = 0;
    while let Some(result) = within(calls.join_next()).await {
        match result.unwrap() {
            Ok(stream) => opened.push(stream),
            Err(OpenError::Busy { .. } | OpenError::Unreachable { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(opened.len(), Class::Admin.inbound_streams_max());
    assert_eq!(refused, 500 - opened.len());
    for mut stream in opened {
        stream.send(frame("still there")).await.unwrap();
        assert_eq!(within(stream.receive()).await.unwrap(), Some(frame("still there")));
    }
    drop(one);
}

/// A stream that the other side refuses, and what this side learns however it looks: by reading, by writing on, or by both.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_served_tells_its_reason_to_who_reads_and_to_who_writes() {
    let (one, mut other) = acquainted();
    let reason = "node 7, which only scans, may not open a raft-append stream";
    for class in Class::ALL {
        let (mut here, there) = stream_between(&one, &mut other, class).await;
        within(there.refuse(reason)).await.unwrap();
        let error = within(here.receive()).await.unwrap_err();
        assert!(matches!(&error, FrameError::Refused { reason: told } if told == reason), "{error}");
        assert!(within(here.receive()).await.unwrap().is_none(), "it is the last item");

        let (mut here, there) = stream_between(&one, &mut other, class).await;
        within(there.refuse(reason)).await.unwrap();
        // Nobody reads this, and it is more than the way holds: what is sent ends with the reason instead of for ever.
        let large = Bytes::from(vec![0; class.frame_bytes_max()]);
        let error = within(async {
            loop {
                if let Err(error) = here.send(large.clone()).await {
                    return error;
                }
            }
        })
        .await;
        assert_eq!(error.to_string(), reason);
        let again = within(here.receive()).await.unwrap_err();
        assert_eq!(again.to_string(), reason, "a reader learns it as well");
    }
    let (mut here, there) = stream_between(&one, &mut other, Class::Work).await;
    within(there.refuse(&"\u{e4}".repeat(600))).await.unwrap();
    let error = within(here.receive()).await.unwrap_err().to_string();
    assert_eq!(error, "\u{e4}".repeat(512), "a long one is cut at a character");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_cut_off_is_silent_for_that_long_and_goes_on_where_it_was() {
    let (one, mut other) = acquainted();
    let (mut here, mut there) = stream_between(&one, &mut other, Class::Work).await;
    let (begun, lasts) = (std::time::Instant::now(), Duration::from_millis(400));
    assert!(one.mesh.cut_off(Some([other.id()].into()), lasts));
    there.send(frame("unheard for now")).await.unwrap();
    assert_eq!(within(here.receive()).await.unwrap(), Some(frame("unheard for now")));
    assert!(begun.elapsed() >= lasts, "{:?}", begun.elapsed());
    assert!(one.mesh.cut_off(Some([one.id()].into()), Duration::from_secs(3_600)));
    there.send(frame("heard")).await.unwrap();
    assert_eq!(within(here.receive()).await.unwrap(), Some(frame("heard")), "others are not cut off");
}
