//! Probes and rules of several rule files, joined by their names, and how an answer is looked up in them.
//!
//! Of the rules that match an answer, the most confident one says what it is; of equals the one that was written first.
//! Rules that only add (a distribution, a module) fill in what that one left open.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use regex::bytes::Captures;

use super::dissect::Dissector;
use super::escape::unescape;
use super::pattern::{Compiled, Flags, Pattern, PatternSet};
use super::template::Template;
use super::text::{FileText, Place, ProbeText, ProtocolText, RuleFileError, RuleText, parse, ports};
use crate::detect::Match;
use crate::finding::{FACT_VERSION_TOLD, Service, ServiceMethod};
use crate::port::Protocol;
use crate::udp_scan::payload::{self, Ask, Payload};

/// Largest payload of a probe.
const PAYLOAD_BYTES_MAX: usize = 4096;
/// Most patterns kept compiled: all that one network's products need.
const COMPILED_MAX: usize = 1024;
/// Longest rest of a word behind a version that is looked at.
const WORD_BYTES_MAX: usize = 80;
/// What `from` calls an answer to no probe.
const BANNER: &str = "banner";
/// What `from` calls an answer to any probe.
const ANY: &str = "any";
/// What `from` calls the certificates of a server that says nothing else, as lines.
const CERTIFICATE: &str = "certificate";

/// A probe, as a file describes it.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
    pub(crate) ports: Vec<(u16, u16)>,
    pub(crate) tls_ports: Vec<(u16, u16)>,
    pub(crate) rarity: u8,
    pub(crate) is_hinted_only: bool,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) services: Arc<[Arc<str>]>,
    /// What it is in the UDP catalogue, if it is from there.
    pub(crate) request: Option<&'static Payload>,
    /// Its own number and those of the probes whose rules know its answers too.
    answers_like: Vec<u32>,
}

/// Where the answers come from that a rule looks at.
#[derive(Debug, Default)]
struct AnswerSource {
    is_banner: bool,
    is_any: bool,
    is_certificate: bool,
    probes: Vec<u32>,
}

/// A rule, checked and joined with its probes.
#[derive(Debug)]
struct Rule {
    id: Arc<str>,
    service: Arc<str>,
    source: AnswerSource,
    is_soft: bool,
    is_addition: bool,
    confidence: u8,
    fields: Vec<(Field, Template)>,
    cpes: Vec<Template>,
    facts: Vec<(String, Template)>,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Product,
    Version,
    Info,
    Hostname,
    Os,
    Device,
}

/// Rules over one kind of text: the answer itself, or what one dissector makes of it.
#[derive(Debug)]
struct RuleGroup {
    dissector: Option<Dissector>,
    rules: Vec<Rule>,
    patterns: PatternSet,
}

/// A group before its patterns are joined.
struct Draft {
    dissector: Option<Dissector>,
    rules: Vec<Rule>,
    patterns: Vec<Pattern>,
}

impl Draft {
    fn compile(self, compiled: &Arc<Compiled>) -> RuleGroup {
        let Self { dissector, rules, patterns } = self;
        RuleGroup { dissector, rules, patterns: PatternSet::new(patterns, compiled) }
    }
}

/// What an answer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing: a greeting.
    Nothing,
    /// A probe of this index, by its number.
    Own(u32),
    /// A probe of somebody else's file.
    Foreign,
    /// No question: certificates, as lines.
    Certificate,
}

/// Probes and rules, ready to be asked.
#[derive(Debug)]
pub(crate) struct RuleIndex {
    pub(crate) probes: Vec<Probe>,
    groups: Vec<RuleGroup>,
}

