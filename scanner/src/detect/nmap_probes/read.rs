//! Reads the lines of a file of service probes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::template::parse;
use super::{Probe, Rule, ServiceProbes, SkippedMatch};
use crate::detect::rules::{Compiled, Dialect, Flags, Pattern, PatternError, PatternSet, printable};
use crate::port::Protocol;
use crate::udp_scan::payload::OWN_BYTES_MAX;

/// Most matches of one file; real ones have 12,000.
const MATCHES_MAX: usize = 200_000;
/// Most probes of one file; real ones have 190.
const PROBES_MAX: usize = 10_000;
/// Most probes that one falls back to; nmap reads 20.
const FALLBACKS_MAX: usize = 100;
/// Most fields, and most CPE names, of one match: there are six letters, and few products have more than three names.
const FIELDS_MAX: usize = 32;
/// Most parts of a CPE name: a URI has seven.
const CPE_PARTS_MAX: usize = 16;
/// Most patterns kept compiled, over all probes.
const COMPILED_MAX: usize = 256;
/// A probe's rarity where the file does not say.
const RARITY: u8 = 5;

/// A line that is not what it should be.
#[derive(Debug)]
pub(super) struct BadLine {
    /// Its number, from 1.
    pub(super) line: usize,
    pub(super) problem: String,
}

/// A probe whose lines are being read.
struct Draft {
    line: usize,
    name: Arc<str>,
    protocol: Protocol,
    payload: Vec<u8>,
    is_for_scans: bool,
    ports: Vec<(u16, u16)>,
    tls_ports: Vec<(u16, u16)>,
    rarity: u8,
    fallback: Vec<String>,
    rules: Vec<Rule>,
    patterns: Vec<Pattern>,
}

/// Reads a whole file.
pub(super) fn read(bytes: &[u8]) -> Result<ServiceProbes, BadLine> {
    let mut drafts: Vec<Draft> = Vec::new();
    let (mut exclude, mut skipped, mut count) = (Vec::new(), Vec::new(), 0usize);
    // What editors put in front of a file in UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if [&b"\xff\xfe"[..], b"\xfe\xff"].iter().any(|mark| bytes.starts_with(mark)) {
        return Err(BadLine { line: 1, problem: "it is UTF-16: save the file as UTF-8".to_owned() });
    }
    // Old programs end lines with a carriage return alone.
    let end = if bytes.contains(&b'\n') { b'\n' } else { b'\r' };
    for (line, text) in (1..).zip(bytes.split(|b| *b == end)) {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let (word, rest) = first_word(text);
        if word.is_empty() || word.starts_with(b"#") {
            continue;
        }
        let at = |problem: String| BadLine { line, problem };
        let is_full = drafts.len() >= PROBES_MAX;
        match (word, drafts.last_mut()) {
            (b"Probe", _) if is_full => return Err(at(format!("more than {PROBES_MAX} probes"))),
            (b"Probe", _) => drafts.push(probe(rest, line).map_err(at)?),
            (b"Exclude", _) => exclude.extend(excluded(rest).map_err(at)?),
            (_, None) => return Err(at(format!("{} before the first Probe", word.escape_ascii()))),
            (b"match" | b"softmatch", Some(draft)) => {
                count += 1;
                if count > MATCHES_MAX {
                    return Err(at(format!("more than {MATCHES_MAX} matches")));
                }
                let (rule, pattern) = rule(rest, word == b"softmatch", line).map_err(at)?;
                match pattern {
                    Ok(pattern) => {
                        draft.rules.push(rule);
                        draft.patterns.push(pattern);
                    }
                    Err(error) => skipped.push(SkippedMatch { line, problem: printable(error.to_string().as_bytes()) }),
                }
            }
            (b"ports", Some(draft)) => draft.ports = ports(rest).map_err(at)?,
            (b"sslports", Some(draft)) => draft.tls_ports = ports(rest).map_err(at)?,
            (b"rarity", Some(draft)) => {
                let rarity =
                    String::from_utf8_lossy(rest).trim().parse().ok().filter(|rarity| (1..=9).contains(rarity));
                draft.rarity = rarity.ok_or_else(|| at("rarity is a number from 1 to 9".to_owned()))?;
            }
            (b"fallback", Some(draft)) => {
                let names = String::from_utf8_lossy(rest);
                if names.split(',').count() > FALLBACKS_MAX {
                    return Err(at(format!("more than {FALLBACKS_MAX} probes to fall back to")));
                }
                draft.fallback = names.split(',').map(|name| name.trim().to_owned()).collect();
            }
            // How long nmap waits; the engine has budgets of its own.
            (b"totalwaitms" | b"tcpwrappedms", Some(_)) => {}
            (other, Some(_)) => return Err(at(format!("\"{}\" is no directive", other.escape_ascii()))),
        }
    }
    Ok(ServiceProbes { probes: join(drafts)?, exclude, skipped, is_silent: false })
}

