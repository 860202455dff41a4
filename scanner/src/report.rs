//! From findings to what people and programs read: the fold, and writers that stream host by host.
//!
//! A [`Writer`] gets what is known beforehand, each [`HostRecord`] once, and then the [`Summary`]; nothing grows with
//! the hosts, so a report's size is no matter. Words from the network are escaped by every writer, whatever the record
//! holds: what leaves here is printable ASCII. Which hosts are in a report, and in what order, is the caller's choice.

mod ascii_json;
mod csv;
mod fold;
mod format;
mod html;
mod json;
mod list;
mod meta;
mod once;
mod read;
mod sarif;
mod summary;
mod table;
mod time;
mod vex;
mod xml;

use std::io;

pub use self::csv::Csv;
pub use self::fold::{Fold, Origin};
pub use self::format::{Format, Screen, UnknownFormat};
pub use self::html::Html;
pub use self::json::{Json, JsonLines, json_line};
pub use self::list::List;
pub use self::meta::ReportMeta;
pub use self::once::Once;
pub use self::read::{LINE_BYTES_MAX, read_json_line, read_json_lines};
pub use self::sarif::Sarif;
pub use self::summary::{SeverityCounts, Summary};
pub use self::table::Table;
pub use self::vex::Vex;
pub use self::xml::Xml;
use crate::finding::HostRecord;
pub use crate::finding::TcpScan;
pub use crate::finding::was_or_were;

/// Renders a report to some output: `begin` once, `host` for each host, `finish` once.
pub trait Writer {
    /// Writes what comes before the first host. Whoever leaves it out gets a report without these facts, valid all
    /// the same; a second call changes nothing.
    ///
    /// # Errors
    /// What the output fails with.
    fn begin(&mut self, _meta: &ReportMeta) -> io::Result<()> {
        Ok(())
    }

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

#[cfg(test)]
#[path = "report/hostile_test.rs"]
mod hostile;

#[cfg(test)]
#[path = "report/sample_test.rs"]
pub(crate) mod sample;
