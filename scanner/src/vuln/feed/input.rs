//! From a path to streams of bytes: directories, zip archives, gzip, plain files, each recognised by what is in it.
//!
//! What is unpacked is metered while it is read, so that an archive made to explode stops at its limit, whatever its
//! header claims. An archive may hold archives, one level deep, as the daily list of CVE records does.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use zip::ZipArchive;
use zip::result::ZipError;

use super::{FeedError, FeedKind, Limits, Problem};
use crate::finding::plain_text;
use crate::vuln::advisory::bounded;

/// How deep directories may nest.
const DEPTH_MAX: u32 = 16;
/// What a packed file may hold whatever its size: a small one can be a single run of spaces.
const SLACK_BYTES: u64 = 4 << 20;
/// What is too large where there is more in a file than may be.
const CONTENT: &str = "content of this size in bytes";
/// Names that feeds' directories hold beside their records, in lower case.
const NO_RECORDS: [&str; 2] = ["delta.json", "deltalog.json"];

/// Counts what is read of one file, and which record it is in.
#[derive(Debug)]
pub(super) struct Meter {
    record: Cell<u64>,
    record_max: u64,
    total_left: Cell<u64>,
    total_max: u64,
    is_exceeded: Cell<bool>,
}

impl Meter {
    fn new(record_max: u64, total_max: u64) -> Self {
        let (record, total_left, is_exceeded) = (Cell::new(0), Cell::new(total_max), Cell::new(false));
        Self { record, record_max, total_left, total_max, is_exceeded }
    }

    /// A record begins here.
    pub(super) fn begin_record(&self) {
        self.record.set(self.record.get() + 1);
    }

    /// How many bytes a record may have. A longer one is passed over by whoever cuts records, and costs no memory.
    pub(super) fn record_max(&self) -> u64 {
        self.record_max
    }

    /// The record that is being read, counted from 1.
    pub(super) fn record(&self) -> u64 {
        self.record.get()
    }

    /// The limit that was exceeded, if it was: the cause of whatever error came of it.
    pub(super) fn exceeded(&self) -> Option<Problem> {
        let (what, limit) = (CONTENT, self.total_max);
        self.is_exceeded.get().then_some(Problem::TooLarge { what, limit })
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        match self.total_left.get().checked_sub(bytes) {
            Some(rest) => self.total_left.set(rest),
            None => {
                self.is_exceeded.set(true);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, CONTENT));
            }
        }
        Ok(())
    }
}

/// A reader whose bytes are counted.
pub(super) struct Metered<'a> {
    inner: &'a mut dyn Read,
    meter: &'a Meter,
}

impl<'a> Metered<'a> {
    pub(super) fn new(inner: &'a mut dyn Read, meter: &'a Meter) -> Self {
        Self { inner, meter }
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.meter.take(count as u64)?;
        Ok(count)
    }
}

type OnFile<'a> = dyn FnMut(&str, &mut dyn Read, &Meter) -> Result<(), Problem> + 'a;

/// Calls `on_file` with the content of each file at `path`, in the order of their names, and counts them.
pub(super) fn read(path: &Path, kind: FeedKind, limits: &Limits, on_file: &mut OnFile<'_>) -> Result<u64, FeedError> {
    let mut reading = Reading { kind, limits, on_file, files: 0, total_left: limits.total_bytes_max };
    let name = path.display().to_string();
    let metadata = fs::metadata(path).map_err(|error| at(&name, error.into()))?;
    if metadata.is_dir() {
        reading.directory(path, 0)?;
    } else if metadata.is_file() {
        reading.path(path)?;
    } else {
        return Err(at(&name, io::Error::other("neither a file nor a directory").into()));
    }
    Ok(reading.files)
}

pub(super) fn at(file: &str, problem: Problem) -> FeedError {
    FeedError { file: plain_text(&bounded(file)).to_string(), record: 0, problem }
}

struct Reading<'a, 'b> {
    kind: FeedKind,
    limits: &'a Limits,
    on_file: &'a mut OnFile<'b>,
    files: u64,
    total_left: u64,
}

impl Reading<'_, '_> {
    fn directory(&mut self, folder: &Path, depth: u32) -> Result<(), FeedError> {
        let name = folder.display().to_string();
        if depth > DEPTH_MAX {
            return Err(at(&name, Problem::TooLarge { what: "the depth of directories", limit: DEPTH_MAX.into() }));
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| at(&name, error.into()))? {
            paths.push(entry.map_err(|error| at(&name, error.into()))?.path());
            self.check_count(&name, paths.len() as u64)?;
        }
        paths.sort_unstable();
        for path in paths {
            let metadata =
                fs::symlink_metadata(&path).map_err(|error| at(&path.display().to_string(), error.into()))?;
            if metadata.is_dir() {
                self.directory(&path, depth + 1)?;
            } else if metadata.is_file() && self.may_hold_records(&path) {
                self.path(&path)?;
            }
        }
        Ok(())
    }

