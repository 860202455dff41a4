//! Where an advisory says that more is to be read, as all feeds write it.

use serde::Deserialize;

use crate::vuln::advisory::{REFERENCES_MAX, bounded};

#[derive(Deserialize)]
pub(super) struct Reference {
    #[serde(default)]
    url: String,
}

/// The addresses that are kept.
pub(super) fn urls(references: &[Reference]) -> Vec<String> {
    let urls = references.iter().map(|reference| bounded(&reference.url)).filter(|url| !url.is_empty());
    urls.take(REFERENCES_MAX).collect()
}
