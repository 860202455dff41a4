//! How much a scan has found, as measured: a random sample of what stayed silent is asked again, and what turns up tells
//! how much is missing.
//!
//! Pure arithmetic over counts. [`Recapture`] is what is kept of a unit: sums, so that those of a job are added up in any
//! order, and few enough for a log. Two bounds are kept and the narrower side of each counts. One adds up every unit's own
//! interval by its variance (the method of variance estimates recovery of Zou and Donner 2008): exact where units were
//! asked again as a whole. The other takes the first samples of all units for one, drawn in strata (Cochran 1977, chapter
//! 5): close where many units have missed nothing. That a second question may be lost as well is measured by asking again
//! what is known to answer, as those who count animals know by marked ones how many they miss. How the sample is drawn and
//! asked is `recapture`'s; decision 0013 has the reasons.

mod bounds;
mod distribution;

use std::fmt;

use serde::{Deserialize, Serialize};

use self::bounds::{Bounded, behind, of_all, share};

/// Ends of intervals are told with so many parts of one.
const DIGITS: f64 = 1e4;
/// A lower end below this tells nobody anything.
const SAYS_LITTLE: f64 = 0.5;
/// Fractions of ports are kept in parts of so many.
const PARTS: f64 = 1000.0;
/// Figures that are kept for each kind of silence.
const FIGURES: usize = 6;
/// Where the figures of kinds begin, and where they end.
const KINDS_FROM: usize = 9;
const KINDS_UNTIL: usize = KINDS_FROM + FIGURES * Kind::ALL.len();
/// Figures that are kept in all.
const SUMS: usize = KINDS_UNTIL + 3;
/// The spread of a unit whose parts are heard differently: so much that the samples of all units together say nothing.
const SPREAD_APART: u64 = 1 << 60;
/// A part is heard worse when even the best that chance leaves for it is so much below the others.
const HEARD_WORSE: f64 = 0.05;
/// Of a job, this part of the targets has to have been measured, in a hundred.
const COVERED_MIN: u64 = 90;

/// A kind of silence: what one question of the sample is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A port of a host that answers otherwise.
    Port,
    /// An address that answered no host probe; its ports were not asked.
    Address,
    /// A port of an address that answered nothing.
    DarkPort,
}

impl Kind {
    /// Every kind, as they are kept.
    pub const ALL: [Self; 3] = [Self::Port, Self::Address, Self::DarkPort];
}

/// What became of one kind of silence in one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// How much of it there is.
    pub silent: u64,
    /// How many were asked again, drawn at random.
    pub asked: u64,
    /// How many of these had an open port after all, and how many open ports that were.
    pub answered: u64,
    /// Open ports among them.
    pub open: u64,
    /// The first of the rounds, of a size that did not depend on what turned up: asked, answered and open.
    pub first: [u64; 3],
    /// Known answers that were asked for beside them, and how many came.
    pub controls: [u64; 2],
}

/// What was found before anything was asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Targets of the unit.
    pub targets: u64,
    /// Open ports.
    pub open: u64,
    /// Hosts that have one.
    pub hosts: u64,
}

/// A host that has stopped answering in mid-scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoppedHost {
    /// Ports that it had to be asked.
    pub ports: u64,
    /// Those that it was asked in time, drawn at random as the order of ports is.
    pub known: u64,
    /// Those of them that are open.
    pub open: u64,
    /// Those of them that stayed silent.
    pub silent: u64,
    /// Probes that it had been sent at its last answer: it was asked no more ports in time.
    pub probes: u64,
}

/// What asking again has shown: sums over units, added up in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recapture {
    sums: [u64; SUMS],
}

impl Default for Recapture {
    fn default() -> Self {
        Self { sums: [0; SUMS] }
    }
}

/// The share of open ports that were found, with the ends that it lies between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// The lower end.
    pub low: f64,
    /// The likeliest value.
    pub point: f64,
    /// The upper end.
    pub high: f64,
}

/// The same as reports and documents show it, with what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRecall {
    /// The truth lies above this,
    pub low: f64,
    /// and below this, in at least 95 of 100 scans.
    pub high: f64,
    /// Questions that stayed silent.
    pub silent: u64,
    /// How many of them were asked again, drawn at random.
    pub asked_again: u64,
    /// Open ports that turned up by that; they are in the results.
    pub turned_up: u64,
}

impl MeasuredRecall {
    /// As a line of a report of `total` targets; where fewer were scanned, with what that does to it.
    #[must_use]
    pub fn of_targets(&self, scanned: u64, total: u64) -> String {
        let lowered = if scanned < total { "; what was not probed counts as missed" } else { "" };
        format!("{self}{lowered}")
    }
}

