//! For people: a block per host, aligned, and one line of figures at the end.

use std::fmt::Write as _;
use std::io;

use super::{Summary, Writer};
use crate::finding::{HostRecord, PortRecord, Printable};

/// Widest banner shown; the whole one is in the JSON reports.
const BANNER_CHARS_MAX: usize = 80;

/// Writes blocks of text as nmap's readers know them.
#[derive(Debug)]
pub struct Table<W> {
    out: W,
    ascii: bool,
    hosts_written: u64,
}

impl<W: io::Write> Table<W> {
    /// A table on `out`; with `ascii`, nothing beyond ASCII is written.
    pub fn new(out: W, ascii: bool) -> Self {
        Self { out, ascii, hosts_written: 0 }
    }

    fn ports(&mut self, ports: &[PortRecord]) -> io::Result<()> {
        let header = ["PORT", "STATE", "SERVICE", "REASON", "BANNER"].map(str::to_owned);
        let rows: Vec<[String; 5]> = std::iter::once(header).chain(ports.iter().map(|port| self.row(port))).collect();
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
        let (a, b, c, d) = (width(0), width(1), width(2), width(3));
        for [port, state, service, reason, banner] in &rows {
            let line = format!("  {port:<a$}  {state:<b$}  {service:<c$}  {reason:<d$}  {banner}");
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn row(&self, port: &PortRecord) -> [String; 5] {
        let mut banner = Printable(port.banner.as_deref().unwrap_or_default()).to_string();
        if banner.len() > BANNER_CHARS_MAX {
            banner.truncate(BANNER_CHARS_MAX - 3);
            banner.push_str(if self.ascii { "..." } else { "…" });
        }
        let service = Printable(port.service.as_ref().map_or("unknown", |service| &service.name)).to_string();
        [format!("{}/{}", port.port, port.protocol), port.state.to_string(), service, port.reason.to_string(), banner]
    }
}

impl<W: io::Write> Writer for Table<W> {
    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        if self.hosts_written > 0 {
            writeln!(self.out)?;
        }
        self.hosts_written += 1;
        let mut head = host.address.to_string();
        if let Some(name) = &host.name {
            write!(head, " ({})", Printable(name)).map_err(io::Error::other)?;
        }
        writeln!(self.out, "{head}  {}, {}", host.state, host.reason)?;
        if !host.ports.is_empty() {
            self.ports(&host.ports)?;
        }
        if !host.not_shown.is_empty() {
            let groups =
                host.not_shown.iter().map(|group| format!("{} {} ({})", group.count, group.state, group.reason));
            writeln!(self.out, "  not shown: {}", groups.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        if self.hosts_written > 0 {
            writeln!(self.out)?;
        }
        for note in &summary.notes {
            writeln!(self.out, "note: {}", Printable(note))?;
        }
        let targets = match summary.targets_scanned == summary.targets_total {
            true => summary.targets_total.to_string(),
            false => format!("{} of {}", summary.targets_scanned, summary.targets_total),
        };
        writeln!(
            self.out,
            "{targets} {} scanned in {}: {} up, {} open, {} probes",
            if summary.targets_total == 1 { "target" } else { "targets" },
            duration(summary.duration.as_secs_f64()),
            count(summary.hosts_up, "host"),
            count(summary.open_ports, "port"),
            summary.probes_sent,
        )?;
        self.out.flush()
    }
}

fn count(number: u64, of: &str) -> String {
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

    fn render(hosts: usize, summary: &Summary) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, true);
        (0..hosts).for_each(|_| table.host(&sample::host()).unwrap());
        table.finish(summary).unwrap();
        String::from_utf8(out).unwrap()
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
  PORT       STATE   SERVICE  REASON        BANNER
  22/tcp     open    ssh      syn-ack       SSH-2.0-x\\x1b]0;\"\\x07
  80/tcp     closed  http     conn-refused
  40000/tcp  open    unknown  syn-ack
  not shown: 1200 filtered (no-response)

note: 1 name did not resolve
1 target scanned in 4.21s: 1 host up, 2 ports open, 1203 probes
";
        assert_eq!(render(1, &summary), expected);
    }

    #[test]
    fn an_empty_report_is_its_figures() {
        let summary = Summary {
            targets_scanned: 10,
            targets_total: 20,
            duration: Duration::from_secs(7385),
            ..Summary::default()
        };
        assert_eq!(render(0, &summary), "10 of 20 targets scanned in 2h 03m 05s: 0 hosts up, 0 ports open, 0 probes\n");
    }

    #[test]
    fn a_long_banner_is_cut() {
        let mut host = sample::host();
        host.ports[0].banner = Some("x".repeat(300));
        let mut out = Vec::new();
        Table::new(&mut out, true).host(&host).unwrap();
        assert!(String::from_utf8(out).unwrap().contains(&format!("{}...\n", "x".repeat(77))));
    }
}
