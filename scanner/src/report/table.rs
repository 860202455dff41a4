//! For people: a block per host, aligned to the screen, and the figures at the end.
//!
//! One line per port with what answers there; below it what its certificate and its weaknesses are. Lines are cut to the
//! screen, never wrapped; whatever is cut off is in the JSON reports. Times of certificates are held against the time of
//! the scan, not of the reading: a kept report reads the same tomorrow.

use std::fmt::Write as _;
use std::io;

use super::time::day;
use super::{Screen, SeverityCounts, Summary, Writer};
use crate::finding::{
    Banner, HostName, HostRecord, MIDDLEBOX_REASON, NameSource, NotShown, PortRecord, PortState, Printable, Service,
    ServiceMethod, Tls,
};

/// Narrowest last column: below it a line may exceed the screen, as it has to say something.
const LAST_COLUMN_MIN: usize = 24;
/// From so many columns on there is room to say how a state is known.
const WIDE: usize = 120;
/// A certificate that ends within so many days gets them counted: time enough to replace it, as browsers' vendors warn.
const ENDS_SOON_DAYS: i64 = 30;

/// Most ports of one host in one state other than open that have lines of their own: more hide what is open.
const CLOSED_MAX: usize = 5;

/// What stands before a host's names.
const NAMES_BEFORE: &str = "  also: ";

/// Writes blocks of text as nmap's readers know them.
#[derive(Debug)]
pub struct Table<W> {
    out: W,
    screen: Screen,
    hosts_written: u64,
}

impl<W: io::Write> Table<W> {
    /// A table on `out` for a screen that is `screen`.
    pub fn new(out: W, screen: Screen) -> Self {
        Self { out, screen, hosts_written: 0 }
    }

    fn ports(&mut self, host: &HostRecord, shown: &[&PortRecord]) -> io::Result<()> {
        let reason = if self.screen.columns >= WIDE { "REASON" } else { "" };
        let header = ["PORT", "STATE", "SERVICE", reason, "VERSION"].map(str::to_owned);
        let rows: Vec<[String; 5]> = std::iter::once(header).chain(shown.iter().map(|port| self.row(port))).collect();
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
        let (a, b, c, d) = (width(0), width(1), width(2), width(3));
        // Two spaces before each column.
        let before = 2 + a + 2 + b + 2 + c + 2 + if d > 0 { d + 2 } else { 0 };
        let ports = std::iter::once(None).chain(shown.iter().map(Some));
        for ([port, state, service, reason, version], record) in rows.iter().zip(ports) {
            let reason = if d > 0 { format!("{reason:<d$}  ") } else { String::new() };
            let start = format!("  {port:<a$}  {state:<b$}  {service:<c$}  {reason}");
            let room = self.screen.columns.saturating_sub(start.len()).max(LAST_COLUMN_MIN);
            writeln!(self.out, "{}", format!("{start}{}", self.cut(version, room)).trim_end())?;
            if let Some(record) = record {
                self.details(record, before, host.started_at_ms)?;
            }
        }
        Ok(())
    }

