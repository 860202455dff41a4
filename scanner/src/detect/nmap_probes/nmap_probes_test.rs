//! A small file of our own in nmap's syntax.

use super::*;
use crate::udp_scan::payload::Ask;

const FILE: &str = r#"# ours
Exclude T:9100-9107,U:30000

Probe TCP NULL q||
totalwaitms 6000
tcpwrappedms 3000
match acme m|^ACME ([\d._]+)\r\n$| p/Acme Server/ v/$SUBST(1,"_",".")/ i/ready/ o/AcmeOS/ d/pump/ cpe:/a:acme:server:$1/a cpe:/o:acme:os/
match never m|^(?!x)y| p/Never/
softmatch chat m|^220[ -]|i

Probe TCP Hello q|HELLO\r\n\x00\0\||
rarity 3
ports 7000,7100-7102
sslports 7443
fallback Help
match acme m=^\0\x01(..)(....)([\w-]*)$=s p|Binary $P(3)| v/$I(1,">").$I(2,"<")/ h/$3/

Probe TCP Help q|HELP\n| no-payload
match helper m/^I (?:can|will) help$/ p/Helper/

Probe UDP Ping q|ping|
ports 7
match echo m|^ping| p/Echo/
"#;

fn probes() -> ServiceProbes {
    // A `|` cannot be inside a payload that `|` delimits.
    read::read(FILE.replace(r"\0\||", r"\0|").as_bytes()).unwrap()
}

#[test]
fn probes_and_their_ports_are_read() {
    let probes = probes();
    assert_eq!((probes.len(), probes.skipped().len()), (5, 1));
    let sent = probes.probes(Protocol::Tcp, 7101, false);
    assert_eq!(
        sent.iter().map(|(_, probe)| (&*probe.name, probe.is_hinted, probe.rarity)).collect::<Vec<_>>(),
        [("Hello", true, 3), ("Help", false, 5)]
    );
    assert_eq!(&*sent[0].1.payload, b"HELLO\r\n\0\0");
    assert_eq!(sent[0].1.services.iter().map(|name| &**name).collect::<Vec<_>>(), ["acme"]);
    assert!(
        probes.probes(Protocol::Tcp, 7443, true)[0].1.is_hinted
            && !probes.probes(Protocol::Tcp, 7443, false)[0].1.is_hinted
    );
    assert!(probes.probes(Protocol::Udp, 7, false)[0].1.is_hinted);
    assert!(probes.probes(Protocol::Tcp, 9100, false).is_empty(), "an excluded port is not asked");
    assert!(!probes.probes(Protocol::Udp, 9100, false).is_empty());
}

#[test]
fn fields_are_filled_by_their_templates() {
    let probes = probes();
    let found = probes.matches(Protocol::Tcp, true, None, b"ACME 1_2.3\r\n").unwrap();
    let service = found.service;
    assert_eq!((service.name.as_str(), service.version.as_deref(), found.is_soft), ("acme", Some("1.2.3"), false));
    assert_eq!((service.product.as_deref(), service.info.as_deref()), (Some("Acme Server"), Some("ready")));
    assert_eq!((service.os.as_deref(), service.device.as_deref()), (Some("AcmeOS"), Some("pump")));
    assert_eq!(service.cpes, ["cpe:2.3:a:acme:server:1_2.3:*:*:*:*:*:*:*", "cpe:2.3:o:acme:os:*:*:*:*:*:*:*:*"]);
    let service = probes.matches(Protocol::Tcp, false, Some(1), b"\0\x01\x01\x02\x01\0\0\0host-1").unwrap().service;
    assert_eq!((service.version.as_deref(), service.product.as_deref()), (Some("258.1"), Some("Binary host-1")));
    assert_eq!(service.hostname.as_deref(), Some("host-1"));
}

#[test]
fn an_answer_is_looked_up_in_its_probe_its_fallbacks_and_the_greetings() {
    let probes = probes();
    let product =
        |probe, bytes: &[u8]| probes.matches(Protocol::Tcp, false, probe, bytes).map(|found| found.service.name);
    assert_eq!(
        product(Some(1), b"I can help\n").as_deref(),
        Some("helper"),
        "by fallback, and $ allows a last newline"
    );
    assert_eq!(product(Some(2), b"I can help").as_deref(), Some("helper"));
    assert_eq!(product(Some(1), b"220-hi").as_deref(), Some("chat"));
    assert_eq!(product(None, b"I can help"), None);
    assert!(probes.matches(Protocol::Tcp, true, None, b"220 hi").unwrap().is_soft);
    assert_eq!(
        probes.matches(Protocol::Udp, false, Some(3), b"ping").unwrap().service.product.as_deref(),
        Some("Echo")
    );
    assert_eq!(probes.matches(Protocol::Udp, false, Some(3), b"220 hi"), None);
}

