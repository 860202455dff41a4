//! The rule files that are part of the program.

use std::sync::OnceLock;

use super::index::RuleIndex;

/// Name and text of each file in `scanner/fingerprints`, in the order in which equal rules are preferred.
pub(crate) static FILES: &[(&str, &str)] = &[
    ("ssh.toml", include_str!("../../../fingerprints/ssh.toml")),
    ("greetings.toml", include_str!("../../../fingerprints/greetings.toml")),
    ("apps.toml", include_str!("../../../fingerprints/apps.toml")),
    ("appliances.toml", include_str!("../../../fingerprints/appliances.toml")),
    ("consoles.toml", include_str!("../../../fingerprints/consoles.toml")),
    ("web.toml", include_str!("../../../fingerprints/web.toml")),
    ("databases.toml", include_str!("../../../fingerprints/databases.toml")),
    ("messaging.toml", include_str!("../../../fingerprints/messaging.toml")),
    ("infrastructure.toml", include_str!("../../../fingerprints/infrastructure.toml")),
    ("enterprise.toml", include_str!("../../../fingerprints/enterprise.toml")),
    ("business.toml", include_str!("../../../fingerprints/business.toml")),
    ("servers.toml", include_str!("../../../fingerprints/servers.toml")),
    ("remote.toml", include_str!("../../../fingerprints/remote.toml")),
    ("datagrams.toml", include_str!("../../../fingerprints/datagrams.toml")),
    ("legacy.toml", include_str!("../../../fingerprints/legacy.toml")),
    ("industrial.toml", include_str!("../../../fingerprints/industrial.toml")),
];

/// The program's own rules, read when first asked for.
///
/// # Panics
///
/// When a rule file has a mistake, which its tests would have found.
pub(crate) fn builtin() -> &'static RuleIndex {
    static INDEX: OnceLock<RuleIndex> = OnceLock::new();
    INDEX.get_or_init(|| RuleIndex::new(FILES).expect("the files' own test reads them"))
}

#[cfg(test)]
#[path = "catalog/catalog_test.rs"]
mod tests;

#[cfg(test)]
#[path = "catalog/exposure_test.rs"]
mod exposure_tests;
