//! The forms of report by name, and what a terminal can show.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::{Csv, Html, Json, JsonLines, List, Sarif, Table, Vex, Writer, Xml};

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
    /// Comma-separated values (RFC 4180), a row per port.
    Csv,
    /// nmap's XML, for the programs that read it.
    Xml,
    /// One page with charts and tables, for a browser without a network.
    Html,
    /// SARIF 2.1.0: the weaknesses, for code scanning and trackers.
    Sarif,
    /// OpenVEX 0.2.0: the weaknesses as statements to be triaged.
    Vex,
}

/// What the reader's screen can show; only tables look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Nothing beyond ASCII.
    pub ascii: bool,
    /// Columns of the screen. Addresses and ids are never cut, so a very narrow one is exceeded.
    pub columns: usize,
}

impl Default for Screen {
    /// 100 columns: what a page of paper and half a screen hold.
    fn default() -> Self {
        Self { ascii: false, columns: 100 }
    }
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 9] = [
        Self::Table,
        Self::Json,
        Self::JsonLines,
        Self::List,
        Self::Csv,
        Self::Xml,
        Self::Html,
        Self::Sarif,
        Self::Vex,
    ];
    /// The names by which a format is chosen, in the order of [`Format::ALL`].
    pub const NAMES: &'static [&'static str] =
        &["table", "json", "jsonl", "list", "csv", "xml", "html", "sarif", "vex"];

    /// The name by which it is chosen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::List => "list",
            Self::Csv => "csv",
            Self::Xml => "xml",
            Self::Html => "html",
            Self::Sarif => "sarif",
            Self::Vex => "vex",
        }
    }

    /// A writer of this format. Give it something buffered: it writes in small pieces.
    pub fn writer<'w, W: io::Write + 'w>(self, out: W, screen: Screen) -> Box<dyn Writer + 'w> {
        match self {
            Self::Table => Box::new(Table::new(out, screen)),
            Self::Json => Box::new(Json::new(out)),
            Self::JsonLines => Box::new(JsonLines::new(out)),
            Self::List => Box::new(List::new(out)),
            Self::Csv => Box::new(Csv::new(out)),
            Self::Xml => Box::new(Xml::new(out)),
            Self::Html => Box::new(Html::new(out)),
            Self::Sarif => Box::new(Sarif::new(out)),
            Self::Vex => Box::new(Vex::new(out)),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.to_ascii_lowercase();
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| UnknownFormat { given: text.to_owned() })
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
mod tests {
    use super::*;
    use crate::report::{ReportMeta, Summary, sample};

    #[test]
    fn every_format_has_its_name_and_nothing_else_has_one() {
        let names: Vec<&str> = Format::ALL.into_iter().map(Format::name).collect();
        assert_eq!(names, Format::NAMES);
        for name in Format::NAMES {
            assert_eq!(name.parse::<Format>().unwrap().to_string(), *name);
        }
        assert!("pdf".parse::<Format>().is_err());
    }

    #[test]
    fn every_format_escapes_what_a_terminal_would_obey() {
        for format in Format::ALL {
            let mut out = Vec::new();
            let mut writer = format.writer(&mut out, Screen { ascii: true, ..Screen::default() });
            writer.host(&sample::host()).unwrap();
            writer.finish(&Summary { notes: vec!["x\u{1b}y".to_owned()], ..Summary::default() }).unwrap();
            drop(writer);
            assert!(!out.is_empty());
            let line_end = |byte: &u8| *byte == b'\n' || (format == Format::Csv && *byte == b'\r');
            if matches!(format, Format::Table | Format::List) {
                assert!(out.iter().all(|byte| line_end(byte) || (b' '..=b'~').contains(byte)), "{format}");
            }
            let text = String::from_utf8(out).unwrap();
            assert!(!text.replace(['\n', '\r'], "").chars().any(crate::finding::is_hidden), "{format}");
        }
    }

    #[test]
    fn a_head_that_is_left_out_is_a_head_of_defaults() {
        let render = |format: Format, begun: bool| {
            let mut out = Vec::new();
            let mut writer = format.writer(&mut out, Screen::default());
            if begun {
                writer.begin(&ReportMeta::default()).unwrap();
                writer.begin(&ReportMeta { command: "again".to_owned(), ..ReportMeta::default() }).unwrap();
            }
            writer.host(&sample::rich_host()).unwrap();
            writer.finish(&Summary::default()).unwrap();
            drop(writer);
            out
        };
        for format in Format::ALL {
            assert_eq!(render(format, true), render(format, false), "{format}");
        }
    }
}
