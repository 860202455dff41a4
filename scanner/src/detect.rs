//! What answers behind an open port: probes, answers, and what rules make of them.
//!
//! [`Detector::identify`] opens a few connections to one port and tells what it is. The silent listen and the questions
//! that the port's number suggests run side by side; the first certain match ends it. Where TLS answers, the interrogation starts
//! again inside. What is found is then described further: certificates, HTTP pages, the operating system it speaks for.
//! `attach` (in `service_scan`) does that for every open port of a running scan.
//!
//! The engine knows no product: rules do, behind [`Matcher`]. Everything that a server sends is bounded in bytes and
//! time, and no server can send the engine to another address. Weaknesses are judged elsewhere, from what is found here.

mod cache;
mod connection;
pub mod http;
mod interrogation;
mod lines;
mod matcher;
mod nmap_probes;
mod ntlm;
pub mod os;
mod own_protocol;
mod own_time;
mod pacing;
mod plain;
mod ports;
mod probe_order;
mod recog;
mod rules;
pub mod service_scan;
pub mod starttls;
mod tds;
pub mod tls;
mod udp;
mod weak;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use self::cache::Cache;
use self::connection::Endpoint;
use self::interrogation::{Outcome, Seen};
pub use self::matcher::{ANSWER_BYTES_MAX, Answer, Match, Matcher, ProbeId, ProbeRef};
pub use self::nmap_probes::{ServiceProbes, ServiceProbesError, SkippedMatch};
use self::own_time::{OwnTime, Waits};
pub use self::pacing::Pacing;
pub use self::plain::Plain;
pub use self::recog::{Checked, Recog, RecogError, Skipped, check_examples};
#[cfg(fuzzing)]
pub(crate) use self::rules::challenge;
#[cfg(fuzzing)]
pub use self::rules::each_dissected;
pub use self::rules::{RuleFileError, RuleSet};
use self::starttls::Upgrade;
#[cfg(fuzzing)]
pub(crate) use self::tds::{agrees as agrees_to_tls, contents_of_packets};
use crate::finding::{Service, ServiceMethod, printable_banner};
use crate::gate::{self, Gate, Stage, Verdict};
use crate::occupancy::Occupancy;
use crate::port::Protocol;
use crate::vuln::exposure::Exposures;

/// How hard to try when nobody says: nmap's default, so that its users find what they know.
pub const DEFAULT_INTENSITY: u8 = 7;
/// The highest intensity: every probe there is.
pub const INTENSITY_MAX: u8 = 9;
/// How long a silent port is asked when nobody says.
pub const DEFAULT_BUDGET: Duration = Duration::from_secs(8);
/// How long a port that has only answered when its time was nearly up may still take to say more.
const ANSWERED_LEAST: Duration = Duration::from_secs(3);
/// Ports that are asked at once by all units together: most of their time is waiting, and each takes some kilobytes.
const ASKED_MAX: usize = 1536;
/// Connections that a port may use at once before others wait for theirs: a silent one uses two, most use one.
const CONNECTIONS_PER_PORT: usize = 2;
/// Lists of probes that are remembered, by port: a scan has a few hundred open ports by number.
const PROBE_LISTS_MAX: usize = 1024;
/// HTTP/2 as TLS names it (RFC 9113 section 3.1).
const HTTP_2: &str = "h2";

/// How a port is to be asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// 0 to 9: probes of a rarity up to this are sent, and always those that the port's number suggests.
    pub intensity: u8,
    /// How long one port may take in all: the interrogation, the one inside TLS, the description, the checks for weaknesses.
    /// Only what has just answered is waited for beyond it, and then for seconds; and a port whose number says that it greets
    /// is listened to for as long again.
    pub budget: Duration,
    /// How connections begin, shared by all of a job; `None` for at once.
    pub pacing: Option<Arc<Pacing>>,
    /// What may be sent to whom.
    pub gate: Gate,
}

impl Default for Options {
    /// Intensity 7, 8 seconds, no limit but those of hosts, ports and what is fragile.
    fn default() -> Self {
        Self { intensity: DEFAULT_INTENSITY, budget: DEFAULT_BUDGET, pacing: None, gate: Gate::default() }
    }
}

