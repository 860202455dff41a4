//! nmap's XML, for the many programs that read it: valid against `nmap.dtd`, read by ndiff.
//!
//! Elements, attributes and words are nmap's; the DTD demands `scanner="nmap"`, so that the program's own name stands in
//! `args`. A host's `reason_ttl` is that of one of its answers; ports' own are not kept, so theirs is 0 as in nmap's connect
//! scans. Names that services told are a `script` element of their host; what has no element of its own at a port (TLS,
//! HTTP, weaknesses) is in one `script` element per port.

mod cpe;
mod escaped;
mod script;

use std::io;
use std::net::IpAddr;

pub(super) use self::cpe::cpe_uri;
use self::escaped::Escaped;
use super::time::asctime;
use super::{ReportMeta, Summary, TcpScan, Writer, was_or_were};
use crate::finding::{
    HostRecord, MIDDLEBOX_REASON, NameSource, NotProbed, NotShown, PortRecord, PortState, Service, ServiceMethod,
};
use crate::port::{PortSet, Protocol};

/// Writes one `nmaprun` document.
#[derive(Debug)]
pub struct Xml<W> {
    out: W,
    begun: bool,
    /// When the scan began, or else the latest beginning of a host's unit: milliseconds since 1970.
    latest_ms: u64,
    started_at_ms: Option<u64>,
}

impl<W: io::Write> Xml<W> {
    /// A document on `out`.
    pub fn new(out: W) -> Self {
        Self { out, begun: false, latest_ms: 0, started_at_ms: None }
    }

    fn scan_info(&mut self, meta: &ReportMeta) -> io::Result<()> {
        let of = |protocol: Protocol| meta.ports.iter().filter(move |port| port.protocol == protocol);
        let tcp = match meta.tcp {
            TcpScan::Connect => "connect",
            TcpScan::Syn => "syn",
        };
        for (kind, protocol) in [(tcp, Protocol::Tcp), ("udp", Protocol::Udp)] {
            let ports: PortSet = of(protocol).collect();
            if !ports.is_empty() {
                let services = ports.to_string();
                let services = services.trim_start_matches("U:");
                let count = ports.count();
                writeln!(
                    self.out,
                    r#"<scaninfo type="{kind}" protocol="{protocol}" numservices="{count}" services="{services}"/>"#
                )?;
            }
        }
        Ok(())
    }

    fn port(&mut self, port: &PortRecord) -> io::Result<()> {
        let (protocol, number, state, reason) = (port.protocol, port.port, port.state, port.reason);
        write!(
            self.out,
            r#"<port protocol="{protocol}" portid="{number}"><state state="{state}" reason="{reason}" reason_ttl="0"/>"#
        )?;
        if let Some(service) = port.service_or_guess() {
            self.service(service)?;
        }
        script::write(&mut self.out, port)?;
        writeln!(self.out, "</port>")
    }