    /// What the host is called by others than its user, and what is known of its interface.
    fn identity(&mut self, host: &HostRecord) -> io::Result<()> {
        let mut sources: Vec<(String, Vec<&str>)> = Vec::new();
        for HostName { name, source } in host.names() {
            // The user's own word stands above.
            let is_own = host.name.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(&name));
            match sources.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                Some((_, by)) => by.push(source.as_str()),
                None if is_own || source == NameSource::User => {}
                None => sources.push((name, vec![source.as_str()])),
            }
        }
        let names: Vec<String> =
            sources.into_iter().map(|(name, by)| format!("{} ({})", Printable(&name), by.join(", "))).collect();
        let room = self.screen.columns.saturating_sub(NAMES_BEFORE.len()).max(LAST_COLUMN_MIN);
        if !names.is_empty() {
            writeln!(self.out, "{NAMES_BEFORE}{}", self.cut(&names.join(", "), room))?;
        }
        if let Some(mac) = host.identity.mac {
            let vendor = host.identity.vendor.as_deref().map(|vendor| format!(" ({})", Printable(vendor)));
            writeln!(self.out, "  mac: {mac}{}", vendor.unwrap_or_default())?;
        }
        Ok(())
    }

    fn row(&self, port: &PortRecord) -> [String; 5] {
        let reason = if self.screen.columns >= WIDE { port.reason.to_string() } else { String::new() };
        [format!("{}/{}", port.port, port.protocol), port.state.to_string(), service(port), reason, version(port)]
    }

    /// The lines below a port: its certificate, below its version, and its weaknesses.
    fn details(&mut self, port: &PortRecord, indent: usize, now_ms: u64) -> io::Result<()> {
        if let Some(tls) = port.service.as_ref().and_then(|service| service.tls.as_deref()) {
            let room = self.screen.columns.saturating_sub(indent).max(LAST_COLUMN_MIN);
            writeln!(self.out, "{:indent$}{}", "", self.cut(&certificate(tls, now_ms), room))?;
        }
        let width = port.weaknesses.iter().map(|weakness| Printable(&weakness.id).to_string().len()).max().unwrap_or(0);
        for weakness in &port.weaknesses {
            let severity = weakness.severity;
            let id = Printable(&weakness.id).to_string();
            let mark = if weakness.is_potential() { "?" } else { "!" };
            let start = format!("    {mark} {severity:<8}  {id:<width$}  ");
            let mut title = Printable(&weakness.title).to_string();
            if weakness.is_potential() {
                title = format!("potential ({} %): {title}", weakness.confidence);
            }
            let room = self.screen.columns.saturating_sub(start.len()).max(LAST_COLUMN_MIN);
            writeln!(self.out, "{}", format!("{start}{}", self.cut(&title, room)).trim_end())?;
        }
        Ok(())
    }

    /// `text`, which is ASCII, in at most `room` columns.
    fn cut(&self, text: &str, room: usize) -> String {
        if text.len() <= room {
            return text.to_owned();
        }
        let mark = if self.screen.ascii { "..." } else { "\u{2026}" };
        let kept = room.saturating_sub(mark.chars().count());
        format!("{}{mark}", text.get(..whole_escapes(text, kept)).unwrap_or(text).trim_end())
    }
}

/// How many of the first `kept` bytes of escaped text there are without half an escape at their end.
fn whole_escapes(text: &str, kept: usize) -> usize {
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let length = match rest.as_bytes() {
            [b'\\', b'x', ..] => 4,
            [b'\\', b'u', ..] => rest.find('}').map_or(2, |end| end + 1),
            [b'\\', ..] => 2,
            _ => 1,
        };
        if at + length > kept {
            return at;
        }
        at += length;
    }
}

/// The ports of a host that have a line each, and the groups of those that are counted.
fn parted(host: &HostRecord) -> (Vec<&PortRecord>, Vec<NotShown>) {
    let mut folded = host.not_shown.clone();
    let is_many = |state: PortState| {
        let alike = host.ports.iter().filter(|port| port.state == state).count();
        let counted = host.not_shown.iter().any(|group| group.state == state);
        // Where some are counted anyway, there are more of them than fit.
        state != PortState::Open && (alike > CLOSED_MAX || (counted && alike > 0))
    };
    let mut shown = Vec::new();
    for port in host.ports.iter().filter(|port| host.is_meant(port)) {
        // Of a closed port nothing is known but what its number stands for.
        if !is_many(port.state) {
            shown.push(port);
            continue;
        }
        match folded.iter_mut().find(|group| (group.state, group.reason) == (port.state, port.reason)) {
            Some(group) => group.count = group.count.saturating_add(1),
            None => folded.push(NotShown { state: port.state, reason: port.reason, count: 1 }),
        }
    }
    (shown, folded)
}

