//! Who led in which term, by what the nodes say in their logs: two in one term would be two leaders at once.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

/// What a node writes when it begins to lead: its number in the log, and the term.
const LEADS: &str = r"\bleads node=(\d+) term=(\d+)";

/// The terms and who led in them, by their numbers in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reigns(BTreeMap<u64, BTreeSet<u64>>);

impl Reigns {
    /// Reads the logs of all nodes.
    pub(crate) fn of<'a>(logs: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Self> {
        let leads = Regex::new(LEADS)?;
        let mut reigns = Self::default();
        for log in logs {
            for found in leads.captures_iter(log) {
                let (_, [node, term]) = found.extract();
                reigns.0.entry(term.parse()?).or_default().insert(node.parse()?);
            }
        }
        Ok(reigns)
    }

    /// How many terms had a leader.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The last of them.
    pub(crate) fn last_term(&self) -> u64 {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// Terms in which more than one node led, with those.
    pub(crate) fn shared(&self) -> Vec<(u64, Vec<u64>)> {
        let shared = self.0.iter().filter(|(_, nodes)| nodes.len() > 1);
        shared.map(|(term, nodes)| (*term, nodes.iter().copied().collect())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leaders_of_one_term_show_and_one_that_leads_twice_or_no_longer_does_not() {
        let one = "2026-11-30T10:00:00Z  INFO leads node=1 term=1\n2026-11-30T10:00:09Z  INFO leads no longer node=1\n";
        let other = "2026-11-30T10:00:08Z  INFO leads node=2 term=2\n2026-11-30T10:00:10Z  INFO leads node=2 term=2\n";
        let both = Reigns::of([one, other]).unwrap();
        assert_eq!((both.len(), both.last_term(), both.shared()), (2, 2, vec![]));
        let third = "INFO leads node=7 term=2\n";
        assert_eq!(Reigns::of([one, other, third]).unwrap().shared(), [(2, vec![2, 7])]);
    }
}
