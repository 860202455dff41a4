//! A folder of mirrors as people keep them: which files in it are which feed, and whether they are still those that were read.
//!
//! Known are a checkout of cvelistV5 (`cves/YEAR/...`), the files of the NVD (`nvdcve-2.0-*.json`, packed or not), OSV's archives
//! (`all.zip`, or any in a folder called `osv`), CISA's catalogue (`known_exploited_vulnerabilities.json`) and FIRST's scores
//! (`epss_scores-DAY.csv`, packed or not, of which the latest counts).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pentora_raft::Digest;

use crate::feeds::FeedKind;

/// How deep mirrors are looked for: `DIR/cvelistV5/cves`, `DIR/osv/Debian/all.zip`.
const DEPTH_MAX: usize = 4;
/// Most entries that are looked at while looking for mirrors.
const ENTRIES_MAX: usize = 100_000;

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    /// The files of each kind that there are, in the order in which later ones count more.
    pub(super) feeds: BTreeMap<FeedKind, Vec<PathBuf>>,
    /// What could not be looked at, each with its reason: a link that leads nowhere, a folder that is closed.
    pub(super) unread: Vec<String>,
}

/// Looks for mirrors in `folder`. What cannot be looked at beside them is passed over and named.
///
/// # Errors
/// The folder itself cannot be read, or holds too much.
pub(super) fn find(folder: &Path) -> io::Result<Mirrors> {
    let Mirrors { feeds: mut found, mut unread } = Mirrors::default();
    let mut left = vec![(folder.to_owned(), 0)];
    let mut looked = 0;
    while let Some((folder, depth)) = left.pop() {
        let entries = match entries_of(&folder) {
            Err(error) if depth > 0 => {
                unread.push(format!("{}: {error}", folder.display()));
                continue;
            }
            entries => entries?,
        };
        looked += entries.len();
        if looked > ENTRIES_MAX {
            return Err(io::Error::other(format!("{} holds too much beside mirrors", folder.display())));
        }
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            if name.starts_with('.') {
                continue;
            }
            let is_folder = match fs::metadata(&path) {
                Ok(about) => about.is_dir(),
                Err(error) => {
                    unread.push(format!("{}: {error}", path.display()));
                    continue;
                }
            };
            if is_folder && name == "cves" {
                match years(&path) {
                    Ok(years) => found.entry(FeedKind::Cve).or_default().extend(years),
                    Err(error) => unread.push(format!("{}: {error}", path.display())),
                }
            } else if is_folder && depth + 1 < DEPTH_MAX {
                left.push((path, depth + 1));
            } else if let Some(kind) = (!is_folder).then(|| kind_of(&folder, &name)).flatten() {
                found.entry(kind).or_default().push(path);
            }
        }
    }
    for (kind, paths) in &mut found {
        paths.sort();
        if *kind == FeedKind::Epss {
            // One day's scores hold for all.
            paths.drain(..paths.len().saturating_sub(1));
        }
    }
    found.retain(|_, paths| !paths.is_empty());
    Ok(Mirrors { feeds: found, unread })
}

/// What a folder holds, in order.
fn entries_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

/// The folders of years in a checkout: beside them are lists of what changed, which are no records.
fn years(cves: &Path) -> io::Result<Vec<PathBuf>> {
    let all = fs::read_dir(cves)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    let is_year = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() == 4 && name.bytes().all(|byte| byte.is_ascii_digit())
    };
    Ok(all.into_iter().filter(is_year).collect())
}

/// What a file is by its name, in lower case.
fn kind_of(folder: &Path, name: &str) -> Option<FeedKind> {
    let is_json = [".json", ".json.gz", ".json.zip"].iter().any(|end| name.ends_with(end));
    let is_csv = [".csv", ".csv.gz"].iter().any(|end| name.ends_with(end));
    let is_in_osv = folder.components().any(|part| part.as_os_str().eq_ignore_ascii_case("osv"));
    match name {
        // Those of 1.1 and before are of another format, and were made for the last time in 2023.
        _ if name.starts_with("nvdcve-1.") => None,
        _ if name.starts_with("nvdcve-") && is_json => Some(FeedKind::Nvd),
        _ if name.starts_with("known_exploited_vulnerabilities") && is_json => Some(FeedKind::Kev),
        _ if name.starts_with("epss_scores") && is_csv => Some(FeedKind::Epss),
        "all.zip" => Some(FeedKind::Osv),
        _ if is_in_osv && name.ends_with(".zip") => Some(FeedKind::Osv),
        _ => None,
    }
}

