//! The rule files that are part of the program.

use std::sync::OnceLock;

use super::index::RuleIndex;
use crate::packed::{Packed, packed, unpack};

/// Each file in `scanner/fingerprints`, in the order in which equal rules are preferred.
const FILES: &[Packed] = &[
    packed!("fingerprints", "ssh.toml"),
    packed!("fingerprints", "greetings.toml"),
    packed!("fingerprints", "apps.toml"),
    packed!("fingerprints", "appliances.toml"),
    packed!("fingerprints", "consoles.toml"),
    packed!("fingerprints", "web.toml"),
    packed!("fingerprints", "databases.toml"),
    packed!("fingerprints", "messaging.toml"),
    packed!("fingerprints", "infrastructure.toml"),
    packed!("fingerprints", "enterprise.toml"),
    packed!("fingerprints", "business.toml"),
    packed!("fingerprints", "servers.toml"),
    packed!("fingerprints", "remote.toml"),
    packed!("fingerprints", "datagrams.toml"),
    packed!("fingerprints", "legacy.toml"),
    packed!("fingerprints", "industrial.toml"),
];

/// Name and text of each.
fn files() -> Vec<(&'static str, String)> {
    unpack(FILES).expect("they are as the build packed them")
}

/// The program's own rules, read when first asked for.
///
/// # Panics
///
/// When a rule file has a mistake, which its tests would have found.
pub(crate) fn builtin() -> &'static RuleIndex {
    static INDEX: OnceLock<RuleIndex> = OnceLock::new();
    INDEX.get_or_init(|| RuleIndex::new(&files()).expect("the files' own test reads them"))
}

#[cfg(test)]
#[path = "catalog/catalog_test.rs"]
mod tests;

#[cfg(test)]
#[path = "catalog/exposure_test.rs"]
mod exposure_tests;
