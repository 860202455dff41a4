//! A user's own file of probes and matches in the syntax of nmap's service probes.
//!
//! Only the syntax is here, from its public documentation; no such file is part of the program, looked for, or
//! downloaded. Patterns that cannot be used, since they need backtracking or are none, are left out and told with the reason:
//! see [`ServiceProbes::skipped`].

mod read;
mod template;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use self::read::BadLine;
use self::template::{Template, fill};
use super::rules::{PatternSet, cpe_2_3};
use super::{Match, ProbeId, ProbeRef};
use crate::finding::{Service, ServiceMethod};
use crate::port::Protocol;
use crate::udp_scan::payload::Catalogue;

/// Most bytes of a file; real ones have three megabytes.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How sure a match is, and a soft one.
const CONFIDENCE: (u8, u8) = (90, 50);

/// Why a file of service probes cannot be used.
#[derive(Debug, Error)]
pub enum ServiceProbesError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than any real one.
    #[error("{0} has more than {FILE_BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    /// A line is not what it should be.
    #[error("{path}:{line}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// A file's probes and matches.
#[derive(Debug)]
pub struct ServiceProbes {
    probes: Vec<Probe>,
    /// Ports that are never asked.
    exclude: Vec<(Protocol, u16, u16)>,
    /// Matches whose patterns cannot be used.
    skipped: Vec<SkippedMatch>,
    /// Whether none of them is sent.
    is_silent: bool,
}

/// A match that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedMatch {
    /// Its line, from 1.
    pub line: usize,
    /// What its pattern has that cannot be used; printable.
    pub problem: String,
}

/// A probe and what its answers mean.
struct Probe {
    name: Arc<str>,
    protocol: Protocol,
    /// Empty for the probe that only listens.
    payload: Arc<[u8]>,
    /// Whether a port may be asked it that is not known to be open.
    is_for_scans: bool,
    ports: Vec<(u16, u16)>,
    tls_ports: Vec<(u16, u16)>,
    rarity: u8,
    /// Probes whose matches are tried after its own.
    fallback: Vec<usize>,
    services: Arc<[Arc<str>]>,
    rules: Vec<Rule>,
    patterns: PatternSet,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("name", &self.name).field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}

/// A `match` or `softmatch` line.
#[derive(Debug, Clone)]
struct Rule {
    service: Arc<str>,
    is_soft: bool,
    line: usize,
    /// Each field's letter (`p`, `v`, `i`, `h`, `o`, `d`) and template.
    fields: Vec<(u8, Template)>,
    /// Templates of CPE names, part by part.
    cpes: Vec<Vec<Template>>,
}

impl ServiceProbes {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is too large, or a line of it is malformed. A pattern that cannot be used is no error.
    pub fn read(path: &Path) -> Result<Self, ServiceProbesError> {
        use std::io::Read;
        let failed = |source| ServiceProbesError::Read { path: path.into(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::of_bytes(path, &bytes)
    }

    /// Reads a file's bytes; `name` is for messages.
    ///
    /// # Errors
    ///
    /// As [`ServiceProbes::read`].
    pub fn of_bytes(name: &Path, bytes: &[u8]) -> Result<Self, ServiceProbesError> {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ServiceProbesError::TooLarge(name.into()));
        }
        read::read(bytes).map_err(|BadLine { line, problem }| ServiceProbesError::Malformed {
            path: name.into(),
            line,
            problem,
        })
    }

    /// The same, none of which is sent: they know what a port says by itself.
    #[must_use]
    pub fn silent(self) -> Self {
        Self { is_silent: true, ..self }
    }