impl RuleIndex {
    /// Joins files, each a name and its text.
    pub(crate) fn new(files: &[(&str, impl AsRef<str>)]) -> Result<Self, RuleFileError> {
        let mut texts = Vec::new();
        for (file, text) in files {
            let place = Place { file, text: text.as_ref() };
            texts.push((place, parse(place)?));
        }
        let mut probes = read_probes(&texts)?;
        add_catalogue(&mut probes);
        let numbers: HashMap<Arc<str>, u32> =
            (0u32..).zip(&probes).map(|(number, probe)| (probe.name.clone(), number)).collect();
        link_fallbacks(&texts, &numbers, &mut probes)?;
        let mut drafts: Vec<Draft> = Vec::new();
        let mut ids = HashMap::new();
        for (place, text) in &texts {
            for rule in &text.rule {
                let at = rule.span().start;
                let rule = rule.get_ref();
                if ids.insert(rule.id.clone(), ()).is_some() {
                    return Err(place.error(at, format!("rule {:?} is there twice", rule.id)));
                }
                let (dissector, rule, pattern) = read_rule(rule, &numbers, *place, at)?;
                let draft = match drafts.iter_mut().find(|draft| draft.dissector == dissector) {
                    Some(draft) => draft,
                    None => {
                        drafts.push(Draft { dissector, rules: Vec::new(), patterns: Vec::new() });
                        drafts.last_mut().expect("just pushed")
                    }
                };
                draft.rules.push(rule);
                draft.patterns.push(pattern);
            }
        }
        name_services(&mut probes, &drafts);
        let compiled = Compiled::new(COMPILED_MAX);
        Ok(Self { probes, groups: drafts.into_iter().map(|draft| draft.compile(&compiled)).collect() })
    }

    /// What an answer tells.
    pub(crate) fn matches(&self, asked: Asked, protocol: Protocol, bytes: &[u8]) -> Option<Match> {
        let mut best: Option<Match> = None;
        let mut additions = Vec::new();
        for group in &self.groups {
            if !group.rules.iter().any(|rule| self.applies(rule, asked, protocol)) {
                continue;
            }
            let text = match group.dissector {
                Some(dissector) => match dissector.dissect(bytes) {
                    Some(text) => Cow::Owned(text),
                    None => continue,
                },
                None => Cow::Borrowed(bytes),
            };
            for number in group.patterns.candidates(&text) {
                let Some(rule) = group.rules.get(number as usize) else { continue };
                if !self.applies(rule, asked, protocol) || best.as_ref().is_some_and(|best| !rule.is_better(best)) {
                    continue;
                }
                let Some(regex) = group.patterns.regex(number) else { continue };
                let Some(captures) = regex.captures(&text) else { continue };
                let found = rule.fill(&captures, &text);
                if rule.is_addition { additions.push(found) } else { best = Some(found) }
            }
        }
        let mut best = best?;
        for addition in additions {
            add(&mut best.service, addition.service);
        }
        Some(best)
    }

    fn applies(&self, rule: &Rule, asked: Asked, protocol: Protocol) -> bool {
        let is_tcp = protocol == Protocol::Tcp;
        match asked {
            Asked::Nothing => rule.source.is_banner && is_tcp,
            Asked::Certificate => rule.source.is_certificate,
            Asked::Foreign => (rule.source.is_banner || rule.source.is_any) && is_tcp,
            Asked::Own(number) => {
                let like = self.probes.get(number as usize).map_or(&[][..], |probe| &probe.answers_like);
                rule.source.is_any && is_tcp || rule.source.probes.iter().any(|known| like.contains(known))
            }
        }
    }
}

impl Rule {
    /// Whether its word would replace the best one so far.
    fn is_better(&self, best: &Match) -> bool {
        self.is_addition || (best.is_soft, self.confidence) > (self.is_soft, best.service.confidence)
    }

    /// What the rule makes of `text`, in which it has captured.
    fn fill(&self, captures: &Captures<'_>, text: &[u8]) -> Match {
        let mut service = Service {
            name: self.service.to_string(),
            method: ServiceMethod::Probed,
            confidence: self.confidence,
            rule: Some(self.id.to_string()),
            ..Service::default()
        };
        for (field, template) in &self.fields {
            let place = match field {
                Field::Product => &mut service.product,
                Field::Version => &mut service.version,
                Field::Info => &mut service.info,
                Field::Hostname => &mut service.hostname,
                Field::Os => &mut service.os,
                Field::Device => &mut service.device,
            };
            *place = template.expand(captures);
        }
        service.cpes = self.cpes.iter().map(|cpe| cpe.expand_cpe(captures)).collect();
        let facts = self.facts.iter().filter_map(|(name, value)| Some((name.clone(), value.expand(captures)?)));
        service.facts = facts.collect();
        if let Some(whole) = self.version_told(captures, text, service.version.as_deref()) {
            service.facts.push((FACT_VERSION_TOLD.to_owned(), whole));
        }
        Match { service, is_soft: self.is_soft }
    }

