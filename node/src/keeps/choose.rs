//! Which slice of a standing scan is looked at next, and how well the promise is held: pure functions of its row and a time.
//!
//! The slice that was seen longest ago is begun as late as the promise allows, if everything behind it is to be in time as well.
//! The time before that is spent on what answers and on what changed, which is looked at more often; and where there is
//! nothing of that, nothing is sent. Where a pass over everything takes longer than the promise, there is no such time, and
//! the oldest is always next.

use pentora_raft::state::{Keep, Slice};

/// How long a slice rests whose pass failed, in milliseconds.
const FAILED_RESTS_MS: u64 = 60_000;
/// By how much longer than the last time a pass may take, in parts of a thousand.
const LONGER_THOUSANDTHS: u64 = 1_250;
/// After which part of the promised time a slice is looked at again where nothing answered, in thousandths; below it by so
/// much as answers and changes make of it.
const QUIET_THOUSANDTHS: u64 = 750;
/// The same where something answered.
const ANSWERS_THOUSANDTHS: u64 = 400;
/// The same where what answered changed within the promised time.
const CHANGED_THOUSANDTHS: u64 = 200;

/// The slice to be looked at now; `None` where it is time for none. Of each slice as many addresses as `allowed` says may be
/// scanned, and all of one of which it says nothing: one without any is looked at only where there is no other, so that its
/// refusal is told.
#[must_use]
pub(super) fn choose(keep: &Keep, allowed: &[u64], now_ms: u64) -> Option<u32> {
    let rests = |slice: &Slice| slice.failed_ms.is_some_and(|at| now_ms.saturating_sub(at) < FAILED_RESTS_MS);
    let is_gone = |place: usize| allowed.get(place) == Some(&0);
    let all_gone = (0..keep.slices.len()).all(is_gone);
    let places = (0..).zip(&keep.slices).enumerate();
    let awake: Vec<(u32, &Slice)> = places
        .filter(|(place, (_, slice))| !rests(slice) && (all_gone || !is_gone(*place)))
        .map(|(_, numbered)| numbered)
        .collect();
    if let Some((never, _)) = awake.iter().find(|(_, slice)| slice.seen_ms.is_none()) {
        return Some(*never);
    }
    let mut by_age: Vec<(u64, u32, &Slice)> =
        awake.iter().filter_map(|(number, slice)| Some((slice.seen_ms?, *number, *slice))).collect();
    by_age.sort_unstable_by_key(|(seen_ms, number, _)| (*seen_ms, *number));
    let &(_, oldest, _) = by_age.first()?;
    let fresh_ms = keep.spec.fresh_ms;
    let mut behind_ms = 0u64;
    let latest_ms = by_age.iter().map(|(seen_ms, _, slice)| {
        behind_ms = behind_ms.saturating_add(thousandths(slice.took_ms, LONGER_THOUSANDTHS));
        seen_ms.saturating_add(fresh_ms).saturating_sub(behind_ms)
    });
    let latest_ms = latest_ms.min().unwrap_or(0);
    if now_ms >= latest_ms {
        return Some(oldest);
    }
    let spare_ms = latest_ms - now_ms;
    let due = by_age.iter().filter_map(|(seen_ms, number, slice)| {
        let interval_ms = interval_ms(slice, fresh_ms, now_ms);
        let age_ms = now_ms.saturating_sub(*seen_ms);
        let fits = thousandths(slice.took_ms, LONGER_THOUSANDTHS) <= spare_ms;
        (age_ms >= interval_ms && fits).then(|| (age_ms.saturating_mul(1_000) / interval_ms.max(1), *number))
    });
    due.max_by_key(|(lateness, number)| (*lateness, std::cmp::Reverse(*number))).map(|(_, number)| number)
}

/// After which time a slice is looked at again where there is time for it.
fn interval_ms(slice: &Slice, fresh_ms: u64, now_ms: u64) -> u64 {
    let changed = slice.changed_ms.is_some_and(|at| now_ms.saturating_sub(at) < fresh_ms);
    let part = match (changed, slice.hosts_up) {
        (true, _) => CHANGED_THOUSANDTHS,
        (false, 0) => QUIET_THOUSANDTHS,
        (false, _) => ANSWERS_THOUSANDTHS,
    };
    thousandths(fresh_ms, part)
}

/// How well a promise is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Addresses that may be scanned, as the rules are now.
    pub targets: u64,
    /// Addresses that may not.
    pub excluded: u64,
    /// Addresses that were seen within the promised time.
    pub fresh: u64,
    /// Addresses that no pass has come to yet.
    pub never: u64,
    /// The slice that was seen longest ago of those that were seen and may be scanned, and when.
    pub oldest: Option<(u32, u64)>,
    /// How long a pass over everything takes, in milliseconds; from what was measured of a part, where there is one.
    pub pass_ms: Option<u64>,
    /// The budget at which a pass takes as long as is promised; `None` before anything is measured.
    pub needed_pps: Option<u64>,
}

impl Held {
    /// The addresses that are fresh as a share of those that may be scanned, 0 to 1; 0 where none may.
    #[must_use]
    pub fn fresh_share(&self) -> f64 {
        self.fresh as f64 / self.targets.max(1) as f64
    }

    /// Whether the budget is enough; `None` before anything is measured.
    #[must_use]
    pub fn is_enough(&self, fresh_ms: u64) -> Option<bool> {
        self.pass_ms.map(|pass_ms| pass_ms <= fresh_ms)
    }
}

/// How well the promise of a standing scan is held at a time, of those addresses of each slice that may be scanned. What a pass
/// left out or did not get to was not seen.
#[must_use]
pub(super) fn held(keep: &Keep, allowed: &[u64], now_ms: u64) -> Held {
    let fresh_ms = keep.spec.fresh_ms;
    let mut held = Held { targets: 0, excluded: 0, fresh: 0, never: 0, oldest: None, pass_ms: None, needed_pps: None };
    let (mut measured, mut took_ms) = (0u64, 0u64);
    let slices = (0..).zip(&keep.slices).zip(&keep.spec.slices).zip(allowed);
    for (((number, slice), size), targets) in slices {
        held.targets = held.targets.saturating_add(*targets);
        held.excluded = held.excluded.saturating_add(size.saturating_sub(*targets));
        if *targets == 0 {
            continue;
        }
        let Some(seen_ms) = slice.seen_ms else {
            held.never = held.never.saturating_add(*targets);
            continue;
        };
        if now_ms.saturating_sub(seen_ms) <= fresh_ms {
            let seen = size.saturating_sub(slice.left_out).saturating_sub(slice.unseen);
            held.fresh = held.fresh.saturating_add(seen.min(*targets));
        }
        if held.oldest.is_none_or(|(_, before)| seen_ms < before) {
            held.oldest = Some((number, seen_ms));
        }
        measured = measured.saturating_add(*targets);
        took_ms = took_ms.saturating_add(slice.took_ms);
    }
    if measured > 0 {
        let pass_ms = share(took_ms, held.targets, measured);
        held.pass_ms = Some(pass_ms);
        held.needed_pps = Some(share(keep.spec.rate_pps, pass_ms, fresh_ms).max(1));
    }
    held
}

/// `value` x `part` / `whole`, rounded up.
fn share(value: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(value) * u128::from(part);
    u64::try_from(product.div_ceil(u128::from(whole.max(1)))).unwrap_or(u64::MAX)
}

fn thousandths(value: u64, thousandths: u64) -> u64 {
    share(value, thousandths, 1_000)
}

#[cfg(test)]
#[path = "choose_test.rs"]
mod tests;
