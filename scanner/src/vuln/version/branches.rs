//! What ranges say together that end once for each branch of a product.
//!
//! Makers correct every branch that they keep, and records list the corrections: `before 1.4.9`, `before 1.5.3`,
//! `before 1.6.2`. Each of these reaches from the first version on, so that 1.5.3, which is corrected, is in the last of
//! them. What an end says is sure of its own branch and of what is older than all ends. Of a version between two ends
//! that is in the branch of neither nobody knows.

use std::cmp::Ordering;

use super::range::places_in;
use super::{Bound, Range, Scheme, Verdict, compare, number};

/// What the ends of branches say of `version`, which is in one of `ranges`; `None` where they leave it at that.
///
/// `holds` says whether the version, of which no more than its front may be told, is in a range.
pub fn by_branch<'a>(
    ranges: impl Iterator<Item = &'a Range> + Clone,
    version: &str,
    holds: impl Fn(&Range) -> Verdict,
) -> Option<Verdict> {
    let ranges = || ranges.clone().filter(|range| !range.scheme.is_of_packages() && !range.is_unread());
    let up_to_end = |range: &Range| Range { from: None, ..range.clone() };
    let is_past = |range: &&Range| is_of_several(range) && holds(&up_to_end(range)) != Verdict::Inside;
    let past: Vec<&Range> = ranges().filter(is_past).collect();
    let newest = past.iter().filter_map(|range| Some((range.scheme, range.to.as_ref()?)));
    let (_, newest) = newest.reduce(|known, next| {
        let is_newer = order(known.0, &next.1.version, &known.1.version).is_some_and(Ordering::is_gt);
        if is_newer { next } else { known }
    })?;
    let holding: Vec<&Range> = ranges().filter(|range| holds(range) == Verdict::Inside).collect();
    // Whoever begins at an end or behind it knows of it, and whoever names the version means it.
    let is_sure = |range: &&Range| {
        let is_behind = |from: &Bound| order(range.scheme, &from.version, &newest.version).is_some_and(Ordering::is_ge);
        let is_named =
            |to: &Bound| to.is_inclusive && order(range.scheme, version, &to.version) == Some(Ordering::Equal);
        range.from.as_ref().is_some_and(is_behind) || range.to.as_ref().is_some_and(is_named)
    };
    if holding.is_empty() || holding.iter().any(is_sure) {
        return None;
    }
    // What ends nowhere has no branch.
    if holding.iter().any(|range| range.to.is_none()) {
        return Some(Verdict::Indeterminate);
    }
    let ends: Vec<&Range> = past.into_iter().chain(holding).collect();
    let mut own = of_own_branch(&ends, version).into_iter().map(|range| holds(&up_to_end(range)));
    let first = own.next().unwrap_or(Verdict::Indeterminate);
    Some(if own.all(|next| next == first) { first } else { Verdict::Indeterminate })
}

/// Whether any of `ranges` may end within another: whether [`by_branch`] has something to say.
#[must_use]
pub fn may_have_branches<'a>(ranges: impl Iterator<Item = &'a Range> + Clone) -> bool {
    let mut whole: Vec<&Range> = Vec::new();
    whole.extend(ranges.filter(|range| range.from.is_none() || range.from != range.to));
    let is_after = |later: &Range, earlier: &Range| match (&later.from, &earlier.to) {
        (Some(from), Some(to)) => order(later.scheme, &from.version, &to.version).is_some_and(Ordering::is_ge),
        _ => false,
    };
    let is_older = |a: &Range, b: &Range| match (&a.from, &b.from) {
        (Some(a_from), Some(b_from)) => order(a.scheme, &a_from.version, &b_from.version).unwrap_or(Ordering::Equal),
        (a_from, b_from) => a_from.is_some().cmp(&b_from.is_some()),
    };
    whole.sort_by(|a, b| is_older(a, b));
    whole.iter().zip(whole.iter().skip(1)).any(|(earlier, later)| !is_after(later, earlier))
}

/// Whether its end may be that of one branch among several: it is neither one version nor a branch as a whole.
fn is_of_several(range: &Range) -> bool {
    let Some(to) = &range.to else { return false };
    let Some(from) = &range.from else { return true };
    let last = |version: &str| {
        let (places, rest) = places_in(version);
        let (last, front) = places.split_last()?;
        Some((last.parse::<u64>().ok().filter(|_| rest.is_empty())?, front.join(".")))
    };
    let is_branch = match (last(&from.version), last(&to.version)) {
        (Some((first, front)), Some((next, front_of_next))) => {
            front == front_of_next && first.checked_add(1) == Some(next) && from.is_inclusive && !to.is_inclusive
        }
        _ => false,
    };
    from != to && !(is_branch && from.version.matches('.').count() == to.version.matches('.').count())
}

/// The ranges whose ends are of the branch of `version`, taken as narrowly as any is.
fn of_own_branch<'a>(ranges: &[&'a Range], version: &str) -> Vec<&'a Range> {
    let (own, _) = places_in(version);
    let end_of = |range: &&'a Range| Some((*range, range.to.as_ref().map(|to| branch_of(range.scheme, &to.version))?));
    let ends: Vec<(&Range, Branch<'_>)> = ranges.iter().filter_map(end_of).collect();
    let deepest = ends.iter().map(|(_, branch)| branch.depth).max().unwrap_or(0);
    // Major and minor, and where all ends have no more than two numbers the major alone.
    let by_numbers = ends.iter().filter(|(_, branch)| !branch.is_counted_by_letters);
    let shallowest = by_numbers.map(|(_, branch)| branch.depth.min(2)).max().unwrap_or(0);
    for depth in (1..=deepest.min(own.len())).rev() {
        let is_own = |branch: &Branch<'_>| {
            let places = branch.places.iter().copied().chain(std::iter::repeat(""));
            let depth_min = if branch.is_counted_by_letters { branch.depth } else { shallowest };
            depth >= depth_min && own.iter().take(depth).zip(places).all(|(a, b)| number::compare(a, b).is_eq())
        };
        let found: Vec<&Range> = ends.iter().filter(|(_, branch)| is_own(branch)).map(|(range, _)| *range).collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// The branch that an end is of.
struct Branch<'a> {
    places: Vec<&'a str>,
    /// So many places tell it at the most: all but that which counts its releases.
    depth: usize,
    /// Whether it is told by all of them, as letters count the releases of OpenSSL's old branches, and `p1` those of OpenSSH.
    is_counted_by_letters: bool,
}

fn branch_of(scheme: Scheme, end: &str) -> Branch<'_> {
    let (places, rest) = places_in(end);
    let is_counted_by_letters = matches!(scheme, Scheme::OpenSsl | Scheme::OpenSsh) && !rest.is_empty();
    let depth = if is_counted_by_letters { places.len() } else { places.len().saturating_sub(1) };
    Branch { places, depth, is_counted_by_letters }
}

fn order(scheme: Scheme, a: &str, b: &str) -> Option<Ordering> {
    compare(scheme, a, b).or_else(|| compare(Scheme::Dotted, a, b))
}

#[cfg(test)]
#[path = "branches_test.rs"]
mod tests;