    /// The version with what stands behind it in the same word, where the rule has left something of that.
    fn version_told(&self, captures: &Captures<'_>, text: &[u8], version: Option<&str>) -> Option<String> {
        let (_, template) = self.fields.iter().find(|(field, _)| matches!(field, Field::Version))?;
        let rest = text.get(template.end(captures)?..)?;
        let rest = rest.get(..rest.len().min(WORD_BYTES_MAX)).unwrap_or_default();
        let is_of_word = |at: usize, byte: u8| match byte {
            b'-' | b'+' | b'~' | b'_' => true,
            // The end of a sentence is none of a version, nor is a port; a package's epoch is.
            b'.' => at > 0 || rest.get(1).is_some_and(u8::is_ascii_alphanumeric),
            b':' => at > 0,
            _ => byte.is_ascii_alphanumeric(),
        };
        let end = rest.iter().enumerate().position(|(at, byte)| !is_of_word(at, *byte)).unwrap_or(rest.len());
        let word = str::from_utf8(rest.get(..end)?).ok()?.trim_end_matches(['.', ':', '-']);
        (!word.is_empty()).then(|| Some(version?.to_owned() + word)).flatten()
    }
}

/// Fills what a service leaves open with what another answer, or another reader of this one, tells.
pub(crate) fn add(service: &mut Service, more: Service) {
    let pairs = [
        (&mut service.product, more.product),
        (&mut service.info, more.info),
        (&mut service.hostname, more.hostname),
        (&mut service.os, more.os),
        (&mut service.device, more.device),
    ];
    for (place, value) in pairs {
        if place.is_none() {
            *place = value;
        }
    }
    for cpe in more.cpes {
        if !service.cpes.contains(&cpe) {
            service.cpes.push(cpe);
        }
    }
    for (name, value) in more.facts {
        if !service.facts.iter().any(|(known, _)| *known == name) {
            service.facts.push((name, value));
        }
    }
}

type Texts<'a> = [(Place<'a>, FileText)];

fn read_probes(texts: &Texts<'_>) -> Result<Vec<Probe>, RuleFileError> {
    let mut probes: Vec<Probe> = Vec::new();
    for (place, text) in texts {
        for spanned in &text.probe {
            let at = spanned.span().start;
            let probe = read_probe(spanned.get_ref(), u32::try_from(probes.len()).unwrap_or(u32::MAX), *place, at)?;
            if probes.iter().any(|known| known.name == probe.name) {
                return Err(place.error(at, format!("probe {:?} is there twice", probe.name)));
            }
            probes.push(probe);
        }
    }
    Ok(probes)
}

fn read_probe(probe: &ProbeText, number: u32, place: Place<'_>, at: usize) -> Result<Probe, RuleFileError> {
    let payload_at = probe.payload.span().start;
    let payload = unescape(probe.payload.get_ref()).map_err(|error| place.error(payload_at, error.to_string()))?;
    if payload.is_empty() || payload.len() > PAYLOAD_BYTES_MAX {
        return Err(place.error(payload_at, format!("a payload has 1 to {PAYLOAD_BYTES_MAX} bytes")));
    }
    if [BANNER, ANY, CERTIFICATE].contains(&probe.name.as_str()) || probe.name.is_empty() {
        return Err(place.error(at, format!("{:?} cannot be a probe's name", probe.name)));
    }
    if !(1..=9).contains(&probe.rarity) {
        return Err(place.error(at, format!("rarity {} is not between 1 and 9", probe.rarity)));
    }
    let protocol = match probe.protocol {
        ProtocolText::Tcp => Protocol::Tcp,
        ProtocolText::Udp => Protocol::Udp,
    };
    let list = |text: &str| ports(text).map_err(|problem| place.error(at, problem));
    Ok(Probe {
        name: probe.name.as_str().into(),
        protocol,
        ports: list(&probe.ports)?,
        tls_ports: list(&probe.tls_ports)?,
        rarity: probe.rarity,
        is_hinted_only: probe.hinted_only,
        payload: payload.into(),
        services: Arc::default(),
        request: None,
        answers_like: vec![number],
    })
}