/// The name of the service: inside TLS `ssl/http` as nmap has it, `http?` where the port's number is all there is.
fn service(port: &PortRecord) -> String {
    let Some(service) = port.service_or_guess() else { return "unknown".to_owned() };
    let inside = service.tls.as_ref().is_some_and(|tls| tls.starttls.is_none());
    let tunnel = if inside { "ssl/" } else { "" };
    let guess = if service.method == ServiceMethod::Table && port.state == PortState::Open { "?" } else { "" };
    format!("{tunnel}{}{guess}", Printable(&service.name))
}

/// What answers: `nginx 1.24.0 (Debian), "Title of its page"`, or what it said where that is all there is.
fn version(port: &PortRecord) -> String {
    let empty = Service::default();
    let service = port.service.as_deref().unwrap_or(&empty);
    let mut text = String::new();
    for word in [&service.product, &service.version].into_iter().flatten() {
        let space = if text.is_empty() { "" } else { " " };
        write!(text, "{space}{}", Printable(word)).expect("writing to a string cannot fail");
    }
    let hints = [&service.info, &service.os, &service.device];
    let hints: Vec<String> = hints.into_iter().flatten().map(|word| Printable(word).to_string()).collect();
    if !hints.is_empty() {
        let space = if text.is_empty() { "" } else { " " };
        write!(text, "{space}({})", hints.join("; ")).expect("writing to a string cannot fail");
    }
    let title = service.http.as_ref().and_then(|http| http.title.as_deref());
    // What was said is shown where nothing was made of it.
    let comma = if text.is_empty() { "" } else { ", " };
    match (title, &port.banner) {
        (Some(title), _) => text.push_str(&format!("{comma}\"{}\"", Printable(title))),
        (None, Some(banner)) if text.is_empty() => text.push_str(&format!("\"{}\"", Banner(banner))),
        _ => {}
    }
    text
}

/// `TLSv1.2 TLSv1.3, CN=www.example, expires 2026-12-01 (in 5 days), self-signed`.
fn certificate(tls: &Tls, now_ms: u64) -> String {
    let mut parts = vec![Printable(&tls.versions.join(" ")).to_string()];
    if let Some(own) = tls.chain.first() {
        parts.push(Printable(&own.subject).to_string());
        let now_s = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        parts.extend(own.not_after_s.map(|end| match end.saturating_sub(now_s) / 86_400 {
            _ if end < now_s => format!("expired {}", day(end)),
            days if days <= ENDS_SOON_DAYS => {
                format!("expires {} (in {})", day(end), count_of(days.unsigned_abs(), "day"))
            }
            _ => format!("expires {}", day(end)),
        }));
    }
    parts.extend(tls.problems.iter().filter(|word| *word != "expired").map(|word| Printable(word).to_string()));
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

impl<W: io::Write> Writer for Table<W> {
    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        if self.hosts_written > 0 {
            writeln!(self.out)?;
        }
        self.hosts_written += 1;
        let mut head = host.written_address();
        if let Some(name) = &host.name {
            write!(head, " ({})", Printable(name)).map_err(io::Error::other)?;
        }
        writeln!(self.out, "{head}  {}, {}", host.state, host.reason)?;
        self.identity(host)?;
        let (shown, folded) = parted(host);
        if !shown.is_empty() {
            self.ports(host, &shown)?;
        }
        if !folded.is_empty() {
            let groups = folded.iter().map(|group| format!("{} {} ({})", group.count, group.state, group.reason));
            writeln!(self.out, "  not shown: {}", groups.collect::<Vec<_>>().join(", "))?;
        }
        for note in host.notes() {
            writeln!(self.out, "  note: {note}")?;
        }
        if host.is_middlebox {
            writeln!(self.out, "  note: something answers for every TCP port here, so that open ones mean nothing:")?;
            writeln!(self.out, "        {MIDDLEBOX_REASON}")?;
        }
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        if self.hosts_written > 0 {
            writeln!(self.out)?;
        }
        for note in summary.remarks() {
            writeln!(self.out, "note: {}", Printable(&note))?;
        }
        let targets = match summary.targets_scanned == summary.targets_total {
            true => summary.targets_total.to_string(),
            false => format!("{} of {}", summary.targets_scanned, summary.targets_total),
        };
        writeln!(
            self.out,
            "{targets} {} scanned in {}: {} up, {} open, {}{}",
            if summary.targets_total == 1 { "target" } else { "targets" },
            duration(summary.duration.as_secs_f64()),
            count_of(summary.hosts_up, "host"),
            count_of(summary.open_ports, "port"),
            match summary.services_detected {
                0 => String::new(),
                named => format!("{} named, ", count_of(named, "service")),
            },
            count_of(summary.probes_sent, "probe"),
        )?;
        if let Some(measured) = summary.recall_measured {
            writeln!(self.out, "{}", measured.of_targets(summary.targets_scanned, summary.targets_total))?;
        }
        if summary.weaknesses.total() + summary.potential.total() > 0 {
            writeln!(self.out, "{}", weaknesses(&summary.weaknesses, &summary.potential))?;
        }
        self.out.flush()
    }
}

