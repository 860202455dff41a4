//! Feeds of advisories, read from files that a user brings: never from the network.
//!
//! A feed may be a directory, an archive, a compressed file, one document or a line per record (`feed/input.rs`). It is read
//! record by record, so that memory does not grow with it, and every limit is in [`Limits`]. It is taken as a whole or
//! not at all: [`import`] hands rows out as it goes, and whoever keeps them puts them in force only after it returned
//! well. A file that is cut or no text fails the import with the place and the reason, so the feed before stays. One
//! record that cannot be read, or is not as its format wants it, is named and left out; if all are so, it is another feed.

mod cve;
mod cve_product;
mod decoded;
mod epss;
mod input;
mod kev;
mod lenient;
mod nvd;
mod osv;
mod osv_events;
mod pieces;
mod products;
mod range_end;
mod range_tokens;
mod range_words;
mod rating;
mod records;
mod reference;

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::records::Records;
use super::advisory::Advisory;
use super::store::{Row, row_of_cve, rows_of};
use crate::finding::plain_text;

/// What kind of feed it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedKind {
    /// CVE records, format version 5.
    Cve,
    /// Advisories in OSV's schema.
    Osv,
    /// Feeds of the National Vulnerability Database, version 2.0.
    Nvd,
    /// CISA's catalog of known exploited vulnerabilities, as JSON.
    Kev,
    /// FIRST's exploit prediction scores, as CSV.
    Epss,
}

impl FeedKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Cve, Self::Osv, Self::Nvd, Self::Kev, Self::Epss];
    /// The kinds that speak of products.
    pub const OF_ADVISORIES: [Self; 3] = [Self::Cve, Self::Osv, Self::Nvd];

    /// The word on the command line and in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cve => "cve",
            Self::Osv => "osv",
            Self::Nvd => "nvd",
            Self::Kev => "kev",
            Self::Epss => "epss",
        }
    }

    /// The first byte of the keys of its rows.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Cve => b'c',
            Self::Osv => b'o',
            Self::Nvd => b'n',
            Self::Kev => b'k',
            Self::Epss => b'e',
        }
    }
}

impl fmt::Display for FeedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FeedKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no kind of feed: cve, osv, nvd, kev or epss"))
    }
}

/// Bounds on what a feed may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest record, in bytes once unpacked. The longest CVE records are about 3 MB.
    pub record_bytes_max: u64,
    /// Most bytes of the whole feed once unpacked. The list of all CVE records is about 3 GB.
    pub total_bytes_max: u64,
    /// How many times larger than the file its content may be. JSON of advisories packs to a twentieth at best.
    pub ratio_max: u64,
    /// Most files in a directory or archive.
    pub files_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { record_bytes_max: 16 << 20, total_bytes_max: 64 << 30, ratio_max: 200, files_max: 2_000_000 }
    }
}

/// What an import read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Records read.
    pub records: u64,
    /// Of those, records that were withdrawn or rejected by their authors.
    pub withdrawn: u64,
    /// Of those, records that say nothing that a version could be compared with.
    pub without_products: u64,
    /// Of those, records that are not as their format wants them.
    pub odd: u64,
    /// The first of them, with file, record and reason.
    pub odd_examples: Vec<String>,
    /// The first ids of records that say nothing that a version could be compared with.
    pub silent_examples: Vec<String>,
    /// Rows handed out.
    pub rows: u64,
    /// Files read.
    pub files: u64,
    /// The latest day that the feed names, as `2024-07-01`: how old it is.
    pub newest_day: Option<String>,
}

