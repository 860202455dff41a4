//! A user's file of service probes: refused with its line, or asked, and what it tells is plain text.
#![no_main]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use pentora_scanner::detect::{Answer, Matcher, RuleSet, ServiceProbes, ServiceProbesError};
use pentora_scanner::finding::plain_text;
use pentora_scanner::port::Protocol;

/// A file without a name; it is opened anew through its descriptor.
static FILE: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().expect("a file"));

fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (file, bytes) = data.split_at(at);
    FILE.set_len(0).expect("a file");
    FILE.write_all_at(file, 0).expect("a file");
    let probes = match ServiceProbes::read(&PathBuf::from(format!("/proc/self/fd/{}", FILE.as_raw_fd()))) {
        Ok(probes) => probes,
        Err(ServiceProbesError::Malformed { line, .. }) => {
            // Old programs end lines with a carriage return alone.
            let end = if file.contains(&b'\n') { b'\n' } else { b'\r' };
            assert!((1..=file.split(|byte| *byte == end).count()).contains(&line), "line {line}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(probes.is_empty(), probes.len() == 0);
    let rules = RuleSet::from_rules(&[]).expect("no rules are rules").with_service_probes(Arc::new(probes));
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for (port, is_tls) in [(80, false), (443, true)] {
            let probes = rules.probes(protocol, port, is_tls);
            assert!(probes.iter().all(|probe| (1..=9).contains(&probe.rarity) && !probe.payload.is_empty()));
            for probe in [None].into_iter().chain(probes.iter().take(4).map(|probe| Some(probe.id))) {
                check(&rules, &Answer { protocol, port, is_tls, probe, bytes });
            }
        }
    }
});

fn check(rules: &RuleSet, answer: &Answer<'_>) {
    let Some(found) = rules.matches(answer) else { return };
    assert_eq!(rules.matches(answer).as_ref(), Some(&found));
    let service = &found.service;
    let texts = [&service.product, &service.version, &service.info, &service.hostname, &service.os, &service.device];
    for text in texts.into_iter().flatten().chain(&service.cpes) {
        assert!(text.len() <= 8192 && plain_text(text) == text.as_str(), "{text:?}");
    }
}
