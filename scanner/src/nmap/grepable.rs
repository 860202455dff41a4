//! nmap's grepable form (`-oG`): a host per line, fields separated by tabs.
//!
//! `Host: 10.0.0.1 (name)<TAB>Status: Up` and `Host: 10.0.0.1 (name)<TAB>Ports: 22/open/tcp//ssh//OpenSSH 9.2/, ...`;
//! masscan puts `Timestamp: ...<TAB>` in front. Slashes inside a field are written as `|`, so an entry of a port cannot be
//! forged by a version.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::source::Source;
use super::{Hosts, NmapError, address_of};
use crate::port::{Port, Protocol};

/// What nmap says of hosts that were not up.
const OTHER_STATUSES: [&str; 4] = ["Down", "Unknown", "Timeout", "Smurf"];

/// Slashes that end an entry of a port: one behind each of its seven fields. masscan leaves the last one out.
const ENTRY_ENDS: usize = 7;

/// Reads every line to the end. Lines end with a line feed, a carriage return or both.
pub(super) fn read<R: BufRead>(mut source: Source<R>, origin: &str, hosts: &mut Hosts) -> Result<(), NmapError> {
    let mut piece = Vec::new();
    // Lines so far that the source has not counted.
    let mut more = 0;
    loop {
        source.begin();
        piece.clear();
        let read = source.read_until(b'\n', &mut piece).map_err(|error| source.failed(error, origin))?;
        if read == 0 {
            return Ok(());
        }
        let begun = source.begun();
        // Only ASCII means anything here; what a banner holds beyond it is passed over.
        let text = String::from_utf8_lossy(&piece);
        let is_ended = text.ends_with(['\n', '\r']);
        let text = text.trim_end_matches('\n');
        let text = text.strip_suffix('\r').unwrap_or(text);
        let mut lines = text.split('\r').enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let column = if number == 0 { begun.1 } else { 1 };
            let is_whole = is_ended || lines.peek().is_some();
            read_line(line, is_whole, hosts).map_err(|refused| match refused {
                Refused::Here { at, problem } => {
                    let before = line.get(..at).map_or(0, |before| before.chars().count()) as u64;
                    let place = (begun.0 + more + number as u64, column + before);
                    NmapError::malformed(origin, place, &problem)
                }
                Refused::Targets(error) => error.into(),
            })?;
            if lines.peek().is_none() {
                more += number as u64;
            }
        }
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

/// Reads a line; `is_whole` where its end is in the file.
fn read_line(line: &str, is_whole: bool, hosts: &mut Hosts) -> Result<(), Refused> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let here = |part: &str, problem: String| {
        Err(Refused::Here { at: part.as_ptr() as usize - line.as_ptr() as usize, problem })
    };
    let is_masscan = line.starts_with("Timestamp: ");
    let mut fields = line.split('\t').skip_while(|field| field.starts_with("Timestamp: "));
    let Some(host) = fields.next().and_then(|field| field.strip_prefix("Host: ")) else {
        return here(line, "this is neither nmap's XML (-oX) nor its grepable form (-oG)".to_owned());
    };
    let word = host.split(' ').next().unwrap_or_default();
    let Some(address) = address_of(word) else {
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
                match open_ports(value, is_masscan) {
                    Ok(ports) => open.extend(ports),
                    Err((part, problem)) => return here(part, problem),
                }
                if !is_whole {
                    return here(field, "the line ends with the file: was the file cut?".to_owned());
                }
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

/// The open ports of a list such as `22/open/tcp//ssh//OpenSSH 9.2/, 25/filtered/tcp//smtp///`, of the protocols that are
/// scanned here; or the part that nmap does not write, and what is wrong with it. A version may have a comma, but no slash.
fn open_ports(list: &str, is_masscan: bool) -> Result<BTreeSet<Port>, (&str, String)> {
    let mut open = BTreeSet::new();
    let mut rest = list.trim_end();
    while !rest.is_empty() {
        let end = rest.match_indices('/').nth(ENTRY_ENDS - 1).map(|(at, _)| rest.split_at(at + 1));
        let is_bare = is_masscan && rest.ends_with('/') && rest.matches('/').count() == ENTRY_ENDS - 1;
        let Some((entry, behind)) = end.or_else(|| is_bare.then_some((rest, ""))) else {
            return Err((rest, "an entry of a port that has no end: was the file cut?".to_owned()));
        };
        let mut fields = entry.split('/');
        let mut field = || fields.next().unwrap_or_default();
        let (number, state, protocol) = (field(), field(), field());
        let Ok(number) = number.parse::<u16>() else {
            return Err((entry, format!("{number:?} is not a port")));
        };
        let protocol = match protocol {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            _ => None,
        };
        if state == "open" && number > 0 {
            open.extend(protocol.map(|protocol| Port { protocol, number }));
        }
        rest = match behind.strip_prefix(", ") {
            Some(next) => next,
            None if behind.is_empty() => behind,
            None => return Err((behind, format!("{behind:?} is no entry of a port"))),
        };
    }
    Ok(open)
}
