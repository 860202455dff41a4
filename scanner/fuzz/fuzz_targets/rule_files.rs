//! Rule files: refused with file and line, or asked, and what they tell is sure to a hundredth at most.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::detect::{Answer, Matcher, RuleSet};
use pentora_scanner::port::Protocol;

fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (file, bytes) = data.split_at(at);
    let Ok(file) = std::str::from_utf8(file) else { return };
    let rules = match RuleSet::from_rules(&[("fuzz.toml", file)]) {
        Ok(rules) => rules,
        Err(error) => {
            assert_eq!(error.file, "fuzz.toml");
            assert!((1..=file.split('\n').count()).contains(&error.line), "line {}", error.line);
            return;
        }
    };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let probes = rules.probes(protocol, 80, false);
        assert!(probes.iter().all(|probe| (1..=4096).contains(&probe.payload.len())));
        for probe in [None].into_iter().chain(probes.iter().take(4).map(|probe| Some(probe.id))) {
            let answer = Answer { protocol, port: 80, is_tls: false, probe, bytes };
            let Some(found) = rules.matches(&answer) else { continue };
            assert_eq!(rules.matches(&answer).as_ref(), Some(&found));
            assert!(found.service.confidence <= 100);
        }
    }
});
