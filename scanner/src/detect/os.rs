//! Which operating system an answer speaks for, and how sure that is.
//!
//! Words are evidence: a distribution's revision in a banner is strong, a header that an administrator may set is
//! weaker, the time to live of a packet says little, and with the window of a SYN-ACK somewhat more. Nothing is inferred from
//! the absence of anything, and nothing is sent for it.

use crate::finding::{Service, Stack};

/// A hint at an operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsHint {
    /// The system, such as `Debian Linux`.
    pub os: String,
    /// 0 to 100.
    pub confidence: u8,
    /// What it was inferred from, for the one who doubts.
    pub because: String,
}

/// Where words stood, and how far they can be trusted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Compiled in by whoever packaged the program.
    Banner,
    /// A header or a page, which an administrator may write.
    Header,
}

/// Words, what they speak for, and the confidence that they give in a banner.
const WORDS: [(&str, &str, u8); 25] = [
    ("Debian", "Debian Linux", 85),
    ("deb9u", "Debian Linux 9", 90),
    ("deb10u", "Debian Linux 10", 90),
    ("deb11u", "Debian Linux 11", 90),
    ("deb12u", "Debian Linux 12", 90),
    ("deb13u", "Debian Linux 13", 90),
    ("Raspbian", "Raspbian Linux", 90),
    ("Ubuntu", "Ubuntu Linux", 85),
    ("Red Hat", "Red Hat Enterprise Linux", 80),
    ("CentOS", "CentOS Linux", 85),
    ("Rocky", "Rocky Linux", 80),
    ("AlmaLinux", "AlmaLinux", 85),
    ("Fedora", "Fedora Linux", 85),
    ("SUSE", "SUSE Linux", 80),
    ("Alpine", "Alpine Linux", 75),
    ("Gentoo", "Gentoo Linux", 80),
    ("OpenWrt", "OpenWrt", 80),
    ("FreeBSD", "FreeBSD", 90),
    ("NetBSD", "NetBSD", 90),
    ("OpenBSD", "OpenBSD", 80),
    ("MikroTik", "RouterOS", 85),
    ("Win64", "Windows", 85),
    ("Win32", "Windows", 85),
    ("for_Windows", "Windows", 90),
    ("Microsoft-IIS", "Windows", 90),
];

/// Versions of IIS and the systems that they came with.
const IIS: [(&str, &str); 5] = [
    ("Microsoft-IIS/10.0", "Windows Server 2016 or later"),
    ("Microsoft-IIS/8.5", "Windows Server 2012 R2"),
    ("Microsoft-IIS/8.0", "Windows Server 2012"),
    ("Microsoft-IIS/7.5", "Windows Server 2008 R2"),
    ("Microsoft-IIS/6.0", "Windows Server 2003"),
];

/// How much less a header says than a banner.
const HEADER_DISCOUNT: u8 = 15;

/// From this confidence on, a hint is the likeliest system and not only a hint.
const LIKELY: u8 = 50;

/// A packet of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Its time to live when it arrived.
    pub ttl: u8,
    /// What it tells of the stack, where it is a SYN-ACK.
    pub stack: Option<Stack>,
}

/// The best hint that a service's answers give, or a packet of its host where one was seen.
#[must_use]
pub fn hint(service: &Service, banner: Option<&str>, packet: Option<Packet>) -> Option<OsHint> {
    if let Some(os) = &service.os {
        let because = service.rule.as_ref().map_or("what it said".to_owned(), |rule| format!("rule {rule}"));
        return Some(OsHint { os: os.clone(), confidence: service.confidence, because });
    }
    let server = service.http.as_ref().and_then(|http| http.server.as_deref());
    let words = [(Source::Header, server), (Source::Banner, banner), (Source::Banner, service.info.as_deref())];
    // A banner of HTTP holds the header.
    let is_http = service.http.is_some();
    let hints = words.into_iter().filter_map(|(source, words)| {
        let source = if is_http { Source::Header } else { source };
        from_words(words?, source)
    });
    hints.max_by_key(|hint| hint.confidence).or_else(|| packet.map(from_packet))
}

/// Writes the best hint into a service that has none yet: its system where the hint is a likely one, and how that is
/// known as facts.
pub fn annotate(service: &mut Service, banner: Option<&str>, packet: Option<Packet>) {
    if service.facts.iter().any(|(name, _)| name == "os-confidence") {
        return;
    }
    let Some(hint) = hint(service, banner, packet) else { return };
    if hint.confidence >= LIKELY {
        service.os.get_or_insert(hint.os);
    } else {
        service.facts.push(("os-hint".to_owned(), hint.os));
    }
    service.facts.push(("os-confidence".to_owned(), hint.confidence.to_string()));
    service.facts.push(("os-because".to_owned(), hint.because));
}

fn from_words(words: &str, source: Source) -> Option<OsHint> {
    let discount = if source == Source::Header { HEADER_DISCOUNT } else { 0 };
    let hint = |os: &str, confidence: u8, word: &str| OsHint {
        os: os.to_owned(),
        confidence: confidence - discount,
        because: format!("\"{word}\" in its {}", if source == Source::Header { "header" } else { "banner" }),
    };
    if let Some((word, os)) = IIS.iter().find(|(word, _)| words.contains(word)) {
        return Some(hint(os, 90, word));
    }
    let found = WORDS.iter().filter(|(word, ..)| words.contains(word));
    let (word, os, confidence) = found.max_by_key(|(_, _, confidence)| *confidence)?;
    // OpenSSH is OpenBSD's project: its name is no sign of the system.
    if *word == "OpenBSD" && words.contains("OpenSSH") {
        return None;
    }
    Some(hint(os, *confidence, word))
}

