//! From a user's files to a bundle: read with the scanner's readers, sorted, packed.
//!
//! Nothing is in force before the whole of it was read: a file that is cut, of another kind or beyond the limits is an
//! error, and no bundle comes of it. Rows are sorted in packed runs (`sorted.rs`), so that what is held of them is little
//! more than the bundle.

use std::path::{Path, PathBuf};

use pentora_scanner::detect::{Recog, ServiceProbes};
use pentora_scanner::vuln::exposure::Exposures;
use pentora_scanner::vuln::feed::{self, Limits};
use pentora_scanner::vuln::store::Row;

use super::FeedKind;
use super::bundle::{BundleWriter, Heading};
use super::sorted::SortedRows;
use crate::durable_file;

/// The largest bundle, in bytes: what a node takes and a chunk can be.
const BUNDLE_BYTES_MAX: usize = 64 << 20;
/// The largest file of rules, in bytes: the largest of recog's has half a megabyte.
pub(super) const FINGERPRINTS_BYTES_MAX: u64 = 4 << 20;

/// Longest text of where a feed is from and what was left out of it, in characters.
const SOURCE_CHARS_MAX: usize = 240;

/// A bundle, and what became of the records.
#[derive(Debug)]
pub struct Compiled {
    /// The bundle.
    pub bundle: Vec<u8>,
    /// Records that count.
    pub records: u64,
    /// Records that were withdrawn by their authors, say nothing that a version could be compared with, or are not as
    /// their format wants them.
    pub left_out: u64,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Why files are no feed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The files are not what was said, or broken.
    #[error(transparent)]
    Feed(#[from] feed::FeedError),
    /// A file of fingerprints cannot be used.
    #[error("{0}")]
    Fingerprints(String),
    /// A file or folder cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// More than a node takes.
    #[error("the feed is larger than {} MiB once packed: import fewer files, such as those of the last years",
        BUNDLE_BYTES_MAX >> 20)]
    TooLarge,
}

/// Reads the files of a feed. `made_at_ms` is the time, unix milliseconds.
///
/// # Errors
/// [`CompileError`].
pub fn compile(kind: FeedKind, paths: &[PathBuf], made_at_ms: u64) -> Result<Compiled, CompileError> {
    let mut sorted = SortedRows::new();
    let (mut records, mut left_out, mut notes) = (0, 0, Vec::new());
    // What was left out, named, as whoever lists the feed is to see it too.
    let mut missing: Vec<String> = Vec::new();
    match kind.of_advisories() {
        Some(of_advisories) => {
            for path in paths {
                let summary = feed::import(path, of_advisories, &Limits::default(), &mut |row| sorted.push(row))?;
                let out = summary.withdrawn + summary.without_products + summary.odd;
                records += summary.records - out;
                left_out += out;
                missing.extend(notes_of(&summary));
                notes.extend(notes_of(&summary));
                notes
                    .extend(summary.newest_day.map(|day| format!("{}: the latest record is of {day}", path.display())));
            }
        }
        None => {
            let of_kind = match kind {
                FeedKind::Probes => probes,
                FeedKind::Exposures => exposures,
                _ => fingerprints,
            };
            let mut rows = Vec::new();
            for path in paths {
                // Opening a pipe would wait for whoever writes into it.
                if !path.is_dir() {
                    durable_file::regular(path).map_err(|source| CompileError::Read { path: path.clone(), source })?;
                }
                let taken = of_kind(path, &mut rows)?;
                records += taken.records;
                left_out += taken.left_out;
                missing.extend(taken.note.clone().filter(|_| taken.left_out > 0));
                notes.extend(taken.note);
            }
            if kind == FeedKind::Probes && rows.len() > 1 {
                return Err(CompileError::Fingerprints("service probes are one file".to_owned()));
            }
            if kind == FeedKind::Exposures {
                // Rules that hold each for itself may still have one name.
                exposures_of(&rows).map_err(CompileError::Fingerprints)?;
            }
            for row in rows {
                sorted.push(row).map_err(not_kept)?;
            }
        }
    }
    let source = cut([vec![source_of(paths)], missing].concat().join("; "));
    let heading = Heading { kind: kind.to_string(), source, made_at_ms, records };
    let bundle = pack(&heading, sorted)?;
    Ok(Compiled { bundle, records, left_out, notes })
}

