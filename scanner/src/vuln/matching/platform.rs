//! Whether a service runs on the system that an advisory means, as far as it tells.

use crate::vuln::advisory::AND;
use crate::vuln::cpe::{Cpe, Part, Relation};

/// Kinds of systems that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Windows,
    Linux,
    Mac,
    Bsd,
    Solaris,
    /// Any of those that are not Windows.
    Unix,
}

/// Words and the systems that they stand for; the first that is in a text decides.
const FAMILIES: [(&str, Family); 24] = [
    ("windows", Family::Windows),
    ("win32", Family::Windows),
    ("win64", Family::Windows),
    ("microsoft", Family::Windows),
    ("macos", Family::Mac),
    ("mac os", Family::Mac),
    ("mac_os", Family::Mac),
    ("darwin", Family::Mac),
    ("linux", Family::Linux),
    ("ubuntu", Family::Linux),
    ("debian", Family::Linux),
    ("raspbian", Family::Linux),
    ("centos", Family::Linux),
    ("red hat", Family::Linux),
    ("redhat", Family::Linux),
    ("fedora", Family::Linux),
    ("suse", Family::Linux),
    ("gentoo", Family::Linux),
    ("alpine", Family::Linux),
    ("android", Family::Linux),
    ("bsd", Family::Bsd),
    ("solaris", Family::Solaris),
    ("sunos", Family::Solaris),
    ("unix", Family::Unix),
];

impl Family {
    /// The family that a text speaks of.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        FAMILIES.iter().find(|(word, _)| text.contains(word)).map(|(_, family)| *family)
    }

    /// Whether what runs on this runs on `meant`; `None` where this does not say enough.
    fn is(self, meant: Self) -> Option<bool> {
        match (self, meant) {
            (own, meant) if own == meant => Some(true),
            (Self::Windows, _) | (_, Self::Windows) => Some(false),
            (_, Self::Unix) => Some(true),
            (Self::Unix, _) => None,
            _ => Some(false),
        }
    }
}

/// Whether a service is on one of the systems `meant`, or one of each list of them, given what it tells of its own: CPE names
/// and a family. `None` where that is not known.
pub(super) fn runs_on(meant: &[String], own: &[Cpe], family: Option<Family>) -> Option<bool> {
    let mut is_known = true;
    for list in meant.split(|pattern| pattern == AND).filter(|list| !list.is_empty()) {
        match is_on_one_of(list, own, family) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => is_known = false,
        }
    }
    is_known.then_some(true)
}

fn is_on_one_of(meant: &[String], own: &[Cpe], family: Option<Family>) -> Option<bool> {
    let mut is_known = true;
    for pattern in meant {
        match is_on(pattern, own, family) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => is_known = false,
        }
    }
    // Records that list them all mean any.
    let lists = |family| meant.iter().any(|pattern| Family::of(pattern) == Some(family));
    if lists(Family::Windows)
        && (lists(Family::Linux) || lists(Family::Unix))
        && (lists(Family::Mac) || family.is_none())
    {
        return Some(true);
    }
    is_known.then_some(false)
}

fn is_on(pattern: &str, own: &[Cpe], family: Option<Family>) -> Option<bool> {
    let cpe: Option<Cpe> = pattern.parse().ok();
    if let Some(cpe) = &cpe {
        // The version of a system is rarely known, so only its name is compared.
        let relations = own.iter().map(|name| (name.part(), cpe.product_relation(name)));
        let relations: Vec<(Part, Option<Relation>)> = relations.collect();
        if relations.iter().any(|(_, relation)| matches!(relation, Some(Relation::Equal | Relation::Superset))) {
            return Some(true);
        }
        if cpe.part() != Part::System {
            return None;
        }
        if Family::of(pattern).is_none() {
            let are_other =
                relations.iter().any(|(part, relation)| *part == Part::System && *relation == Some(Relation::Disjoint));
            return are_other.then_some(false);
        }
    }
    family?.is(Family::of(pattern)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(meant: &[&str], own: &str) -> Option<bool> {
        let meant: Vec<String> = meant.iter().map(|text| (*text).to_owned()).collect();
        runs_on(&meant, &[], Family::of(own))
    }

    #[test]
    fn systems_are_told_apart_as_far_as_they_are_named() {
        for (meant, own, expected) in [
            (&[][..], "", Some(true)),
            (&["Windows"], "Windows Server", Some(true)),
            (&["Windows"], "(Win64)", Some(true)),
            (&["Windows"], "(Unix)", Some(false)),
            (&["Windows"], "Ubuntu", Some(false)),
            (&["Windows"], "", None),
            (&["Linux"], "(Unix)", None),
            (&["Linux"], "Debian", Some(true)),
            (&["Unix"], "FreeBSD", Some(true)),
            (&["MacOS"], "Debian", Some(false)),
            (&["Windows", "Linux"], "", Some(true)),
            (&["Windows", "MacOS", "Linux"], "FreeBSD", Some(true)),
            (&["x86", "64 bit"], "Debian", None),
            (&["cpe:2.3:o:microsoft:windows:-:*:*:*:*:*:*:*"], "(Win32)", Some(true)),
            (&["cpe:2.3:o:linux:linux_kernel:-:*:*:*:*:*:*:*"], "Windows", Some(false)),
            (&["Windows", "&", "cpe:2.3:a:frob:plugin:-:*:*:*:*:*:*:*"], "Windows", None),
            (&["Windows", "&", "cpe:2.3:a:frob:plugin:-:*:*:*:*:*:*:*"], "Debian", Some(false)),
            (&["Windows", "MacOS", "&", "Windows"], "Windows", Some(true)),
            (&["cpe:2.3:h:frob:box:-:*:*:*:*:*:*:*"], "Windows", None),
            (&["cpe:2.3:a:apache:http_server:-:*:*:*:*:*:*:*"], "Windows", None),
        ] {
            assert_eq!(on(meant, own), expected, "{meant:?} on {own}");
        }
    }
}