#[test]
fn a_mistake_is_named_with_its_line() {
    for (text, line, words) in [
        ("match a m|b|", 1, "before the first Probe"),
        ("Probe TCP a q|x|\nmatch a b", 2, "m|...|"),
        ("Probe TCP a q|x|\nmatch a m|b", 2, "no end"),
        ("Probe TCP a q|x|\nmatch a m|b|x p/c/", 2, "no option"),
        ("Probe TCP a q|x|\nmatch a m|b| z/c/", 2, "no field"),
        ("Probe TCP a q|x|\n\nports 1,x", 3, "no port"),
        ("Probe TCP a q|x|\nrarity 10", 2, "1 to 9"),
        ("Probe TCP a q|x|\nfallback b", 1, "fall back"),
        ("Probe SCTP a q|x|", 1, "TCP nor UDP"),
        ("Probe TCP a q|\\xzz|", 1, "no byte"),
        (&format!("Probe UDP a q|{}|", "x".repeat(1453)), 1, "a datagram has at most 1452"),
        ("Probe TCP a q|x|\nnonsense", 2, "no directive"),
        ("Exclude X:1", 1, "T nor U"),
        (&"Probe TCP a q|x|\n".repeat(10_001), 10_001, "more than"),
        (&format!("Probe TCP a q|x|\nfallback {}", "a,".repeat(100)), 2, "more than"),
        (&format!("Probe TCP a q|x|\nmatch a m|b| {}", "p/c/ ".repeat(33)), 2, "more than"),
        (&format!("Probe TCP a q|x|\nmatch a m|b| cpe:/{}/", ":".repeat(16)), 2, "more than"),
    ] {
        let BadLine { line: at, problem } = read::read(text.as_bytes()).unwrap_err();
        assert_eq!(at, line, "{text}: {problem}");
        assert!(problem.contains(words), "{text}: {problem}");
    }
}

#[test]
fn a_substitution_that_multiplies_an_answer_is_cut_off() {
    let file = format!("Probe TCP NULL q||\nmatch a m|^(.*)$|s i/$SUBST(1,\"x\",\"{}\")$1$1/", "y".repeat(100_000));
    let probes = read::read(file.as_bytes()).unwrap();
    // 64 KiB of these would be six gigabytes.
    let found = probes.matches(Protocol::Tcp, true, None, &[b'x'; 64 * 1024]).unwrap();
    assert_eq!(found.service.info.unwrap(), "y".repeat(200));
}

#[test]
fn a_file_that_is_not_there_or_no_text_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("probes");
    assert!(matches!(ServiceProbes::read(&path), Err(ServiceProbesError::Read { .. })));
    std::fs::write(&path, b"\xff\xfe\x00binary").unwrap();
    assert!(matches!(ServiceProbes::read(&path), Err(ServiceProbesError::Malformed { line: 1, .. })));
    std::fs::write(&path, FILE.replace(r"\0\||", r"\0|")).unwrap();
    assert_eq!(ServiceProbes::read(&path).unwrap().len(), 5);
}

#[test]
fn a_file_is_read_as_editors_save_it_and_says_what_it_leaves_out() {
    let plain = FILE.replace(r"\0\||", r"\0|");
    for text in [format!("\u{feff}{plain}"), plain.replace('\n', "\r\n"), plain.replace('\n', "\r")] {
        let probes = read::read(text.as_bytes()).unwrap();
        let lines: Vec<usize> = probes.skipped().iter().map(|skipped| skipped.line).collect();
        assert_eq!((probes.len(), lines.as_slice()), (5, &[8][..]));
    }
    let utf16: Vec<u8> = format!("\u{feff}{plain}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(read::read(&utf16).unwrap_err().problem.contains("UTF-16"));
    let odd = read::read("match \u{1b}[31m".as_bytes()).unwrap_err();
    assert!(odd.problem.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", odd.problem);
}

#[test]
fn udp_ports_that_the_file_names_are_asked_its_probes_the_least_rare_first() {
    let file = "Exclude U:9998\nProbe UDP Rare q|rare|\nports 9990-9999\nrarity 8\nProbe UDP Often q|often|\nports 9999\nrarity 2\n\
        Probe UDP Never q|never| no-payload\nports 9999\nProbe UDP Nowhere q|nowhere|\nProbe TCP Other q|other|\nports 9999\n";
    let probes = read::read(file.as_bytes()).unwrap();
    let ask = Ask { token: [0; 8], to: std::net::Ipv4Addr::LOCALHOST.into() };
    let asked = |probes: &ServiceProbes, port: u16| {
        let catalogue = probes.udp_requests();
        let requests = catalogue.of(port, true);
        let all = (0..requests.len()).map(|at| String::from_utf8(requests.write(at, &ask).unwrap()).unwrap());
        all.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(asked(&probes, 9999), "often rare");
    assert_eq!((asked(&probes, 9990), asked(&probes, 9998), asked(&probes, 9)), ("rare".into(), "".into(), "".into()));
    assert_eq!(asked(&probes.silent(), 9999), "");
}
