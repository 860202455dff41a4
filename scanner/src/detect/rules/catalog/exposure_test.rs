//! Rules of exposure speak of services by names: each must be a name that some fingerprint gives, or a check must ask for it.

use super::super::escape::unescape;
use super::tests::{asked, files};
use super::*;
use crate::finding::{Certificate, Service, ServiceMethod};
use crate::port::Port;
use crate::vuln::exposure::{Answers, Exposures, Rule, Seen};
use crate::vuln::matching::Subject;

/// 2026-01-01T00:00:00Z.
const NOW_S: i64 = 1_767_225_600;

/// Every service that some fingerprint makes of an answer.
fn recognised() -> Vec<Service> {
    let index = builtin();
    let mut all = Vec::new();
    for (_, text) in files() {
        for rule in &text.rule {
            let rule = rule.get_ref();
            let first = rule.from.first().map_or("banner", |from| if from == "any" { "http-get" } else { from });
            for example in &rule.example {
                let example = example.get_ref();
                let (asked, protocol) = asked(index, example.from.as_deref().unwrap_or(first));
                let found = index.matches(asked, protocol, &unescape(&example.bytes).unwrap()).unwrap();
                all.push(Service { method: ServiceMethod::Probed, ..found.service });
            }
        }
    }
    all
}

/// Whether `rule` holds for this service once its TLS and its pages are as in one of the rule's own examples: those are seen
/// by no fingerprint.
fn fires(rule: &Rule, service: &Service) -> bool {
    let holds = |service: &Service, port: u16| {
        let answers = Answers::new();
        rule.holds(&Seen { port: Port::tcp(port), service, answers: &answers, now_s: NOW_S })
    };
    holds(service, 1)
        || rule.examples.iter().filter(|example| example.is_found).any(|example| {
            let mut service = service.clone();
            service.tls = example.service.tls.clone().or(service.tls);
            service.http = example.service.http.clone().or(service.http);
            let of_tls = example.service.facts.iter().filter(|(name, _)| name.starts_with("tls-"));
            service.facts.extend(of_tls.cloned());
            if let (Some(days), Some(tls)) = (example.days_left, &mut service.tls) {
                tls.chain = vec![Certificate { not_after_s: Some(NOW_S + days * 86_400), ..Certificate::default() }];
            }
            holds(&service, example.port.max(1))
        })
}

/// Whether the rule's check is sent to this service at this port, and its yes is what the rule waits for.
fn is_asked_for(exposures: &Exposures, rule: &Rule, service: &Service, port: u16) -> bool {
    let Some(check) = &rule.check else { return false };
    let nothing = Answers::new();
    let seen = Seen { port: Port::tcp(port), service, answers: &nothing, now_s: NOW_S };
    let is_sent = exposures.checks_wanted(&seen).iter().any(|wanted| wanted.id == *check);
    let yes: Answers = [(check.clone(), std::collections::BTreeMap::new())].into();
    is_sent && rule.holds(&Seen { answers: &yes, ..seen })
}

#[test]
fn every_rule_of_exposure_can_be_fired_by_a_fingerprint_or_a_check() {
    let exposures = Exposures::built_in();
    let services = recognised();
    let unheard = Service { name: "unknown".to_owned(), ..Service::default() };
    let dead: Vec<&str> = exposures
        .rules()
        .iter()
        .filter(|rule| {
            let by_port = |port: &u16| is_asked_for(exposures, rule, &unheard, *port);
            let by_name =
                services.iter().any(|service| fires(rule, service) || is_asked_for(exposures, rule, service, 1));
            !by_name && !rule.applies.ports.iter().any(by_port)
        })
        .map(|rule| rule.id.as_str())
        .collect();
    assert!(dead.is_empty(), "no fingerprint and no check can fire {dead:?}");
}

#[test]
fn every_product_that_has_ended_is_one_that_a_fingerprint_names() {
    let services = recognised();
    let exposures = Exposures::built_in();
    let products: Vec<Subject> = services.iter().flat_map(Subject::all_of).collect();
    let named = |name: &&str| products.iter().any(|product| product.name().eq_ignore_ascii_case(name));
    let missing: Vec<Vec<&str>> = exposures.end_of_life().names().filter(|names| !names.iter().any(&named)).collect();
    assert!(missing.is_empty(), "no fingerprint names {missing:?}");
}
