//! Who is asked first, and what becomes of answers that two readers know.

use super::*;

fn answer(bytes: &[u8]) -> Answer<'_> {
    Answer { protocol: Protocol::Tcp, port: 2222, is_tls: false, probe: None, bytes }
}

fn recog(files: &[(&str, &str)]) -> Arc<Recog> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    Arc::new(Recog::load(directory.path()).unwrap())
}

fn service_probes(text: &str) -> Arc<ServiceProbes> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("probes");
    std::fs::write(&path, text).unwrap();
    Arc::new(ServiceProbes::read(&path).unwrap())
}

const RECOG: &str = r#"<fingerprints matches="ssh.banner" protocol="ssh">
  <fingerprint pattern="^OpenSSH_">
    <param pos="0" name="service.product" value="OpenSSH"/><param pos="0" name="hw.device" value="Toaster"/>
    <param pos="0" name="service.cpe23" value="cpe:/a:other:openssh:-"/><param pos="0" name="hw.cpe23" value="cpe:/h:acme:toaster:-"/>
  </fingerprint>
  <fingerprint pattern="^Unheard_([\d.]+)$">
    <param pos="0" name="service.product" value="Unheard"/><param pos="1" name="service.version"/>
  </fingerprint>
</fingerprints>"#;

const PROBES: &str = "Probe TCP NULL q||\nmatch ssh m|^SSH-2\\.0-Unheard_| p/Users Unheard/\nmatch ssh m|^SSH-2\\.0-OpenSSH| p/Users OpenSSH/\nmatch odd m|^ODD| p/Odd/\nProbe TCP Ask q|ASK\\n|\nports 2222\nmatch odd m|^ANSWER|\n";