/// Why records were left out, with the first of each kind by name.
fn notes_of(summary: &feed::Summary) -> Vec<String> {
    let more = |count: u64, named: &[String]| if count > named.len() as u64 { ", ..." } else { "" };
    let mut notes = Vec::new();
    if summary.withdrawn > 0 {
        notes.push(format!("{} left out: withdrawn or rejected by their authors", summary.withdrawn));
    }
    if summary.without_products > 0 {
        let named = &summary.silent_examples;
        notes.push(format!(
            "{} left out: they name no product with versions that could be compared ({}{})",
            summary.without_products,
            named.join(", "),
            more(summary.without_products, named)
        ));
    }
    if summary.odd > 0 {
        let named = &summary.odd_examples;
        notes.push(format!(
            "{} left out: they are not as their format wants them ({}{})",
            summary.odd,
            named.join("; "),
            more(summary.odd, named)
        ));
    }
    notes
}

fn pack(heading: &Heading, rows: SortedRows) -> Result<Vec<u8>, CompileError> {
    let mut writer = BundleWriter::new(Vec::new(), heading).map_err(not_kept)?;
    rows.for_each(|key, value| writer.entry(key, value)).map_err(not_kept)?;
    let bundle = writer.finish().map_err(not_kept)?;
    if bundle.len() > BUNDLE_BYTES_MAX { Err(CompileError::TooLarge) } else { Ok(bundle) }
}

fn not_kept(error: impl std::fmt::Display) -> CompileError {
    CompileError::Fingerprints(error.to_string())
}

/// The names of the files, as a person would tell them.
fn source_of(paths: &[PathBuf]) -> String {
    let names = paths.iter().map(|path| {
        path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    });
    names.collect::<Vec<_>>().join(", ")
}

