//! Host names in exclusions: an address has to be left out whichever of its names it is known by.
//!
//! Resolved where a request is admitted, so that a name that is mistyped is refused before anything is sent, and again by
//! each node that scans, since another resolver may give other addresses. A name that nobody can resolve protects
//! nothing, so nothing is scanned unless the request says that such names are to be passed over.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use pentora_scanner::target::{TargetError, TargetSet};

/// Names looked up side by side: a resolver that does not answer costs its time-out once for so many.
const AT_ONCE: usize = 16;
/// Most names in the exclusions of one request; more belong into a list of addresses.
const NAMES_MAX: usize = 1024;
/// No more names of targets are looked up after so long: whoever asks waits, and their addresses are looked at again where they are
/// scanned. Ours.
const ADDRESSES_WITHIN: Duration = Duration::from_secs(2);
/// Names that were passed over that are told of one by one.
const TOLD_MAX: usize = 5;

/// What becomes of a request whose exclusions hold a name without an address.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Unresolved {
    /// It is refused.
    #[default]
    Refuse,
    /// The name is passed over.
    Skip,
}

/// Why exclusions cannot be held to.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExclusionError {
    /// A name has no address. Nothing was sent.
    #[error("the exclusion {name} protects nothing: {why}")]
    Unresolved {
        /// The name.
        name: String,
        /// The resolver's words.
        why: String,
    },
    /// There are too many. Nothing was sent.
    #[error("{count} host names in the exclusions are more than {NAMES_MAX}: list their addresses")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// With the addresses of its names the set is larger than one may be.
    #[error(transparent)]
    Targets(#[from] TargetError),
}

/// Exclusions that can be held to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Their addresses, those of names included, and the names.
    pub exclude: TargetSet,
    /// Names without an address, which are not among them, with the resolver's words.
    pub passed_over: Vec<(String, String)>,
}

impl Resolved {
    /// What has to be said of names that were passed over, a line each; of many, how many more there are.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let told = self.passed_over.iter().take(TOLD_MAX);
        let mut notes: Vec<String> = told
            .map(|(name, why)| format!("the exclusion {name} was passed over and protects nothing: {why}"))
            .collect();
        match self.passed_over.len().saturating_sub(TOLD_MAX) {
            0 => {}
            1 => notes.push("1 more exclusion was passed over and protects nothing".to_owned()),
            more => notes.push(format!("{more} more exclusions were passed over and protect nothing")),
        }
        notes
    }
}

/// `exclude` with every address of each of its names. Looks names up, so it may take seconds: not for a thread that others
/// wait for.
///
/// # Errors
/// A name without an address, unless those are passed over.
pub fn resolved(exclude: &TargetSet, unresolved: Unresolved) -> Result<Resolved, ExclusionError> {
    resolved_by(exclude, unresolved, |name| match (name, 0).to_socket_addrs() {
        Ok(found) => Ok(found.map(|address| address.ip().to_canonical()).collect()),
        Err(error) => Err(error.to_string()),
    })
}

/// The addresses that the names among some targets have by this machine's resolver, name by name: no row for a name that has none, and of
/// more names than an exclusion may have those of the first so many, or of as many as are looked up in two seconds. Another machine may
/// be given others.
#[must_use]
pub fn addresses_of_each(targets: &TargetSet) -> Vec<(String, TargetSet)> {
    addresses_by(targets, |name| match (name, 0).to_socket_addrs() {
        Ok(found) => Ok(found.map(|address| address.ip().to_canonical()).collect()),
        Err(error) => Err(error.to_string()),
    })
}

/// The same, of all of them together.
#[must_use]
pub fn addresses_of(targets: &TargetSet) -> TargetSet {
    joined(&addresses_of_each(targets))
}

/// All addresses of some names.
#[must_use]
pub fn joined(names: &[(String, TargetSet)]) -> TargetSet {
    let mut all = TargetSet::builder();
    names.iter().for_each(|(_, addresses)| all.add_set(addresses));
    all.build_uncounted().unwrap_or_default()
}

fn addresses_by(
    targets: &TargetSet,
    look_up: impl Fn(&str) -> Result<Vec<IpAddr>, String> + Sync,
) -> Vec<(String, TargetSet)> {
    let names: Vec<&str> = targets.names().take(NAMES_MAX).collect();
    let mut all = Vec::new();
    let began = Instant::now();
    for some in names.chunks(AT_ONCE) {
        if began.elapsed() >= ADDRESSES_WITHIN {
            break;
        }
        for (name, found) in some.iter().zip(looked_up(some, &look_up)) {
            let mut addresses = TargetSet::builder();
            found.into_iter().flatten().for_each(|address| addresses.add_address(address));
            let addresses = addresses.build_uncounted().unwrap_or_default();
            all.extend((!addresses.is_empty()).then(|| ((*name).to_owned(), addresses)));
        }
    }
    all
}

/// What each of some names has, looked up side by side.
fn looked_up(
    names: &[&str],
    look_up: &(impl Fn(&str) -> Result<Vec<IpAddr>, String> + Sync),
) -> Vec<Result<Vec<IpAddr>, String>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = names.iter().map(|name| scope.spawn(|| look_up(name))).collect();
        let failed = |_| Err("the look-up failed".to_owned());
        asked.into_iter().map(|asked| asked.join().unwrap_or_else(failed)).collect()
    })
}

