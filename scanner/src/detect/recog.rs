//! Fingerprints in recog's XML format, read from a directory at run time.
//!
//! The format is that of the recog project (BSD-2-Clause): each file is a list of fingerprints over one kind of text,
//! named by its `matches` attribute (`ssh.banner`, `http_header.server`...) or, without one, by the file's name; the first
//! fingerprint that matches a text says what it is. Its patterns are Ruby's; those that need backtracking are left out
//! and counted. Patterns are compiled when a text first needs them, so that a corpus costs megabytes and not hundreds.

mod examples;
mod fingerprint;
mod read;
mod service;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::fingerprint::Fingerprint;
use self::read::Fingerprints;
use super::rules::{Compiled, Pattern, PatternSet};

pub use self::examples::{Checked, check_examples};
pub(crate) use self::service::to_service;

/// Most bytes of one file; recog's largest has half a megabyte.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most files of a directory.
const FILES_MAX: usize = 2000;
/// Most fingerprints of a directory; recog has 4,700.
const FINGERPRINTS_MAX: usize = 200_000;
/// Most patterns kept compiled, over all kinds.
const COMPILED_MAX: usize = 256;
/// Most bytes of a text that are looked at.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Why a directory of fingerprints cannot be used. Nothing of it is used then.
#[derive(Debug, Error)]
pub enum RecogError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no fingerprint file in it.
    #[error("{0} holds no fingerprints: a recog directory has *.xml files whose root is <fingerprints>")]
    Empty(PathBuf),
    /// A file is not what it should be.
    #[error("{path}:{line}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// There is more of it than any real corpus has.
    #[error("{path}: {what}, at most {max} are read")]
    TooMuch {
        /// The file or directory.
        path: PathBuf,
        /// How much of what.
        what: String,
        /// The limit.
        max: u64,
    },
}

/// A pattern that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file's name.
    pub file: String,
    /// The line of its fingerprint, from 1.
    pub line: usize,
    /// What the linear-time engine cannot do.
    pub problem: String,
}

/// A directory of fingerprints, ready to be asked.
#[derive(Debug)]
pub struct Recog {
    kinds: BTreeMap<String, Kind>,
    count: usize,
    skipped: Vec<Skipped>,
}

/// All fingerprints over one kind of text, those of the most preferred file first.
#[derive(Debug)]
struct Kind {
    fingerprints: Vec<Fingerprint>,
    patterns: PatternSet,
}

impl Recog {
    /// Reads every `*.xml` file of a directory, in the order of their names.
    ///
    /// # Errors
    ///
    /// When the directory or a file cannot be read, when a file is malformed (with its line), or when there is more than
    /// any real corpus has. A pattern that needs backtracking is no error: see [`Recog::skipped`].
    pub fn load(directory: &Path) -> Result<Self, RecogError> {
        let mut files = Vec::new();
        let mut count = 0;
        for path in xml_files(directory)? {
            let text = read_file(&path)?;
            let Some(file) = read::read(&path, &text, false)? else { continue };
            count += file.entries.len();
            if count > FINGERPRINTS_MAX {
                let what = format!("more than {FINGERPRINTS_MAX} fingerprints");
                return Err(RecogError::TooMuch { path: directory.into(), what, max: FINGERPRINTS_MAX as u64 });
            }
            files.push(file);
        }
        if files.is_empty() {
            return Err(RecogError::Empty(directory.into()));
        }
        Ok(Self::join(files))
    }

    /// The same of files that are in memory, as (name, text) pairs; files that hold no fingerprints are passed over.
    ///
    /// # Errors
    ///
    /// As [`Recog::load`].
    pub fn of_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RecogError> {
        let mut read = Vec::new();
        for (name, text) in files {
            read.extend(read::read(Path::new(name), text, false)?);
        }
        let count: usize = read.iter().map(|file| file.entries.len()).sum();
        if count > FINGERPRINTS_MAX {
            let what = format!("more than {FINGERPRINTS_MAX} fingerprints");
            return Err(RecogError::TooMuch { path: PathBuf::new(), what, max: FINGERPRINTS_MAX as u64 });
        }
        Ok(Self::join(read))
    }

    fn join(mut files: Vec<Fingerprints>) -> Self {
        files.sort_by(|a, b| b.preference.total_cmp(&a.preference));
        let mut drafts: BTreeMap<String, (Vec<Fingerprint>, Vec<Pattern>)> = BTreeMap::new();
        let (mut count, mut skipped) = (0, Vec::new());
        for file in files {
            let (fingerprints, patterns) = drafts.entry(file.kind.clone()).or_default();
            for entry in file.entries {
                match entry.pattern {
                    Ok(pattern) => {
                        count += 1;
                        fingerprints.push(entry.fingerprint);
                        patterns.push(pattern);
                    }
                    Err(error) => {
                        skipped.push(Skipped { file: file.name.clone(), line: entry.line, problem: error.to_string() });
                    }
                }
            }
        }
        let compiled = Compiled::new(COMPILED_MAX);
        let kinds = drafts.into_iter().map(|(name, (fingerprints, patterns))| {
            (name, Kind { fingerprints, patterns: PatternSet::new(patterns, &compiled) })
        });
        Self { kinds: kinds.collect(), count, skipped }
    }

    /// What the first fingerprint that matches a text says: parameters by name, such as `service.product`.
    ///
    /// `kind` is what the text is, in recog's words: a file's `matches` attribute. Values are as they were captured, so
    /// a stranger's words: make them printable before they are shown.
    #[must_use]
    pub fn matches(&self, kind: &str, text: &[u8]) -> Option<BTreeMap<String, String>> {
        let text = text.get(..TEXT_BYTES_MAX).unwrap_or(text);
        let kind = self.kinds.get(kind)?;
        kind.patterns.candidates(text).into_iter().find_map(|number| {
            let fingerprint = kind.fingerprints.get(number as usize)?;
            let captures = kind.patterns.regex(number)?;
            Some(fingerprint.fill(&captures.captures(text)?))
        })
    }

    /// The kinds of text that there are fingerprints for.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// How many fingerprints are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The patterns that were left out.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// The fingerprint files of a directory, by name.
fn xml_files(directory: &Path) -> Result<Vec<PathBuf>, RecogError> {
    let failed = |source| RecogError::Read { path: directory.into(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xml")) && path.is_file() {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            let what = format!("more than {FILES_MAX} files");
            return Err(RecogError::TooMuch { path: directory.into(), what, max: FILES_MAX as u64 });
        }
    }
    paths.sort();
    Ok(paths)
}

/// A file's text, bounded.
fn read_file(path: &Path) -> Result<String, RecogError> {
    use std::io::Read;
    let failed = |source| RecogError::Read { path: path.into(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let what = format!("more than {FILE_BYTES_MAX} bytes");
        return Err(RecogError::TooMuch { path: path.into(), what, max: FILE_BYTES_MAX });
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().get(..valid).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
        RecogError::Malformed { path: path.into(), line, problem: "not UTF-8".to_owned() }
    })
}

#[cfg(test)]
#[path = "recog/recog_test.rs"]
mod tests;
