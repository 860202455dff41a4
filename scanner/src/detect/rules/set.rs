//! The one matcher of our own rules, the user's recog directory and the user's service probes.

use std::sync::Arc;

use super::index::{Asked, RuleIndex, add};
use super::text::RuleFileError;
use super::{catalog, kinds};
use crate::detect::nmap_probes::ServiceProbes;
use crate::detect::recog::{Recog, to_service};
use crate::detect::{Answer, Match, Matcher, ProbeId, ProbeRef};
use crate::finding::{Certificate, Tls};
use crate::port::Protocol;
use crate::udp_scan::payload::Catalogue;
use crate::vuln::exposure::Exposures;

/// Certificates of a chain that are looked at: its own, and those who signed it.
const CERTIFICATES_MAX: usize = 4;

/// Everything that a scan knows answers by.
///
/// ```
/// use pentora_scanner::detect::{Answer, Matcher, RuleSet};
/// use pentora_scanner::port::Protocol;
///
/// let bytes = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
/// let answer = Answer { protocol: Protocol::Tcp, port: 22, is_tls: false, probe: None, bytes };
/// let found = RuleSet::builtin().matches(&answer).unwrap();
/// assert_eq!(found.service.version.as_deref(), Some("9.2p1"));
/// ```
#[derive(Debug, Clone)]
pub struct RuleSet {
    /// `None` for the program's own rules, which are read when an answer is first to be known.
    own: Option<Arc<RuleIndex>>,
    recog: Option<Arc<Recog>>,
    user: Option<Arc<ServiceProbes>>,
    /// `None` for the program's own rules of exposure.
    exposures: Option<Arc<Exposures>>,
}

impl RuleSet {
    /// The program's own rules. They are read once, when they are first used.
    #[must_use]
    pub fn builtin() -> Self {
        Self { own: None, recog: None, user: None, exposures: None }
    }

    /// Rules from files of the format that `scanner/fingerprints/FORMAT.md` describes, each a name and its text, in
    /// place of the program's own.
    ///
    /// # Errors
    ///
    /// The first mistake, with its file and line.
    pub fn from_rules(files: &[(&str, &str)]) -> Result<Self, RuleFileError> {
        Ok(Self { own: Some(Arc::new(RuleIndex::new(files)?)), ..Self::builtin() })
    }

    /// With a directory of recog's fingerprints.
    #[must_use]
    pub fn with_recog(self, recog: Arc<Recog>) -> Self {
        Self { recog: Some(recog), ..self }
    }

    /// With the user's own service probes.
    #[must_use]
    pub fn with_service_probes(self, probes: Arc<ServiceProbes>) -> Self {
        Self { user: Some(probes), ..self }
    }

    /// With rules of exposure in place of the program's own.
    #[must_use]
    pub fn with_exposures(self, exposures: Arc<Exposures>) -> Self {
        Self { exposures: Some(exposures), ..self }
    }

    /// The rules of exposure, where they are not the program's own alone.
    pub(crate) fn own_exposures(&self) -> Option<Arc<Exposures>> {
        self.exposures.clone()
    }

    /// What UDP ports are asked beside the table that the program has, by the user's service probes.
    pub(crate) fn udp_requests(&self) -> Catalogue {
        self.user.as_deref().map(ServiceProbes::udp_requests).unwrap_or_default()
    }

    /// The rules that are not the user's.
    fn own(&self) -> &RuleIndex {
        self.own.as_deref().unwrap_or_else(|| catalog::builtin())
    }

    /// The number of a user's probe in its own file, when it is one.
    fn user_probe(&self, id: ProbeId) -> Option<u32> {
        id.0.checked_sub(u32::try_from(self.own().probes.len()).ok()?)
    }

    /// What the user's service probes make of an answer.
    fn user_match(&self, from: &Answer<'_>, user_probe: Option<u32>) -> Option<Match> {
        self.user.as_ref()?.matches(from.protocol, from.probe.is_none(), user_probe, from.bytes)
    }

    /// What recog makes of an answer of that service.
    fn recog_match(&self, service: &str, bytes: &[u8]) -> Option<Match> {
        let recog = self.recog.as_ref()?;
        let mut best: Option<Match> = None;
        for (kind, text) in kinds::texts(service, bytes) {
            let Some(params) = recog.matches(kind, &text) else { continue };
            let found = to_service(kind, service, &params);
            match &mut best {
                Some(best) => add(&mut best.service, found),
                None => best = Some(Match { is_soft: false, service: found }),
            }
        }
        best
    }
}

