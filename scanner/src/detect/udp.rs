//! Looking at a UDP port: each probe is a question of its own, and only an answer tells anything.
//!
//! A port that was found open has answered something already, to the requests of the catalogue that are usual at its
//! number ([`crate::udp_scan::payload`]). That answer is looked at first; only what it leaves open is asked.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::connection::Endpoint;
use super::matcher::{Answer, Match, ProbeId, ProbeRef};
use super::{Detector, Identified, own_protocol};
use crate::echo::{ECHO, is_echo};
use crate::finding::printable_banner;
use crate::port::{Port, Protocol};
use crate::udp_scan::payload::Ask;

/// How long to wait for an answer before asking once more, and after that.
const ANSWER_WAIT: Duration = Duration::from_millis(1000);
/// How often each question is asked: one loss is common.
const TRIES: usize = 2;
/// Questions out at once.
const LANES: usize = 2;
/// Datagrams of one try that may be answers to something else before it is given up.
const STRANGERS_MAX: usize = 8;
/// Longest datagram that is read.
const DATAGRAM_MAX: usize = 4096;

/// The best answer so far: its bytes, and what the rules make of them.
type Best = Option<(Vec<u8>, Option<Arc<Match>>)>;

impl Detector {
    /// Tells what a UDP port is: by what was heard of it where that is certain, otherwise by asking everything up to the
    /// intensity, hinted questions first, until one answer is; with `is_own`, only what is in the port's own protocol.
    pub(super) async fn identify_udp(
        &self,
        endpoint: &Endpoint<'_>,
        intensity: u8,
        is_own: bool,
        heard: Option<&[u8]>,
    ) -> Identified {
        let port = Port::udp(endpoint.address.port());
        let probes = self.probes(Protocol::Udp, endpoint.address.port(), false);
        let probes = probes.iter().filter(|probe| match is_own {
            true => own_protocol::is_own(probe, port),
            false => probe.is_hinted || probe.rarity <= intensity,
        });
        let mut probes: Vec<ProbeRef> = probes.cloned().collect();
        let mut best: Best = None;
        if let Some(bytes) = heard {
            let found = self.heard(endpoint, bytes);
            match &found {
                Some((_, found)) if !found.is_soft => return identified(bytes, Some(found)),
                // It is asked for more of the same, and not what it has answered.
                Some((asked, found)) => {
                    let tells = |probe: &ProbeRef| probe.services.iter().any(|name| **name == *found.service.name);
                    probes.retain(|probe| probe.id != *asked && tells(probe));
                }
                None => {}
            }
            best = Some((bytes.to_vec(), found.map(|(_, found)| found)));
        }
        let mut answers = stream::iter(probes)
            .map(|probe| async move {
                let answer = ask(endpoint, &probe).await;
                (probe, answer)
            })
            .buffered(LANES);
        while let Some((probe, answer)) = answers.next().await {
            let Some(bytes) = answer else { continue };
            let found = self.judge_datagram(endpoint, &probe, &bytes);
            let is_certain = found.as_ref().is_some_and(|found| !found.is_soft);
            if is_certain || best.as_ref().is_none_or(|(_, known)| known.is_none()) {
                best = Some((bytes, found));
            }
            if is_certain {
                break;
            }
        }
        let Some((bytes, found)) = best else { return Identified::default() };
        identified(&bytes, found.as_ref())
    }

    /// What was heard of a port, as the answer to one of the requests that it was asked, those of a user's own file included:
    /// the first that names a product for certain, or else the first that is certain, or that it may be.
    fn heard(&self, endpoint: &Endpoint<'_>, bytes: &[u8]) -> Option<(ProbeId, Arc<Match>)> {
        let probes = self.probes(Protocol::Udp, endpoint.address.port(), false);
        let asked = probes.iter().filter(|probe| probe.is_hinted && (probe.request.is_some() || !probe.is_built_in));
        let all = asked.filter_map(|probe| Some((probe.id, self.judge_datagram(endpoint, probe, bytes)?)));
        let worth = |(_, found): &(ProbeId, Arc<Match>)| (!found.is_soft, found.service.product.is_some());
        all.reduce(|best, next| if worth(&next) > worth(&best) { next } else { best })
    }

    fn judge_datagram(&self, endpoint: &Endpoint<'_>, probe: &ProbeRef, bytes: &[u8]) -> Option<Arc<Match>> {
        let port = endpoint.address.port();
        let answer = Answer { protocol: Protocol::Udp, port, is_tls: false, probe: Some(probe.id), bytes };
        let found = self.matched(&answer)?;
        let is_own = || match probe.request {
            Some(request) => request.is_echo(endpoint.address.ip(), bytes),
            None => is_echo(&probe.payload, bytes),
        };
        (*found.service.name == *ECHO || !is_own()).then_some(found)
    }
}

fn identified(bytes: &[u8], found: Option<&Arc<Match>>) -> Identified {
    Identified { banner: printable_banner(bytes), service: found.map(|found| found.service.clone()) }
}

/// The datagram to send, and what it was made of where that has to come back.
fn question(endpoint: &Endpoint<'_>, probe: &ProbeRef) -> (Vec<u8>, Option<Ask>) {
    let mut token = [0; 8];
    match probe.request {
        // Without random bytes it is asked as nobody.
        Some(request) if getrandom::fill(&mut token).is_ok() => {
            let ask = Ask { token, to: endpoint.address.ip() };
            (request.write(&ask), Some(ask))
        }
        _ => (probe.payload.to_vec(), None),
    }
}

/// The first datagram that comes back for a probe and is an answer to it.
async fn ask(endpoint: &Endpoint<'_>, probe: &ProbeRef) -> Option<Vec<u8>> {
    let _place = endpoint.room.enter(endpoint.deadline()).await?;
    let _of_all = timeout_at(endpoint.deadline(), endpoint.connections.acquire()).await.ok()?.ok()?;
    let any = if endpoint.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.ok()?;
    // Connected: the kernel drops what comes from elsewhere.
    socket.connect(endpoint.address).await.ok()?;
    let (payload, asked) = question(endpoint, probe);
    let is_strange = |answer: &[u8]| match (probe.request, &asked) {
        (Some(request), Some(ask)) => request.is_strange(ask, answer),
        _ => false,
    };
    let mut datagram = vec![0; DATAGRAM_MAX];
    for _ in 0..TRIES {
        endpoint.wait_for_slot().await.then_some(())?;
        socket.send(&payload).await.ok()?;
        let until = endpoint.deadline().min(Instant::now() + ANSWER_WAIT);
        for _ in 0..STRANGERS_MAX {
            match timeout_at(until, socket.recv(&mut datagram)).await {
                Ok(Ok(length)) if is_strange(datagram.get(..length).unwrap_or_default()) => {}
                Ok(Ok(length)) => {
                    datagram.truncate(length);
                    return Some(datagram);
                }
                // Port unreachable: it is closed after all.
                Ok(Err(_)) => return None,
                Err(_) => break,
            }
        }
    }
    None
}