    fn check_count(&self, name: &str, more: u64) -> Result<(), FeedError> {
        let limit = self.limits.files_max;
        let is_within = self.files.saturating_add(more) <= limit;
        if is_within { Ok(()) } else { Err(at(name, Problem::TooLarge { what: "the number of files", limit })) }
    }

    fn may_hold_records(&self, path: &Path) -> bool {
        let path = path.to_string_lossy().to_lowercase();
        let mut parts = path.rsplit(['/', '\\']);
        let name = parts.next().unwrap_or_default();
        // What a Mac puts beside the files in an archive: their properties, under their names.
        if name.starts_with("._") || parts.any(|folder| folder == "__macosx") {
            return false;
        }
        let endings: &[&str] = match self.kind {
            FeedKind::Epss => &[".csv", ".gz", ".zip"],
            _ => &[".json", ".jsonl", ".ndjson", ".gz", ".zip"],
        };
        endings.iter().any(|ending| name.ends_with(ending)) && !NO_RECORDS.contains(&name)
    }

    fn path(&mut self, path: &Path) -> Result<(), FeedError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| at(&name, error.into()))?;
        self.file(file, &name, 0)
    }

    fn file(&mut self, mut file: File, name: &str, archives: u32) -> Result<(), FeedError> {
        let mut magic = Vec::new();
        let opened =
            (&mut file).take(4).read_to_end(&mut magic).and_then(|_| file.rewind()).and_then(|()| file.metadata());
        let packed_bytes = opened.map_err(|error| at(name, error.into()))?.len();
        match magic.as_slice() {
            [b'P', b'K', 3, 4] | [b'P', b'K', 5, 6] => self.archive(file, packed_bytes, name, archives),
            [0x1f, 0x8b, ..] => {
                let mut unpacked = MultiGzDecoder::new(BufReader::new(file));
                self.stream(&mut unpacked, self.unpacked_max(packed_bytes), name).map(drop)
            }
            _ => self.stream(&mut file, self.total_left, name).map(drop),
        }
    }

    fn unpacked_max(&self, packed_bytes: u64) -> u64 {
        packed_bytes.saturating_mul(self.limits.ratio_max).saturating_add(SLACK_BYTES).min(self.total_left)
    }

    /// Reads one stream and says how much there was in it.
    fn stream(&mut self, reader: &mut dyn Read, total_max: u64, name: &str) -> Result<u64, FeedError> {
        self.check_count(name, 1)?;
        self.files += 1;
        let meter = Meter::new(self.limits.record_bytes_max, total_max);
        let read = (self.on_file)(name, reader, &meter);
        let used = total_max - meter.total_left.get();
        self.total_left = self.total_left.saturating_sub(used);
        match read {
            Ok(()) => Ok(used),
            Err(problem) => {
                let problem = meter.exceeded().unwrap_or(problem);
                Err(FeedError { record: meter.record.get(), ..at(name, problem) })
            }
        }
    }

    fn archive(&mut self, file: File, packed_bytes: u64, name: &str, archives: u32) -> Result<(), FeedError> {
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| at(name, of_zip(error)))?;
        self.check_count(name, archive.len() as u64)?;
        let mut left = self.unpacked_max(packed_bytes);
        for place in 0..archive.len() {
            let mut entry = archive.by_index(place).map_err(|error| at(name, of_zip(error)))?;
            let inner_name = String::from_utf8_lossy(entry.name_raw()).into_owned();
            if !entry.is_file() || !self.may_hold_records(Path::new(&inner_name)) {
                continue;
            }
            let inner_name = format!("{name}!{inner_name}");
            let ending = inner_name.to_lowercase();
            if [".json", ".jsonl", ".ndjson", ".csv"].into_iter().any(|text| ending.ends_with(text)) {
                left = left.saturating_sub(self.stream(&mut entry, left, &inner_name)?);
            } else if archives == 0 {
                let unpacked = unpack(&mut entry, left).map_err(|problem| at(&inner_name, problem))?;
                self.file(unpacked, &inner_name, archives + 1)?;
            } else {
                let problem = Problem::TooLarge { what: "archives in archives", limit: 1 };
                return Err(at(&inner_name, problem));
            }
        }
        Ok(())
    }
}

/// Copies a packed file out of an archive into one without a name, because reading it needs to go back and forth.
fn unpack(entry: &mut dyn Read, bytes_max: u64) -> Result<File, Problem> {
    let meter = Meter::new(bytes_max, bytes_max);
    let mut file = tempfile::tempfile()?;
    let copied =
        io::copy(&mut Metered::new(entry, &meter), &mut file).and_then(|_| file.flush()).and_then(|()| file.rewind());
    copied.map_err(|error| meter.exceeded().unwrap_or(error.into()))?;
    Ok(file)
}

fn of_zip(error: ZipError) -> Problem {
    Problem::Read(io::Error::new(io::ErrorKind::InvalidData, error))
}
