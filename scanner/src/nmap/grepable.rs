//! nmap's grepable form (`-oG`): a host per line, fields separated by tabs.
//!
//! `Host: 10.0.0.1 (name)<TAB>Status: Up` and `Host: 10.0.0.1 (name)<TAB>Ports: 22/open/tcp//ssh//OpenSSH 9.2/, ...`;
//! masscan puts `Timestamp: ...<TAB>` in front. Slashes inside a field are written as `|`, so an entry of a port cannot be
//! forged by a version.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::net::IpAddr;

use super::source::Source;
use super::{Hosts, NmapError};
use crate::port::{Port, Protocol};

/// What nmap says of hosts that were not up.
const OTHER_STATUSES: [&str; 4] = ["Down", "Unknown", "Timeout", "Smurf"];

/// Reads every line to the end.
pub(super) fn read<R: BufRead>(mut source: Source<R>, origin: &str, hosts: &mut Hosts) -> Result<(), NmapError> {
    let mut line = Vec::new();
    loop {
        source.begin();
        line.clear();
        let read = source.read_until(b'\n', &mut line).map_err(|error| source.failed(error, origin))?;
        if read == 0 {
            return Ok(());
        }
        // Only ASCII means anything here; what a banner holds beyond it is passed over.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        read_line(text, hosts).map_err(|refused| match refused {
            Refused::Here { at, problem } => {
                let column = text.get(..at).map_or(0, |before| before.chars().count()) as u64 + 1;
                NmapError::malformed(origin, (source.begun().0, column), &problem)
            }
            Refused::Targets(error) => error.into(),
        })?;
    }
}

enum Refused {
    /// A byte of the line, and what is wrong from there on.
    Here {
        at: usize,
        problem: String,
    },
    Targets(crate::target::TargetError),
}

fn read_line(line: &str, hosts: &mut Hosts) -> Result<(), Refused> {
    let here = |part: &str, problem: String| {
        Err(Refused::Here { at: part.as_ptr() as usize - line.as_ptr() as usize, problem })
    };
    let mut fields = line.split('\t').skip_while(|field| field.starts_with("Timestamp: "));
    let Some(host) = fields.next().and_then(|field| field.strip_prefix("Host: ")) else {
        return here(line, "this is neither nmap's XML (-oX) nor its grepable form (-oG)".to_owned());
    };
    let word = host.split(' ').next().unwrap_or_default();
    let Ok(address) = word.parse::<IpAddr>() else {
        return here(host, format!("{word:?} is not an address"));
    };
    let (mut is_up, mut is_told, mut open) = (false, false, BTreeSet::new());
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap_or((field, ""));
        match name {
            "Status" if value == "Up" => (is_up, is_told) = (true, true),
            "Status" if OTHER_STATUSES.iter().any(|known| value.starts_with(known)) => is_told = true,
            "Status" => return here(field, format!("{value:?} is no status that nmap knows")),
            // Only of hosts that are up are there ports.
            "Ports" => {
                open.extend(value.split(", ").filter_map(open_port));
                (is_up, is_told) = (true, true);
            }
            _ => {}
        }
    }
    if !is_told {
        return here(line, "the line tells neither status nor ports of its host: was the file cut?".to_owned());
    }
    if is_up { hosts.add(&[address], open).map_err(Refused::Targets) } else { Ok(()) }
}

/// The port of an entry such as `22/open/tcp//ssh///`, if it is open and of a protocol that is scanned here.
fn open_port(entry: &str) -> Option<Port> {
    let mut parts = entry.trim_start().split('/');
    let (number, state, protocol) = (parts.next()?, parts.next()?, parts.next()?);
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let number = number.parse().ok().filter(|number| *number > 0)?;
    (state == "open").then_some(Port { protocol, number })
}
