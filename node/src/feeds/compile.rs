//! From a user's files to a bundle: read with the scanner's readers, sorted, packed.
//!
//! Nothing is in force before the whole of it was read: a file that is cut, of another kind or beyond the limits is an
//! error, and no bundle comes of it. Rows are held in memory while they are sorted; 100,000 CVE records take about
//! 60 MB.

use std::path::{Path, PathBuf};

use pentora_scanner::detect::Recog;
use pentora_scanner::vuln::feed::{self, Limits};
use pentora_scanner::vuln::store::Row;

use super::FeedKind;
use super::bundle::{BundleWriter, Heading};

/// The largest bundle, in bytes: what a node takes and a chunk can be.
const BUNDLE_BYTES_MAX: usize = 64 << 20;
/// The largest fingerprint file, in bytes: the largest of recog's has half a megabyte.
const FINGERPRINTS_BYTES_MAX: u64 = 4 << 20;

/// A bundle, and what became of the records.
#[derive(Debug)]
pub struct Compiled {
    /// The bundle.
    pub bundle: Vec<u8>,
    /// Records that count.
    pub records: u64,
    /// Records that were withdrawn by their authors, or say nothing that a version could be compared with.
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
    let mut rows = Vec::new();
    let (mut records, mut left_out, mut notes) = (0, 0, Vec::new());
    match kind.of_advisories() {
        Some(of_advisories) => {
            for path in paths {
                let summary = feed::import(path, of_advisories, &Limits::default(), &mut |row| {
                    rows.push(row);
                    Ok(())
                })?;
                let out = summary.withdrawn + summary.without_products;
                records += summary.records - out;
                left_out += out;
                notes
                    .extend(summary.newest_day.map(|day| format!("{}: the latest record is of {day}", path.display())));
            }
        }
        None => {
            for path in paths {
                records += fingerprints(path, &mut rows)?;
            }
        }
    }
    // A feed that has a record twice means the later one, and sorting keeps the order of equals.
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows.reverse();
    rows.dedup_by(|later, earlier| later.key == earlier.key);
    rows.reverse();
    let heading = Heading { kind: kind.to_string(), source: source_of(paths), made_at_ms, records };
    let bundle = pack(&heading, &rows)?;
    Ok(Compiled { bundle, records, left_out, notes })
}

fn pack(heading: &Heading, rows: &[Row]) -> Result<Vec<u8>, CompileError> {
    let failed = |error: std::io::Error| CompileError::Fingerprints(error.to_string());
    let mut writer = BundleWriter::new(Vec::new(), heading).map_err(failed)?;
    for row in rows {
        writer.entry(&row.key, &row.value).map_err(failed)?;
    }
    let bundle = writer.finish().map_err(failed)?;
    if bundle.len() > BUNDLE_BYTES_MAX { Err(CompileError::TooLarge) } else { Ok(bundle) }
}

/// The names of the files, as a person would tell them.
fn source_of(paths: &[PathBuf]) -> String {
    let names = paths.iter().map(|path| {
        path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Takes the fingerprint files of a folder, or one, as they are; answers how many.
fn fingerprints(path: &Path, rows: &mut Vec<Row>) -> Result<u64, CompileError> {
    let failed = |source| CompileError::Read { path: path.to_owned(), source };
    let files: Vec<PathBuf> = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let all =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        all.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "xml")).collect()
    } else {
        vec![path.to_owned()]
    };
    let mut records = 0;
    for file in &files {
        let failed = |source| CompileError::Read { path: file.clone(), source };
        let size = std::fs::metadata(file).map_err(failed)?.len();
        if size > FINGERPRINTS_BYTES_MAX {
            let what = format!("{}: {size} bytes are more than a file of fingerprints has", file.display());
            return Err(CompileError::Fingerprints(what));
        }
        let text = std::fs::read_to_string(file).map_err(failed)?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let read = Recog::of_files([(name.as_str(), text.as_str())]);
        records += read.map_err(|error| CompileError::Fingerprints(error.to_string()))?.len() as u64;
        rows.push(Row { key: name.into_bytes(), value: text.into_bytes() });
    }
    if records == 0 {
        let what = format!("{}: there is no file of recog fingerprints (*.xml) in it", path.display());
        return Err(CompileError::Fingerprints(what));
    }
    Ok(records)
}