/// What a port was found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identified {
    /// What it said first, printable.
    pub banner: Option<String>,
    /// What it is; `None` when nothing that it said is known.
    pub service: Option<Service>,
}

/// Asks ports what they are. One per process is enough: it holds the cache and bounds the connections.
#[derive(Debug)]
pub struct Detector {
    matcher: Arc<dyn Matcher>,
    cache: Cache,
    probe_lists: Mutex<ProbeLists>,
    /// One permit for each port that is asked by a [`service_scan`].
    room: Arc<Semaphore>,
    connections: Semaphore,
    occupancy: Arc<Occupancy>,
    connector: Connector,
    /// For servers that take nothing but HTTP/2.
    connector_2: Connector,
    /// Rules of exposure in place of those that are built in.
    exposures: Option<Arc<Exposures>>,
}

/// Lists of probes by protocol, port, and whether they are for inside TLS.
type ProbeLists = HashMap<(Protocol, u16, bool), Arc<[ProbeRef]>>;

/// A connector that can be shown.
struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl Detector {
    /// A detector with these rules and at most so many connections open at once.
    #[must_use]
    pub fn new(matcher: Arc<dyn Matcher>, connections_max: usize) -> Self {
        Self {
            matcher,
            cache: Cache::default(),
            probe_lists: Mutex::default(),
            room: Arc::new(Semaphore::new((connections_max / CONNECTIONS_PER_PORT).clamp(1, ASKED_MAX))),
            connections: Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)),
            occupancy: Arc::default(),
            connector: Connector(tls::connector()),
            connector_2: Connector(tls::connector_for(&[HTTP_2])),
            exposures: None,
        }
    }

    /// The same, which judges by these rules of exposure.
    #[must_use]
    pub fn with_exposures(self, exposures: Option<Arc<Exposures>>) -> Self {
        Self { exposures, ..self }
    }

    /// The same, counting the connections to each host and port together with whoever else counts there.
    pub(crate) fn within(self, occupancy: &Arc<Occupancy>) -> Self {
        Self { occupancy: Arc::clone(occupancy), ..self }
    }

    /// Finds out what is behind an open port, within the budget of `options` (see there).
    ///
    /// `name` is the host name that the target was given as: it is what TLS and HTTP are asked for. What the gate of
    /// `options` denies is not touched, and where only the port's own protocol may be spoken, nothing else is. Dropping the
    /// future ends it and closes its connections.
    pub async fn identify(
        &self,
        target: SocketAddr,
        protocol: Protocol,
        name: Option<&str>,
        options: &Options,
    ) -> Identified {
        self.identify_heard(target, protocol, name, options, None, &Waits::default()).await
    }

    /// The same for a port that has said something already: the datagram that showed it open is looked at first, and where
    /// that tells for certain what it is, nothing is sent.
    pub(crate) async fn identify_heard(
        &self,
        target: SocketAddr,
        protocol: Protocol,
        name: Option<&str>,
        options: &Options,
        heard: Option<&[u8]>,
        waits: &Waits,
    ) -> Identified {
        let is_own = match options.gate.ask(target.ip(), gate::port_of(target, protocol), Stage::Service) {
            Verdict::Allow => false,
            Verdict::OwnProtocol => true,
            Verdict::SynOnly | Verdict::Deny(_) => return Identified::default(),
        };
        let room = self.occupancy.of(target, is_own);
        let greets = protocol == Protocol::Tcp && ports::is_greeted(target.port());
        let endpoint = Endpoint {
            address: target,
            name,
            tls: None,
            speaks_http_2: false,
            gate: &options.gate,
            room: &room,
            connections: &self.connections,
            pacing: options.pacing.as_deref(),
            time: OwnTime::new(waits, options.budget, greets),
        };
        let mut identified = match protocol {
            Protocol::Tcp if is_own => Box::pin(self.identify_in_own_protocol(&endpoint)).await,
            // Boxed: it is large, and there are thousands of them.
            Protocol::Tcp => Box::pin(self.identify_tcp(endpoint, options)).await,
            Protocol::Udp => self.identify_udp(&endpoint, options.intensity, is_own, heard).await,
        };
        if let Some(service) = &mut identified.service {
            service.method = ServiceMethod::Probed;
            os::annotate(service, identified.banner.as_deref(), None);
        }
        identified
    }

    async fn identify_tcp(&self, endpoint: Endpoint<'_>, options: &Options) -> Identified {
        let seen = self.interrogate(&endpoint, options.intensity).await;
        if matches!(seen.outcome, Outcome::Tls) {
            // Boxed, as what follows is: most ports never come to it, and thousands wait at once.
            return Box::pin(self.identify_inside(endpoint.answered(), options)).await;
        }
        let again = endpoint.answered();
        let Some(mut identified) = self.described(&again, seen).await else { return Identified::default() };
        let upgrade = identified.service.as_ref().and_then(|service| Upgrade::of(&service.name));
        if let (Some(service), Some(upgrade)) = (&mut identified.service, upgrade) {
            let told = Box::pin(tls::inspect(&again, Some(upgrade))).await;
            service.facts.extend(told.facts());
            service.tls = told.tls.map(Box::new);
        }
        if let Some(service) = &mut identified.service {
            Box::pin(ntlm::annotate(&again, &self.connector.0, service)).await;
        }
        identified
    }

    /// The same inside TLS, and what TLS itself tells.
    async fn identify_inside(&self, endpoint: Endpoint<'_>, options: &Options) -> Identified {
        // One after the other: a server of one client at a time would leave the inspection waiting behind the interrogation.
        let told = tls::inspect(&endpoint, None).await;
        let protocol = told.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        let speaks_http_2 = protocol == Some(HTTP_2);
        let particular;
        let connector = if speaks_http_2 {
            &self.connector_2.0
        } else if told.is_particular {
            particular = tls::connector_for(protocol.as_slice());
            &particular
        } else {
            &self.connector.0
        };
        let inside = Endpoint { tls: Some(connector), speaks_http_2, ..endpoint };
        let inside = if told.tls.is_some() { inside.answered() } else { inside };
        let mut known = if speaks_http_2 {
            Box::pin(self.asked_over_http_2(&inside)).await.unwrap_or_default()
        } else {
            let seen = self.interrogate(&inside, options.intensity).await;
            // What says nothing inside is not asked further, so this costs a silent port nothing.
            self.described(&inside.answered(), seen).await.unwrap_or_default()
        };
        let mut told = told;
        let is_mute = known.service.as_ref().is_none_or(|service| service.name == WRAPPED);
        if let Some(tls) = told.tls.as_mut().filter(|tls| is_mute && tls.alpn.is_none())
            && tls::chooses(&inside.answered(), HTTP_2).await
        {
            // It goes on where it is offered HTTP/1.1 alone, and then closes.
            tls.alpn = Some(HTTP_2.to_owned());
            let over = Endpoint { tls: Some(&self.connector_2.0), speaks_http_2: true, ..inside.answered() };
            known = Box::pin(self.asked_over_http_2(&over)).await.unwrap_or(known);
        }
        let of_certificate = || {
            let found = self.matcher.handshake(endpoint.address.port(), told.tls.as_ref()?)?;
            Some(found.service)
        };
        let mut service = known
            .service
            .filter(|service| service.name != WRAPPED)
            .or_else(of_certificate)
            .unwrap_or_else(|| told.alone(endpoint.address.port()));
        service.facts.extend(told.facts());
        service.tls = told.tls.map(Box::new);
        if !speaks_http_2 {
            Box::pin(ntlm::annotate(&inside.answered(), &self.connector.0, &mut service)).await;
        }
        Identified { banner: known.banner, service: Some(service) }
    }

    /// What an interrogation came to in the words of a finding, with HTTP's own words where it speaks that.
    async fn described(&self, endpoint: &Endpoint<'_>, seen: Seen) -> Option<Identified> {
        let mut banner = seen.greeting.as_deref().and_then(printable_banner);
        let mut service = match &seen.outcome {
            Outcome::Known(found) if is_http_2_alone(&found.service) => {
                let over = Endpoint { speaks_http_2: true, ..*endpoint };
                let mut told =
                    Box::pin(self.asked_over_http_2(&over)).await.unwrap_or(Identified { banner, service: None });
                told.service.get_or_insert_with(|| found.service.clone());
                return Some(told);
            }
            Outcome::Known(found) => found.service.clone(),
            Outcome::Unknown if self.is_web_port(endpoint) || seen.has_dropped_page => {
                // Some servers drop a request of HTTP/1.0, or one without a host, without a word.
                let first = Box::pin(http::get_first(endpoint)).await.map(|page| page.bytes);
                let Some((service, page)) = first.and_then(|page| self.page_named(endpoint, page)) else {
                    return Some(Identified { banner, service: None });
                };
                let banner = printable_banner(http::final_answer(&page));
                let mut service = service;
                Box::pin(self.describe_page(endpoint, &mut service, page)).await;
                return Some(Identified { banner, service: Some(service) });
            }
            Outcome::Wrapped => wrapped(),
            Outcome::Unknown | Outcome::Tls => return Some(Identified { banner, service: None }),
        };
        let is_http = seen.page.is_some() || service.name.starts_with("http");
        if is_http {
            // A name selects the site: the probe did not say it.
            let is_decided_by_page = seen.page.is_some();
            let page = match seen.page.filter(|_| endpoint.name.is_none()) {
                Some(page) if http::is_refusal_of_the_request(endpoint, &page) => {
                    // What was refused was how it was asked, in HTTP/1.0 or without a host.
                    let better = Box::pin(self.asked_as_a_browser_does(endpoint)).await;
                    let better = better.filter(|(_, page)| !http::is_refusal_of_the_request(endpoint, page));
                    better.map_or(Some(page), |(found, page)| {
                        banner = printable_banner(http::final_answer(&page));
                        if found.product.is_some() || service.product.is_none() {
                            service = found;
                        }
                        Some(page)
                    })
                }
                Some(page) => Some(page),
                None => {
                    let page = Box::pin(http::get(endpoint, "/")).await.map(|page| page.bytes);
                    self.take_page(endpoint, &mut service, page.as_deref(), is_decided_by_page);
                    page
                }
            };
            if let Some(page) = page {
                if endpoint.name.is_some() && seen.greeting.as_deref().is_some_and(http::is_http) {
                    // Of the site that was asked for by name, not of the one that answers to none.
                    banner = printable_banner(&page);
                }
                Box::pin(self.describe_page(endpoint, &mut service, page)).await;
            }
        }
        Some(Identified { banner, service: Some(service) })
    }

    /// Adds what a page, and the one that it leads to, tell of a service. An application that only the latter names goes
    /// before the server that sent it.
    async fn describe_page(&self, endpoint: &Endpoint<'_>, service: &mut Service, page: Vec<u8>) {
        let Some((http, last)) = http::describe(endpoint, page).await else { return };
        self.take_page(endpoint, service, last.as_deref(), false);
        service.http = Some(Box::new(http));
    }

    /// Takes in what the rules say of a page that was fetched after another answer had told what the service is.
    ///
    /// An application that only the page names goes before the server that sent it. Where `is_other_site`, the answer was the
    /// page of another site of that server, and whatever this one names is what counts.
    fn take_page(&self, endpoint: &Endpoint<'_>, service: &mut Service, page: Option<&[u8]>, is_other_site: bool) {
        let found = page.and_then(|page| self.judge(endpoint, self.web_probe(endpoint).as_ref(), page));
        let is_more = |found: &Arc<Match>| {
            let is_of_it = found.service.name == service.name || service.name == "http";
            let is_surer = found.service.confidence > service.confidence;
            !found.is_soft && is_of_it && (is_surer || is_other_site && found.service.product.is_some())
        };
        if let Some(found) = found.filter(is_more) {
            let before = std::mem::replace(service, found.service.clone());
            if !is_other_site {
                // The server's own name would be matched against advisories as the application's.
                rules::add(service, Service { cpes: Vec::new(), ..before });
            }
        }
    }

    /// Whether the number of a port is one of web servers.
    fn is_web_port(&self, endpoint: &Endpoint<'_>) -> bool {
        self.web_probe(endpoint).is_some_and(|probe| probe.is_hinted)
    }

    fn web_probe(&self, endpoint: &Endpoint<'_>) -> Option<ProbeRef> {
        let probes = self.probes(Protocol::Tcp, endpoint.address.port(), endpoint.tls.is_some());
        probes.iter().find(|probe| probe.payload.starts_with(b"GET / ")).cloned()
    }

    /// What answers to a whole request of HTTP/1.1, which names a host: the service, and its page.
    async fn asked_as_a_browser_does(&self, endpoint: &Endpoint<'_>) -> Option<(Service, Vec<u8>)> {
        let page = http::get(endpoint, "/").await?.bytes;
        self.page_named(endpoint, page)
    }

    /// What the rules make of a page, with it.
    fn page_named(&self, endpoint: &Endpoint<'_>, page: Vec<u8>) -> Option<(Service, Vec<u8>)> {
        let found = self.judge(endpoint, self.web_probe(endpoint).as_ref(), &page)?;
        Some((found.service.clone(), page))
    }

    /// What answers over HTTP/2, with its page. Its banner is what it said in the words of HTTP/1, but for the version.
    async fn asked_over_http_2(&self, endpoint: &Endpoint<'_>) -> Option<Identified> {
        let (mut service, page) = self.asked_as_a_browser_does(endpoint).await?;
        let banner = page.strip_prefix(b"HTTP/1.1").map(|rest| [b"HTTP/2", rest].concat());
        let banner = banner.as_deref().and_then(printable_banner);
        self.describe_page(endpoint, &mut service, page).await;
        Some(Identified { banner, service: Some(service) })
    }

    /// The probes for a port, remembered.
    fn probes(&self, protocol: Protocol, port: u16, is_tls: bool) -> Arc<[ProbeRef]> {
        let key = (protocol, port, is_tls);
        let lists = || self.probe_lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = lists().get(&key) {
            return Arc::clone(list);
        }
        let list: Arc<[ProbeRef]> = self.matcher.probes(protocol, port, is_tls).into();
        let mut lists = lists();
        if lists.len() >= PROBE_LISTS_MAX {
            lists.clear();
        }
        lists.insert(key, Arc::clone(&list));
        list
    }

    /// What the rules make of an answer: to the probe first, and where that is not certain, to none.
    fn matched(&self, answer: &Answer<'_>) -> Option<Arc<Match>> {
        let judge = |answer: &Answer<'_>| {
            let matched = || self.matcher.matches(answer).map(Arc::new);
            self.cache.get(answer, self.matcher.depends_on_port(), matched)
        };
        let found = judge(answer);
        if answer.probe.is_none() || found.as_ref().is_some_and(|found| !found.is_soft) {
            return found;
        }
        let unasked = judge(&Answer { probe: None, ..*answer });
        match (&found, &unasked) {
            (Some(_), Some(unasked)) if unasked.is_soft => found,
            (Some(_), None) => found,
            _ => unasked,
        }
    }
}

/// Whether a server begins with a frame of HTTP/2, which it then speaks without having agreed on it (RFC 9113 section 3.3).
fn is_http_2_alone(service: &Service) -> bool {
    service.facts.iter().any(|(name, value)| name == "http-version" && value == "2")
}

/// The name of a port that accepts connections and closes them without a word: a filter in front of a service.
const WRAPPED: &str = "tcpwrapped";

fn wrapped() -> Service {
    Service { name: WRAPPED.to_owned(), confidence: 100, ..Service::default() }
}

#[cfg(test)]
#[path = "detect/detect_test.rs"]
mod tests;

#[cfg(test)]
#[path = "detect/conversation_test.rs"]
mod conversation_tests;

#[cfg(test)]
#[path = "detect/bare_page_test.rs"]
mod bare_page_tests;

#[cfg(test)]
#[path = "detect/http_2_test.rs"]
mod http_2_tests;

#[cfg(test)]
#[path = "detect/tls_refusal_test.rs"]
mod tls_refusal_tests;

#[cfg(test)]
#[path = "detect/greeting_test.rs"]
mod greeting_tests;

#[cfg(test)]
#[path = "detect/tarpit_test.rs"]
mod tarpit_tests;
