//! `worker.local_results`: what a worker without a network has found, in a directory, until its cluster has it.
//!
//! Each finished unit is a chunk by its digest, and a numbered file that says of what; the numbers only grow. `bundles.json`
//! says how far each bundle that was written reaches, so that each unit is in one bundle, bundles are numbered without a
//! gap, and any can be written again. Chunks that the cluster says have arrived are removed; their numbers stay, because an
//! order that goes on must know what is done of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pentora_p2p::Identity;
use pentora_raft::{Digest, JobId};
use serde::{Deserialize, Serialize};

use super::archive::ArchiveWriter;
use super::encryption::{Recipient, Sink};
use super::manifest::{Arrived, Body, Manifest, Results, UNITS_PER_BUNDLE_MAX, Unit};
use super::{BundleError, at, locked, medium};
use crate::clock::wall_ms;
use crate::durable_file::{self, Readers};

const BUNDLES: &str = "bundles.json";

/// The results of a worker without a network.
#[derive(Debug, Clone)]
pub struct Kept {
    path: PathBuf,
    floor_bytes: u64,
}

/// Which bundles were written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundles {
    /// What these numbers are called, so that nobody takes them for those of a directory that was lost; 0 where an earlier
    /// release began them.
    #[serde(default)]
    numbering: u64,
    /// For bundle 1, 2, ..., the number of the last unit in it.
    ends: Vec<u64>,
    /// The numbers of those that arrived, as far as the cluster said.
    arrived: Vec<Range<u64>>,
}

impl Bundles {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    /// What their numbers are called.
    #[must_use]
    pub fn numbering(&self) -> u64 {
        self.numbering
    }

    /// How many of them are not known to have arrived.
    #[must_use]
    pub fn underway(&self) -> u64 {
        (1..=self.count()).filter(|number| !self.has_arrived(*number)).count() as u64
    }

    fn has_arrived(&self, bundle: u64) -> bool {
        self.arrived.iter().any(|range| range.contains(&bundle))
    }

    /// The bundle that a unit is in; `None` where it is in none yet.
    fn of_unit(&self, number: u64) -> Option<u64> {
        let before = self.ends.partition_point(|end| *end < number) as u64;
        (before < self.count()).then_some(before + 1)
    }

    /// The number of the last unit before a bundle.
    fn begin(&self, bundle: u64) -> u64 {
        let before = usize::try_from(bundle.saturating_sub(1)).unwrap_or(usize::MAX);
        before.checked_sub(1).and_then(|at| self.ends.get(at)).copied().unwrap_or(0)
    }
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What no bundle has yet.
    New,
    /// Everything that is still here.
    All,
}

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The first bundle that it stands for.
    pub first: u64,
    /// The last, its own number; below `first` where nothing was new.
    pub last: u64,
    /// Its units.
    pub units: u64,
    /// Their jobs.
    pub jobs: u64,
    /// Units that are left for the next bundle.
    pub left: u64,
}

impl Kept {
    /// Results in a directory, which is made; nothing is added while less than `floor_bytes` would be free.
    ///
    /// # Errors
    /// [`BundleError::Io`].
    pub fn open(path: &Path, floor_bytes: u64) -> Result<Self, BundleError> {
        for part in ["chunks", "units"] {
            let path = path.join(part);
            std::fs::create_dir_all(&path).map_err(at(&path))?;
        }
        Ok(Self { path: path.to_owned(), floor_bytes })
    }

    /// Keeps a finished unit with its chunk; on disk when this returns.
    ///
    /// # Errors
    /// [`BundleError`].
    ///
    /// # Panics
    /// Never: what is written is plain data.
    pub fn add(&self, unit: &Unit, chunk: &[u8]) -> Result<(), BundleError> {
        let _lock = locked(&self.path)?;
        medium::require_space(&self.path, chunk.len() as u64, self.floor_bytes)?;
        let path = self.chunk_path(unit.chunk.digest);
        durable_file::write(&path, chunk, Readers::Everybody).map_err(at(&path))?;
        // Numbers of bundles count also where the units that were in them are gone.
        let last = self.numbers()?.last().copied().unwrap_or(0).max(self.bundles()?.ends.last().copied().unwrap_or(0));
        let path = self.unit_path(last + 1);
        let bytes = serde_json::to_vec(unit).expect("numbers, texts and lists are JSON");
        durable_file::write(&path, &bytes, Readers::Everybody).map_err(at(&path))
    }

