//! Where an advisory says that more is to be read, as all feeds write it.

use serde::Deserialize;

use super::lenient::text_or_empty;
use crate::vuln::advisory::{REFERENCES_MAX, bounded};

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Reference {
    #[serde(deserialize_with = "text_or_empty")]
    url: String,
}

/// The addresses that are kept.
pub(super) fn urls(references: &[Reference]) -> Vec<String> {
    let urls = references.iter().map(|reference| bounded(&reference.url)).filter(|url| !url.is_empty());
    urls.take(REFERENCES_MAX).collect()
}