    /// How many matches are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.probes.iter().map(|probe| probe.rules.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The matches that were left out, by line.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedMatch] {
        &self.skipped
    }

    /// What its UDP probes have the ports be asked that they name, the least rare first.
    pub(crate) fn udp_requests(&self) -> Catalogue {
        let is_sent = |probe: &&Probe| {
            probe.protocol == Protocol::Udp && !probe.payload.is_empty() && probe.is_for_scans && !self.is_silent
        };
        let mut sent: Vec<&Probe> = self.probes.iter().filter(is_sent).collect();
        sent.sort_by_key(|probe| probe.rarity);
        let mut catalogue = Catalogue::default();
        for probe in sent {
            let ports = probe.ports.iter().flat_map(|(first, last)| *first..=*last);
            catalogue.add(&probe.payload, ports.filter(|port| !self.is_excluded(Protocol::Udp, *port)));
        }
        catalogue
    }

    fn is_excluded(&self, protocol: Protocol, port: u16) -> bool {
        self.exclude.iter().any(|(kind, first, last)| *kind == protocol && (*first..=*last).contains(&port))
    }

    /// The probes for a port, each with its number in this file.
    pub(crate) fn probes(&self, protocol: Protocol, port: u16, is_tls: bool) -> Vec<(u32, ProbeRef)> {
        let lists = |ports: &[(u16, u16)]| ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
        if self.is_silent || self.is_excluded(protocol, port) {
            return Vec::new();
        }
        let numbered = (0u32..).zip(&self.probes);
        let sent = numbered.filter(|(_, probe)| probe.protocol == protocol && !probe.payload.is_empty());
        let probe_ref = |(number, probe): (u32, &Probe)| {
            let is_hinted = lists(if is_tls { &probe.tls_ports } else { &probe.ports });
            let (name, payload, services) = (probe.name.clone(), probe.payload.clone(), probe.services.clone());
            (
                number,
                ProbeRef {
                    id: ProbeId(number),
                    name,
                    payload,
                    rarity: probe.rarity,
                    is_hinted,
                    services,
                    request: None,
                    is_built_in: false,
                },
            )
        };
        sent.map(probe_ref).collect()
    }

    /// What an answer tells: to one of this file's probes, to nothing, or (`probe` is `None`) to somebody else's probe.
    pub(crate) fn matches(
        &self,
        protocol: Protocol,
        is_unasked: bool,
        probe: Option<u32>,
        bytes: &[u8],
    ) -> Option<Match> {
        let listening = || {
            self.probes.iter().enumerate().filter(|(_, probe)| probe.payload.is_empty() && probe.protocol == protocol)
        };
        let mut order = Vec::new();
        if let (false, Some(number)) = (is_unasked, probe) {
            let number = usize::try_from(number).ok()?;
            order.push(number);
            order.extend(self.probes.get(number).map_or(&[][..], |probe| &probe.fallback));
        }
        if protocol == Protocol::Tcp {
            order.extend(listening().map(|(number, _)| number));
        }
        let mut soft = None;
        for probe in order.into_iter().filter_map(|number| self.probes.get(number)) {
            match probe.first(bytes) {
                Some(hard) if !hard.is_soft => return Some(hard),
                found => soft = soft.or(found),
            }
        }
        soft
    }
}

impl Probe {
    /// The first match in the file's order; a soft one only when no hard one follows.
    fn first(&self, bytes: &[u8]) -> Option<Match> {
        let mut soft = None;
        for number in self.patterns.candidates(bytes) {
            let Some(rule) = self.rules.get(number as usize).filter(|rule| soft.is_none() || !rule.is_soft) else {
                continue;
            };
            let Some(regex) = self.patterns.regex(number) else { continue };
            let Some(captures) = regex.captures(bytes) else { continue };
            let found = rule.found(&captures);
            if !rule.is_soft {
                return Some(found);
            }
            soft = Some(found);
        }
        soft
    }
}

impl Rule {
    fn found(&self, captures: &regex::bytes::Captures<'_>) -> Match {
        let mut service = Service {
            name: self.service.to_string(),
            method: ServiceMethod::Probed,
            confidence: if self.is_soft { CONFIDENCE.1 } else { CONFIDENCE.0 },
            rule: Some(format!("service-probes line {}", self.line)),
            ..Service::default()
        };
        for (letter, template) in &self.fields {
            let place = match letter {
                b'p' => &mut service.product,
                b'v' => &mut service.version,
                b'i' => &mut service.info,
                b'h' => &mut service.hostname,
                b'o' => &mut service.os,
                _ => &mut service.device,
            };
            *place = Some(fill(template, captures)).filter(|text| !text.is_empty());
        }
        let uri = |parts: &Vec<Template>| {
            let parts: Vec<String> = parts.iter().map(|part| fill(part, captures).replace([':', '%'], "")).collect();
            cpe_2_3(&format!("cpe:/{}", parts.join(":")))
        };
        service.cpes = self.cpes.iter().filter_map(uri).collect();
        Match { service, is_soft: self.is_soft }
    }
}

#[cfg(test)]
#[path = "nmap_probes/nmap_probes_test.rs"]
mod tests;