    /// Every unit that is kept, by number.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn units(&self) -> Result<BTreeMap<u64, Unit>, BundleError> {
        self.numbers()?.into_iter().map(|number| Ok((number, self.unit(number)?))).collect()
    }

    /// A unit's chunk; `None` where it has arrived and was removed.
    ///
    /// # Errors
    /// [`BundleError`] where it was damaged.
    pub fn chunk(&self, digest: Digest) -> Result<Option<Bytes>, BundleError> {
        let path = self.chunk_path(digest);
        match std::fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == digest => Ok(Some(bytes.into())),
            Ok(_) => Err(BundleError::Contents(format!("{} is damaged", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(BundleError::Io { path, source }),
        }
    }

    /// Which bundles were written.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn bundles(&self) -> Result<Bundles, BundleError> {
        let path = self.path.join(BUNDLES);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| BundleError::Contents(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Bundles::default()),
            Err(source) => Err(BundleError::Io { path, source }),
        }
    }

    /// Whether there is something that no bundle has.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn has_news(&self) -> Result<bool, BundleError> {
        let reached = self.bundles()?.ends.last().copied().unwrap_or(0);
        Ok(self.numbers()?.last().is_some_and(|last| *last > reached))
    }

    /// Writes a bundle of results to a new file, as worker `name` of `cluster`; encrypted where there is somebody `to` read it.
    ///
    /// # Errors
    /// [`BundleError`]; the bundle's number is then free again.
    pub fn write(
        &self,
        file: &Path,
        which: Which,
        key: &Identity,
        to: Option<&Recipient>,
        (cluster, name, made_at): (String, String, String),
    ) -> Result<Written, BundleError> {
        let _lock = locked(&self.path)?;
        let before = self.bundles()?;
        let reached = before.ends.last().copied().unwrap_or(0);
        let news: Vec<u64> = self.numbers()?.into_iter().filter(|number| *number > reached).collect();
        let taken = news.get(..news.len().min(UNITS_PER_BUNDLE_MAX)).unwrap_or_default();
        let mut bundles = before.clone();
        if bundles.numbering == 0 && bundles.ends.is_empty() {
            bundles.numbering = new_numbering(wall_ms());
        }
        bundles.ends.extend(taken.last());
        let last = bundles.count();
        let mut first = if taken.is_empty() { last + 1 } else { last };
        let mut numbers = taken.to_vec();
        if which == Which::All && last > 0 {
            // From the first bundle that is not known to have arrived, as far back as one bundle may reach.
            first = (1..=last).find(|bundle| !bundles.has_arrived(*bundle)).unwrap_or(last + 1);
            let begin = bundles.begin(first);
            numbers = self.numbers()?.into_iter().filter(|number| *number > begin).collect();
            let end = bundles.ends.last().copied().unwrap_or(0);
            numbers.retain(|number| *number <= end);
            if numbers.len() > UNITS_PER_BUNDLE_MAX {
                return Err(BundleError::Contents(format!(
                    "{} units are not known to have arrived, and a bundle holds {UNITS_PER_BUNDLE_MAX}: carry the bundles \
                     that there are, and take new orders in, which say what has arrived",
                    numbers.len()
                )));
            }
        }
        let mut units = Vec::with_capacity(numbers.len());
        for number in numbers {
            let unit = self.unit(number)?;
            // What has arrived was removed, and needs no second way.
            if bundles.of_unit(number).is_some_and(|bundle| bundles.has_arrived(bundle)) {
                continue;
            }
            if let Ok(Some(_)) = self.chunk(unit.chunk.digest) {
                units.push(unit);
            } else {
                // Forgotten, it is scanned again; kept, it would be missing for ever.
                tracing::warn!(job = %unit.job, unit = %unit.unit, "its results are damaged on this disk: it is scanned again");
                remove(&self.unit_path(number))?;
            }
        }
        let jobs: BTreeSet<JobId> = units.iter().map(|unit| unit.job).collect();
        let written = Written {
            first,
            last,
            units: units.len() as u64,
            jobs: jobs.len() as u64,
            left: (news.len() - taken.len()) as u64,
        };
        // First the number, then the file: a number whose file is missing is noticed, one that two files have is not.
        self.save(&bundles)?;
        let results = Results { name, numbering: bundles.numbering, first, last, units };
        let contents = results.units.iter().map(|unit| unit.chunk).collect();
        let manifest = Manifest::new(cluster, made_at, contents, Body::Results(results));
        if let Err(error) = self.write_file(file, key, to, &manifest) {
            self.save(&before)?;
            return Err(error);
        }
        Ok(written)
    }

    fn write_file(
        &self,
        file: &Path,
        key: &Identity,
        to: Option<&Recipient>,
        manifest: &Manifest,
    ) -> Result<(), BundleError> {
        let head = manifest.to_bytes();
        let bytes = manifest.contents.iter().fold(head.len() as u64, |sum, content| sum.saturating_add(content.bytes));
        medium::require_space(medium::directory_of(file), bytes, self.floor_bytes)?;
        medium::write_new(file, |out| {
            let out = Sink::new(std::io::BufWriter::new(out), to).map_err(at(file))?;
            let mut out = ArchiveWriter::new(out, key, &head).map_err(at(file))?;
            for content in &manifest.contents {
                let gone = || BundleError::Contents(format!("chunk {} is gone from local_results", content.digest));
                let bytes = self.chunk(content.digest)?.ok_or_else(gone)?;
                out.content(content.digest, &bytes).map_err(at(file))?;
            }
            let out = out.finish().and_then(Sink::finish).map_err(at(file))?;
            out.into_inner().map(drop).map_err(|error| at(file)(error.into_error()))
        })
    }

    /// Notes which bundles of this numbering the cluster has, and removes the chunks that were in them; of orders that are
    /// not among the `open` ones any more, nothing stays.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn arrived(&self, arrived: &Arrived, open: &BTreeSet<JobId>) -> Result<(), BundleError> {
        let _lock = locked(&self.path)?;
        let mut bundles = self.bundles()?;
        let arrived = arrived.of(bundles.numbering);
        let known = |range: &Range<u64>| range.start >= 1 && range.end <= bundles.count() + 1;
        // Numbers without a name may be of a directory that was lost: what the cluster has is then of other bundles.
        if !arrived.iter().all(known) {
            return Ok(());
        }
        if bundles.arrived != arrived {
            bundles.arrived = arrived.to_vec();
            self.save(&bundles)?;
        }
        for (number, unit) in self.units()? {
            if bundles.of_unit(number).is_some_and(|bundle| bundles.has_arrived(bundle)) {
                remove(&self.chunk_path(unit.chunk.digest))?;
                if !open.contains(&unit.job) {
                    remove(&self.unit_path(number))?;
                }
            }
        }
        Ok(())
    }

    fn save(&self, bundles: &Bundles) -> Result<(), BundleError> {
        let path = self.path.join(BUNDLES);
        let bytes = serde_json::to_vec(bundles).expect("numbers are JSON");
        durable_file::write(&path, &bytes, Readers::Everybody).map_err(at(&path))
    }

    fn unit(&self, number: u64) -> Result<Unit, BundleError> {
        let path = self.unit_path(number);
        let bytes = std::fs::read(&path).map_err(at(&path))?;
        serde_json::from_slice(&bytes).map_err(|error| BundleError::Contents(format!("{}: {error}", path.display())))
    }

    /// The numbers of the units, ascending.
    fn numbers(&self) -> Result<Vec<u64>, BundleError> {
        let path = self.path.join("units");
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(at(&path))? {
            let name = entry.map_err(at(&path))?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn chunk_path(&self, digest: Digest) -> PathBuf {
        self.path.join("chunks").join(digest.to_string())
    }

    fn unit_path(&self, number: u64) -> PathBuf {
        self.path.join("units").join(format!("{number:012}.json"))
    }
}

/// A name for a numbering that begins now: the later the higher, as far as the clock is right, and by chance another where it
/// is not.
fn new_numbering(now_ms: u64) -> u64 {
    let seconds = (now_ms / 1_000).clamp(1, u64::from(u32::MAX) - 1);
    (seconds << 8) | u64::from(rand::random::<u8>())
}

/// Removes a file; one that is gone is no error.
fn remove(path: &Path) -> Result<(), BundleError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "kept_test.rs"]
pub(crate) mod tests;