impl fmt::Display for MeasuredRecall {
    /// `recall 0.9984-0.9997 measured (3 open ports turned up when 1200 of 90000 that stayed silent were asked again)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, high, silent, asked_again, turned_up } = *self;
        // Neither end is told nearer to the other than it is.
        let (low, high) = ((low * DIGITS).floor() / DIGITS, (high * DIGITS).ceil() / DIGITS);
        if silent == 0 && low < high {
            return write!(f, "recall {low:.4}-{high:.4} by the share of open ports of hosts that stopped answering");
        }
        if silent == 0 {
            return write!(f, "recall {high:.4} measured (nothing stayed silent)");
        }
        if low < SAYS_LITTLE {
            write!(f, "recall not measured to any use: it is {low:.4}-{high:.4}")?;
        } else {
            write!(f, "recall {low:.4}-{high:.4} measured")?;
        }
        let ports = if turned_up == 1 { "port" } else { "ports" };
        write!(
            f,
            " ({turned_up} open {ports} turned up when {asked_again} of {silent} that stayed silent were asked again)"
        )
    }
}

/// Where the sums stand.
#[derive(Debug, Clone, Copy)]
enum Sum {
    Targets,
    Found,
    Hosts,
    TurnedUp,
    Silent,
    Asked,
    /// What units say of themselves: missed open ports, and the squares of how far off the ends are, in thousandths.
    Missed,
    Below,
    Above,
    /// Open ports that hosts which have stopped answering hide, in thousandths: at least, likely and at most.
    HiddenLow = 27,
    Hidden,
    HiddenHigh,
}

const _: () = assert!(KINDS_UNTIL == Sum::HiddenLow as usize, "they are kept behind those of the kinds");

impl Recapture {
    /// What a unit has shown: what it had found, the samples by [`Kind`], and how many open ports were found by asking
    /// again, those included that were found beyond the samples.
    #[must_use]
    pub fn of_unit(found: Found, samples: &[Sample; Kind::ALL.len()], turned_up: u64) -> Self {
        Self::of_parts(found, samples, &[*samples], turned_up)
    }

    /// The same of a unit of which `parts` are judged by themselves, as they are heard differently: the samples of each, which are
    /// `samples` in sum.
    #[must_use]
    pub fn of_parts(
        found: Found,
        samples: &[Sample; Kind::ALL.len()],
        parts: &[[Sample; Kind::ALL.len()]],
        turned_up: u64,
    ) -> Self {
        let mut unit = Self::default();
        unit.set(Sum::Targets, found.targets);
        unit.set(Sum::Found, found.open);
        unit.set(Sum::Hosts, found.hosts);
        unit.set(Sum::TurnedUp, turned_up);
        unit.set(Sum::Silent, samples.iter().map(|sample| sample.silent).sum());
        unit.set(Sum::Asked, samples.iter().map(|sample| sample.asked).sum());
        let per_host = per_host(found.open as f64, found.hosts as f64);
        let (mut missed, mut below, mut above) = (0.0, 0.0, 0.0);
        for (kind, sample) in parts.iter().flat_map(|part| Kind::ALL.into_iter().zip(part)) {
            let own = own_bounds(kind, sample, per_host);
            // Rounded so that the ends which are made of them again are no nearer than these.
            let point = (own.point * PARTS).floor() / PARTS;
            missed += point;
            below += (point - own.low).max(0.0).powi(2);
            above += (own.high - point).powi(2);
        }
        for (kind, sample) in Kind::ALL.into_iter().zip(samples) {
            let [asked, answered, open] = sample.first;
            let weight = sample.silent as f64 / (asked.max(1) as f64);
            // Of what was not asked at all nothing is known: less than one question's worth.
            let spread = if asked == 0 { 4.0 } else { 1.0 } * sample.silent as f64 * weight;
            // Put together with others it would be taken for heard as they are.
            let spread = if parts.len() > 1 && sample.silent > 0 { SPREAD_APART } else { rounded(spread) };
            let in_parts = |count: u64| rounded((count as f64 * weight * PARTS).floor());
            let [controls, came] = sample.controls;
            unit.set_kind(kind, [sample.silent, spread, in_parts(answered), in_parts(open), controls, came]);
        }
        unit.set(Sum::Missed, rounded(missed * PARTS));
        unit.set(Sum::Below, rounded((below * PARTS).ceil()));
        unit.set(Sum::Above, rounded((above * PARTS).ceil()));
        unit
    }

