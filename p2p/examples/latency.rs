//! How long a request over an open stream takes on loopback, encrypted as always, and how many fit into a second.
//!
//! `cargo run --release -p pentora-p2p --example latency`

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use pentora_p2p::{Class, ClusterId, FrameError, FrameStream, Identity, Member, Mesh, MeshConfig, PreSharedKey};
use tokio::task::JoinSet;

const REQUESTS: usize = 20_000;
const OPENINGS: usize = 2_000;
const REQUEST_BYTES: usize = 256;
const BULK_FRAME_BYTES: usize = 64 * 1024;
const BULK_FRAMES: usize = 8_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (psk, cluster) = (PreSharedKey::generate(), ClusterId::generate());
    let start = || -> anyhow::Result<_> {
        let mut config = MeshConfig::new(Identity::generate(), psk.clone(), cluster);
        config.listen = vec!["127.0.0.1:0".parse()?];
        Ok(Mesh::start(config)?)
    };
    let ((client, _), (server, mut incoming)) = (start()?, start()?);
    let entry = |mesh: &Mesh| Member {
        peer_id: mesh.peer_id(),
        addresses: mesh.listen_addrs().into_iter().map(Into::into).collect(),
        keep_connected: true,
    };
    client.set_members(vec![entry(&server)]);
    server.set_members(vec![entry(&client)]);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut streams = JoinSet::new();
        while let Some(stream) = incoming.next().await {
            streams.spawn(echo(stream));
        }
    });
    let peer = server.peer_id();

    let mut stream = client.open(peer, Class::RaftControl).await?;
    one_by_one("request, one at a time", REQUESTS, &mut stream).await?;
    pipelined("request, pipelined", client.open(peer, Class::RaftAppend).await?, REQUEST_BYTES, REQUESTS * 10).await?;
    pipelined("64 KiB frames, there and back", client.open(peer, Class::Chunk).await?, BULK_FRAME_BYTES, BULK_FRAMES)
        .await?;

    let mut times = Vec::with_capacity(OPENINGS);
    for _ in 0..OPENINGS {
        let started = Instant::now();
        let mut stream = client.open(peer, Class::Admin).await?;
        times.push(started.elapsed());
        stream.sink.close().await?;
        stream.receive().await?;
    }
    print_times("opening a stream", times);
    Ok(())
}

async fn one_by_one(what: &str, count: usize, stream: &mut FrameStream) -> anyhow::Result<()> {
    let request = Bytes::from(vec![7; REQUEST_BYTES]);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        stream.send(request.clone()).await?;
        stream.receive().await?.context("the peer hung up")?;
        times.push(started.elapsed());
    }
    print_times(what, times);
    Ok(())
}

async fn pipelined(what: &str, stream: FrameStream, bytes: usize, count: usize) -> anyhow::Result<()> {
    let (mut sink, mut source) = stream.split();
    let started = Instant::now();
    let writing = async {
        let frame = Bytes::from(vec![7; bytes]);
        for _ in 0..count {
            sink.feed(frame.clone()).await?;
        }
        sink.close().await
    };
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        while let Some(frame) = source.next().await {
            frame?;
        }
        Ok::<(), FrameError>(())
    });
    writing.await?;
    while let Some(read) = reading.join_next().await {
        read??;
    }
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (rate, megabytes) = (count as f64 / seconds, (count * bytes) as f64 / seconds / 1e6);
    println!("{what:32} {rate:>10.0} /s {megabytes:>8.0} MB/s each way");
    Ok(())
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 1000).copied().unwrap_or_default();
    println!("{what:32} p50 {:>8.1?}  p99 {:>8.1?}  p99.9 {:>8.1?}", at(500), at(990), at(999));
}

async fn echo(stream: FrameStream) {
    let (mut sink, mut source) = stream.split();
    while let Some(Ok(frame)) = source.next().await {
        if sink.send(frame).await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}