/// Why a feed was not taken. Nothing of it is in force.
#[derive(Debug, Error)]
#[error("{file}{}: {problem}", if *record == 0 { String::new() } else { format!(", record {record}") })]
pub struct FeedError {
    /// The file, with the file within an archive behind a `!`.
    pub file: String,
    /// The record within the file, counted from 1; 0 before the first.
    pub record: u64,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a feed.
#[derive(Debug, Error)]
pub enum Problem {
    /// It cannot be read, is truncated, or is no archive of the kind that it begins like.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It is not JSON, ends in the middle, or nests deeper than 128.
    #[error("not the JSON of this feed: {0}")]
    Json(#[from] serde_json::Error),
    /// It is something else than was said.
    #[error("not a {expected} feed: {why}")]
    WrongKind {
        /// What was said.
        expected: FeedKind,
        /// What shows that it is not.
        why: String,
    },
    /// It is beyond a limit.
    #[error("{what} is beyond the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// There is nothing in it.
    #[error("holds no record of a {0} feed")]
    Empty(FeedKind),
    /// Whoever takes the rows could not.
    #[error("keeping what was read: {0}")]
    Sink(io::Error),
}

/// How many records that were left out are named.
const EXAMPLES_MAX: usize = 5;

/// One thing that a feed says.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A record that is not as its format wants it.
    Odd(Box<FeedError>),
    /// An advisory.
    Advisory(Box<Advisory>),
    /// A record that its author took back.
    Withdrawn,
    /// A row about a CVE id, with the day it speaks of.
    OfCve(Row, Option<String>),
}

/// Reads the feed of this kind at `path` and hands its rows to `sink` as it goes.
///
/// # Errors
/// Where it cannot be read, is not of this kind, is broken, beyond `limits`, empty, or `sink` fails. Rows that were
/// handed out before must be dropped then.
pub fn import(
    path: &Path,
    kind: FeedKind,
    limits: &Limits,
    sink: &mut dyn FnMut(Row) -> io::Result<()>,
) -> Result<Summary, FeedError> {
    let mut summary = Summary::default();
    let mut first_odd: Option<Box<FeedError>> = None;
    let mut take = |entry: Entry| -> Result<(), Problem> {
        summary.records += 1;
        let before = summary.rows;
        let mut id = None;
        let mut keep = |row: Row| {
            summary.rows += 1;
            sink(row).map_err(Problem::Sink)
        };
        let day = match entry {
            Entry::Odd(error) => {
                summary.odd += 1;
                if summary.odd_examples.len() < EXAMPLES_MAX {
                    summary.odd_examples.push(error.to_string());
                }
                first_odd.get_or_insert(error);
                return Ok(());
            }
            Entry::Withdrawn => {
                summary.withdrawn += 1;
                return Ok(());
            }
            Entry::OfCve(row, day) => {
                keep(row)?;
                day
            }
            Entry::Advisory(advisory) => {
                rows_of(kind, &advisory).try_for_each(keep)?;
                id = Some(advisory.id);
                advisory.published
            }
        };
        if summary.rows == before {
            summary.without_products += 1;
            if summary.silent_examples.len() < EXAMPLES_MAX {
                summary.silent_examples.extend(id.map(|id| plain_text(&id).to_string()));
            }
        }
        if day > summary.newest_day {
            summary.newest_day = day;
        }
        Ok(())
    };
    let files = input::read(path, kind, limits, &mut |file, reader, meter| {
        let mut records = Records::new(kind, file, reader, meter, &mut take);
        match kind {
            FeedKind::Cve => cve::read(&mut records),
            FeedKind::Osv => osv::read(&mut records),
            FeedKind::Nvd => nvd::read(&mut records),
            FeedKind::Kev => kev::read(&mut records),
            FeedKind::Epss => epss::read(&mut records),
        }
    })?;
    summary.files = files;
    if let Some(error) = first_odd.filter(|_| summary.odd == summary.records) {
        return Err(*error);
    }
    if summary.records == 0 {
        return Err(FeedError { file: path.display().to_string(), record: 0, problem: Problem::Empty(kind) });
    }
    Ok(summary)
}

/// The row of a CVE id.
fn of_cve(kind: FeedKind, cve: &str, what: &impl Serialize, day: Option<String>) -> Entry {
    Entry::OfCve(row_of_cve(kind, cve, what), day)
}

#[cfg(test)]
#[path = "feed/odd_test.rs"]
mod odd_tests;
#[cfg(test)]
#[path = "feed/feed_test.rs"]
mod tests;