fn resolved_by(
    exclude: &TargetSet,
    unresolved: Unresolved,
    look_up: impl Fn(&str) -> Result<Vec<IpAddr>, String> + Sync,
) -> Result<Resolved, ExclusionError> {
    let names: Vec<&str> = exclude.names().collect();
    if names.is_empty() {
        return Ok(Resolved { exclude: exclude.clone(), passed_over: Vec::new() });
    }
    if names.len() > NAMES_MAX {
        return Err(ExclusionError::TooMany { count: names.len() });
    }
    let mut all = TargetSet::builder();
    all.add_set(exclude);
    let (mut passed_over, mut without) = (Vec::new(), TargetSet::builder());
    for some in names.chunks(AT_ONCE) {
        for (name, found) in some.iter().zip(looked_up(some, &look_up)) {
            match found {
                Ok(addresses) if !addresses.is_empty() => {
                    addresses.into_iter().for_each(|address| all.add_address(address));
                }
                found => {
                    let why = found.err().unwrap_or_else(|| "it has no address".to_owned());
                    if unresolved == Unresolved::Refuse {
                        return Err(ExclusionError::Unresolved { name: (*name).to_owned(), why });
                    }
                    without.add_text(name, "exclude")?;
                    passed_over.push(((*name).to_owned(), why));
                }
            }
        }
    }
    Ok(Resolved { exclude: all.build_uncounted()?.exclude(&without.build()?), passed_over })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(name: &str) -> Result<Vec<IpAddr>, String> {
        match name {
            "printer.lab" => Ok(vec!["10.0.0.3".parse().unwrap(), "fd77::3".parse().unwrap()]),
            "empty.lab" => Ok(Vec::new()),
            _ => Err("no such name".to_owned()),
        }
    }

    #[test]
    fn every_address_of_an_excluded_name_is_left_out() {
        let exclude: TargetSet = "10.0.0.9,printer.lab".parse().unwrap();
        let whole = resolved_by(&exclude, Unresolved::Refuse, look_up).unwrap();
        assert_eq!(whole.notes(), Vec::<String>::new());
        let whole = whole.exclude;
        let left = "10.0.0.0/28,fd77::/124,printer.lab".parse::<TargetSet>().unwrap().exclude(&whole);
        assert_eq!(left.count(), 16 - 2 + 16 - 1);
        assert!(!left.contains("10.0.0.3".parse().unwrap()) && !left.contains("fd77::3".parse().unwrap()));
    }

    #[test]
    fn a_name_that_protects_nothing_stops_the_scan_unless_it_is_to_be_passed_over() {
        for name in ["nosuch.lab", "empty.lab"] {
            let exclude: TargetSet = format!("10.0.0.9,{name},printer.lab").parse().unwrap();
            let refused = resolved_by(&exclude, Unresolved::Refuse, look_up).unwrap_err();
            assert!(refused.to_string().starts_with(&format!("the exclusion {name} protects nothing")), "{refused}");
            let rest = resolved_by(&exclude, Unresolved::Skip, look_up).unwrap();
            let [note] = rest.notes().try_into().unwrap();
            assert!(
                note.starts_with(&format!("the exclusion {name} was passed over and protects nothing: ")),
                "{note}"
            );
            let rest = rest.exclude;
            assert_eq!((rest.count(), rest.names().collect::<Vec<_>>()), (4, vec!["printer.lab"]));
        }
        let many: Vec<String> = (0..=NAMES_MAX).map(|number| format!("host{number}.lab")).collect();
        let seven = resolved_by(&many[..7].join(",").parse().unwrap(), Unresolved::Skip, look_up).unwrap();
        assert_eq!(seven.notes().last().unwrap(), "2 more exclusions were passed over and protect nothing");
        let refused = resolved_by(&many.join(",").parse().unwrap(), Unresolved::Skip, look_up);
        assert_eq!(refused, Err(ExclusionError::TooMany { count: NAMES_MAX + 1 }));
    }
    #[test]
    fn the_addresses_of_names_are_those_that_are_known_and_a_resolver_that_is_slow_is_not_waited_for() {
        let targets: TargetSet = "10.9.0.1,a.example,none.example,b.example".parse().unwrap();
        let look_up = |name: &str| match name {
            "a.example" => Ok(vec![IpAddr::from([10, 0, 0, 1])]),
            "b.example" => Ok(vec![IpAddr::from([10, 0, 0, 2])]),
            _ => Err("no such name".to_owned()),
        };
        assert_eq!(joined(&addresses_by(&targets, look_up)), "10.0.0.1,10.0.0.2".parse().unwrap());
        let many: Vec<String> = (0..4 * AT_ONCE).map(|name| format!("n{name}.example")).collect();
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let slow = |_: &str| {
            asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            #[expect(clippy::disallowed_methods, reason = "a resolver that does not answer")]
            std::thread::sleep(ADDRESSES_WITHIN);
            Err("nobody answers".to_owned())
        };
        assert_eq!(addresses_by(&many.join(",").parse().unwrap(), slow), Vec::new());
        assert_eq!(asked.into_inner(), AT_ONCE);
    }
}
