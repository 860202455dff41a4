//! Runs the examples of every rule file against all rule files together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::escape::unescape;
use super::super::index::Asked;
use super::super::text::{FileText, Place, parse};
use super::*;
use crate::detect::lines;
use crate::finding::Service;
use crate::port::Protocol;

pub(super) fn files() -> Vec<(&'static str, FileText)> {
    super::files().iter().map(|(file, text)| (*file, parse(Place { file, text }).unwrap())).collect()
}

/// What an answer answers, and over which protocol, by the name of a probe.
pub(super) fn asked(index: &RuleIndex, from: &str) -> (Asked, Protocol) {
    if from == "banner" {
        return (Asked::Nothing, Protocol::Tcp);
    }
    if from == "certificate" {
        return (Asked::Certificate, Protocol::Tcp);
    }
    let number =
        index.probes.iter().position(|probe| *probe.name == *from).unwrap_or_else(|| panic!("no probe {from}"));
    (Asked::Own(u32::try_from(number).unwrap()), index.probes[number].protocol)
}

fn wrong(service: &Service, expected: &super::super::text::ExampleText) -> Vec<String> {
    let pairs = [
        ("product", &expected.product, &service.product),
        ("version", &expected.version, &service.version),
        ("info", &expected.info, &service.info),
        ("hostname", &expected.hostname, &service.hostname),
        ("os", &expected.os, &service.os),
        ("device", &expected.device, &service.device),
    ];
    let differing = pairs.into_iter().filter(|(_, expected, got)| expected.is_some() && expected != got);
    let mut wrong: Vec<String> =
        differing.map(|(name, expected, got)| format!("{name} is {got:?}, not {expected:?}")).collect();
    for cpe in expected.cpe.iter().flatten() {
        if !service.cpes.iter().any(|known| known.starts_with(&format!("cpe:2.3:{cpe}:"))) {
            wrong.push(format!("{cpe} is not among {:?}", service.cpes));
        }
    }
    let facts: BTreeMap<&str, &str> =
        service.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in &expected.facts {
        if facts.get(name.as_str()) != Some(&value.as_str()) {
            wrong.push(format!("fact {name} is {:?}, not {value:?}", facts.get(name.as_str())));
        }
    }
    wrong
}

