//! What servers answer, over TCP and UDP, held against the program's own rules: what is told is plain text and bounded, its
//! names of products are names, and what follows from it (system, exposure) is too.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pentora_scanner::detect::{Answer, Matcher, ProbeRef, RuleSet, os};
use pentora_scanner::finding::{Service, plain_text, printable_banner};
use pentora_scanner::port::{Port, Protocol};
use pentora_scanner::vuln::cpe::Cpe;
use pentora_scanner::vuln::exposure::{Answers, Exposures, Seen};

static RULES: LazyLock<RuleSet> = LazyLock::new(RuleSet::builtin);
/// Every probe that some port is sent, by its number.
static PROBES: LazyLock<Vec<(Protocol, ProbeRef)>> = LazyLock::new(|| {
    let mut probes = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for port in 1..=u16::MAX {
            let more = RULES.probes(protocol, port, false);
            probes.extend(more.into_iter().filter(|probe| probe.is_hinted).map(|probe| (protocol, probe)));
        }
    }
    probes.sort_by_key(|(_, probe)| probe.id);
    probes.dedup_by_key(|(_, probe)| probe.id);
    probes
});

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    // Nothing was asked, or one of the probes was sent.
    let asked = usize::from(*which).checked_sub(1).and_then(|which| PROBES.get(which % PROBES.len()));
    let (protocol, probe) = asked.map_or((Protocol::Tcp, None), |(protocol, probe)| (*protocol, Some(probe.id)));
    let answer = Answer { protocol, port: 80, is_tls: false, probe, bytes };
    let Some(found) = RULES.matches(&answer) else { return };
    let mut service = found.service;
    check(&service);
    let packet = os::Packet { ttl: 64, stack: None };
    os::annotate(&mut service, printable_banner(bytes).as_deref(), Some(packet));
    check(&service);
    let port = Port { number: 80, protocol };
    let none = Answers::new();
    let seen = Seen { port, service: &service, answers: &none, now_s: 1_700_000_000 };
    for weakness in Exposures::built_in().evaluate(&seen) {
        assert!([&weakness.title, &weakness.evidence].iter().all(|text| is_plain(text)), "{weakness:?}");
        assert!(weakness.evidence.len() <= 4096, "{weakness:?}");
    }
});

fn check(service: &Service) {
    let texts = [&service.product, &service.version, &service.info, &service.hostname, &service.os, &service.device];
    for text in texts.into_iter().flatten().chain(service.facts.iter().map(|(_, value)| value)) {
        assert!(text.len() <= 4096 && is_plain(text), "{text:?}");
    }
    for cpe in &service.cpes {
        assert!(cpe.parse::<Cpe>().is_ok(), "{cpe:?}");
    }
    assert!(service.confidence <= 100);
}

fn is_plain(text: &str) -> bool {
    plain_text(text) == text
}