fn join(drafts: Vec<Draft>) -> Result<Vec<Probe>, BadLine> {
    let mut names: BTreeMap<(Arc<str>, Protocol), usize> = BTreeMap::new();
    for (number, draft) in drafts.iter().enumerate() {
        names.entry((draft.name.clone(), draft.protocol)).or_insert(number);
    }
    let compiled = Compiled::new(COMPILED_MAX);
    let finish = |draft: Draft| {
        let find = |name: &String| {
            let found = names.get(&(name.as_str().into(), draft.protocol)).copied();
            let problem = || format!("there is no probe {name:?} to fall back to");
            found.ok_or_else(|| BadLine { line: draft.line, problem: problem() })
        };
        let fallback = draft.fallback.iter().map(find).collect::<Result<_, _>>()?;
        let mut services: Vec<Arc<str>> = draft.rules.iter().map(|rule| rule.service.clone()).collect();
        services.sort_unstable();
        services.dedup();
        Ok(Probe {
            name: draft.name,
            protocol: draft.protocol,
            payload: draft.payload.into(),
            is_for_scans: draft.is_for_scans,
            ports: draft.ports,
            tls_ports: draft.tls_ports,
            rarity: draft.rarity,
            fallback,
            services: services.into(),
            rules: draft.rules,
            patterns: PatternSet::new(draft.patterns, &compiled),
        })
    };
    drafts.into_iter().map(finish).collect()
}

fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_ascii_start())
}

fn probe(rest: &[u8], line: usize) -> Result<Draft, String> {
    let (protocol, rest) = first_word(rest);
    let protocol = match protocol {
        b"TCP" => Protocol::Tcp,
        b"UDP" => Protocol::Udp,
        other => return Err(format!("{:?} is neither TCP nor UDP", String::from_utf8_lossy(other))),
    };
    let (name, rest) = first_word(rest);
    let rest = rest.strip_prefix(b"q").ok_or("a probe's payload is written q|...|")?;
    let (payload, options) = delimited(rest).ok_or("the payload has no end")?;
    let payload = unescape(payload)?;
    if protocol == Protocol::Udp && payload.len() > OWN_BYTES_MAX {
        return Err(format!("a payload of {} bytes: a datagram has at most {OWN_BYTES_MAX}", payload.len()));
    }
    Ok(Draft {
        line,
        name: String::from_utf8_lossy(name).into(),
        protocol,
        payload,
        is_for_scans: !options.split(u8::is_ascii_whitespace).any(|option| option == b"no-payload"),
        ports: Vec::new(),
        tls_ports: Vec::new(),
        rarity: RARITY,
        fallback: Vec::new(),
        rules: Vec::new(),
        patterns: Vec::new(),
    })
}

/// Text between two of the byte that it begins with, and what follows.
fn delimited(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (delimiter, rest) = text.split_first()?;
    let end = rest.iter().position(|b| b == delimiter)?;
    Some((rest.get(..end)?, rest.get(end + 1..)?))
}

