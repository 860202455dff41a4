//! Advisories with what can be worked out once for all services: their ranges as numbers, and their names in order.

use std::sync::Arc;

use super::Subject;
use super::judge::{Judgement, judge};
use crate::vuln::advisory::{Advisory, Source};
use crate::vuln::version::{Plain, PlainRange, Verdict, may_have_branches};

/// One advisory, as it was looked up by one key.
#[derive(Debug)]
pub(super) struct Known {
    advisory: Arc<Advisory>,
    /// What it calls affected of the product, where numbers say all of it.
    ranges: Option<Box<[PlainRange]>>,
    /// Whether being in a range is all that it asks: no exceptions, no edition, no platform, no ends
    /// of branches.
    is_bare: bool,
    /// The most places that an end of its ranges has: a version with as many is not short for any of them.
    places_max: usize,
}

impl Known {
    pub(super) fn new(advisory: Advisory, key: &str) -> Self {
        let of_key = || advisory.affected.iter().filter(|affected| affected.key == key);
        let is_ordered = advisory.source != Source::Osv && of_key().count() == advisory.affected.len();
        let is_plain = is_ordered
            && !advisory.affected.is_empty()
            && advisory.affected.iter().all(|affected| !affected.is_default_affected);
        let ranges = of_key().flat_map(|affected| &affected.affected).map(PlainRange::of);
        let ranges = if is_plain { ranges.collect() } else { None };
        let is_bare = of_key()
            .all(|affected| affected.unaffected.is_empty() && affected.cpe.is_none() && affected.platforms.is_empty())
            && !may_have_branches(of_key().flat_map(|affected| &affected.affected));
        let ends =
            of_key().flat_map(|affected| &affected.affected).flat_map(|range| range.from.iter().chain(&range.to));
        let places_max = ends.map(|end| places(&end.version)).max().unwrap_or(0);
        Self { advisory: Arc::new(advisory), ranges, is_bare, places_max }
    }

    pub(super) fn advisory(&self) -> &Arc<Advisory> {
        &self.advisory
    }

    /// What it says of `subject`, whose version is `plain` where it is a plain one. The verdict is that of [`judge`];
    /// the method is too, but for what is outside, where nobody asks for it.
    fn judge(&self, subject: &Subject, plain: Option<Plain>) -> Option<Judgement> {
        let (Some(ranges), Some(version)) = (&self.ranges, plain) else { return judge(subject, &self.advisory) };
        if subject.is_cut() || places(subject.version().unwrap_or_default()) < self.places_max {
            return judge(subject, &self.advisory);
        }
        match ranges.iter().any(|range| range.holds(version)) {
            false => Some(Judgement::of_version(Verdict::Outside, subject, self.advisory.source)),
            true if self.is_bare => Some(Judgement::of_version(Verdict::Inside, subject, self.advisory.source)),
            true => judge(subject, &self.advisory),
        }
    }
}

/// How many places a plain version has.
fn places(version: &str) -> usize {
    version.split('.').count()
}

/// All advisories of some keys.
#[derive(Debug)]
pub(super) struct Group {
    advisories: Vec<Arc<Known>>,
    names: Vec<Name>,
}

/// One name of one advisory. Those of several advisories stand side by side, in the order of the advisories.
#[derive(Debug, Clone, Copy)]
struct Name {
    advisory: usize,
    /// 0 for its own id, 1 and more for its aliases.
    place: usize,
}

/// What the advisories of one name come to.
#[derive(Debug)]
pub(super) struct Decision<'a> {
    /// The name.
    pub(super) id: &'a str,
    /// The one that decides.
    pub(super) advisory: &'a Arc<Advisory>,
    pub(super) judgement: Judgement,
}

impl Group {
    pub(super) fn new(advisories: Vec<Arc<Known>>) -> Self {
        let mut names = Vec::with_capacity(advisories.len());
        for (at, known) in advisories.iter().enumerate() {
            let ids = || std::iter::once(&known.advisory.id).chain(&known.advisory.aliases);
            let places = known.advisory.names().into_iter().filter_map(|name| ids().position(|id| id == name));
            names.extend(places.map(|place| Name { advisory: at, place }));
        }
        let mut group = Self { advisories, names: Vec::new() };
        names.sort_by(|a, b| group.text(*a).cmp(group.text(*b)));
        group.names = names;
        group
    }

    /// How many advisories it has.
    pub(super) fn len(&self) -> usize {
        self.advisories.len()
    }

    /// For each name that some advisory can say something of for `subject`, by name: the advisory that decides. The
    /// best one that can tell does, and of those that agree the surest.
    pub(super) fn decisions(&self, subject: &Subject) -> Vec<Decision<'_>> {
        let plain = subject.version().and_then(Plain::of);
        let judged: Vec<Option<Judgement>> = self.advisories.iter().map(|known| known.judge(subject, plain)).collect();
        let mut decisions = Vec::new();
        for of_name in self.names.chunk_by(|a, b| self.text(*a) == self.text(*b)) {
            let mut best: Option<(Name, Judgement)> = None;
            for name in of_name {
                let Some(judgement) = judged.get(name.advisory).copied().flatten() else { continue };
                if best.is_none_or(|(_, known)| judgement.weight() > known.weight()) {
                    best = Some((*name, judgement));
                }
            }
            let decided = best.filter(|(_, judgement)| judgement.verdict != Verdict::Outside);
            if let Some((name, judgement)) = decided
                && let Some(known) = self.advisories.get(name.advisory)
            {
                decisions.push(Decision { id: self.text(name), advisory: known.advisory(), judgement });
            }
        }
        decisions
    }

    fn text(&self, name: Name) -> &str {
        let Some(known) = self.advisories.get(name.advisory) else { return "" };
        let alias = || name.place.checked_sub(1).and_then(|at| known.advisory.aliases.get(at));
        alias().unwrap_or(&known.advisory.id)
    }
}
