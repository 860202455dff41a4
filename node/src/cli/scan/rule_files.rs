//! The files that a scan from this process knows services and vendors by, beside the program's own rules, so that the second half of an
//! interrupted scan has the rules of the first.
//!
//! A saved scan keeps where they are and the BLAKE3 digest of what they hold, not the files themselves: a folder of
//! fingerprints is larger than most results, and who changed a rule meant to.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pentora_raft::Digest;
use pentora_scanner::detect::RuleSet;
use serde::{Deserialize, Serialize};

use crate::durable_file;
use crate::failure::{ExitCode, Failure};
use crate::feeds::{FeedStore, rules};

/// The files that were named, with what they held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RuleFiles {
    /// The folder of recog fingerprints.
    fingerprints: Option<RuleFile>,
    /// The user's own service probes.
    service_probes: Option<RuleFile>,
    /// The folder of the user's own rules of exposure.
    exposures: Option<RuleFile>,
    /// The registry of hardware addresses.
    oui: Option<RuleFile>,
}

/// Where flags say that the files are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Named<'a> {
    /// `--fingerprints`
    pub(super) fingerprints: Option<&'a Path>,
    /// `--service-probes`
    pub(super) service_probes: Option<&'a Path>,
    /// `--exposures`
    pub(super) exposures: Option<&'a Path>,
    /// `--oui`
    pub(super) oui: Option<&'a Path>,
}

/// A file or folder, and the digest of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RuleFile {
    path: PathBuf,
    digest: Digest,
}

/// The rules to know services by, where they are more than the program's own, and what the user should know of them.
#[derive(Debug, Default)]
pub(super) struct WithNote {
    /// The rules.
    pub(super) rules: Option<RuleSet>,
    /// What of the files is not used.
    pub(super) note: Option<String>,
}

impl RuleFiles {
    /// Looks at the files that flags name.
    ///
    /// # Errors
    /// Exit 1 for one that cannot be read.
    pub(super) fn named(named: Named<'_>) -> Result<Self, Failure> {
        let look = |path: &Path, extension: &str| {
            let digest = digest_of(path, extension).map_err(|error| {
                Failure::new(ExitCode::Failure, format!("{} cannot be read: {error}", path.display()))
            })?;
            // A scan may be taken up from another folder.
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            Ok::<_, Failure>(RuleFile { path, digest })
        };
        Ok(Self {
            fingerprints: named.fingerprints.map(|path| look(path, "xml")).transpose()?,
            service_probes: named.service_probes.map(|path| look(path, "")).transpose()?,
            exposures: named.exposures.map(|path| look(path, "toml")).transpose()?,
            oui: named.oui.map(|path| look(path, "")).transpose()?,
        })
    }

    /// The files of a saved scan, where flags of this run name them in place of the saved paths: whatever was moved has to
    /// hold what it held.
    ///
    /// # Errors
    /// Exit 2 for a file that is gone, changed, or was not there before.
    pub(super) fn again(&self, named: Named<'_>) -> Result<Self, Failure> {
        let same = |saved: &Option<RuleFile>, named: Option<&Path>, flag: &str, extension: &str| match (saved, named) {
            (None, None) => Ok(None),
            (None, Some(path)) => Err(changed(path, flag, "the scan was begun without it".to_owned())),
            (Some(saved), named) => {
                let path = named.unwrap_or(&saved.path);
                match digest_of(path, extension) {
                    Ok(digest) if digest == saved.digest => Ok(Some(RuleFile { path: path.to_owned(), digest })),
                    Ok(_) => {
                        Err(changed(path, flag, "it holds something else than when the scan was begun".to_owned()))
                    }
                    Err(error) => Err(changed(path, flag, error.to_string())),
                }
            }
        };
        Ok(Self {
            fingerprints: same(&self.fingerprints, named.fingerprints, "--fingerprints", "xml")?,
            service_probes: same(&self.service_probes, named.service_probes, "--service-probes", "")?,
            exposures: same(&self.exposures, named.exposures, "--exposures", "toml")?,
            oui: same(&self.oui, named.oui, "--oui", "")?,
        })
    }

    /// Where the registry of hardware addresses is, if one was named.
    pub(super) fn oui(&self) -> Option<&Path> {
        self.oui.as_ref().map(|file| file.path.as_path())
    }