    /// Takes in hosts that cannot be asked again, as they have stopped answering: their own share of open ports tells what the ports
    /// hide that they were not asked. On a path that loses `loss` of what is asked once, open ports may be behind their silence as well.
    #[must_use]
    pub fn with_stopped(mut self, hosts: &[StoppedHost], loss: f64) -> Self {
        let (mut low, mut point, mut high) = (0.0, 0.0, 0.0);
        for host in hosts {
            let open = host.open as f64;
            // What was out when it stopped was asked in time or was not.
            let most_asked = host.probes.clamp(host.known, host.ports.max(host.known));
            let fewest = of_all(host.ports, most_asked, host.open);
            let likely = f64::midpoint(fewest.point, of_all(host.ports, host.known, host.open).point);
            // Behind its silence no more can be than is silent, nor than the path is likely to have lost.
            let lost = rounded((behind(open, 1.0 - loss.clamp(0.0, 1.0)) - open).ceil()).min(host.silent);
            let most = of_all(host.ports, host.known, host.open.saturating_add(lost)).high;
            low += (fewest.low - open).max(0.0);
            point += (likely - open).max(0.0);
            high += (most - open).max(0.0);
        }
        self.set(Sum::HiddenLow, rounded((low * PARTS).floor()));
        self.set(Sum::Hidden, rounded(point * PARTS));
        self.set(Sum::HiddenHigh, rounded((high * PARTS).ceil()));
        self
    }

    /// The sums by their numbers, for whoever keeps them; those that are 0 are left out.
    pub fn sums(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        let all = (0_u8..).zip(self.sums);
        all.filter(|(_, sum)| *sum > 0)
    }

    /// The sums that were kept; numbers that this release does not know are left out.
    #[must_use]
    pub fn from_sums(sums: impl IntoIterator<Item = (u8, u64)>) -> Self {
        let mut all = Self::default();
        for (number, sum) in sums {
            all.sums.iter_mut().skip(number.into()).take(1).for_each(|place| *place = sum);
        }
        all
    }

    /// Adds those of another unit.
    pub fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(other.sums).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.get(Sum::Targets) == 0
    }

    /// Whether so much of `targets` was measured that it says something of all of them.
    #[must_use]
    pub fn covers(&self, targets: u64) -> bool {
        self.get(Sum::Targets).saturating_mul(100) >= targets.saturating_mul(COVERED_MIN) && !self.is_empty()
    }

    /// How many questions stayed silent.
    #[must_use]
    pub fn silent(&self) -> u64 {
        self.get(Sum::Silent)
    }

    /// How many of them were asked again.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.get(Sum::Asked)
    }

    /// How many open ports were found by that.
    #[must_use]
    pub fn turned_up(&self) -> u64 {
        self.get(Sum::TurnedUp)
    }

    /// The share of the open ports that were found, those that turned up included; `None` where there is none at all.
    #[must_use]
    pub fn recall(&self) -> Option<Recall> {
        let (before, turned_up) = (self.get(Sum::Found) as f64, self.turned_up() as f64);
        let found = before + turned_up;
        if found <= 0.0 || self.is_empty() {
            return None;
        }
        let (own, pooled) = (self.own(), self.pooled());
        let hidden = self.hidden();
        let of = |missed: f64, hidden: f64| found / (before + missed.max(turned_up) + hidden);
        // Both hold; the narrower end of each counts.
        let (fewest, most) = (own.low.max(pooled.low), own.high.min(pooled.high));
        let (low, high) = (of(most.max(fewest), hidden.high), of(fewest, hidden.low));
        Some(Recall { low, point: of(own.point, hidden.point).clamp(low, high), high })
    }

    /// What reports show of it, where it says something of `targets`, of which the share `probed` could be asked.
    #[must_use]
    pub fn measured(&self, targets: u64, probed: f64) -> Option<(Recall, MeasuredRecall)> {
        let Recall { low, point, high } = self.recall().filter(|_| self.covers(targets))?;
        let recall = Recall { low: low * probed, point: point * probed, high: high * probed };
        let (silent, asked_again, turned_up) = (self.silent(), self.asked(), self.turned_up());
        Some((recall, MeasuredRecall { low: recall.low, high: recall.high, silent, asked_again, turned_up }))
    }

    /// Whether hosts have stopped answering that may hide open ports.
    #[must_use]
    pub(crate) fn has_hidden(&self) -> bool {
        self.get(Sum::HiddenHigh) > 0
    }

    /// Open ports of hosts that have stopped answering, of which nothing is known.
    fn hidden(&self) -> Bounded {
        let kept = |sum: Sum| self.get(sum) as f64 / PARTS;
        let (low, point) = (kept(Sum::HiddenLow), kept(Sum::Hidden));
        Bounded { low, point, high: kept(Sum::HiddenHigh).max(low) }
    }

    /// Missed open ports, as the units say of themselves.
    fn own(&self) -> Bounded {
        let kept = |sum: Sum| self.get(sum) as f64 / PARTS;
        let point = kept(Sum::Missed);
        let (below, above) = (kept(Sum::Below).sqrt(), kept(Sum::Above).sqrt());
        Bounded { low: (point - below).max(0.0), point, high: point + above }
    }

    /// Missed open ports, as the first samples of all units say together.
    fn pooled(&self) -> Bounded {
        let per_host = per_host(self.get(Sum::Found) as f64, self.get(Sum::Hosts) as f64);
        let (mut point, mut below, mut above) = (0.0, 0.0, 0.0);
        for kind in Kind::ALL {
            let [silent, spread, answered, open, controls, came] = self.kind(kind);
            if silent == 0 {
                continue;
            }
            // A sample that is drawn in strata tells as much as one of this size that is not.
            let size = silent as f64 * (silent as f64 / spread.max(1) as f64);
            let (answered, open) = (answered as f64 / PARTS, open as f64 / PARTS);
            let part = share(size, answered * size / silent as f64);
            let all = silent as f64;
            let missed = ports(kind, part.times(all, all, all), answered, open, per_host);
            let missed = heard(missed, controls, came).at_most(most(kind, all, per_host, answered, open));
            point += missed.point;
            below += (missed.point - missed.low).powi(2);
            above += (missed.high - missed.point).powi(2);
        }
        Bounded { low: (point - below.sqrt()).max(0.0), point, high: point + above.sqrt() }
    }

    fn get(&self, sum: Sum) -> u64 {
        self.sums.get(sum as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, sum: Sum, to: u64) {
        self.sums.iter_mut().skip(sum as usize).take(1).for_each(|place| *place = to);
    }

    fn kind(&self, kind: Kind) -> [u64; FIGURES] {
        let first = KINDS_FROM + FIGURES * kind as usize;
        self.sums.get(first..first + FIGURES).and_then(|sums| sums.try_into().ok()).unwrap_or_default()
    }

    fn set_kind(&mut self, kind: Kind, to: [u64; FIGURES]) {
        let first = KINDS_FROM + FIGURES * kind as usize;
        self.sums.iter_mut().skip(first).zip(to).for_each(|(place, sum)| *place = sum);
    }
}

