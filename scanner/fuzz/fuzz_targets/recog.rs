//! Fingerprints in recog's format: refused with a line of the file, or asked, and what they tell is plain text.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use pentora_scanner::detect::{Answer, Matcher, Recog, RecogError, RuleSet};
use pentora_scanner::finding::plain_text;
use pentora_scanner::port::Protocol;

fuzz_target!(|text: &str| {
    let (file, answer) = text.split_once('\0').unwrap_or((text, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"));
    let recog = match Recog::of_files([("ssh_banners.xml", file)]) {
        Ok(recog) => recog,
        Err(RecogError::Malformed { line, .. }) => {
            assert!((1..=file.split('\n').count()).contains(&line), "line {line}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(recog.is_empty(), recog.len() == 0);
    let lines = file.split('\n').count();
    assert!(recog.skipped().iter().all(|skipped| (1..=lines).contains(&skipped.line)));
    for kind in recog.kinds() {
        let told = recog.matches(kind, answer.as_bytes());
        assert_eq!(recog.matches(kind, answer.as_bytes()), told);
    }
    let rules = RuleSet::builtin().with_recog(Arc::new(recog));
    let bytes = answer.as_bytes();
    let found = rules.matches(&Answer { protocol: Protocol::Tcp, port: 22, is_tls: false, probe: None, bytes });
    if let Some(found) = found {
        let service = &found.service;
        let texts =
            [&service.product, &service.version, &service.info, &service.hostname, &service.os, &service.device];
        let facts = service.facts.iter().map(|(_, value)| value);
        for text in texts.into_iter().flatten().chain(facts).chain(&service.cpes) {
            assert!(text.len() <= 8192 && plain_text(text) == text.as_str(), "{text:?}");
        }
        assert!(service.confidence <= 100);
    }
});