/// Adds the requests of the UDP catalogue: the scan asks them, and what it hears is matched as their answers.
fn add_catalogue(probes: &mut Vec<Probe>) {
    let nobody = Ask { token: [0x55; 8], to: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    for (payload, ports) in payload::table() {
        if probes.iter().any(|known| *known.name == *payload.name) {
            continue;
        }
        let number = u32::try_from(probes.len()).unwrap_or(u32::MAX);
        let rarity = payload::rarity(payload);
        probes.push(Probe {
            name: payload.name.into(),
            protocol: Protocol::Udp,
            ports: ports.into_iter().map(|port| (port, port)).collect(),
            tls_ports: Vec::new(),
            rarity: rarity.unwrap_or(9),
            is_hinted_only: rarity.is_none(),
            payload: payload.write(&nobody).into(),
            services: Arc::default(),
            request: Some(payload),
            answers_like: vec![number],
        });
    }
}

fn link_fallbacks(
    texts: &Texts<'_>,
    numbers: &HashMap<Arc<str>, u32>,
    probes: &mut [Probe],
) -> Result<(), RuleFileError> {
    let written = texts.iter().flat_map(|(place, text)| text.probe.iter().map(move |probe| (place, probe)));
    for ((place, spanned), probe) in written.zip(probes) {
        for name in &spanned.get_ref().fallback {
            let number = numbers.get(name.as_str());
            let unknown = || place.error(spanned.span().start, format!("there is no probe {name:?} to fall back to"));
            probe.answers_like.push(*number.ok_or_else(unknown)?);
        }
    }
    Ok(())
}

fn read_rule(
    rule: &RuleText,
    numbers: &HashMap<Arc<str>, u32>,
    place: Place<'_>,
    at: usize,
) -> Result<(Option<Dissector>, Rule, Pattern), RuleFileError> {
    let fail = |problem: String| place.error(at, format!("rule {:?}: {problem}", rule.id));
    let pattern = Pattern::new(rule.regex.get_ref().as_bytes(), Flags::NATIVE)
        .map_err(|error| place.error(rule.regex.span().start, format!("rule {:?}: {error}", rule.id)))?;
    let dissector = match &rule.dissect {
        None => None,
        Some(name) => Some(
            Dissector::named(name)
                .ok_or_else(|| fail(format!("no dissector {name:?}, there are {}", Dissector::names())))?,
        ),
    };
    if rule.confidence > 100 {
        return Err(fail(format!("confidence {} is above 100", rule.confidence)));
    }
    let template = |text: &str| Template::new(text, pattern.groups()).map_err(|error| fail(error.to_string()));
    let mut fields = Vec::new();
    for (field, text) in [
        (Field::Product, &rule.product),
        (Field::Version, &rule.version),
        (Field::Info, &rule.info),
        (Field::Hostname, &rule.hostname),
        (Field::Os, &rule.os),
        (Field::Device, &rule.device),
    ] {
        if let Some(text) = text {
            fields.push((field, template(text)?));
        }
    }
    let cpe = |text: &String| Template::cpe(text, pattern.groups()).map_err(|error| fail(error.to_string()));
    let cpes = rule.cpe.iter().map(cpe).collect::<Result<_, _>>()?;
    let fact = |(name, text): (&String, &String)| Ok((name.clone(), template(text)?));
    let facts = rule.facts.iter().map(fact).collect::<Result<_, RuleFileError>>()?;
    let read = Rule {
        id: rule.id.as_str().into(),
        service: rule.service.as_str().into(),
        source: read_source(&rule.from, numbers).map_err(|name| fail(format!("there is no probe {name:?}")))?,
        is_soft: rule.soft,
        is_addition: rule.adds,
        confidence: rule.confidence,
        fields,
        cpes,
        facts,
    };
    Ok((dissector, read, pattern))
}

/// Where a rule's answers come from; the error is a name that no probe has.
fn read_source(names: &[String], numbers: &HashMap<Arc<str>, u32>) -> Result<AnswerSource, String> {
    let mut source = AnswerSource { is_banner: names.is_empty(), ..AnswerSource::default() };
    for name in names {
        match name.as_str() {
            BANNER => source.is_banner = true,
            ANY => source.is_any = true,
            CERTIFICATE => source.is_certificate = true,
            _ => source.probes.push(*numbers.get(name.as_str()).ok_or_else(|| name.clone())?),
        }
    }
    Ok(source)
}

/// Tells each probe which services its answers can be of; none, for any, where a rule of any probe's answers exists
/// for it only.
fn name_services(probes: &mut [Probe], drafts: &[Draft]) {
    for probe in probes {
        let rules = drafts.iter().flat_map(|draft| &draft.rules);
        let own = rules.filter(|rule| {
            !rule.is_addition && rule.source.probes.iter().any(|known| probe.answers_like.contains(known))
        });
        let mut names: Vec<Arc<str>> = own.map(|rule| rule.service.clone()).collect();
        names.sort_unstable();
        names.dedup();
        probe.services = names.into();
    }
}