/// Whether of known answers clearly fewer come than `elsewhere`, each as asked and came.
#[must_use]
pub(crate) fn is_heard_worse(here: [u64; 2], elsewhere: [u64; 2]) -> bool {
    let [asked, came] = here.map(|count| count as f64);
    asked > 0.0 && elsewhere[0] > 0 && share(asked, came).high < share_of(elsewhere) - HEARD_WORSE
}

/// The share that came, all where none was asked for.
fn share_of([asked, came]: [u64; 2]) -> f64 {
    if asked == 0 { 1.0 } else { came as f64 / asked as f64 }
}

/// Missed open ports of one kind in one unit.
fn own_bounds(kind: Kind, sample: &Sample, per_host: f64) -> Bounded {
    let [controls, came] = sample.controls;
    let (answered, open) = (sample.answered as f64, sample.open as f64);
    let missed = ports(kind, of_all(sample.silent, sample.asked, sample.answered), answered, open, per_host);
    heard(missed, controls, came).at_most(most(kind, sample.silent as f64, per_host, answered, open))
}

/// Open ports of hosts that have some, each; one where there is none to go by.
fn per_host(open: f64, hosts: f64) -> f64 {
    if hosts > 0.0 { (open / hosts).max(1.0) } else { 1.0 }
}

/// Open ports behind so many missed ones of a kind: an address stands for those of a host, of which it is known how many
/// those have that were found and those that turned up.
fn ports(kind: Kind, missed: Bounded, answered: f64, open: f64, known: f64) -> Bounded {
    if kind != Kind::Address {
        return missed;
    }
    let seen = if answered > 0.0 { open / answered } else { known };
    missed.times(seen.min(known), seen, seen.max(known))
}

/// The most open ports that a kind can hide, where a port is one question.
fn most(kind: Kind, silent: f64, known: f64, answered: f64, open: f64) -> f64 {
    if kind == Kind::Address { silent * known.max(per_host(open, answered)) } else { silent }
}

/// The same when the answers to some of the questions were lost again: as many as of the answers that are known.
fn heard(missed: Bounded, controls: u64, came: u64) -> Bounded {
    if controls == 0 {
        return missed;
    }
    let comes = share(controls as f64, came as f64);
    let high = behind(missed.high, comes.low);
    Bounded { point: (missed.point / comes.point.max(comes.low)).min(high), high, ..missed }
}

/// A count from a figure that is none of less than nothing.
fn rounded(figure: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
    let count = figure.max(0.0).round() as u64;
    count
}

#[cfg(test)]
#[path = "recall/recall_test.rs"]
mod tests;
