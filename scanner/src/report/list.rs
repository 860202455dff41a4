//! One line per open port, `ADDRESS PORT PROTOCOL`: for `grep`, `cut` and other programs.

use std::io;

use super::{Summary, Writer};
use crate::finding::HostRecord;

/// Writes open ports, one per line, and nothing else.
#[derive(Debug)]
pub struct List<W> {
    out: W,
}

impl<W: io::Write> List<W> {
    /// A list on `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: io::Write> Writer for List<W> {
    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        host.open_ports().try_for_each(|port| writeln!(self.out, "{} {} {}", host.address, port.port, port.protocol))
    }

    fn finish(&mut self, _summary: &Summary) -> io::Result<()> {
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
    }
}
