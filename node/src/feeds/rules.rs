//! The rules by which this node knows services and what is weak about them: the program's own, and those of feeds or of a user's
//! files: recog fingerprints, service probes, rules of exposure.

use std::path::Path;
use std::sync::Arc;

use pentora_scanner::detect::{Recog, RuleSet, ServiceProbes};
use pentora_scanner::vuln::exposure::Exposures;
use pentora_scanner::vuln::store::Row;

use super::{FeedKind, FeedStore, compile};

/// The program's rules with the feeds of `store` that are rules: recog fingerprints, service probes, rules of exposure.
///
/// # Errors
/// A feed that cannot be read or is no longer understood, in a sentence.
pub fn with_feed(store: Option<&FeedStore>) -> Result<RuleSet, String> {
    let mut rules = RuleSet::builtin();
    let Some(store) = store else { return Ok(rules) };
    let rows = |kind| {
        let mut rows: Vec<Row> = Vec::new();
        let read = store.for_each(kind, |key, value| {
            rows.push(Row { key: key.to_vec(), value: value.to_vec() });
            Ok(())
        });
        read.map_err(|error| error.to_string()).map(|_| rows)
    };
    let recog = rows(FeedKind::Recog)?;
    if !recog.is_empty() {
        let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
        let files: Vec<(String, String)> =
            recog.iter().map(|row| Ok((utf8(&row.key)?, utf8(&row.value)?))).collect::<Result<_, String>>()?;
        let recog = Recog::of_files(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        rules = rules.with_recog(Arc::new(recog.map_err(|error| error.to_string())?));
    }
    if let Some(Row { key, value }) = rows(FeedKind::Probes)?.first() {
        let name = String::from_utf8_lossy(key).into_owned();
        let probes = ServiceProbes::of_bytes(Path::new(&name), value).map_err(|error| error.to_string())?;
        rules = rules.with_service_probes(Arc::new(probes));
    }
    let exposures = rows(FeedKind::Exposures)?;
    if !exposures.is_empty() {
        rules = rules.with_exposures(Arc::new(compile::exposures_of(&exposures)?));
    }
    Ok(rules)
}

/// How many lines that are left out are named.
const LINES_NAMED_MAX: usize = 5;

/// Rules with files of the user's.
#[derive(Debug)]
pub struct WithFiles {
    /// The rules.
    pub rules: RuleSet,
    /// What the user should know of the files.
    pub note: Option<String>,
}

/// A user's files of rules, each where it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    /// A folder of recog fingerprints.
    pub recog: Option<&'a Path>,
    /// A file of service probes.
    pub probes: Option<&'a Path>,
    /// A folder of rules of exposure, which take the place of a feed of such.
    pub exposures: Option<&'a Path>,
}

/// Rules with a user's files added.
///
/// # Errors
/// Files that cannot be used, in a sentence with file and line.
pub fn with_files(mut rules: RuleSet, Files { recog, probes, exposures }: Files<'_>) -> Result<WithFiles, String> {
    let mut note = None;
    if let Some(folder) = recog {
        let recog = Recog::load(folder).map_err(|error| error.to_string())?;
        rules = rules.with_recog(Arc::new(recog));
    }
    if let Some(file) = probes {
        let probes = ServiceProbes::read(file).map_err(|error| error.to_string())?;
        note = note_of(file, probes.skipped_lines());
        rules = rules.with_service_probes(Arc::new(probes));
    }
    if let Some(folder) = exposures {
        let texts =
            compile::texts(folder, "toml", compile::FINGERPRINTS_BYTES_MAX).map_err(|error| error.to_string())?;
        if texts.is_empty() {
            return Err(format!("{}: there is no rule of exposure (*.toml) in it", folder.display()));
        }
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let exposures = Exposures::with_files(&texts).map_err(|error| format!("{}: {error}", folder.display()))?;
        rules = rules.with_exposures(Arc::new(exposures));
    }
    Ok(WithFiles { rules, note })
}

/// Which lines of a file of service probes are not used, and why.
pub(super) fn note_of(file: &Path, skipped: &[usize]) -> Option<String> {
    let named: Vec<String> = skipped.iter().take(LINES_NAMED_MAX).map(ToString::to_string).collect();
    let more = if skipped.len() > named.len() { ", ..." } else { "" };
    (!skipped.is_empty()).then(|| {
        format!(
            "{}: {} matches are left out, because their patterns need backtracking (look-around, back references, \\G): line {}{more}",
            file.display(),
            skipped.len(),
            named.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_that_cannot_be_used_are_told_by_their_lines() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let file = folder.path().join("own.probes");
        let text = "\u{feff}# mine\r\nProbe TCP NULL q||\r\nmatch a m|^(.)\\1| p/A/\r\nmatch b m|^b| p/B/\r\nmatch c m|^c(?=d)| p/C/\r\n";
        std::fs::write(&file, text).expect("a file for the test");
        let found = with_files(RuleSet::builtin(), Files { probes: Some(&file), ..Files::default() })
            .expect("a file that can be used");
        let note = found.note.expect("two lines are not used");
        assert!(note.contains("2 matches") && note.ends_with("line 3, 5"), "{note}");
    }
}
