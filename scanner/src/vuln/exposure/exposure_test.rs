//! Each rule against the services that its file says it must find and must not.

use super::*;
use crate::finding::{Certificate, Service, ServiceMethod, Severity, Tls};
use crate::port::Port;

/// 2026-01-01T00:00:00Z.
const NOW_S: i64 = 1_767_225_600;

fn ids(exposures: &Exposures, service: &Service, port: u16, answers: &Answers) -> Vec<String> {
    let seen = Seen { port: Port::tcp(port), service, answers, now_s: NOW_S };
    exposures.evaluate(&seen).into_iter().map(|weakness| weakness.id).collect()
}

fn probed(name: &str, product: &str, version: &str) -> Service {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Service {
        name: name.to_owned(),
        method: ServiceMethod::Probed,
        product: some(product),
        version: some(version),
        ..Service::default()
    }
}

#[test]
fn there_are_rules_for_what_scans_find_and_each_has_its_tests() {
    let exposures = Exposures::built_in();
    assert!(exposures.rules().len() >= 60, "{}", exposures.rules().len());
    for rule in exposures.rules() {
        let has = |is_found| rule.examples.iter().any(|example| example.is_found == is_found);
        assert!(
            rule.check.is_some() || (has(true) && has(false)),
            "{} has no example for found and for not found",
            rule.id
        );
        assert!(!rule.title.is_empty() && !rule.remedy.is_empty(), "{}", rule.id);
        assert!(rule.references.iter().all(|url| url.starts_with("https://")), "{}", rule.id);
    }
    for check in exposures.checks() {
        assert!(
            exposures.rules().iter().any(|rule| rule.check.as_deref() == Some(&*check.id)),
            "{} serves no rule",
            check.id
        );
    }
}

#[test]
fn every_rule_finds_what_it_must_and_nothing_else() {
    let exposures = Exposures::built_in();
    for rule in exposures.rules() {
        for example in &rule.examples {
            let mut service = example.service.clone();
            if let (Some(days), Some(tls)) = (example.days_left, &mut service.tls) {
                tls.chain = vec![Certificate { not_after_s: Some(NOW_S + days * 86_400), ..Certificate::default() }];
            }
            let found = ids(exposures, &service, example.port.max(1), &Answers::new());
            assert_eq!(found.contains(&rule.id), example.is_found, "{}: {service:?}", rule.id);
        }
    }
}

#[test]
fn a_rule_with_a_check_holds_once_the_check_says_yes() {
    let exposures = Exposures::built_in();
    for rule in exposures.rules() {
        let Some(check) = &rule.check else { continue };
        let name = rule.applies.services.first().map_or("http", String::as_str);
        let product = rule.applies.products.first().map_or("", String::as_str);
        let service = probed(name, product, "");
        let port = rule.applies.ports.first().copied().unwrap_or(80);
        let answers: Answers = [(check.clone(), BTreeMap::from([("version".to_owned(), "1.0".to_owned())]))].into();
        assert!(!ids(exposures, &service, port, &Answers::new()).contains(&rule.id), "{} before", rule.id);
        assert!(ids(exposures, &service, port, &answers).contains(&rule.id), "{} after", rule.id);
    }
}

