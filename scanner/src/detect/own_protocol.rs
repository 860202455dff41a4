//! Looking at a fragile port: one connection, on which it is listened to, and then asked the port's own question if there
//! is one. Whatever comes back is matched; nothing more is sent.
//!
//! What such a port says may come from any other server that happens to listen there. It is known by what it says by
//! itself or not at all: no ClientHello, no request of another protocol, no second try.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::{self, Ending, Endpoint, Patience};
use super::matcher::ProbeRef;
use super::{Detector, Identified, lines};
use crate::finding::printable_banner;
use crate::gate::{Gate, Stage};
use crate::port::{Port, Protocol};

/// Before the connection: the device may still be closing the one that found it open.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a port is listened to before its own question.
const LISTEN_FIRST: Duration = Duration::from_millis(500);
/// How long a port that is not asked anything is listened to.
const LISTEN: Duration = Duration::from_secs(4);
/// How long to wait for an answer: controllers answer between two of their cycles.
const ANSWER_WAIT: Duration = Duration::from_secs(4);
/// Between two parts of what is said.
const GAP: Duration = Duration::from_millis(500);

impl Detector {
    /// Listens to a fragile TCP port and asks it in its own protocol, once.
    pub(super) async fn identify_in_own_protocol(&self, endpoint: &Endpoint<'_>) -> Identified {
        sleep(PAUSE).await;
        let question = self.own_probe(endpoint.address.port());
        let Ok(mut connection) = endpoint.connect(Stage::Service).await else { return Identified::default() };
        let stream = &mut connection.stream;
        let mut bytes = Vec::new();
        let is_greeting = question.is_none() && endpoint.is_greeted();
        let first = match (is_greeting, &question) {
            // As long as a port may take that usually greets.
            (true, _) => Patience { gap: GAP, ..Patience::until(endpoint.listens_until()) },
            (false, Some(_)) => patience(endpoint, LISTEN_FIRST),
            (false, None) => patience(endpoint, LISTEN),
        };
        let mut ending = connection::read(stream, &mut bytes, first, |_| false).await;
        let left = endpoint.listens_until().saturating_duration_since(Instant::now());
        let rest = |bytes: &[u8]| match is_greeting {
            true => lines::wait_for_greeting(bytes, endpoint.address.port(), left),
            false => lines::wait_for_the_rest(bytes),
        };
        if ending == Ending::Quiet
            && let Some(more) = rest(&bytes)
        {
            // Half a line is not judged: its other half may be on its way.
            let patience = match is_greeting {
                true => Patience::until(endpoint.listens_until().min(Instant::now() + more)),
                false => Patience { gap: lines::LINE_WAIT, ..patience(endpoint, more) },
            };
            ending = connection::read(stream, &mut bytes, patience, |bytes| rest(bytes).is_none()).await;
        }
        let mut asked = None;
        if let Some(question) = question.filter(|_| bytes.is_empty() && ending == Ending::Quiet) {
            let until = endpoint.deadline().min(Instant::now() + ANSWER_WAIT);
            if !connection::send(stream, &question.payload, until).await {
                return Identified::default();
            }
            // To its end: what comes first may only say that the rest comes.
            connection::read(stream, &mut bytes, patience(endpoint, ANSWER_WAIT), |_| false).await;
            asked = Some(question);
        }
        if bytes.is_empty() {
            return Identified::default();
        }
        let found = self.judge(endpoint, asked.as_ref(), lines::of_ssh(&bytes).unwrap_or(&bytes));
        let found = found.map(|found| lines::without_half_a_version(found, &bytes));
        Identified { banner: printable_banner(&bytes), service: found.map(|found| found.service.clone()) }
    }

    /// The question in the port's own protocol, if the rules have one.
    fn own_probe(&self, port: u16) -> Option<ProbeRef> {
        let probes = self.probes(Protocol::Tcp, port, false);
        probes.iter().find(|probe| is_own(probe, Port::tcp(port))).cloned()
    }
}

/// Whether a probe is in the own protocol of a fragile port: one of the program's own that the table names for it. A name alone
/// is nothing, since feeds and files name their probes as they like.
pub(super) fn is_own(probe: &ProbeRef, port: Port) -> bool {
    probe.is_built_in && Gate::own_probes(port).contains(&&*probe.name)
}

fn patience(endpoint: &Endpoint<'_>, wait: Duration) -> Patience {
    let now = Instant::now();
    let first = endpoint.deadline().min(now + wait);
    Patience { first, gap: GAP, last: endpoint.deadline().min(first + wait) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use tokio::io::AsyncReadExt;
    use tokio::net::UdpSocket;

    use super::super::tests::Server;
    use super::super::{Options, RuleSet, ServiceProbes};
    use super::*;

    /// Probes of a feed that are called as the program's own, for the same ports and for those that have none.
    const FEED: &str = "Probe TCP NULL q||\n\
        Probe TCP modbus-identify q|OVERWRITE|\nports 502,2404\nrarity 1\nmatch x m|^x| p/X/\n\
        Probe TCP fox-hello q|OVERWRITE|\nports 1911\nrarity 1\nmatch x m|^x| p/X/\n\
        Probe UDP modbus-identify q|OVERWRITE|\nports 502\nrarity 1\nmatch x m|^x| p/X/\n\
        Probe UDP bacnet-read q|OVERWRITE|\nports 47808\nrarity 1\nmatch x m|^x| p/X/\n\
        Probe UDP opcua-hello q|OVERWRITE|\nports 4840\nrarity 1\nmatch x m|^x| p/X/\n";

    fn with_feed() -> Detector {
        let feed = ServiceProbes::of_bytes(Path::new("feed"), FEED.as_bytes()).unwrap();
        Detector::new(Arc::new(RuleSet::builtin().with_service_probes(Arc::new(feed))), 64)
    }

    #[tokio::test]
    async fn a_feeds_probe_that_is_called_as_an_own_one_is_never_sent_to_a_fragile_port() {
        for (address, own) in [("127.55.2.1:502", &b"PN\x00\x00\x00\x05\x01+\x0e\x01\x00"[..]), ("127.55.2.1:789", b"")]
        {
            let got = Arc::new(Mutex::new(Vec::new()));
            let to = Arc::clone(&got);
            let server = Server::on(address, move |mut stream| {
                let to = Arc::clone(&to);
                async move {
                    let mut bytes = [0; 512];
                    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                        to.lock().unwrap().extend_from_slice(&bytes[..count]);
                    }
                }
            })
            .await;
            with_feed().identify(server.address, Protocol::Tcp, None, &Options::default()).await;
            assert_eq!(*got.lock().unwrap(), own, "{address} gets the program's own question alone");
        }
        for address in ["127.55.2.1:502", "127.55.2.1:4840", "127.55.2.1:47808"] {
            let device = UdpSocket::bind(address).await.unwrap();
            with_feed().identify(address.parse().unwrap(), Protocol::Udp, None, &Options::default()).await;
            let mut bytes = [0; 512];
            while let Ok(count) = device.try_recv(&mut bytes) {
                assert!(!bytes[..count].windows(9).any(|window| window == b"OVERWRITE"), "{address}");
                assert!(address.ends_with(":47808"), "{address} has no question of the program's own over UDP");
            }
        }
    }
}