#[test]
fn recog_fills_in_what_our_own_rules_leave_open() {
    let set = RuleSet::builtin().with_recog(recog(&[("ssh.xml", RECOG)]));
    let found = set.matches(&answer(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")).unwrap();
    assert_eq!((found.service.version.as_deref(), found.service.device.as_deref()), (Some("9.2p1"), Some("Toaster")));
    assert!(found.service.cpes.iter().any(|cpe| cpe.starts_with("cpe:2.3:h:acme:toaster:")));
    assert!(!found.service.cpes.iter().any(|cpe| cpe.contains("other")), "one product has one name");
}

#[test]
fn the_users_word_goes_before_recogs_and_both_before_a_bare_service_name() {
    let bytes = b"SSH-2.0-Unheard_1.2\r\n";
    let own = RuleSet::builtin().matches(&answer(bytes)).unwrap();
    assert_eq!((own.is_soft, own.service.name.as_str()), (true, "ssh"));
    let with_recog = RuleSet::builtin().with_recog(recog(&[("ssh.xml", RECOG)]));
    let found = with_recog.matches(&answer(bytes)).unwrap();
    assert_eq!(
        (found.is_soft, found.service.product.as_deref(), found.service.version.as_deref()),
        (false, Some("Unheard"), Some("1.2"))
    );
    let with_both = with_recog.with_service_probes(service_probes(PROBES));
    assert_eq!(with_both.matches(&answer(bytes)).unwrap().service.product.as_deref(), Some("Users Unheard"));
    let ours = with_both.matches(&answer(b"SSH-2.0-OpenSSH_9.2p1\r\n")).unwrap();
    assert_eq!(ours.service.product.as_deref(), Some("OpenSSH"), "what our rules are certain of stands");
}

#[test]
fn a_users_probe_comes_back_with_a_number_of_its_own() {
    let set = RuleSet::builtin().with_service_probes(service_probes(PROBES));
    let probes = set.probes(Protocol::Tcp, 2222, false);
    let ids: std::collections::BTreeSet<ProbeId> = probes.iter().map(|probe| probe.id).collect();
    assert_eq!(ids.len(), probes.len());
    let ask = probes.iter().find(|probe| &*probe.name == "Ask").unwrap();
    assert!(ask.is_hinted);
    let found = set.matches(&Answer { probe: Some(ask.id), ..answer(b"ANSWER") }).unwrap();
    assert_eq!(found.service.name, "odd");
    let greeting = set.matches(&Answer { probe: Some(ask.id), ..answer(b"SSH-2.0-OpenSSH_9.2p1\r\n") }).unwrap();
    assert_eq!(greeting.service.product.as_deref(), Some("OpenSSH"), "a greeting may cross a probe");
}

#[test]
fn hinted_probes_go_first_and_fragile_ones_to_their_ports_only() {
    let set = RuleSet::builtin();
    let names = |port, is_tls| {
        let probes = set.probes(Protocol::Tcp, port, is_tls);
        assert!(probes.is_sorted_by_key(|probe| (!probe.is_hinted, if probe.is_hinted { 0 } else { probe.rarity })));
        probes.into_iter().map(|probe| probe.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(6379, false)[0], "redis-info");
    assert!(names(502, false).contains(&"modbus-identify".to_owned()));
    for fragile in ["modbus-identify", "s7-identify"] {
        assert!(!names(80, false).contains(&fragile.to_owned()), "{fragile}");
    }
    assert_eq!(names(443, true)[0], "http-get");
    assert_eq!(
        names(9090, false)[..2],
        ["http-prometheus", "http-get"],
        "the probe that is for fewer ports goes first"
    );
    assert!(set.probes(Protocol::Udp, 53, false)[0].is_hinted);
}

#[test]
fn what_a_service_says_can_be_seen_in_every_field() {
    let set = RuleSet::builtin().with_recog(recog(&[("ssh.xml", RECOG)])).with_service_probes(service_probes(PROBES));
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2p1 \x1b[31m\xff\r\n"[..],
        b"220 \x1b]0;x\x07 FTP\r\n",
        b"* OK \x9b31m Dovecot ready.\r\n",
    ] {
        let service = set.matches(&answer(bytes)).unwrap().service;
        let json = serde_json::to_string(&service).unwrap();
        assert!(!json.chars().any(crate::finding::is_hidden), "{json}");
        assert!(!json.contains("u001b"), "{json}");
    }
}

#[test]
fn a_mistake_in_a_rule_file_is_named_with_file_and_line() {
    let probe = "[[probe]]\nname = 'p'\npayload = 'x'\n";
    let rule = |more: &str| format!("{probe}[[rule]]\nid = 'r'\nservice = 's'\n{more}\n");
    for (text, line, words) in [
        ("[[rule]\n".to_owned(), 1, "]"),
        (format!("{probe}colour = 'red'\n"), 4, "colour"),
        (probe.replace("'x'", "'\\q'"), 3, "no escape"),
        (probe.replace("'x'", "''"), 3, "1 to 4096 bytes"),
        (format!("{probe}rarity = 10\n"), 1, "rarity 10"),
        (format!("{probe}ports = '0'\n"), 1, "no port"),
        (format!("{probe}fallback = ['q']\n"), 1, "no probe \"q\""),
        (format!("{probe}{probe}"), 4, "twice"),
        (rule("regex = '('"), 7, "unclosed group"),
        (rule("regex = '(?!a)'"), 7, "look"),
        (rule("regex = 'a'\nversion = '$1'"), 4, "$1 is not captured"),
        (rule("regex = 'a'\ncpe = ['a:b']"), 4, "part:vendor:product"),
        (rule("regex = 'a'\nfrom = ['q']"), 4, "no probe \"q\""),
        (rule("regex = 'a'\ndissect = 'q'"), 4, "no dissector \"q\""),
        (rule("regex = 'a'\nconfidence = 101"), 4, "above 100"),
        (rule("soft = true"), 4, "regex"),
    ] {
        let error = RuleSet::from_rules(&[("mine.toml", &text)]).unwrap_err();
        assert_eq!((error.file.as_str(), error.line), ("mine.toml", line), "{text}: {error}");
        assert!(error.problem.contains(words), "{text}: {error}");
    }
}

#[test]
fn rules_of_ones_own_are_asked_in_place_of_the_programs() {
    let text = "[[probe]]\nname = 'p'\nports = '2222'\npayload = 'x'\n[[rule]]\nid = 'r'\nservice = 's'\nfrom = ['p']\nregex = '^a(.)'\nproduct = 'P$1'\n";
    let set = RuleSet::from_rules(&[("mine.toml", text)]).unwrap();
    let probe = set.probes(Protocol::Tcp, 2222, false).remove(0);
    assert_eq!((&*probe.payload, probe.is_hinted), (&b"x"[..], true));
    let found = set.matches(&Answer { probe: Some(probe.id), ..answer(b"ab") }).unwrap();
    assert_eq!((found.service.product.as_deref(), found.service.rule.as_deref()), (Some("Pb"), Some("r")));
    assert_eq!(set.matches(&answer(b"ab")), None, "nobody was asked");
}

#[test]
fn a_users_product_goes_before_a_protocol_of_ours_without_one() {
    let bytes = b"\xff\xfez\r\n";
    let own = RuleSet::builtin().matches(&answer(bytes)).unwrap();
    assert_eq!((own.service.name.as_str(), own.service.product), ("telnet", None));
    let probes = service_probes("Probe TCP NULL q||\nmatch gadget m|^\\xff\\xfe(.)| p/Gadget/\n");
    let with_user = RuleSet::builtin().with_service_probes(probes);
    assert_eq!(with_user.matches(&answer(bytes)).unwrap().service.product.as_deref(), Some("Gadget"));
}
