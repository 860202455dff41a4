//! From findings to what people and programs read: the fold, and writers that stream host by host.
//!
//! A [`Writer`] gets each [`HostRecord`] once and then the [`Summary`]; nothing is kept between hosts, so a report's
//! size is no matter. Words from the network are escaped by every writer, whatever the record holds.

mod fold;
mod json;
mod list;
mod table;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

pub use self::fold::Fold;
pub use self::json::{Json, JsonLines, json_line};
pub use self::list::List;
pub use self::table::Table;
use crate::finding::{HostRecord, ServiceMethod};

/// Renders a report to some output, host by host.
pub trait Writer {
    /// Writes one host.
    ///
    /// # Errors
    /// What the output fails with, `BrokenPipe` when its reader has had enough.
    fn host(&mut self, host: &HostRecord) -> io::Result<()>;

    /// Writes what comes after the last host, and flushes.
    ///
    /// # Errors
    /// What the output fails with.
    fn finish(&mut self, summary: &Summary) -> io::Result<()>;
}

/// The figures of a whole report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Targets whose unit is done.
    pub targets_scanned: u64,
    /// Targets asked for.
    pub targets_total: u64,
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports on them.
    pub open_ports: u64,
    /// Open ports whose service was named by what it answered.
    pub services_detected: u64,
    /// Weaknesses of those ports.
    pub vulnerabilities: u64,
    /// Probes sent, retransmissions included.
    pub probes_sent: u64,
    /// Share of round trips that were lost.
    pub loss_estimate: f64,
    /// Probability that an open port was found; `None` where nothing was asked.
    pub recall_estimate: Option<f64>,
    /// From the job's start to its end.
    pub duration: Duration,
    /// What a reader has to know beside the figures: names that did not resolve, units that failed. One line each.
    pub notes: Vec<String>,
}

impl Summary {
    /// Counts one host in.
    pub fn count(&mut self, host: &HostRecord) {
        self.hosts_up += 1;
        for port in host.open_ports() {
            self.open_ports += 1;
            let is_named = port.service.as_ref().is_some_and(|service| service.method == ServiceMethod::Probed);
            self.services_detected += u64::from(is_named);
            self.vulnerabilities += port.weaknesses.len() as u64;
        }
    }
}

/// A form of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people: a block per host and a line at the end.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object per host and line, no summary.
    JsonLines,
    /// `ADDRESS PORT PROTOCOL` per open port, for scripts.
    List,
}

impl Format {
    /// The names by which a format is chosen.
    pub const NAMES: &'static [&'static str] = &["table", "json", "jsonl", "list"];

    /// A writer of this format. `ascii` keeps tables to ASCII, for terminals that cannot show more.
    pub fn writer<'w, W: io::Write + 'w>(self, out: W, ascii: bool) -> Box<dyn Writer + 'w> {
        match self {
            Self::Table => Box::new(Table::new(out, ascii)),
            Self::Json => Box::new(Json::new(out)),
            Self::JsonLines => Box::new(JsonLines::new(out)),
            Self::List => Box::new(List::new(out)),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::List => "list",
        })
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "jsonl" => Ok(Self::JsonLines),
            "list" => Ok(Self::List),
            _ => Err(UnknownFormat { given: text.to_owned() }),
        }
    }
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {given:?}: it is one of {}", Format::NAMES.join(", "))]
pub struct UnknownFormat {
    /// The word given.
    pub given: String,
}

#[cfg(test)]
pub(crate) mod sample {
    //! A host with something of everything, for the writers' tests.

    use crate::finding::{HostRecord, HostState, NotShown, PortRecord, PortState, Reason, Service, ServiceMethod};
    use crate::port::Protocol;

    pub(crate) fn host() -> HostRecord {
        let port = |port, state, reason, banner: Option<&str>, service: Option<&str>| PortRecord {
            port,
            protocol: Protocol::Tcp,
            state,
            reason,
            banner: banner.map(str::to_owned),
            service: service.map(|name| Service {
                name: name.to_owned(),
                method: ServiceMethod::Probed,
                ..Service::default()
            }),
            weaknesses: Vec::new(),
        };
        HostRecord {
            address: "10.0.0.1".parse().unwrap(),
            name: Some("evil\u{1b}[2J\u{9b}31m.example".to_owned()),
            state: HostState::Up,
            reason: Reason::SynAck,
            ports: vec![
                port(22, PortState::Open, Reason::SynAck, Some("SSH-2.0-x\u{1b}]0;\"\u{7}"), Some("ssh")),
                port(80, PortState::Closed, Reason::ConnRefused, None, Some("http")),
                port(40_000, PortState::Open, Reason::SynAck, None, None),
            ],
            not_shown: vec![NotShown { state: PortState::Filtered, reason: Reason::NoResponse, count: 1200 }],
            started_at_ms: 1_700_000_000_123,
            worker: "wrk_a".to_owned(),
            is_middlebox: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_escapes_what_a_terminal_would_obey() {
        for name in Format::NAMES {
            let format: Format = name.parse().unwrap();
            assert_eq!(format.to_string(), *name);
            let mut out = Vec::new();
            let mut writer = format.writer(&mut out, true);
            writer.host(&sample::host()).unwrap();
            writer.finish(&Summary { notes: vec!["x\u{1b}y".to_owned()], ..Summary::default() }).unwrap();
            drop(writer);
            assert!(!out.is_empty());
            assert!(out.iter().all(|b| *b == b'\n' || (b' '..=b'~').contains(b)), "{format}");
        }
        assert!("xml".parse::<Format>().is_err());
    }

    #[test]
    fn a_summary_counts_hosts_ports_and_services() {
        let mut summary = Summary::default();
        summary.count(&sample::host());
        assert_eq!((summary.hosts_up, summary.open_ports, summary.services_detected), (1, 2, 1));
    }
}
