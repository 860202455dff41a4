//! The rules by which this node knows services: the program's own, recog fingerprints of a feed or a folder, and the
//! user's own service probes.

use std::path::Path;
use std::sync::Arc;

use pentora_scanner::detect::{Recog, RuleSet, ServiceProbes};

use super::{FeedKind, FeedStore};

/// The program's rules with the recog feed of `store`, where there is one.
///
/// # Errors
/// A feed that cannot be read or is no longer understood, in a sentence.
pub fn with_feed(store: Option<&FeedStore>) -> Result<RuleSet, String> {
    let rules = RuleSet::builtin();
    let Some(store) = store else { return Ok(rules) };
    let mut files: Vec<(String, String)> = Vec::new();
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
    let read = store.for_each(FeedKind::Recog, |name, text| {
        files.push((utf8(name)?, utf8(text)?));
        Ok(())
    });
    read.map_err(|error| error.to_string())?;
    if files.is_empty() {
        return Ok(rules);
    }
    let recog = Recog::of_files(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    Ok(rules.with_recog(Arc::new(recog.map_err(|error| error.to_string())?)))
}

/// Rules with a folder of recog fingerprints, and the user's own service probes, added.
///
/// # Errors
/// Files that cannot be used, in a sentence with file and line.
pub fn with_files(mut rules: RuleSet, recog: Option<&Path>, probes: Option<&Path>) -> Result<RuleSet, String> {
    if let Some(folder) = recog {
        let recog = Recog::load(folder).map_err(|error| error.to_string())?;
        rules = rules.with_recog(Arc::new(recog));
    }
    if let Some(file) = probes {
        let probes = ServiceProbes::read(file).map_err(|error| error.to_string())?;
        rules = rules.with_service_probes(Arc::new(probes));
    }
    Ok(rules)
}
