//! Targets from what nmap wrote: hosts that were up and the ports that were open on them, from its XML (`-oX`) or
//! grepable (`-oG`) file. masscan and this program write the same XML.
//!
//! Such a file may be larger than memory and may come from anywhere, so it is read piece by piece (an element, a line),
//! each piece and what is kept of all of them within limits. No entity is expanded and nothing is fetched. A file that
//! was cut is refused: half an address is another host.

mod declared;
mod grepable;
mod source;
mod xml;

use std::collections::BTreeSet;
use std::io::{self, BufReader, Cursor, Read};
use std::net::IpAddr;

use self::declared::{DECLARATION_BYTES_MAX, Decoding, encoding_of, utf16_of};
use self::source::Source;
use crate::finding::Printable;
use crate::port::{Port, PortSet};
use crate::target::text::{Form, MARK_BYTES_MAX, form_of};
use crate::target::{TargetError, TargetSet, TargetSetBuilder, TextError, decode_text};

/// Most characters of a problem that are told: it may quote the file.
const PROBLEM_CHARS_MAX: usize = 200;
/// Largest file in UTF-16, which is read as a whole: what a Windows shell makes of nmap's output, a hundred thousand hosts.
const UTF16_BYTES_MAX: u64 = 64 << 20;

/// What a file of nmap's says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NmapHosts {
    /// The addresses of the hosts that were up.
    pub targets: TargetSet,
    /// Every TCP and UDP port that was open on any of them.
    pub ports: PortSet,
    /// Hosts that were up and are no targets, since all that is said of them is a link-local address: on which link they
    /// are, nmap does not write.
    pub without_link: u64,
    /// The address of the first of these.
    pub first_without_link: Option<IpAddr>,
}

/// Why a file of nmap's was refused.
#[derive(Debug, thiserror::Error)]
pub enum NmapError {
    /// It cannot be read.
    #[error("{origin} cannot be read: {error}")]
    Unreadable {
        /// The file, as given by the caller.
        origin: String,
        /// The system's words.
        error: io::Error,
    },
    /// It is not what nmap writes, or only a part of it.
    #[error("{origin}:{line}:{column}: {problem}")]
    Malformed {
        /// The file, as given by the caller.
        origin: String,
        /// The line, from 1.
        line: u64,
        /// The column, from 1, counted in characters.
        column: u64,
        /// What is wrong there.
        problem: String,
    },
    /// UTF-16 that is damaged.
    #[error(transparent)]
    Text(#[from] TextError),
    /// More than one job takes.
    #[error(transparent)]
    Targets(#[from] TargetError),
}

impl NmapError {
    /// A place, and what is wrong there; made harmless for a terminal.
    fn malformed(origin: &str, (line, column): (u64, u64), problem: &str) -> Self {
        let problem: String = problem.chars().take(PROBLEM_CHARS_MAX).collect();
        Self::Malformed { origin: origin.to_owned(), line, column, problem: Printable(&problem).to_string() }
    }
}

/// Reads the XML or the grepable form, whichever it is. `origin` names the file in errors.
///
/// # Errors
/// [`NmapError`]: the place of the first thing that nmap does not write.
pub fn read_nmap(mut source: impl Read, origin: &str) -> Result<NmapHosts, NmapError> {
    let unreadable = |error| NmapError::Unreadable { origin: origin.to_owned(), error };
    let mut head = Vec::with_capacity(MARK_BYTES_MAX);
    source.by_ref().take(MARK_BYTES_MAX as u64).read_to_end(&mut head).map_err(unreadable)?;
    match form_of(&head) {
        Form::Bytes { mark } => {
            head.drain(..mark);
            source.by_ref().take(DECLARATION_BYTES_MAX as u64).read_to_end(&mut head).map_err(unreadable)?;
            // A mark says that it is UTF-8, whatever the first line says.
            let declared = if mark > 0 { Ok(None) } else { encoding_of(&head) };
            let unknown = |label: String| {
                let problem = format!("the encoding {label:?} that it declares is not known: save it as UTF-8");
                NmapError::malformed(origin, (1, 1), &problem)
            };
            let encoding = utf16_of(&head).or(declared.map_err(unknown)?);
            let bytes = BufReader::new(Cursor::new(head).chain(source));
            match encoding {
                Some(encoding) => read_utf8(Source::new(Decoding::new(bytes, encoding)), origin),
                None => read_utf8(Source::new(bytes), origin),
            }
        }
        Form::Utf16 { .. } | Form::Utf32 => {
            source.take(UTF16_BYTES_MAX).read_to_end(&mut head).map_err(unreadable)?;
            if head.len() as u64 >= UTF16_BYTES_MAX {
                return Err(NmapError::malformed(origin, (1, 1), "UTF-16 of more than 64 MiB: save it as UTF-8"));
            }
            read_utf8(Source::new(Cursor::new(decode_text(head, origin)?)), origin)
        }
    }
}

fn read_utf8<R: io::BufRead>(mut source: Source<R>, origin: &str) -> Result<NmapHosts, NmapError> {
    let first = source.first_visible().map_err(|error| source.failed(error, origin))?;
    let mut hosts = Hosts::default();
    match first {
        Some(b'<') => xml::read(source, origin, &mut hosts)?,
        // nmap writes how it was called before it has found anybody.
        None => return Err(NmapError::malformed(origin, (1, 1), "the file is empty")),
        _ => grepable::read(source, origin, &mut hosts)?,
    }
    let Hosts { targets, ports, without_link, first_without_link } = hosts;
    let (targets, ports) = (targets.build()?, ports.into_iter().collect());
    Ok(NmapHosts { targets, ports, without_link, first_without_link })
}

/// An address as nmap writes it. One of a link may have a zone, which is its scanner's and means nothing here.
fn address_of(text: &str) -> Option<IpAddr> {
    let plain = text.parse().ok();
    plain.or_else(|| text.split_once('%')?.0.parse().ok().filter(is_link_local))
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Hosts {
    targets: TargetSetBuilder,
    /// At most 131,070.
    ports: BTreeSet<Port>,
    without_link: u64,
    first_without_link: Option<IpAddr>,
}

impl Hosts {
    /// Takes a host that was up.
    fn add(&mut self, addresses: &[IpAddr], open: BTreeSet<Port>) -> Result<(), TargetError> {
        let mut known = addresses.iter().filter(|address| !is_link_local(address)).peekable();
        if known.peek().is_none() {
            self.without_link += 1;
            self.first_without_link = self.first_without_link.or(addresses.first().copied());
            return Ok(());
        }
        known.for_each(|address| self.targets.add_address(*address));
        self.ports.extend(open);
        self.targets.compact().map_err(TargetError::set)
    }
}

#[cfg(test)]
#[path = "nmap/nmap_test.rs"]
mod tests;