    fn service(&mut self, service: &Service) -> io::Result<()> {
        let name = if service.name.is_empty() { "unknown" } else { &service.name };
        write!(self.out, r#"<service name="{}""#, Escaped(name))?;
        let words = [
            ("product", &service.product),
            ("version", &service.version),
            ("extrainfo", &service.info),
            ("hostname", &service.hostname),
            ("ostype", &service.os),
            ("devicetype", &service.device),
        ];
        for (attribute, word) in words {
            if let Some(word) = word {
                write!(self.out, r#" {attribute}="{}""#, Escaped(word))?;
            }
        }
        if service.tls.as_ref().is_some_and(|tls| tls.starttls.is_none()) {
            write!(self.out, r#" tunnel="ssl""#)?;
        }
        let method = match service.method {
            ServiceMethod::Table => "table",
            ServiceMethod::Probed => "probed",
        };
        // nmap counts from 0 to 10.
        write!(self.out, r#" method="{method}" conf="{}">"#, service.confidence.min(100).div_ceil(10))?;
        for uri in service.cpes.iter().filter_map(|name| cpe_uri(name)) {
            write!(self.out, "<cpe>{}</cpe>", Escaped(&uri))?;
        }
        write!(self.out, "</service>")
    }

    /// Counted ports, a group per state with its reasons.
    fn extra_ports(&mut self, groups: &[NotShown]) -> io::Result<()> {
        let mut states: Vec<PortState> = groups.iter().map(|group| group.state).collect();
        states.sort_unstable();
        states.dedup();
        for state in states {
            let of_state = || groups.iter().filter(|group| group.state == state);
            let count: u64 = of_state().map(|group| u64::from(group.count)).sum();
            writeln!(self.out, r#"<extraports state="{state}" count="{count}">"#)?;
            for NotShown { reason, count, .. } in of_state() {
                writeln!(self.out, r#"<extrareasons reason="{reason}" count="{count}"/>"#)?;
            }
            writeln!(self.out, "</extraports>")?;
        }
        Ok(())
    }
}

impl<W: io::Write> Writer for Xml<W> {
    fn begin(&mut self, meta: &ReportMeta) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        self.started_at_ms = meta.started_at_ms;
        self.latest_ms = meta.started_at_ms.unwrap_or_default();
        write!(self.out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE nmaprun>\n<nmaprun scanner=\"nmap\"")?;
        if !meta.command.is_empty() {
            write!(self.out, r#" args="{}""#, Escaped(&meta.command))?;
        }
        if let Some(start) = meta.started_at_ms {
            write!(self.out, r#" start="{}" startstr="{}""#, start / 1000, asctime(start))?;
        }
        writeln!(self.out, r#" version="{}" xmloutputversion="1.05">"#, Escaped(&meta.version))?;
        self.scan_info(meta)?;
        writeln!(self.out, "<verbose level=\"0\"/>\n<debugging level=\"0\"/>")
    }

    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        if self.started_at_ms.is_none() {
            self.latest_ms = self.latest_ms.max(host.started_at_ms);
        }
        // Readers take a host without an end for one of the year 1.
        let end_ms = host.ended_at_ms.max(host.started_at_ms);
        write!(self.out, r#"<host starttime="{}" endtime="{}""#, host.started_at_ms / 1000, end_ms / 1000)?;
        let everything = "something on the way answers for every port; open ports mean nothing";
        let everything = host.is_middlebox.then(|| format!("{everything}: {MIDDLEBOX_REASON}"));
        let comment: Vec<String> = everything.into_iter().chain(host.notes()).collect();
        if !comment.is_empty() {
            write!(self.out, r#" comment="{}""#, comment.join("; "))?;
        }
        let kind = match host.address {
            IpAddr::V4(_) => "ipv4",
            IpAddr::V6(_) => "ipv6",
        };
        let ttl = host.identity.ttl.unwrap_or_default();
        writeln!(self.out, r#"><status state="{}" reason="{}" reason_ttl="{ttl}"/>"#, host.state, host.reason)?;
        writeln!(self.out, r#"<address addr="{}" addrtype="{kind}"/>"#, host.address)?;
        if let Some(mac) = host.identity.mac {
            write!(self.out, r#"<address addr="{mac}" addrtype="mac""#)?;
            if let Some(vendor) = &host.identity.vendor {
                write!(self.out, r#" vendor="{}""#, Escaped(vendor))?;
            }
            writeln!(self.out, "/>")?;
        }
        write!(self.out, "<hostnames>")?;
        let names = host.names();
        for one in &names {
            let kind = match one.source {
                NameSource::User => "user",
                NameSource::ReverseDns => "PTR",
                _ => continue,
            };
            write!(self.out, r#"<hostname name="{}" type="{kind}"/>"#, Escaped(&one.name))?;
        }
        writeln!(self.out, "</hostnames>\n<ports>")?;
        self.extra_ports(&host.not_shown)?;
        host.ports.iter().try_for_each(|port| self.port(port))?;
        writeln!(self.out, "</ports>")?;
        script::host(&mut self.out, &names)?;
        writeln!(self.out, "</host>")
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        let elapsed_ms = u64::try_from(summary.duration.as_millis()).unwrap_or(u64::MAX);
        let end = self.latest_ms.saturating_add(elapsed_ms);
        let elapsed = summary.duration.as_secs_f64();
        write!(
            self.out,
            r#"<runstats><finished time="{}" timestr="{}" elapsed="{elapsed:.2}""#,
            end / 1000,
            asctime(end)
        )?;
        let (scanned, total, up) = (summary.targets_scanned, summary.targets_total, summary.hosts_up);
        let plural = if scanned == 1 { "target" } else { "targets" };
        write!(self.out, r#" summary="{scanned} {plural} scanned in {elapsed:.2} seconds, {up} up"#)?;
        if let Some(measured) = summary.recall_measured {
            write!(self.out, "; {}", measured.of_targets(scanned, total))?;
        }
        self.out.write_all(b"\"")?;
        if scanned < total {
            let (missed, targets) = (total - scanned, if total == 1 { "target" } else { "targets" });
            let were = was_or_were(missed, total);
            write!(self.out, r#" exit="error" errormsg="{missed} of {total} {targets} {were} not scanned"#)?;
            // The first one says as much.
            for remark in summary.remarks().iter().skip(1) {
                write!(self.out, "; {}", Escaped(remark))?;
            }
            self.out.write_all(b"\"")?;
        } else {
            write!(self.out, r#" exit="success""#)?;
        }
        let down = scanned.saturating_add(summary.not_probed.of(NotProbed::Stopped)).saturating_sub(up);
        writeln!(self.out, r#"/><hosts up="{up}" down="{down}" total="{}"/>"#, up + down)?;
        writeln!(self.out, "</runstats>\n</nmaprun>")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roxmltree::{Document, ParsingOptions};

    use super::*;
    use crate::finding::Identity;
    use crate::report::sample;

    fn render(meta: &ReportMeta, hosts: &[HostRecord], summary: &Summary) -> String {
        let mut out = Vec::new();
        let mut xml = Xml::new(&mut out);
        xml.begin(meta).unwrap();
        hosts.iter().for_each(|host| xml.host(host).unwrap());
        xml.finish(summary).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn parse(text: &str) -> Document<'_> {
        Document::parse_with_options(text, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() }).unwrap()
    }

    fn only<'a>(document: &'a Document<'a>, name: &'a str) -> roxmltree::Node<'a, 'a> {
        document.descendants().find(|node| node.has_tag_name(name)).unwrap()
    }

    #[test]
    fn head_and_end_say_what_was_scanned() {
        let meta = ReportMeta {
            command: "pentora scan \"a & b\" <c>".to_owned(),
            started_at_ms: Some(1_700_000_000_123),
            ports: "22,80-90,U:53".parse().unwrap(),
            tcp: TcpScan::Syn,
            ..ReportMeta::default()
        };
        let summary = Summary {
            targets_scanned: 3,
            targets_total: 4,
            hosts_up: 1,
            duration: Duration::from_secs(60),
            ..Summary::default()
        };
        let text = render(&meta, &[], &summary);
        let document = parse(&text);
        let root = document.root_element();
        assert_eq!(root.attribute("args"), Some("pentora scan \"a & b\" <c>"));
        assert_eq!(root.attribute("startstr"), Some("Tue Nov 14 22:13:20 2023"));
        let infos: Vec<_> = document.descendants().filter(|node| node.has_tag_name("scaninfo")).collect();
        let of = |at: usize, name: &str| infos[at].attribute(name).unwrap();
        assert_eq!((of(0, "type"), of(0, "numservices"), of(0, "services")), ("syn", "12", "22,80-90"));
        assert_eq!((of(1, "type"), of(1, "numservices"), of(1, "services")), ("udp", "1", "53"));
        let finished = only(&document, "finished");
        assert_eq!(finished.attribute("time"), Some("1700000060"));
        assert_eq!(finished.attribute("errormsg"), Some("1 of 4 targets was not scanned"));
        let hosts = only(&document, "hosts");
        assert_eq!(
            (hosts.attribute("up"), hosts.attribute("down"), hosts.attribute("total")),
            (Some("1"), Some("2"), Some("3"))
        );
    }

    #[test]
    fn a_service_has_what_was_detected() {
        let mut known = sample::rich_host();
        known.ended_at_ms = 1_700_000_005_000;
        known.identity = Identity {
            ttl: Some(63),
            mac: Some(crate::finding::Mac([2, 0, 0, 0, 0, 1])),
            vendor: Some("A & B".to_owned()),
            reverse_dns: Some("r.example".to_owned()),
            zone: None,
        };
        known.ports[0].service.as_mut().unwrap().hostname = Some("inner.example".to_owned());
        let hosts = [known, sample::middlebox()];
        let text = render(&ReportMeta::default(), &hosts, &Summary::default());
        let document = parse(&text);
        let services: Vec<_> = document.descendants().filter(|node| node.has_tag_name("service")).collect();
        let of = |at: usize, name: &str| services[at].attribute(name);
        assert_eq!((of(0, "product"), of(0, "version"), of(0, "conf")), (Some("OpenSSH"), Some("9.2p1"), Some("10")));
        assert_eq!(
            (of(0, "ostype"), of(0, "extrainfo"), of(0, "tunnel")),
            (Some("Linux"), Some("Debian-2+deb12u3"), None)
        );
        assert_eq!((of(1, "name"), of(1, "tunnel"), of(1, "method")), (Some("http"), Some("ssl"), Some("probed")));
        assert_eq!(only(&document, "cpe").text(), Some("cpe:/a:openbsd:openssh:9.2:p1"));
        let times = only(&document, "host");
        assert_eq!(
            (times.attribute("starttime"), times.attribute("endtime")),
            (Some("1700000000"), Some("1700000005"))
        );
        assert_eq!(only(&document, "status").attribute("reason_ttl"), Some("63"));
        let mac = document.descendants().find(|node| node.attribute("addrtype") == Some("mac")).unwrap();
        assert_eq!((mac.attribute("addr"), mac.attribute("vendor")), (Some("02:00:00:00:00:01"), Some("A & B")));
        let name = only(&document, "hostname");
        assert_eq!((name.attribute("name"), name.attribute("type")), (Some("r.example"), Some("PTR")));
        let told: Vec<_> =
            only(&document, "hostscript").descendants().filter_map(|node| node.attribute("key")).collect();
        assert_eq!(told.first(), Some(&"service"));
        let extra: Vec<_> = document.descendants().filter(|node| node.has_tag_name("extraports")).collect();
        assert_eq!(extra.iter().map(|node| node.attribute("count").unwrap()).collect::<Vec<_>>(), ["900", "97", "12"]);
        let hosts = document.descendants().filter(|node| node.has_tag_name("host"));
        let comments: Vec<_> = hosts.map(|host| host.attribute("comment").is_some()).collect();
        assert_eq!(comments, [false, true]);
        for port in document.descendants().filter(|node| node.has_tag_name("port")) {
            // ndiff reads no more than one.
            assert_eq!(port.children().filter(|node| node.has_tag_name("script")).count(), 1);
        }
        let keys: Vec<_> = document.descendants().filter_map(|node| node.attribute("key")).collect();
        for key in ["banner", "http-title", "ssl-cert", "notAfter", "weaknesses", "PEN-REDIS-NOAUTH", "remedy"] {
            assert!(keys.contains(&key), "{key}");
        }
    }
}
