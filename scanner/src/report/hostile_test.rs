//! Laws of all writers at once: whatever is in a record, what is written parses, and harms nobody.
//!
//! Each report is read back by a parser that knows nothing of our writers, and held against the record.

use proptest::prelude::*;
use serde_json::Value;

use super::{Format, ReportMeta, Screen, Summary, sample};
use crate::finding::{Certificate, HostRecord, Http, Service, Tls, Weakness, is_hidden, plain_text};

/// Any text, and texts that some reader would obey.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,24}",
        "[\\x00-\\u{ff}]{0,24}",
        "[\\u{2000}-\\u{206f}\\u{d7f0}-\\u{e010}\\u{fff0}-\\u{ffff}\\u{1f600}]{0,8}",
        prop::sample::select(vec![
            "</script><script>alert(1)</script>",
            "<!--<script>",
            "<img src=x onerror=alert(1)>",
            "\"><svg/onload=alert(1)>",
            "]]>&amp;&#0;&x;",
            "=HYPERLINK(\"https://evil.example\",\"x\")",
            "@SUM(1+1)*cmd|' /C calc'!A0",
            "\t=1+1",
            "\r\n-1\r\n",
            "a\",\"b\r\nc",
            "\u{1b}]0;title\u{7}\u{9b}31m",
            "\u{202e}gnp.exe",
            "-->?>{{7*7}}${7*7}",
        ])
        .prop_map(str::to_owned),
    ]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 40)
}

/// A host whose every word is one of `words`.
fn host(words: Vec<String>, confidence: u8, number: i64, byte: u8) -> HostRecord {
    let mut words = words.into_iter().cycle();
    let mut word = || words.next().unwrap();
    let certificate = Certificate {
        subject: word(),
        issuer: word(),
        names: vec![word(), word()],
        not_before_s: Some(number).filter(|_| byte.is_multiple_of(2)),
        not_after_s: Some(number.wrapping_mul(3)).filter(|_| !byte.is_multiple_of(3)),
        key: word(),
        signature: word(),
        serial: word(),
        sha256: word(),
    };
    let tls = Tls {
        versions: vec![word()],
        cipher: Some(word()),
        alpn: Some(word()),
        starttls: (byte & 1 == 0).then(&mut word),
        chain: vec![certificate],
        problems: vec![word(), word()],
    };
    let http = Http {
        status: u16::from(byte),
        title: Some(word()),
        server: Some(word()),
        location: Some(word()),
        generator: Some(word()),
        favicon: Some(-1),
        is_login: true,
        headers: vec![(word(), word())],
    };
    let mut host = sample::rich_host();
    host.started_at_ms = number.unsigned_abs();
    host.name = Some(word());
    host.worker = word();
    let port = &mut host.ports[0];
    port.banner = Some(word());
    port.service = Some(Box::new(Service {
        name: word(),
        confidence: byte,
        product: Some(word()),
        version: Some(word()),
        info: Some(word()),
        hostname: Some(word()),
        os: Some(word()),
        device: Some(word()),
        cpes: vec![word(), format!("cpe:2.3:a:{}:b:*:*:*:*:*:*:*:*", word())],
        rule: Some(word()),
        tls: Some(Box::new(tls)),
        http: Some(Box::new(http)),
        facts: vec![(word(), word())],
        ..Service::default()
    }));
    port.weaknesses = vec![Weakness {
        id: word(),
        title: word(),
        confidence,
        method: word(),
        evidence: word(),
        remedy: word(),
        references: vec![word(), word()],
        ..port.weaknesses[0].clone()
    }];
    host
}

fn render(format: Format, host: &HostRecord, note: &str) -> String {
    let mut out = Vec::new();
    let mut writer = format.writer(&mut out, Screen { ascii: true, ..Screen::default() });
    let meta = ReportMeta {
        version: note.to_owned(),
        job: Some(note.to_owned()),
        command: note.to_owned(),
        started_at_ms: Some(host.started_at_ms),
        ..ReportMeta::default()
    };
    let mut summary = Summary { notes: vec![note.to_owned()], ..Summary::default() };
    summary.count(host);
    writer.begin(&meta).unwrap();
    writer.host(host).unwrap();
    writer.finish(&summary).unwrap();
    drop(writer);
    String::from_utf8(out).unwrap()
}