/// The text, cut to a length that a list has room for.
fn cut(text: String) -> String {
    match text.char_indices().nth(SOURCE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// What was taken of a user's files of rules.
#[derive(Debug, Default)]
struct Taken {
    records: u64,
    left_out: u64,
    note: Option<String>,
}

/// Takes the fingerprint files of a folder, or one, as they are.
fn fingerprints(path: &Path, rows: &mut Vec<Row>) -> Result<Taken, CompileError> {
    let mut taken = Taken::default();
    for (name, text) in texts(path, "xml", FINGERPRINTS_BYTES_MAX)? {
        let read = Recog::of_files([(name.as_str(), text.as_str())]);
        taken.records += read.map_err(|error| CompileError::Fingerprints(error.to_string()))?.len() as u64;
        rows.push(Row { key: name.into_bytes(), value: text.into_bytes() });
    }
    if taken.records == 0 {
        let what = format!("{}: there is no file of recog fingerprints (*.xml) in it", path.display());
        return Err(CompileError::Fingerprints(what));
    }
    Ok(taken)
}

/// Takes a file of service probes as it is.
fn probes(path: &Path, rows: &mut Vec<Row>) -> Result<Taken, CompileError> {
    let probes = ServiceProbes::read(path).map_err(|error| CompileError::Fingerprints(error.to_string()))?;
    let value = std::fs::read(path).map_err(|source| CompileError::Read { path: path.to_owned(), source })?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    rows.push(Row { key: name.into_bytes(), value });
    let note = super::rules::note_of(path, probes.skipped());
    Ok(Taken { records: probes.len() as u64, left_out: probes.skipped().len() as u64, note })
}

/// Takes the files of exposure rules of a folder, or one, as they are.
fn exposures(path: &Path, rows: &mut Vec<Row>) -> Result<Taken, CompileError> {
    let mut taken = Taken::default();
    for (name, text) in texts(path, "toml", FINGERPRINTS_BYTES_MAX)? {
        let row = Row { key: name.into_bytes(), value: text.into_bytes() };
        let with = exposures_of(std::slice::from_ref(&row)).map_err(CompileError::Fingerprints)?;
        let own = with.rules().len() + with.checks().len();
        let built_in = Exposures::built_in().rules().len() + Exposures::built_in().checks().len();
        taken.records += own.saturating_sub(built_in) as u64;
        rows.push(row);
    }
    if taken.records == 0 {
        let what = format!("{}: there is no rule of exposure (*.toml) in it", path.display());
        return Err(CompileError::Fingerprints(what));
    }
    Ok(taken)
}

/// The program's rules of exposure with those of a feed.
pub(super) fn exposures_of(rows: &[Row]) -> Result<Exposures, String> {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
    let files: Vec<(String, String)> =
        rows.iter().map(|row| Ok((utf8(&row.key)?, utf8(&row.value)?))).collect::<Result<_, String>>()?;
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Exposures::with_files(&files).map_err(|error| error.to_string())
}

/// Names and texts of the files in a folder with this extension, in the order of their names, or of one file.
pub(super) fn texts(path: &Path, extension: &str, bytes_max: u64) -> Result<Vec<(String, String)>, CompileError> {
    let failed = |source| CompileError::Read { path: path.to_owned(), source };
    let mut files: Vec<PathBuf> = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let all =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let is_one = |file: &PathBuf| file.extension().is_some_and(|known| known.eq_ignore_ascii_case(extension));
        all.into_iter().filter(is_one).collect()
    } else {
        vec![path.to_owned()]
    };
    files.sort();
    let mut texts = Vec::new();
    for file in &files {
        let failed = |source| CompileError::Read { path: file.clone(), source };
        let size = std::fs::metadata(file).map_err(failed)?.len();
        if size > bytes_max {
            let what = format!("{}: {size} bytes are more than a file of rules has", file.display());
            return Err(CompileError::Fingerprints(what));
        }
        let text = durable_file::regular(file).and_then(std::io::read_to_string).map_err(failed)?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        texts.push((name, text));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "[[rule]]\nid = \"OWN-TELNET\"\ntitle = \"Telnet is there\"\nseverity = \"high\"\nservices = [\"telnet\"]\n\
        when = ['service is telnet']\nevidence = \"It answers.\"\nremedy = \"Stop it.\"\nreferences = [\"https://a.example/\"]\n\
        example = [\n    { is_found = true, service = { name = \"telnet\", method = \"probed\" } },\n    \
        { is_found = false, service = { name = \"ssh\", method = \"probed\" } },\n]\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
        folder
    }

    #[test]
    fn a_users_rules_of_exposure_are_a_feed_and_twice_the_same_name_is_none() {
        let rules = folder(&[("own.toml", RULE), ("readme.txt", "no rule")]);
        let compiled = compile(FeedKind::Exposures, &[rules.path().to_owned()], 1).unwrap();
        assert_eq!((compiled.records, compiled.left_out), (1, 0));
        for wrong in [("b.toml", RULE.to_owned()), ("b.toml", RULE.replace("[[rule]]", "[[role]]"))] {
            let rules = folder(&[("a.toml", RULE), (wrong.0, wrong.1.as_str())]);
            let error = compile(FeedKind::Exposures, &[rules.path().to_owned()], 1).unwrap_err().to_string();
            assert!(error.contains("b.toml"), "{error}");
        }
        let nothing = folder(&[]);
        assert!(compile(FeedKind::Exposures, &[nothing.path().to_owned()], 1).is_err());
    }

    #[test]
    fn service_probes_are_one_file_and_matches_left_out_are_counted_and_named() {
        let text = "Probe TCP NULL q||\nmatch a m|^(.)\\1| p/A/\nmatch b m|^b| p/B/\n";
        let probes = folder(&[("a.probes", text), ("b.probes", text)]);
        let paths = |names: &[&str]| names.iter().map(|name| probes.path().join(name)).collect::<Vec<_>>();
        let compiled = compile(FeedKind::Probes, &paths(&["a.probes"]), 1).unwrap();
        assert_eq!((compiled.records, compiled.left_out), (1, 1));
        assert!(compiled.notes[0].contains("line 2"), "{:?}", compiled.notes);
        let heading = String::from_utf8_lossy(&compiled.bundle[..compiled.bundle.len().min(300)]).into_owned();
        assert!(heading.contains("a.probes; ") && heading.contains("line 2"), "{heading:?}: lists show it as well");
        assert!(compile(FeedKind::Probes, &paths(&["a.probes", "b.probes"]), 1).is_err());
    }
}