/// `3 weaknesses: 1 critical, 2 low; 4 potential`.
fn weaknesses(counts: &SeverityCounts, potential: &SeverityCounts) -> String {
    let some = counts.worst_first().filter(|(_, count)| *count > 0);
    let parts: Vec<String> = some.map(|(severity, count)| format!("{count} {severity}")).collect();
    let plural = if counts.total() == 1 { "weakness" } else { "weaknesses" };
    let colon = if parts.is_empty() { "" } else { ": " };
    let mut line = format!("{} {plural}{colon}{}", counts.total(), parts.join(", "));
    if potential.total() > 0 {
        write!(line, "; {} potential", potential.total()).expect("writing to a string cannot fail");
    }
    line
}

fn count_of(number: u64, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

/// `4.21s`, `3m 05s`, `2h 03m 05s`.
fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.2}s");
    }
    let whole = std::time::Duration::try_from_secs_f64(seconds).map_or(0, |duration| duration.as_secs());
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}h {minutes:02}m {seconds:02}s") } else { format!("{minutes}m {seconds:02}s") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::sample;

    fn render(hosts: &[HostRecord], columns: usize, summary: &Summary) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, Screen { ascii: true, columns });
        hosts.iter().for_each(|host| table.host(host).unwrap());
        table.finish(summary).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_cell_is_not_cut_inside_an_escape() {
        let text = format!("a\\\\b{}", Printable("\u{1b}\u{6f22}c"));
        assert_eq!(text, "a\\\\b\\x1b\\u{6f22}c");
        let cut: Vec<usize> = (0..=text.len()).map(|kept| whole_escapes(&text, kept)).collect();
        assert_eq!(cut, [0, 1, 1, 3, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 16, 17]);
    }

    #[test]
    fn a_host_is_an_aligned_block() {
        let summary = Summary {
            targets_scanned: 1,
            targets_total: 1,
            hosts_up: 1,
            open_ports: 2,
            probes_sent: 1203,
            duration: Duration::from_millis(4210),
            notes: vec!["1 name did not resolve".to_owned()],
            ..Summary::default()
        };
        let expected = "\
10.0.0.1 (evil\\x1b[2J\\x9b31m.example)  up, syn-ack
  PORT       STATE   SERVICE  VERSION
  22/tcp     open    ssh      \"SSH-2.0-x\\x1b]0;\"\\x07\"
  80/tcp     closed  http
  40000/tcp  open    unknown
  not shown: 1200 filtered (no-response)

note: 1 name did not resolve
1 target scanned in 4.21s: 1 host up, 2 ports open, 1203 probes
";
        assert_eq!(render(&[sample::host()], 80, &summary), expected);
    }

    #[test]
    fn a_handful_of_closed_ports_is_listed_and_more_are_counted() {
        let mut host = sample::host();
        let closed = host.ports.iter().find(|port| port.state == PortState::Closed).unwrap().clone();
        host.ports.retain(|port| port.state == PortState::Open);
        let open = host.ports.clone();
        for (count, shown) in [(5, 5), (6, 0), (25, 0)] {
            let closed = (1..=count).map(|port| PortRecord { port: 1_000 + port, ..closed.clone() });
            host.ports = open.iter().cloned().chain(closed).collect();
            let text = render(&[host.clone()], 80, &Summary::default());
            assert_eq!(text.matches("/tcp  closed").count() + text.matches("/tcp   closed").count(), shown, "{text}");
            assert_eq!(text.contains(&format!("{count} closed (")), shown == 0, "{text}");
        }
    }

    #[test]
    fn what_is_known_of_a_port_is_below_it() {
        let mut summary = Summary { targets_scanned: 1, targets_total: 1, ..Summary::default() };
        summary.count(&sample::rich_host());
        let expected = "\
10.0.0.2  up, syn-ack
  also: www.example (service, certificate)
  PORT      STATE  SERVICE   VERSION
  22/tcp    open   ssh       OpenSSH 9.2p1 (Debian-2+deb12u3; Linux)
    ? critical  CVE-2024-6387  potential (30 %): Race in a signal handler
  443/tcp   open   ssl/http  nginx 1.24.0 (router), \"Gr\\xfc\\xdfe\"
                             TLSv1.2 TLSv1.3, CN=www.example, expires 2023-12...
  6379/tcp  open   redis     Redis 7.0.4
    ! high      PEN-REDIS-NOAUTH  Redis lets anyone in
    ! low       PEN-REDIS-OLD     Redis is out of support
  not shown: 900 closed (reset), 90 filtered (no-response), 7 filtered (admin-prohibited)

1 target scanned in 0.00s: 1 host up, 3 ports open, 3 services named, 0 probes
2 weaknesses: 1 high, 1 low; 1 potential
";
        assert_eq!(render(&[sample::rich_host()], 80, &summary), expected);
        let wide = render(&[sample::rich_host()], 160, &summary);
        assert!(wide.contains("  syn-ack  TLSv1") || wide.contains("  syn-ack  nginx 1.24.0"), "{wide}");
        assert!(wide.contains("CN=www.example, expires 2023-12-01 (in 16 days), self-signed\n"), "{wide}");
    }

    #[test]
    fn a_host_that_answers_on_everything_is_a_note_and_no_list() {
        let expected = "\
10.0.0.3  up, syn-ack
  not shown: 12 open (syn-ack)
  note: something answers for every TCP port here, so that open ones mean nothing:
        ports drawn at random, where nobody listens, are open as well
";
        let old = HostRecord { ports: sample::rich_host().ports, ..sample::middlebox() };
        for host in [sample::middlebox(), old] {
            let text = render(&[host], 80, &Summary::default());
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn an_empty_report_is_its_figures() {
        let summary = Summary {
            targets_scanned: 10,
            targets_total: 20,
            duration: Duration::from_secs(7385),
            ..Summary::default()
        };
        let expected = "note: partial: 10 of 20 targets were scanned to the end\n\
                        10 of 20 targets scanned in 2h 03m 05s: 0 hosts up, 0 ports open, 0 probes\n";
        assert_eq!(render(&[], 80, &summary), expected);
    }

    #[test]
    fn long_lines_are_cut_to_the_screen() {
        let mut host = sample::rich_host();
        host.ports[0].banner = Some("x".repeat(300));
        host.ports[0].service = None;
        host.ports[2].weaknesses[0].title = "y".repeat(300);
        for columns in [80, 100, 160] {
            let text = render(&[host.clone()], columns, &Summary::default());
            let port_lines = text.lines().filter(|line| line.contains("/tcp") || line.contains("yyy"));
            assert!(port_lines.clone().any(|line| line.ends_with("x...")));
            assert!(port_lines.clone().all(|line| line.len() <= columns), "{text}");
        }
    }
}