/// What files are, by name, size and time: the same as long as nobody changed them.
///
/// # Errors
/// A folder among them cannot be read.
pub(super) fn stamp(paths: &[PathBuf]) -> io::Result<String> {
    let mut digest = Digest::of(b"");
    let mut left: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    while let Some(path) = left.pop() {
        let Ok(about) = fs::metadata(&path) else {
            // Whoever reads it says what it is about a link that leads nowhere.
            digest = Digest::of(&[&digest.0[..], path.display().to_string().as_bytes()].concat());
            continue;
        };
        if about.is_dir() {
            left.extend(entries_of(&path)?.into_iter().rev());
            continue;
        }
        let line = format!("{}\n{}\n{}\n{}\n", path.display(), about.len(), about.mtime(), about.mtime_nsec());
        digest = Digest::of(&[&digest.0[..], line.as_bytes()].concat());
    }
    Ok(digest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_known_by_what_people_call_them() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        for path in [
            "cvelistV5/cves/2024/0xxx/CVE-2024-0001.json",
            "cvelistV5/cves/2025/0xxx/CVE-2025-0001.json",
            "cvelistV5/cves/delta.json",
            "cvelistV5/.git/config",
            "nvd/nvdcve-2.0-2024.json.gz",
            "nvd/nvdcve-2.0-modified.json.gz",
            "nvd/nvdcve-2.0-2024.meta",
            "nvd/nvdcve-1.1-2019.json",
            "osv/Debian/all.zip",
            "OSV/PyPI.zip",
            "kev/known_exploited_vulnerabilities.json",
            "epss_scores-2026-01-01.csv.gz",
            "epss_scores-2026-01-02.csv.gz",
            "readme.zip",
        ] {
            put(path);
        }
        let found = find(folder.path()).unwrap().feeds;
        let names = |kind: FeedKind| -> Vec<String> {
            let paths = found.get(&kind).into_iter().flatten();
            paths.map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(names(FeedKind::Cve), ["cvelistV5/cves/2024", "cvelistV5/cves/2025"]);
        assert_eq!(names(FeedKind::Nvd), ["nvd/nvdcve-2.0-2024.json.gz", "nvd/nvdcve-2.0-modified.json.gz"]);
        assert_eq!(names(FeedKind::Osv), ["OSV/PyPI.zip", "osv/Debian/all.zip"]);
        assert_eq!(names(FeedKind::Epss), ["epss_scores-2026-01-02.csv.gz"]);
        assert_eq!(names(FeedKind::Kev).len(), 1);
        let paths = &found[&FeedKind::Cve];
        let before = stamp(paths).unwrap();
        assert_eq!(stamp(paths).unwrap(), before);
        put("cvelistV5/cves/2025/0xxx/CVE-2025-0002.json");
        assert_ne!(stamp(paths).unwrap(), before);
        assert!(find(&folder.path().join("nowhere")).is_err());
    }

    #[test]
    fn what_cannot_be_looked_at_beside_mirrors_is_passed_over_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let kev = folder.path().join("known_exploited_vulnerabilities.json");
        fs::write(&kev, "x").unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        for link in ["gone", "below/gone.json"] {
            std::os::unix::fs::symlink("nowhere", folder.path().join(link)).unwrap();
        }
        let found = find(folder.path()).unwrap();
        assert_eq!(found.feeds[&FeedKind::Kev], [kev]);
        let named = |name: &str| found.unread.iter().filter(|what| what.contains(name)).count();
        assert_eq!(
            (found.unread.len(), named("below/gone.json: No such file"), named("gone: No such file")),
            (2, 1, 1)
        );
        assert!(find(&folder.path().join("gone")).is_err());
    }
}