#[test]
fn what_detection_found_out_need_not_be_asked_again() {
    let exposures = Exposures::built_in();
    let mut redis = probed("redis", "Redis key-value store", "7.0.15");
    let wanted = |service: &Service| {
        let answers = Answers::new();
        let seen = Seen { port: Port::tcp(6379), service, answers: &answers, now_s: NOW_S };
        exposures.checks_wanted(&seen).iter().map(|check| check.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(wanted(&redis), ["redis-info"]);
    redis.facts.push(("auth".to_owned(), "none".to_owned()));
    assert_eq!(ids(exposures, &redis, 6379, &Answers::new()), ["PEN-REDIS-NOAUTH"]);
    assert!(wanted(&redis).is_empty());
}

#[test]
fn the_number_of_a_port_proves_nothing_but_is_worth_a_check() {
    let exposures = Exposures::built_in();
    let guess = Service { name: "telnet".to_owned(), ..Service::default() };
    assert!(ids(exposures, &guess, 23, &Answers::new()).is_empty());
    let unknown = Service { name: "unknown".to_owned(), ..Service::default() };
    let answers = Answers::new();
    let seen = Seen { port: Port::tcp(6379), service: &unknown, answers: &answers, now_s: NOW_S };
    assert_eq!(
        exposures.checks_wanted(&seen).iter().map(|check| check.id.as_str()).collect::<Vec<_>>(),
        ["redis-info"]
    );
}

/// The weakness of a product that has ended.
fn ended(product: &str, version: &str) -> Option<Weakness> {
    let (service, answers) = (probed("any", product, version), Answers::new());
    let seen = Seen { port: Port::tcp(1), service: &service, answers: &answers, now_s: NOW_S };
    Exposures::built_in().evaluate(&seen).into_iter().find(|weakness| weakness.id == "PEN-EOL")
}

#[test]
fn products_that_have_ended_are_told_with_their_day() {
    let exposures = Exposures::built_in();
    assert!(exposures.end_of_life().len() >= 10);
    let found = ended;
    let old = found("Apache httpd", "2.2.34").unwrap();
    assert_eq!((old.severity, old.confidence), (Severity::High, 80));
    assert!(old.evidence.contains("ended on 2018-01-01"), "{}", old.evidence);
    assert!(found("Apache httpd", "2.4.62").is_none());
    for (product, version) in [
        ("Apache httpd", "2"),
        ("Apache httpd", "2.4"),
        ("Apache httpd", "2.4.x"),
        ("nginx", "1"),
        ("PHP", "8.x"),
        ("OpenSSL", "3"),
    ] {
        assert!(found(product, version).is_none(), "{product} {version} may be one that is corrected");
    }
    for (product, version) in [
        ("Apache httpd", "1"),
        ("Apache httpd", "1.3.x"),
        ("Apache httpd", "2.2"),
        ("nginx", "1.18"),
        ("PHP", "5"),
        ("PHP", "7"),
        ("PHP", "7.4"),
    ] {
        assert!(found(product, version).is_some(), "whatever {product} {version} is short for has ended");
    }
    assert!(
        found("OpenSSL", "1.0.2zf").is_some()
            && found("OpenSSL", "1.1.1w").is_some()
            && found("OpenSSL", "3.0.15").is_none()
    );
    assert!(found("PostgreSQL", "13.14").is_some() && found("PostgreSQL", "14.1").is_none(), "14 ends on 2026-11-12");
    assert!(found("PHP", "").is_none() && found("PHP", "unknown").is_none() && found("Frob", "1").is_none());
}

#[test]
fn what_others_build_of_a_product_that_has_ended_is_potential() {
    let found = ended;
    for (product, version) in [
        ("nginx", "1.22.1 (Debian)"),
        ("nginx", "1.18.0-ubuntu"),
        ("nginx", "1.18.0-plus"),
        ("OpenSSL", "1.1.1k-FIPS"),
        ("OpenSSL", "1.0.2k-fips"),
        ("OpenSSL", "1.1.1k FIPS"),
        ("OpenSSL", "1.1.1t-freebsd"),
        ("OpenSSL", "1.1.1n-0+deb11u5"),
        ("OpenSSL", "1.0.2zf"),
        ("OpenSSL", "1.1.1za"),
        ("PHP", "7.4.33+deb11u4"),
        ("PHP", "5.3.3p1"),
        ("PHP", "7.2.24-1.el8"),
        ("PHP", "5.3.3-7+squeeze19"),
        ("Apache httpd", "2.2.15_1"),
        ("MySQL", "5.7.44-48"),
        ("MySQL", "5.7.mysql_aurora.2.11.1"),
        ("MariaDB", "10.3.39-MariaDB-0+deb10u2"),
        ("ISC BIND", "9.11.37-S1"),
        ("ISC BIND", "9.8.2rc1-RedHat-9.8.2-0.68.rc1.el6"),
    ] {
        let shipped = found(product, version).unwrap_or_else(|| panic!("{product} {version}"));
        assert_eq!(
            (shipped.severity, shipped.confidence),
            (Severity::Low, 30),
            "{product} {version}: others correct it"
        );
    }
    for (product, version) in [
        ("OpenSSL", "1.1.1k"),
        ("OpenSSL", "1.1.1w"),
        ("OpenSSL", "1.0.2u"),
        ("OpenSSL", "1.1.0-pre5"),
        ("PHP", "7.4.33-dev"),
        ("PHP", "5.6.0rc1"),
        ("MySQL", "5.7.44-log"),
        ("MySQL", "5.6.51-enterprise-commercial-advanced-log"),
        ("MariaDB", "10.3.39-MariaDB-log"),
        ("MariaDB", "10.3.39-MariaDB-1:10.3.39+maria~focal"),
        ("ISC BIND", "9.11.36-P1"),
        ("Elasticsearch", "6.8.0-SNAPSHOT"),
    ] {
        let ended = found(product, version).unwrap_or_else(|| panic!("{product} {version}"));
        assert_eq!((ended.severity, ended.confidence), (Severity::High, 80), "{product} {version} is its makers' own");
    }
}

#[test]
fn evidence_repeats_what_was_seen_and_nothing_reaches_a_terminal() {
    let exposures = Exposures::built_in();
    let mut service = probed("http", "", "");
    let chain = vec![Certificate {
        subject: format!("CN=\u{1b}[2J{}", "x".repeat(5_000)),
        not_after_s: Some(NOW_S - 86_400),
        ..Certificate::default()
    }];
    service.tls = Some(Box::new(Tls { problems: vec!["expired".to_owned()], chain, ..Tls::default() }));
    let answers = Answers::new();
    let seen = Seen { port: Port::tcp(443), service: &service, answers: &answers, now_s: NOW_S };
    let found = exposures.evaluate(&seen).into_iter().find(|weakness| weakness.id == "PEN-TLS-EXPIRED").unwrap();
    assert!(
        found.evidence.contains("-1 days left") && !found.evidence.contains('\u{1b}') && found.evidence.len() < 1_000,
        "{}",
        found.evidence
    );
}

#[test]
fn what_is_not_known_is_left_out_of_the_evidence() {
    let exposures = Exposures::built_in();
    let evidence = |service: &Service, answers: &Answers, id: &str| {
        let seen = Seen { port: Port::tcp(6379), service, answers, now_s: NOW_S };
        exposures.evaluate(&seen).into_iter().find(|weakness| weakness.id == id).unwrap().evidence
    };
    let mut service = probed("redis", "Redis", "");
    service.facts = vec![("auth".to_owned(), "none".to_owned())];
    let known = evidence(&service, &Answers::new(), "PEN-REDIS-NOAUTH");
    assert_eq!(known, "INFO was answered without a password.");
    let version = BTreeMap::from([("version".to_owned(), "7.0.15".to_owned())]);
    let asked = evidence(&service, &Answers::from([("redis-info".to_owned(), version)]), "PEN-REDIS-NOAUTH");
    assert_eq!(asked, "INFO was answered without a password, version 7.0.15.");
}

#[test]
fn what_is_said_inside_tls_is_not_in_the_clear() {
    let exposures = Exposures::built_in();
    for (name, check, id) in [
        ("imap", "imap-clear", "PEN-IMAP-CLEARTEXT"),
        ("pop3", "pop3-clear", "PEN-POP3-CLEARTEXT"),
        ("smtp", "smtp-clear", "PEN-SMTP-CLEARTEXT"),
        ("ftp", "ftp-clear", "PEN-FTP-CLEARTEXT"),
    ] {
        let answers = Answers::from([(check.to_owned(), BTreeMap::new())]);
        let mut service = probed(name, "", "");
        for (tls, is_found) in [(None, true), (Some(Box::default()), false)] {
            service.tls = tls;
            let seen = Seen { port: Port::tcp(4990), service: &service, answers: &answers, now_s: NOW_S };
            let found = exposures.evaluate(&seen).iter().any(|weakness| weakness.id == id);
            assert_eq!(found, is_found, "{id}, within TLS: {}", !is_found);
            let unasked = Answers::new();
            let is_asked = exposures.checks_wanted(&Seen { answers: &unasked, ..seen }).iter().any(|it| it.id == check);
            assert_eq!(is_asked, is_found, "{check}, within TLS: {}", !is_found);
        }
    }
}

#[test]
fn a_certificate_is_due_when_a_third_of_its_life_is_left() {
    const HOUR: i64 = 3_600;
    for (life_h, left_h, is_told) in [
        (24 * 7, 24 * 5, false),
        (24 * 7, 24 * 3, false),
        (24 * 7, 24 * 2, true),
        (24, 12, false),
        (24 * 90, 24 * 29, true),
        (24 * 90, 24 * 31, false),
        (24 * 398, 24 * 40, false),
        (24 * 398, 24 * 20, true),
    ] {
        let mut service = probed("http", "", "");
        let end = NOW_S + left_h * HOUR;
        let (not_before_s, not_after_s) = (Some(end - life_h * HOUR), Some(end));
        let chain = vec![Certificate { not_before_s, not_after_s, ..Certificate::default() }];
        service.tls = Some(Box::new(Tls { chain, ..Tls::default() }));
        let found = ids(Exposures::built_in(), &service, 443, &Answers::new());
        let is_found = found.iter().any(|id| **id == *"PEN-TLS-EXPIRING");
        assert_eq!(is_found, is_told, "{left_h} of {life_h} hours: {found:?}");
    }
}

#[test]
fn a_file_that_does_not_hold_together_is_refused_with_the_reason() {
    let parse = |text: &str| Exposures::parse(&[("mine.toml", text)], "").map(|_| ()).unwrap_err().to_string();
    let rule = |more: &str| {
        format!(
            "[[rule]]\nid = \"PEN-X\"\ntitle = \"t\"\nseverity = \"low\"\nevidence = \"e\"\nremedy = \"r\"\nreferences = [\"https://x\"]\n{more}\n"
        )
    };
    for (text, words) in [
        ("[[rule]]\nid = 1".to_owned(), "mine.toml"),
        (rule(""), "holds for everything"),
        (rule("when = [\"nonsense is x\"]"), "`nonsense` is no field"),
        (rule("when = [\"product like x\"]"), "after the field comes"),
        (rule("when = [\"product matches (\"]"), "("),
        (rule("check = \"none\""), "needs the check `none`"),
        (rule("services = [\"a\"]\nsurprise = 1"), "surprise"),
        (rule("services = [\"a\"]").repeat(2), "is there twice"),
        (rule("services = [\"a\"]").replace("PEN-X", "x"), "an id is"),
        ("[[check]]\nid = \"c\"\nstep = []\nyes = []\nno = []".to_owned(), "has 0 steps"),
        ("[[check]]\nid = \"c\"\nstep = [{ send = '\\q' }]\nyes = [['']]\nno = [['']]".to_owned(), "escape"),
    ] {
        let found = parse(&text);
        assert!(found.contains(words), "{found} does not say {words}");
    }
}

#[test]
fn without_leave_to_ask_a_users_rule_has_no_check_sent_and_the_built_in_ones_have_theirs() {
    let text = r#"
[[rule]]
id = "OWN-ECHO"
title = "echoes"
severity = "low"
services = ["redis"]
check = "own-echo"
evidence = "it echoes"
remedy = "turn it off"
references = ["https://example.com/echo"]

[[rule]]
id = "OWN-REDIS-ANY"
title = "a cache"
severity = "low"
services = ["redis"]
evidence = "it is there"
remedy = "turn it off"
references = ["https://example.com/cache"]

[[check]]
id = "own-echo"
services = ["redis"]
yes = [["hello"]]
no = [["bye"]]

[[check.step]]
send = "hello"
expect = "^hello"
"#;
    let exposures = Exposures::with_files(&[("own.toml", text)]).unwrap();
    let service = probed("redis", "Redis", "7.0.1");
    let answers = Answers::new();
    let seen = Seen { port: Port::tcp(6379), service: &service, answers: &answers, now_s: NOW_S };
    let wanted = |of: &Exposures| of.checks_wanted(&seen).iter().map(|check| check.id.clone()).collect::<Vec<_>>();
    let built_in = wanted(Exposures::built_in());
    assert!(!built_in.is_empty() && !built_in.contains(&"own-echo".to_owned()));
    assert!(wanted(&exposures).contains(&"own-echo".to_owned()));
    let quiet = exposures.asking_for_built_in_alone();
    assert_eq!(wanted(&quiet), built_in);
    let found = ids(&quiet, &service, 6379, &answers);
    assert!(found.contains(&"OWN-REDIS-ANY".to_owned()), "what was seen is judged by all rules: {found:?}");
    assert!(!found.contains(&"OWN-ECHO".to_owned()));
}

#[test]
fn a_check_that_asks_for_a_path_asks_for_one_that_nobody_has_as_well() {
    // A server that answers every path alike, such as one that documents what others answer, has none of them.
    let files = unpack(&FILES).unwrap();
    let steps = files.iter().flat_map(|(_, text)| text.lines()).filter_map(|line| line.split_once("{ get = '"));
    let mut count = 0;
    for (_, step) in steps {
        let (path, rest) = step.split_once('\'').unwrap();
        let is_front_page = path == "/" || path.starts_with("/?");
        assert!(is_front_page || rest.contains("only_there = true"), "{path}");
        count += 1;
    }
    assert!(count >= 20, "{count}");
}
