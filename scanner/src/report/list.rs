//! One line per open port, `ADDRESS PORT PROTOCOL`: for `grep`, `cut` and other programs.
//!
//! An address for which something on the way answers on every port has a comment in place of them: `# ADDRESS: why`. Comments
//! at the end say that a list is not whole, and why, and whatever else a reader has to know.

use std::collections::HashSet;
use std::io;

use super::{Summary, Writer};
use crate::finding::{HostRecord, MIDDLEBOX_REASON, Printable};

/// Most lines that are remembered, so that none comes twice: twenty megabytes. In a longer list one behind these may.
const SEEN_MAX: usize = 1 << 18;

/// Writes open ports, one per line.
#[derive(Debug)]
pub struct List<W> {
    out: W,
    /// What was written: a host is in a report once for each name that was asked for.
    seen: HashSet<String>,
}

impl<W: io::Write> List<W> {
    /// A list on `out`.
    pub fn new(out: W) -> Self {
        Self { out, seen: HashSet::new() }
    }
}

impl<W: io::Write> Writer for List<W> {
    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        if host.is_middlebox {
            writeln!(self.out, "# {} answers on every TCP port: {MIDDLEBOX_REASON}", host.written_address())?;
        }
        let address = host.written_address();
        for note in host.notes() {
            writeln!(self.out, "# {address}: {note}")?;
        }
        for port in host.open_ports() {
            let line = format!("{address} {} {}", port.port, port.protocol);
            if self.seen.contains(&line) {
                continue;
            }
            writeln!(self.out, "{line}")?;
            if self.seen.len() < SEEN_MAX {
                self.seen.insert(line);
            }
        }
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        summary.remarks().iter().try_for_each(|remark| writeln!(self.out, "# {}", Printable(remark)))?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, sample};

    #[test]
    fn open_ports_come_one_per_line() {
        let list = sample::report(Format::List, &[sample::host()], &Summary::default());
        assert_eq!(list, "10.0.0.1 22 tcp\n10.0.0.1 40000 tcp\n");
        let partial = Summary { targets_total: 1, ..Summary::default() };
        let list = sample::report(Format::List, &[], &partial);
        assert_eq!(list, "# partial: 0 of 1 target was scanned to the end\n");
    }

    #[test]
    fn a_host_of_several_names_is_listed_once() {
        let other = HostRecord { name: None, ..sample::host() };
        let elsewhere = HostRecord { address: "10.0.0.9".parse().unwrap(), ..sample::host() };
        let list = sample::report(Format::List, &[sample::host(), other, elsewhere], &Summary::default());
        assert_eq!(list, "10.0.0.1 22 tcp\n10.0.0.1 40000 tcp\n10.0.0.9 22 tcp\n10.0.0.9 40000 tcp\n");
    }

    #[test]
    fn an_address_that_answers_on_everything_is_one_comment() {
        let mut out = Vec::new();
        List::new(&mut out).host(&HostRecord { is_middlebox: true, ..sample::host() }).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("# 10.0.0.1 answers on every TCP port: ") && text.lines().count() == 1, "{text}");
    }
}