#[test]
fn every_rule_knows_its_examples() {
    let index = RuleIndex::new(&super::files()).unwrap_or_else(|error| panic!("{error}"));
    let mut problems = Vec::new();
    for (file, text) in files() {
        for rule in &text.rule {
            let rule = rule.get_ref();
            if rule.example.is_empty() {
                problems.push(format!("{file}: rule {} has no example", rule.id));
            }
            for example in &rule.example {
                let example = example.get_ref();
                let first = rule.from.first().map_or("banner", |from| if from == "any" { "http-get" } else { from });
                let (asked, protocol) = asked(&index, example.from.as_deref().unwrap_or(first));
                let bytes =
                    unescape(&example.bytes).unwrap_or_else(|error| panic!("{file}: rule {}: {error}", rule.id));
                let Some(found) = index.matches(asked, protocol, &bytes) else {
                    problems.push(format!("{file}: rule {} does not match its example {}", rule.id, example.bytes));
                    continue;
                };
                let by = found.service.rule.clone().unwrap_or_default();
                if !rule.adds && (by != rule.id || found.service.name != rule.service || found.is_soft != rule.soft) {
                    problems.push(format!("{file}: an example of {} is claimed by {by}: {}", rule.id, example.bytes));
                }
                let wrong = wrong(&found.service, example);
                problems.extend(wrong.into_iter().map(|what| format!("{file}: rule {}: {what}", rule.id)));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_line_that_was_cut_tells_no_version_that_the_whole_one_does_not() {
    let index = RuleIndex::new(&super::files()).unwrap();
    let told = |bytes: &[u8]| {
        let found = Arc::new(index.matches(Asked::Nothing, Protocol::Tcp, bytes)?);
        let found = lines::without_half_a_version(found, bytes);
        Some((found.service.product.clone()?, found.service.version.clone()?))
    };
    let mut problems = Vec::new();
    for (file, text) in files() {
        let rules = text.rule.iter().map(|rule| rule.get_ref());
        for rule in rules.filter(|rule| rule.from.first().is_none_or(|from| from == "banner")) {
            for example in rule.example.iter().map(|example| example.get_ref()) {
                let bytes = unescape(&example.bytes).unwrap();
                let (Some(whole), true) = (told(&bytes), lines::is_of_lines(&bytes)) else { continue };
                for cut in 1..bytes.len() {
                    let half = told(&bytes[..cut]);
                    // Another product may be what the front of the line says; half of this one's version it is not.
                    let is_half = half.as_ref().is_some_and(|half| half.0 == whole.0 && half.1 != whole.1);
                    if is_half {
                        problems.push(format!("{file}: {}: {half:?} of {whole:?} at {cut}", rule.id));
                    }
                }
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn no_rule_of_a_file_claims_what_the_file_says_is_none_of_its() {
    let index = RuleIndex::new(&super::files()).unwrap();
    for (file, text) in files() {
        assert!(!text.none.is_empty(), "{file} has no [[none]]");
        let own: Vec<&str> = text.rule.iter().map(|rule| rule.get_ref().id.as_str()).collect();
        for none in &text.none {
            let none = none.get_ref();
            let (asked, protocol) = asked(&index, none.from.as_deref().unwrap_or("banner"));
            let by =
                index.matches(asked, protocol, &unescape(&none.bytes).unwrap()).and_then(|found| found.service.rule);
            assert!(!by.as_deref().is_some_and(|by| own.contains(&by)), "{file}: {by:?} claims {}", none.bytes);
        }
    }
}

#[test]
fn every_probe_has_a_rule_and_no_printer_is_asked() {
    let index = RuleIndex::new(&super::files()).unwrap();
    for probe in &index.probes {
        assert!(!probe.payload.starts_with(b"  "), "{} begins with the indent of its file", probe.name);
        // Of text whose protocol is not public nothing is known but that it is there.
        let is_known = !probe.services.is_empty() || &*probe.name == "newline";
        assert!(is_known, "nobody knows an answer to {}", probe.name);
        let touches =
            |first: u16, last: u16| probe.ports.iter().chain(&probe.tls_ports).any(|(a, b)| *a <= last && first <= *b);
        assert!(!touches(515, 515) && !touches(9100, 9107), "{} is for a printer's port", probe.name);
    }
}

#[test]
fn cpes_are_whole_names() {
    let index = RuleIndex::new(&super::files()).unwrap();
    for (file, text) in files() {
        for rule in text.rule.iter().map(|rule| rule.get_ref()) {
            for example in &rule.example {
                let example = example.get_ref();
                let first = rule.from.first().map_or("banner", |from| if from == "any" { "http-get" } else { from });
                let (asked, protocol) = asked(&index, example.from.as_deref().unwrap_or(first));
                let Some(found) = index.matches(asked, protocol, &unescape(&example.bytes).unwrap()) else { continue };
                for cpe in found.service.cpes {
                    let parts = cpe.replace("\\:", "").split(':').count();
                    assert_eq!(parts, 13, "{file}: {}: {cpe}", rule.id);
                }
            }
        }
    }
}

#[test]
fn a_page_that_speaks_of_a_product_is_not_taken_for_it() {
    let index = RuleIndex::new(&super::files()).unwrap();
    let (web, protocol) = asked(&index, "http-get");
    let head = "HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nContent-Type: text/html\r\n\r\n";
    let mut problems = Vec::new();
    for (file, text) in files() {
        for rule in text.rule.iter().map(|rule| rule.get_ref()) {
            for example in rule.example.iter().map(|example| example.get_ref()) {
                let bytes = unescape(&example.bytes).unwrap();
                let page = String::from_utf8_lossy(&bytes);
                let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
                let title = title.map_or("", |(title, _)| title);
                let product = example.product.as_deref().unwrap_or_default();
                let mut pages = vec![format!("<title>Notes</title><p>We run {product} 1.2.3, {title}, behind it.</p>")];
                if !title.is_empty() {
                    pages.push(format!("<title>How to run {title} at home</title>"));
                }
                for page in pages {
                    let found = index.matches(web, protocol, format!("{head}{page}").as_bytes()).unwrap();
                    if found.service.product.as_deref() != Some("nginx") {
                        problems.push(format!("{file}: {:?} claims {page}", found.service.rule));
                    }
                }
            }
        }
    }
    problems.dedup();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