impl Matcher for RuleSet {
    fn probes(&self, protocol: Protocol, port: u16, is_tls: bool) -> Vec<ProbeRef> {
        let lists = |ports: &[(u16, u16)]| ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
        let count = |ports: &[(u16, u16)]| {
            ports.iter().map(|(first, last)| 1 + u32::from(last.saturating_sub(*first))).sum::<u32>()
        };
        let mut found: Vec<(u32, ProbeRef)> = Vec::new();
        for (number, probe) in (0u32..).zip(&self.own().probes) {
            let ports = if is_tls { &probe.tls_ports } else { &probe.ports };
            let is_hinted = lists(ports);
            if probe.protocol == protocol && (is_hinted || !probe.is_hinted_only) {
                let (name, payload, services) = (probe.name.clone(), probe.payload.clone(), probe.services.clone());
                let probe = ProbeRef {
                    id: ProbeId(number),
                    name,
                    payload,
                    rarity: probe.rarity,
                    is_hinted,
                    services,
                    request: probe.request,
                    is_built_in: self.own.is_none(),
                };
                found.push((count(ports), probe));
            }
        }
        if let Some(user) = &self.user {
            let first = u32::try_from(self.own().probes.len()).unwrap_or(u32::MAX);
            found.extend(user.probes(protocol, port, is_tls).into_iter().map(|(number, mut probe)| {
                probe.id = ProbeId(first.saturating_add(number));
                (u32::MAX, probe)
            }));
        }
        // A probe that is for few ports tells more of them than one that is for many.
        found.sort_by_key(|(ports, probe)| (!probe.is_hinted, if probe.is_hinted { *ports } else { 0 }, probe.rarity));
        found.into_iter().map(|(_, probe)| probe).collect()
    }

    fn handshake(&self, port: u16, tls: &Tls) -> Option<Match> {
        self.own().matches(Asked::Certificate, Protocol::Tcp, lines_of(port, tls).as_bytes())
    }

    fn matches(&self, from: &Answer<'_>) -> Option<Match> {
        let user_probe = from.probe.and_then(|id| self.user_probe(id));
        let asked = match (from.probe, user_probe) {
            (None, _) => Asked::Nothing,
            (Some(_), Some(_)) => Asked::Foreign,
            (Some(id), None) => Asked::Own(id.0),
        };
        let own = self.own().matches(asked, from.protocol, from.bytes);
        let name = own.as_ref().map(|own| own.service.name.clone());
        let recog = name.and_then(|name| self.recog_match(&name, from.bytes));
        let own_soft = match own {
            Some(mut own) if !own.is_soft => {
                if let Some(recog) = recog {
                    complete(&mut own, recog);
                }
                // Who only knows the protocol gives way to who knows the product.
                let named = || own.service.product.is_none().then(|| self.user_match(from, user_probe)).flatten();
                return named().filter(|user| !user.is_soft && user.service.product.is_some()).or(Some(own));
            }
            own => own,
        };
        match self.user_match(from, user_probe) {
            Some(user) if !user.is_soft => Some(user),
            user => recog.filter(|recog| recog.service.product.is_some()).or(own_soft).or(user),
        }
    }
}

/// A handshake as lines that rules can match, with the first certificates of the chain; no text of a certificate can forge one.
fn lines_of(port: u16, tls: &Tls) -> String {
    let one_line = |text: &str| text.replace(['\n', '\r'], " ");
    let of_one = |one: &Certificate| {
        let names = one.names.iter().map(|name| format!("name={}\n", one_line(name)));
        let names: String = names.collect();
        format!("subject={}\nissuer={}\n{names}", one_line(&one.subject), one_line(&one.issuer))
    };
    let certificates: String = tls.chain.iter().take(CERTIFICATES_MAX).map(of_one).collect();
    let (cipher, alpn) = (tls.cipher.as_deref().unwrap_or_default(), tls.alpn.as_deref().unwrap_or_default());
    format!("port={port}\ncipher={cipher}\nalpn={}\n{certificates}", one_line(alpn))
}

/// Adds what recog tells to what our own rules are certain of; a version only for the same product, or for none.
fn complete(own: &mut Match, recog: Match) {
    let mut recog = recog.service;
    let same = |a: &str, b: &str| a.to_ascii_lowercase().contains(&b.to_ascii_lowercase());
    let is_same = match (&own.service.product, &recog.product) {
        (Some(ours), Some(theirs)) => same(ours, theirs) || same(theirs, ours),
        (None, _) => true,
        (Some(_), None) => false,
    };
    if is_same && own.service.version.is_none() {
        own.service.version = recog.version.take();
    }
    if own.service.product.is_some() {
        // Two names of one product, or of two, would both be matched against advisories.
        recog.cpes.retain(|cpe| !cpe.starts_with("cpe:2.3:a:"));
    }
    add(&mut own.service, recog);
}

#[cfg(test)]
#[path = "set/set_test.rs"]
mod tests;