/// By the window of a SYN-ACK, where it is one that a stack is known for, or else by the time to live.
fn from_packet(packet: Packet) -> OsHint {
    let Packet { ttl, stack } = packet;
    match stack.and_then(|stack| Some((stack, from_stack(ttl, stack)?))) {
        Some((Stack { window, segment }, (os, confidence))) => {
            let because = format!("a SYN-ACK with time to live {ttl}, window {window}, segment size {segment}");
            OsHint { os: os.to_owned(), confidence, because }
        }
        None => from_ttl(ttl),
    }
}

/// Stacks by the window that they begin with, which depends on the segment size in Linux (`tcp_select_initial_window`: whole
/// segments, ten or more) and not in the others: Windows, the BSDs (`net.inet.tcp.recvspace`), Cisco IOS (`ip tcp
/// window-size`, 4,128 by default), and lwIP (`TCP_WND`, four segments).
fn from_stack(ttl: u8, stack: Stack) -> Option<(&'static str, u8)> {
    let Stack { window, segment } = stack;
    let is_whole = segment > 0 && window % segment == 0;
    match ttl {
        0..=64 => match window {
            65_535 => Some(("BSD or macOS", 40)),
            16_384 => Some(("OpenBSD", 40)),
            _ if is_whole && (window / segment >= 10 || segment > 8_192) => Some(("Linux", 55)),
            _ => None,
        },
        65..=128 => matches!(window, 8_192 | 16_384 | 64_000 | 64_240 | 65_392 | 65_535).then_some(("Windows", 55)),
        129..=255 => match window {
            4_128 => Some(("Cisco IOS", 60)),
            _ if is_whole && window / segment == 4 => Some(("lwIP", 45)),
            _ => None,
        },
    }
}

/// Initial values are 64, 128 and 255; a path is shorter than what lies between them.
fn from_ttl(ttl: u8) -> OsHint {
    let (os, confidence) = match ttl {
        0..=64 => ("Unix-like", 30),
        65..=128 => ("Windows", 30),
        129..=255 => ("network device", 20),
    };
    OsHint { os: os.to_owned(), confidence, because: format!("time to live {ttl}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Http;

    fn packet(ttl: u8) -> Option<Packet> {
        Some(Packet { ttl, stack: None })
    }

    #[test]
    fn a_syn_ack_tells_the_stack_that_made_it_with_its_confidence() {
        let told = |ttl, window, segment| {
            let stack = Some(Stack { window, segment });
            let found = hint(&Service::default(), None, Some(Packet { ttl, stack })).unwrap();
            (found.os, found.confidence)
        };
        for (packet, os, confidence) in [
            ((63, 64_240, 1460), "Linux", 55),
            ((64, 29_200, 1460), "Linux", 55),
            ((57, 28_800, 1440), "Linux", 55),
            ((64, 65_483, 65_483), "Linux", 55),
            ((127, 65_535, 1460), "Windows", 55),
            ((120, 8_192, 1460), "Windows", 55),
            ((60, 65_535, 1460), "BSD or macOS", 40),
            ((254, 4_128, 1460), "Cisco IOS", 60),
            ((255, 2_144, 536), "lwIP", 45),
            ((64, 5_000, 1460), "Unix-like", 30),
            ((64, 0, 0), "Unix-like", 30),
            ((240, 1_000, 0), "network device", 20),
        ] {
            assert_eq!(told(packet.0, packet.1, packet.2), (os.to_owned(), confidence), "{packet:?}");
        }
        let mut service = Service::default();
        annotate(&mut service, None, Some(Packet { ttl: 63, stack: Some(Stack { window: 64_240, segment: 1460 }) }));
        assert_eq!(service.os.as_deref(), Some("Linux"));
        let because = &service.facts.iter().find(|(name, _)| name == "os-because").unwrap().1;
        assert_eq!(because, "a SYN-ACK with time to live 63, window 64240, segment size 1460");
    }

    fn web(server: &str) -> Service {
        let http = Http { server: Some(server.to_owned()), ..Http::default() };
        Service { http: Some(Box::new(http)), ..Service::default() }
    }

    #[test]
    fn a_banner_says_more_than_a_header_and_both_more_than_a_packet() {
        let banner = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3";
        let ssh = hint(&Service::default(), Some(banner), packet(128)).unwrap();
        assert_eq!((ssh.os.as_str(), ssh.confidence), ("Debian Linux 12", 90));
        let http = hint(&web("Apache/2.4.57 (Debian)"), None, packet(64)).unwrap();
        assert_eq!((http.os.as_str(), http.confidence), ("Debian Linux", 70));
        let packet = hint(&web("nginx"), None, packet(64)).unwrap();
        assert_eq!((packet.os.as_str(), packet.confidence), ("Unix-like", 30));
        assert_eq!(hint(&web("nginx"), None, None), None, "no evidence, no word");
    }

    #[test]
    fn what_a_rule_said_stands() {
        let service = Service { os: Some("VxWorks".to_owned()), confidence: 80, ..Service::default() };
        assert_eq!(hint(&service, Some("Debian"), packet(64)).unwrap().os, "VxWorks");
    }

    #[test]
    fn a_weak_hint_is_a_fact_and_not_the_system() {
        let mut service = web("nginx");
        annotate(&mut service, None, packet(64));
        assert_eq!(service.os, None);
        assert_eq!(service.facts[0], ("os-hint".to_owned(), "Unix-like".to_owned()));
        annotate(&mut service, Some("Debian"), None);
        assert_eq!(service.facts.len(), 3, "the first word stands");
    }

    #[test]
    fn iis_tells_the_windows_that_it_came_with() {
        let found = hint(&web("Microsoft-IIS/8.5"), None, None).unwrap();
        assert_eq!((found.os.as_str(), found.confidence), ("Windows Server 2012 R2", 75));
    }
}
