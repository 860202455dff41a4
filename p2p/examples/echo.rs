//! Two nodes in one process: one sends what is typed, the other sends it back.
//!
//! `cargo run --release -p pentora-p2p --example echo -- "hello mesh"`

use anyhow::Context;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use pentora_p2p::{Class, ClusterId, FrameStream, Identity, Member, Mesh, MeshConfig, PreSharedKey};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words = std::env::args().nth(1).unwrap_or_else(|| "hello mesh".to_owned());

    // Every node of a cluster has the same pre-shared key and cluster id, and an identity of its own.
    let (psk, cluster) = (PreSharedKey::generate(), ClusterId::generate());
    let config = || -> anyhow::Result<MeshConfig> {
        let mut config = MeshConfig::new(Identity::generate(), psk.clone(), cluster);
        config.listen = vec!["127.0.0.1:0".parse()?];
        Ok(config)
    };
    let (client, _) = Mesh::start(config()?)?;
    let (server, mut incoming) = Mesh::start(config()?)?;

    // Nobody may open anything but a join stream until both sides call the other a member.
    let entry = |mesh: &Mesh| Member {
        peer_id: mesh.peer_id(),
        addresses: mesh.listen_addrs().into_iter().map(Into::into).collect(),
        keep_connected: true,
    };
    client.set_members(vec![entry(&server)]);
    server.set_members(vec![entry(&client)]);

    // The accept loop does nothing but hand each stream to a task of its own.
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut streams = JoinSet::new();
        while let Some(stream) = incoming.next().await {
            streams.spawn(echo(stream));
        }
    });

    let mut stream = client.open(server.peer_id(), Class::Admin).await?;
    for word in words.split_whitespace() {
        stream.send(Bytes::copy_from_slice(word.as_bytes())).await?;
        let answer = stream.receive().await?.context("the peer hung up")?;
        println!("{} says {}", stream.peer, String::from_utf8_lossy(&answer));
    }
    stream.sink.close().await?;

    client.shutdown().await;
    server.shutdown().await;
    serving.join_all().await;
    Ok(())
}

/// Sends every frame back until the peer closes its side. Reading and writing take turns here, which is fine as long as
/// the peer reads its answers; a stream with traffic of its own in both directions has a task for each half.
async fn echo(stream: FrameStream) {
    let (mut sink, mut source) = stream.split();
    while let Some(Ok(frame)) = source.next().await {
        if sink.send(frame).await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}