/// Escapes as C has them, and `\xNN`; any other byte after a backslash stands for itself.
fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'0') => 0,
            Some(b'a') => 7,
            Some(b'b') => 8,
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'v') => 11,
            Some(b'f') => 12,
            Some(b'r') => b'\r',
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).copied().collect();
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                u8::from_str_radix(digits, 16).map_err(|error| format!("\\x{digits} is no byte: {error}"))?
            }
            Some(other) => *other,
            None => return Err("a payload ends in a backslash".to_owned()),
        });
    }
    Ok(bytes)
}

/// A match, and its pattern or why that cannot be used.
fn rule(rest: &[u8], is_soft: bool, line: usize) -> Result<(Rule, Result<Pattern, PatternError>), String> {
    let (service, rest) = first_word(rest);
    let rest = rest.strip_prefix(b"m").ok_or("a match's pattern is written m|...|")?;
    let (source, rest) = delimited(rest).ok_or("the pattern has no end")?;
    let (options, mut rest) =
        if rest.first().is_some_and(u8::is_ascii_whitespace) { (&b""[..], rest) } else { first_word(rest) };
    if let Some(unknown) = options.iter().find(|option| !b"is".contains(option)) {
        return Err(format!("{:?} is no option of a pattern: i and s are", char::from(*unknown)));
    }
    let flags = Flags {
        dialect: Dialect::Perl,
        is_caseless: options.contains(&b'i'),
        is_dot_newline: options.contains(&b's'),
        is_multi_line: false,
    };
    let service: Arc<str> = String::from_utf8_lossy(service).into();
    let mut rule = Rule { service, is_soft, line, fields: Vec::new(), cpes: Vec::new() };
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok((rule, Pattern::new(source, flags)));
        }
        if rule.fields.len() + rule.cpes.len() >= FIELDS_MAX {
            return Err(format!("more than {FIELDS_MAX} fields"));
        }
        if let Some(cpe) = rest.strip_prefix(b"cpe:") {
            let (name, after) = delimited(cpe).ok_or("a cpe has no end")?;
            if name.split(|b| *b == b':').count() > CPE_PARTS_MAX {
                return Err(format!("a cpe of more than {CPE_PARTS_MAX} parts"));
            }
            rule.cpes.push(name.split(|b| *b == b':').map(parse).collect());
            // Trailing flags say how sure the name is; all are kept alike.
            rest = without_letters(after);
            continue;
        }
        let (letter, text) = rest.split_first().ok_or("a field without a letter")?;
        if !b"pvihod".contains(letter) {
            return Err(format!("{:?} is no field: p, v, i, h, o, d and cpe: are", char::from(*letter)));
        }
        let (text, after) = delimited(text).ok_or_else(|| format!("field {:?} has no end", char::from(*letter)))?;
        rule.fields.push((*letter, parse(text)));
        rest = after;
    }
}

fn without_letters(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

fn ports(text: &[u8]) -> Result<Vec<(u16, u16)>, String> {
    let text = String::from_utf8_lossy(text);
    let number =
        |word: &str| word.trim().parse::<u16>().map_err(|error| format!("{:?} is no port: {error}", word.trim()));
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let ranges = parts.map(|part| match part.split_once('-') {
        Some((first, last)) => Ok((number(first)?, number(last)?)),
        None => number(part).map(|port| (port, port)),
    });
    ranges.collect()
}

/// `T:9100-9107,U:30000`; a list without a letter is of both protocols.
fn excluded(text: &[u8]) -> Result<Vec<(Protocol, u16, u16)>, String> {
    let text = String::from_utf8_lossy(text).into_owned();
    let mut protocols = vec![Protocol::Tcp, Protocol::Udp];
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim) {
        let list = match part.split_once(':') {
            Some(("T", list)) => {
                protocols = vec![Protocol::Tcp];
                list
            }
            Some(("U", list)) => {
                protocols = vec![Protocol::Udp];
                list
            }
            Some((other, _)) => return Err(format!("{other:?} is neither T nor U")),
            None => part,
        };
        for (first, last) in ports(list.as_bytes())? {
            all.extend(protocols.iter().map(|protocol| (*protocol, first, last)));
        }
    }
    Ok(all)
}