    /// The rules to know services by, where they are more than the program's own.
    ///
    /// # Errors
    /// Exit 1 for files or a feed that cannot be used.
    pub(super) fn rules(&self, feeds: Option<&FeedStore>) -> Result<WithNote, Failure> {
        let [recog, probes, exposures] = [&self.fingerprints, &self.service_probes, &self.exposures]
            .map(|file| file.as_ref().map(|file| file.path.as_path()));
        if feeds.is_none() && [recog, probes, exposures] == [None; 3] {
            return Ok(WithNote::default());
        }
        let files = rules::Files { recog, probes, exposures };
        let rules = rules::with_feed(feeds, rules::Questions::All).and_then(|own| rules::with_files(own, files));
        let with = rules.map_err(|why| Failure::new(ExitCode::Failure, why))?;
        Ok(WithNote { rules: Some(with.rules), note: with.note })
    }
}

fn changed(path: &Path, flag: &str, why: String) -> Failure {
    Failure::new(ExitCode::Usage, format!("the scan cannot go on with {flag} {}", path.display())).because(why).next(
        format!(
            "name the same rules where they are now with {flag}, or begin anew: half of the results would rest on others"
        ),
    )
}

/// The digest of a file, or of the files of a folder with this extension, with their names.
fn digest_of(path: &Path, extension: &str) -> io::Result<Digest> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(Digest::of(&read(path)?));
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|known| known.eq_ignore_ascii_case(extension)));
    files.sort();
    let mut parts = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().as_encoded_bytes();
        parts.extend(Digest::of(name).0);
        parts.extend(Digest::of(&read(&file)?).0);
    }
    Ok(Digest::of(&parts))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    durable_file::regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(fingerprints: Option<&'a Path>, service_probes: Option<&'a Path>) -> Named<'a> {
        Named { fingerprints, service_probes, ..Named::default() }
    }

    #[test]
    fn a_changed_rule_of_exposure_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), "").unwrap();
        let named = Named { exposures: Some(folder.path()), ..Named::default() };
        let saved = RuleFiles::named(named).unwrap();
        assert_eq!(saved.again(Named::default()).unwrap(), saved);
        fs::write(folder.path().join("a.toml"), "# more").unwrap();
        assert!(saved.again(named).unwrap_err().what.contains("--exposures"));
    }

    #[test]
    fn the_registry_of_vendors_is_taken_up_again_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let registry = folder.path().join("oui.txt");
        fs::write(&registry, "AABBCC A\n").unwrap();
        let saved = RuleFiles::named(Named { oui: Some(&registry), ..Named::default() }).unwrap();
        let again = saved.again(Named::default()).unwrap();
        assert_eq!(again.oui(), Some(fs::canonicalize(&registry).unwrap().as_path()));
        fs::write(&registry, "AABBCC B\n").unwrap();
        assert!(saved.again(Named::default()).unwrap_err().what.contains("--oui"));
        assert_eq!(RuleFiles::default().oui(), None);
    }

    #[test]
    fn rules_that_are_the_same_are_taken_up_again_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (probes, recog) = (folder.path().join("my.probes"), folder.path().join("fp"));
        fs::create_dir(&recog).unwrap();
        fs::write(&probes, "Probe TCP NULL q||\n").unwrap();
        fs::write(recog.join("a.xml"), "<fingerprints/>").unwrap();
        let saved = RuleFiles::named(of(Some(&recog), Some(&probes))).unwrap();
        assert_eq!(saved.again(Named::default()).unwrap(), saved);
        fs::write(recog.join("readme.txt"), "no rule").unwrap();
        assert_eq!(saved.again(Named::default()).unwrap(), saved);
        let moved = folder.path().join("moved.probes");
        fs::rename(&probes, &moved).unwrap();
        let gone = saved.again(Named::default()).unwrap_err();
        assert!(
            gone.exit == ExitCode::Usage && gone.what.contains("--service-probes") && gone.what.contains("my.probes")
        );
        saved.again(of(None, Some(&moved))).unwrap();
        fs::write(&moved, "Probe TCP NULL q|x|\n").unwrap();
        let other = saved.again(of(None, Some(&moved))).unwrap_err();
        assert!(other.why.unwrap().contains("something else"));
    }

    #[test]
    fn a_changed_folder_or_rules_that_were_not_there_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.xml"), "<fingerprints/>").unwrap();
        let saved = RuleFiles::named(of(Some(folder.path()), None)).unwrap();
        fs::rename(folder.path().join("a.xml"), folder.path().join("b.xml")).unwrap();
        assert!(saved.again(Named::default()).unwrap_err().what.contains("--fingerprints"));
        let none = RuleFiles::default();
        assert!(none.again(of(Some(folder.path()), None)).unwrap_err().why.unwrap().contains("begun without it"));
        assert_eq!(none.again(Named::default()).unwrap(), none);
        assert_eq!(RuleFiles::named(of(Some(Path::new("/nonexistent")), None)).unwrap_err().exit, ExitCode::Failure);
    }
}
