//! Looking at a UDP port: each probe is a question of its own, and only an answer tells anything.
//!
//! A port that was found open has answered something already; its number mostly says which question that was.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::connection::Endpoint;
use super::matcher::{Answer, Match, ProbeRef};
use super::{Detector, Identified};
use crate::finding::printable_banner;
use crate::gate::Gate;
use crate::port::{Port, Protocol};

/// How long to wait for an answer before asking once more, and after that.
const ANSWER_WAIT: Duration = Duration::from_millis(1000);
/// How often each question is asked: one loss is common.
const TRIES: usize = 2;
/// Questions out at once.
const LANES: usize = 2;
/// Longest datagram that is read.
const DATAGRAM_MAX: usize = 4096;

impl Detector {
    /// Asks a UDP port everything up to the intensity, hinted questions first, until one answer is known for certain; with
    /// `is_own`, only what is in the port's own protocol.
    pub(super) async fn identify_udp(&self, endpoint: &Endpoint<'_>, intensity: u8, is_own: bool) -> Identified {
        let own = Gate::own_probes(Port::udp(endpoint.address.port()));
        let probes = self.probes(Protocol::Udp, endpoint.address.port(), false);
        let probes = probes.iter().filter(|probe| match is_own {
            true => own.contains(&&*probe.name),
            false => probe.is_hinted || probe.rarity <= intensity,
        });
        let probes: Vec<ProbeRef> = probes.cloned().collect();
        let mut answers = stream::iter(probes)
            .map(|probe| async move {
                let answer = ask(endpoint, &probe).await;
                (probe, answer)
            })
            .buffered(LANES);
        let mut best: Option<(Vec<u8>, Option<Arc<Match>>)> = None;
        while let Some((probe, answer)) = answers.next().await {
            let Some(bytes) = answer else { continue };
            let answer = Answer {
                protocol: Protocol::Udp,
                port: endpoint.address.port(),
                is_tls: false,
                probe: Some(probe.id),
                bytes: &bytes,
            };
            let found = self.matched(&answer);
            let is_certain = found.as_ref().is_some_and(|found| !found.is_soft);
            if is_certain || best.as_ref().is_none_or(|(_, known)| known.is_none()) {
                best = Some((bytes, found));
            }
            if is_certain {
                break;
            }
        }
        let Some((bytes, found)) = best else { return Identified::default() };
        Identified { banner: printable_banner(&bytes), service: found.map(|found| found.service.clone()) }
    }
}

/// The first datagram that comes back for a probe.
async fn ask(endpoint: &Endpoint<'_>, probe: &ProbeRef) -> Option<Vec<u8>> {
    let _place = endpoint.room.enter(endpoint.deadline).await?;
    let _of_all = timeout_at(endpoint.deadline, endpoint.connections.acquire()).await.ok()?.ok()?;
    let any = if endpoint.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.ok()?;
    // Connected: the kernel drops what comes from elsewhere.
    socket.connect(endpoint.address).await.ok()?;
    let mut datagram = vec![0; DATAGRAM_MAX];
    for _ in 0..TRIES {
        if let Some(pacing) = endpoint.pacing
            && !pacing.probe(endpoint.address.ip(), endpoint.deadline).await
        {
            return None;
        }
        socket.send(&probe.payload).await.ok()?;
        let until = endpoint.deadline.min(Instant::now() + ANSWER_WAIT);
        match timeout_at(until, socket.recv(&mut datagram)).await {
            Ok(Ok(length)) => {
                datagram.truncate(length);
                return Some(datagram);
            }
            // Port unreachable: it is closed after all.
            Ok(Err(_)) => return None,
            Err(_) => {}
        }
    }
    None
}
