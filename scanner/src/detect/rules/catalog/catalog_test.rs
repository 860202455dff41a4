//! Runs the examples of every rule file against all rule files together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::escape::unescape;
use super::super::index::Asked;
use super::super::text::{FileText, Place, parse};
use super::*;
use crate::detect::lines;
use crate::echo::{ECHO, is_echo};
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
fn what_has_the_shape_of_another_product_is_not_that_product() {
    let index = RuleIndex::new(&super::files()).unwrap();
    for (from, answer, no) in [
        ("banner", "SSH-2.0-mod_sftp/0.9.9\r\n", "cpe:2.3:a:proftpd:proftpd:0"),
        ("banner", "220 x Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready\r\n", "exchange"),
        ("memcached-version", "VERSION 1.5.0 DF\r\n", "memcached"),
        ("http-get", "HTTP/1.1 200 OK\r\nServer: Apache TomEE\r\n\r\n", "http_server"),
        ("http-get", "HTTP/1.1 200 OK\r\n\r\n<title>Apache ActiveMQ Artemis</title>", "apache:activemq:"),
        (
            "http-prometheus",
            "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"success\",\"data\":{\"version\":\"0.36.1\",\"revision\":\"a\",\"branch\":\"HEAD\"}}",
            "prometheus",
        ),
        (
            "http-get",
            "HTTP/1.1 200 OK\r\n\r\n{\"name\":\"q\",\"cluster_name\":\"q\",\"version\":{\"distribution\":\"quickwit\",\"number\":\"7.17\",\"lucene_version\":\"9.9.0\"},\"tagline\":\"You Know, for Search\"}",
            "elastic",
        ),
        ("http-get", "HTTP/1.1 200 OK\r\n\r\n<title>B</title>We love >Powered by Gitea Version: 1.2", "gitea"),
        ("http-get", "HTTP/1.1 200 OK\r\n\r\n<p>see https://nats.io/favicon.ico", "nats"),
        (
            "http-get",
            "HTTP/1.1 200 OK\r\n\r\n<textarea><meta name=\"generator\" content=\"WordPress 4.1\"></textarea>",
            "wordpress",
        ),
        ("http-get", "HTTP/1.1 200 OK\r\nServer: questDB/1.0\r\nX-Influxdb-Version: v2.7.4\r\n\r\n", "influx"),
        ("http-kubelet-read", "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\n\r\nUnauthorized", "kube"),
    ] {
        let (asked, protocol) = asked(&index, from);
        let found = index.matches(asked, protocol, answer.as_bytes());
        let cpes = found.as_ref().map_or(&[][..], |found| &found.service.cpes);
        let version = found.as_ref().and_then(|found| found.service.version.as_deref());
        assert!(!cpes.iter().any(|cpe| cpe.contains(no)), "{answer}: {found:?}");
        assert!(!answer.contains("mod_sftp") || version.is_none(), "{answer}: {found:?}");
    }
}

#[test]
fn no_answer_that_a_rule_knows_is_its_own_request() {
    let index = RuleIndex::new(&super::files()).unwrap();
    for (file, text) in files() {
        for rule in text.rule.iter().map(|rule| rule.get_ref()).filter(|rule| rule.service != ECHO) {
            for example in rule.example.iter().map(|example| example.get_ref()) {
                let from = example.from.as_ref().or(rule.from.first()).map_or("banner", String::as_str);
                let Some(probe) = index.probes.iter().find(|probe| *probe.name == *from) else { continue };
                assert!(!is_echo(&probe.payload, &unescape(&example.bytes).unwrap()), "{file}: {}", rule.id);
            }
        }
    }
}

#[test]
fn a_name_without_a_version_has_its_products_numbers() {
    // What these tell is a version as advisories have it for the name, which itself takes none.
    const SAME: [&str; 11] = [
        "ftp.microsoft",
        "http.hp-ilo",
        "imap.cyrus",
        "oracle-http",
        "oracle-tns.number",
        "pop3.cyrus",
        "sharepoint",
        "sip.3cx",
        "modbus.schneider",
        "mssql.",
        "postgresql.",
    ];
    for (file, text) in files() {
        for rule in text.rule.iter().map(|rule| rule.get_ref()).filter(|rule| rule.version.is_some()) {
            let is_bare =
                !rule.cpe.is_empty() && rule.cpe.iter().all(|cpe| cpe.starts_with("a:") && !cpe.contains('$'));
            let is_same = SAME.iter().any(|known| match known.strip_suffix('.') {
                Some(_) => rule.id.starts_with(known),
                None => rule.id == *known,
            });
            assert!(!is_bare || is_same, "{file}: is the version of {} one of {:?}?", rule.id, rule.cpe);
        }
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
