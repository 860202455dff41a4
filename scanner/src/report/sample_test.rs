//! Hosts with something of everything, for the writers' tests.

use crate::finding::{
    Certificate, HostRecord, HostState, Http, Identity, NotShown, PortRecord, PortState, Reason, Service,
    ServiceMethod, Severity, Tls, Weakness,
};
use crate::port::Protocol;
use crate::report::{Format, Screen, Summary};

/// A report of these hosts without what comes before the first one.
pub(crate) fn report(format: Format, hosts: &[HostRecord], summary: &Summary) -> String {
    let mut out = Vec::new();
    let mut writer = format.writer(&mut out, Screen { ascii: true, columns: 80 });
    hosts.iter().for_each(|host| writer.host(host).unwrap());
    writer.finish(summary).unwrap();
    drop(writer);
    String::from_utf8(out).unwrap()
}

fn port(port: u16, state: PortState, reason: Reason, banner: Option<&str>, service: Option<Service>) -> PortRecord {
    PortRecord {
        port,
        protocol: Protocol::Tcp,
        state,
        reason,
        banner: banner.map(str::to_owned),
        service: service.map(Box::new),
        weaknesses: Vec::new(),
    }
}

fn named(name: &str) -> Service {
    Service { name: name.to_owned(), method: ServiceMethod::Probed, ..Service::default() }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A host with a hostile name and banner, and nothing detected but names.
pub(crate) fn host() -> HostRecord {
    HostRecord {
        address: "10.0.0.1".parse().unwrap(),
        name: Some("evil\u{1b}[2J\u{9b}31m.example".to_owned()),
        state: HostState::Up,
        reason: Reason::SynAck,
        ports: vec![
            port(22, PortState::Open, Reason::SynAck, Some("SSH-2.0-x\u{1b}]0;\"\u{7}"), Some(named("ssh"))),
            port(80, PortState::Closed, Reason::ConnRefused, None, Some(named("http"))),
            port(40_000, PortState::Open, Reason::SynAck, None, None),
        ],
        not_shown: vec![NotShown { state: PortState::Filtered, reason: Reason::NoResponse, count: 1200 }],
        started_at_ms: 1_700_000_000_123,
        worker: "wrk_a".to_owned(),
        is_middlebox: false,
        ended_at_ms: 0,
        tcp: None,
        identity: Identity::default(),
        likely_found_permille: None,
        is_target_itself: false,
        redirected: Vec::new(),
        stopped_after_probes: None,
    }
}

fn weakness(id: &str, title: &str, severity: Severity, confidence: u8) -> Weakness {
    Weakness {
        id: id.to_owned(),
        title: title.to_owned(),
        severity,
        confidence,
        method: "exposure".to_owned(),
        evidence: "+PONG".to_owned(),
        remedy: "Set a password.".to_owned(),
        references: vec!["https://example.org/a?b=1&c=2".to_owned()],
    }
}

fn tls() -> Tls {
    Tls {
        versions: vec!["TLSv1.2".to_owned(), "TLSv1.3".to_owned()],
        cipher: some("TLS_AES_256_GCM_SHA384"),
        alpn: some("http/1.1"),
        starttls: None,
        chain: vec![Certificate {
            subject: "CN=www.example".to_owned(),
            issuer: "CN=Example CA".to_owned(),
            names: vec!["www.example".to_owned()],
            not_before_s: Some(1_680_000_000),
            not_after_s: Some(1_701_400_000),
            key: "RSA 2048".to_owned(),
            signature: "sha256WithRSAEncryption".to_owned(),
            serial: "0a".to_owned(),
            sha256: "ab".repeat(32),
        }],
        problems: vec!["self-signed".to_owned()],
    }
}

/// A host of which everything is known: SSH with a potential weakness, HTTPS with a certificate that expires 16 days
/// after the scan, Redis with two weaknesses.
pub(crate) fn rich_host() -> HostRecord {
    let mut ssh = port(22, PortState::Open, Reason::SynAck, Some("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3"), None);
    ssh.service = Some(Box::new(Service {
        confidence: 100,
        product: some("OpenSSH"),
        version: some("9.2p1"),
        info: some("Debian-2+deb12u3"),
        os: some("Linux"),
        cpes: vec!["cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*".to_owned()],
        ..named("ssh")
    }));
    ssh.weaknesses = vec![weakness("CVE-2024-6387", "Race in a signal handler", Severity::Critical, 30)];
    let mut https = port(443, PortState::Open, Reason::SynAck, None, None);
    https.service = Some(Box::new(Service {
        confidence: 95,
        product: some("nginx"),
        version: some("1.24.0"),
        hostname: some("www.example"),
        device: some("router"),
        tls: Some(Box::new(tls())),
        http: Some(Box::new(Http {
            status: 200,
            title: some("Gr\u{fc}\u{df}e"),
            server: some("nginx/1.24.0"),
            headers: vec![("x-a".to_owned(), "b".to_owned())],
            ..Http::default()
        })),
        ..named("http")
    }));
    let mut redis = port(6379, PortState::Open, Reason::SynAck, None, None);
    redis.service = Some(Box::new(Service {
        confidence: 95,
        product: some("Redis"),
        version: some("7.0.4"),
        facts: vec![("auth".to_owned(), "none".to_owned())],
        ..named("redis")
    }));
    redis.weaknesses = vec![
        weakness("PEN-REDIS-NOAUTH", "Redis lets anyone in", Severity::High, 99),
        weakness("PEN-REDIS-OLD", "Redis is out of support", Severity::Low, 80),
    ];
    HostRecord {
        address: "10.0.0.2".parse().unwrap(),
        name: None,
        ports: vec![ssh, https, redis],
        not_shown: vec![
            NotShown { state: PortState::Closed, reason: Reason::Reset, count: 900 },
            NotShown { state: PortState::Filtered, reason: Reason::NoResponse, count: 90 },
            NotShown { state: PortState::Filtered, reason: Reason::AdminProhibited, count: 7 },
        ],
        ..host()
    }
}

/// A host for which something on the way answers on every port.
pub(crate) fn middlebox() -> HostRecord {
    HostRecord {
        address: "10.0.0.3".parse().unwrap(),
        name: None,
        ports: Vec::new(),
        not_shown: vec![NotShown { state: PortState::Open, reason: Reason::SynAck, count: 12 }],
        is_middlebox: true,
        ended_at_ms: 0,
        tcp: None,
        identity: Identity::default(),
        likely_found_permille: None,
        ..host()
    }
}