fn shown(text: &str) -> String {
    plain_text(text).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_word_of_a_stranger_is_obeyed_by_any_reader(
        words in texts(), note in text(), confidence: u8, number: i64, byte: u8
    ) {
        let host = host(words, confidence, number, byte);
        for format in Format::ALL {
            let report = render(format, &host, &note);
            let allowed = |c: char| match format {
                Format::Table | Format::List => c == '\n' || (' '..='~').contains(&c),
                Format::Csv => matches!(c, '\r' | '\n') || !is_hidden(c),
                _ => c == '\n' || !is_hidden(c),
            };
            prop_assert!(report.chars().all(allowed), "{format}: {report:?}");
            match format {
                Format::Table | Format::List => {}
                Format::Csv => csv_is_whole(&report, &host)?,
                Format::Xml => xml_is_whole(&report, &host)?,
                Format::Html => page_is_whole(&report, &host)?,
                Format::Json | Format::JsonLines | Format::Sarif | Format::Vex => {
                    let document: Value = serde_json::from_str(&report).unwrap();
                    json_is_whole(format, &document, &host)?;
                }
            }
        }
    }
}

fn csv_is_whole(report: &str, host: &HostRecord) -> Result<(), TestCaseError> {
    let mut reader = ::csv::Reader::from_reader(report.as_bytes());
    let rows: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
    prop_assert_eq!(rows.len(), host.ports.len());
    for cell in rows.iter().flatten() {
        prop_assert!(!cell.trim_start().starts_with(['=', '+', '-', '@', '\t', '\r', '%', '|']), "{}", cell);
    }
    let banner = shown(host.ports[0].banner.as_deref().unwrap());
    prop_assert_eq!(rows[0][16].trim_start_matches('\''), banner.trim_start_matches('\''));
    Ok(())
}

fn xml_is_whole(report: &str, host: &HostRecord) -> Result<(), TestCaseError> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let document = roxmltree::Document::parse_with_options(report, options).unwrap();
    let attribute = |element: &str, name: &str| {
        let node = document.descendants().find(|node| node.has_tag_name(element)).unwrap();
        node.attribute(name).map(str::to_owned)
    };
    let service = host.ports[0].service.as_ref().unwrap();
    prop_assert_eq!(attribute("service", "product").unwrap(), shown(service.product.as_deref().unwrap()));
    prop_assert_eq!(attribute("hostname", "name").unwrap(), shown(host.name.as_deref().unwrap()));
    let banner = document.descendants().find(|node| node.attribute("key") == Some("banner")).unwrap();
    prop_assert_eq!(banner.text().unwrap_or_default(), shown(host.ports[0].banner.as_deref().unwrap()));
    Ok(())
}

fn page_is_whole(report: &str, host: &HostRecord) -> Result<(), TestCaseError> {
    // Nothing but our own elements: the frame, three islands, one script.
    prop_assert_eq!(report.to_ascii_lowercase().matches("<script").count(), 4);
    prop_assert_eq!(report.to_ascii_lowercase().matches("</script").count(), 4);
    for (id, ends) in [("scan", "</script>"), ("hosts", "</script>"), ("summary", "</script>")] {
        let island = report.split(&format!("id=\"{id}\">")).nth(1).unwrap().split(ends).next().unwrap();
        prop_assert!(!island.contains(['<', '>', '&']));
        let value: Value = serde_json::from_str(island).unwrap();
        if id == "hosts" {
            prop_assert_eq!(value[0]["p"][0]["b"].as_str(), host.ports[0].banner.as_deref());
        }
    }
    Ok(())
}

fn json_is_whole(format: Format, document: &Value, host: &HostRecord) -> Result<(), TestCaseError> {
    let weakness = &host.ports[0].weaknesses[0];
    let (seen, expected) = match format {
        Format::Json => (&document["hosts"][0]["name"], shown(host.name.as_deref().unwrap())),
        Format::JsonLines => (&document["worker"], shown(&host.worker)),
        Format::Sarif => (&document["runs"][0]["results"][0]["ruleId"], shown(&weakness.id)),
        _ => (&document["statements"][0]["vulnerability"]["name"], shown(&weakness.id)),
    };
    prop_assert_eq!(seen.as_str().unwrap(), expected);
    Ok(())
}
