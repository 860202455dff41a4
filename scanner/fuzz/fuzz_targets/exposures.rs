//! Files of exposure rules and the table of ended products: refused, or rules that hold together and evaluate.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pentora_scanner::finding::Service;
use pentora_scanner::port::Port;
use pentora_scanner::vuln::exposure::{Answers, Condition, Exposures, Seen};

/// Services as scans find them, the examples of the rules that are built in.
static SERVICES: LazyLock<Vec<Service>> = LazyLock::new(|| {
    let examples = Exposures::built_in().rules().iter().flat_map(|rule| &rule.examples);
    examples.step_by(9).take(12).map(|example| example.service.clone()).collect()
});

fuzz_target!(|text: &str| {
    if let Ok(condition) = Condition::parse(text) {
        each(|seen| {
            let _ = condition.holds(seen);
        });
    }
    let (rules, ended) = text.split_once("\n---\n").unwrap_or((text, ""));
    let _ = Exposures::parse(&[], text);
    let exposures = match Exposures::parse(&[("fuzz.toml", rules)], ended) {
        Ok(exposures) => exposures,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    each(|seen| {
        for weakness in exposures.evaluate(seen) {
            assert!(weakness.id.starts_with("PEN-") && weakness.confidence <= 100, "{weakness:?}");
            assert!(weakness.id == "PEN-EOL" || exposures.rules().iter().any(|rule| rule.id == weakness.id));
        }
        for check in exposures.checks_wanted(seen) {
            assert!(exposures.check(&check.id).is_some() && (1..=8).contains(&check.steps.len()));
        }
    });
    for step in exposures.checks().iter().flat_map(|check| &check.steps) {
        let _ = step.request("10.0.0.1");
        let mut captures = std::collections::BTreeMap::new();
        step.accepts(text.as_bytes(), &mut captures);
        assert!(captures.values().all(|value| value.bytes().all(|byte| (b' '..=b'~').contains(&byte))));
    }
});

fn each(mut look: impl FnMut(&Seen<'_>)) {
    let none = Answers::new();
    for service in SERVICES.iter() {
        look(&Seen { port: Port::tcp(6379), service, answers: &none, now_s: 1_700_000_000 });
    }
}
