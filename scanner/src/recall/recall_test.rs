//! Intervals from counts, and how often the truth lies in them.

use proptest::prelude::*;

use super::*;
use crate::permute::mix;

const FOUND: Found = Found { targets: 1_000, open: 10_000, hosts: 2_000 };

fn sample(silent: u64, asked: u64, answered: u64) -> Sample {
    Sample { silent, asked, answered, open: answered, first: [asked, answered, answered], controls: [0, 0] }
}

fn unit(sample: Sample) -> Recapture {
    Recapture::of_unit(FOUND, &[sample, Sample::default(), Sample::default()], sample.open)
}

#[test]
fn where_nothing_was_silent_nothing_was_missed() {
    let recall = unit(Sample::default()).recall().unwrap();
    assert_eq!((recall.low, recall.point, recall.high), (1.0, 1.0, 1.0));
}

#[test]
fn who_found_nothing_and_who_measured_nothing_says_nothing() {
    assert_eq!(Recapture::default().recall(), None);
    let none = Found { open: 0, hosts: 0, ..FOUND };
    assert_eq!(Recapture::of_unit(none, &[sample(100, 10, 0); 3], 0).recall(), None);
}

#[test]
fn a_sample_without_a_find_leaves_what_it_cannot_tell() {
    // 4.6 / 1,000 of 100,000 at most are missing: 460 beside 10,000.
    let recall = unit(sample(100_000, 1_000, 0)).recall().unwrap();
    assert_eq!((recall.point, recall.high), (1.0, 1.0));
    assert!((recall.low - 10_000.0 / 10_460.0).abs() < 1e-3, "{recall:?}");
    let small = unit(sample(100_000, 10, 0)).recall().unwrap();
    assert!(small.low < 0.25, "ten of a hundred thousand say next to nothing: {small:?}");
    let none = unit(sample(100_000, 0, 0)).recall().unwrap();
    assert!(none.low < 0.1, "{none:?}");
}

#[test]
fn what_turns_up_is_found_and_tells_of_the_rest() {
    // A tenth was asked and 20 turned up: 200 are missing, of which these 20 are found now.
    let recall = unit(sample(10_000, 1_000, 20)).recall().unwrap();
    assert!((recall.point - 10_020.0 / 10_200.0).abs() < 1e-6, "{recall:?}");
    assert!(recall.low < recall.point && recall.point < recall.high && recall.low > 0.97, "{recall:?}");
    let whole = unit(sample(10_000, 10_000, 200)).recall().unwrap();
    assert_eq!((whole.low, whole.high), (1.0, 1.0), "all were asked again, and all that turned up is found");
}

#[test]
fn answers_that_are_lost_again_count_for_more() {
    let lost = Sample { controls: [100, 50], ..sample(10_000, 10_000, 100) };
    let recall = unit(lost).recall().unwrap();
    assert!((recall.point - 10_100.0 / 10_200.0).abs() < 1e-6, "{recall:?}: as many again are still missing");
    assert!(recall.low < 10_100.0 / 10_200.0 && recall.high <= 1.0);
}

#[test]
fn what_a_host_hides_that_stopped_answering_is_missing() {
    let one = Found { targets: 1, open: 55, hosts: 1 };
    // 55 of 203 open ports were found when 8,000 of 30,000 had been asked.
    let host = StoppedHost { ports: 30_000, known: 8_000, open: 55, silent: 500, probes: 8_000 };
    let unit = Recapture::of_unit(one, &[Sample::default(); 3], 0).with_stopped(&[host], 0.0);
    let recall = unit.recall().unwrap();
    assert!(recall.low < 55.0 / 203.0 && 55.0 / 203.0 < recall.high && recall.high < 0.4, "{recall:?}");
    assert!((recall.point - 8_000.0 / 30_000.0).abs() < 1e-3, "{recall:?}");
    let lossy = Recapture::of_unit(one, &[Sample::default(); 3], 0).with_stopped(&[host], 0.3).recall().unwrap();
    assert!(lossy.low < recall.low, "what was asked once may be lost: {lossy:?}");
    // Other units that missed nothing leave it what it is, and the interval of those kept by number is the same.
    let mut job = Recapture::of_unit(FOUND, &[sample(1_000, 1_000, 0), Sample::default(), Sample::default()], 0);
    job.add(&unit);
    let whole = Recapture::from_sums(job.sums()).recall().unwrap();
    let truth = 10_055.0 / 10_203.0;
    assert!(whole.low < truth && truth < whole.high && whole.high < 1.0, "{whole:?}");
    let (_, told) = unit.measured(1, 1.0).unwrap();
    assert!(told.to_string().ends_with("by the share of open ports of hosts that stopped answering"), "{told}");
    // One that was hardly asked may have anything.
    let early = StoppedHost { ports: 30_000, known: 20, open: 1, silent: 0, probes: 25 };
    let recall = Recapture::of_unit(Found { open: 1, ..one }, &[Sample::default(); 3], 0).with_stopped(&[early], 0.0);
    assert!(recall.recall().unwrap().low < 0.001);
}

#[test]
fn an_address_stands_for_the_ports_of_a_host() {
    let hosts = Sample { open: 30, first: [1_000, 10, 30], ..sample(10_000, 1_000, 10) };
    let recall = Recapture::of_unit(FOUND, &[Sample::default(), hosts, Sample::default()], 30).recall().unwrap();
    // A hundred hosts with three ports each.
    assert!((recall.point - 10_030.0 / 10_300.0).abs() < 1e-6, "{recall:?}");
    assert!(recall.low < 10_030.0 / 10_400.0, "they may have five, as those that were found: {recall:?}");
}

#[test]
fn many_clean_units_say_together_what_none_of_them_could_say_alone() {
    let one = unit(sample(1_000, 50, 0));
    let mut forty = Recapture::default();
    (0..40).for_each(|_| forty.add(&one));
    let (alone, together) = (one.recall().unwrap(), forty.recall().unwrap());
    // 4.6 / 2,000 of 40,000 are 92 beside 400,000.
    assert!((1.0 - together.low) < (1.0 - alone.low) / 20.0, "{alone:?} {together:?}");
    assert!(together.low > 0.9995, "{together:?}");
    assert!(forty.covers(40_000) && forty.covers(44_000) && !forty.covers(45_000));
}

#[test]
fn one_bad_unit_does_not_spoil_the_others_and_is_not_lost_among_them() {
    let mut job = Recapture::default();
    (0..39).for_each(|_| job.add(&unit(sample(1_000, 1_000, 0))));
    let bad = Sample { first: [100, 30, 30], controls: [200, 190], ..sample(1_000, 1_000, 300) };
    job.add(&unit(bad));
    let recall = job.recall().unwrap();
    assert!(recall.low > 0.999 && recall.high <= 1.0, "all was asked again: {recall:?}");
}

#[test]
fn sums_are_kept_by_number_and_read_back() {
    let unit = unit(sample(10_000, 1_000, 20));
    let kept: Vec<(u8, u64)> = unit.sums().collect();
    assert_eq!(Recapture::from_sums(kept.iter().copied().chain([(200, 7)])), unit);
    assert!(kept.len() < SUMS && kept[0] == (0, 1_000));
    assert_eq!(Recapture::from_sums([]), Recapture::default());
    let huge = Recapture::from_sums((0..=u8::MAX).map(|number| (number, u64::MAX)));
    let recall = huge.recall().unwrap();
    assert!((0.0..=1.0).contains(&recall.low) && recall.low <= recall.high && recall.high <= 1.0, "{recall:?}");
}

#[test]
fn what_is_told_says_no_more_than_is_known() {
    let unit = unit(sample(10_000, 1_000, 20));
    let (recall, told) = unit.measured(1_000, 0.5).unwrap();
    assert!((recall.point - 0.5 * 10_020.0 / 10_200.0).abs() < 1e-6, "half could not be asked");
    assert_eq!((told.silent, told.asked_again, told.turned_up), (10_000, 1_000, 20));
    assert_eq!(unit.measured(2_000, 1.0), None, "it says nothing of twice as many");
    let words = |low, high, silent| MeasuredRecall { low, high, silent, asked_again: 8, turned_up: 1 }.to_string();
    assert_eq!(
        words(0.998_46, 0.999_65, 90),
        "recall 0.9984-0.9997 measured (1 open port turned up when 8 of 90 that stayed silent were asked again)"
    );
    assert_eq!(words(1.0, 1.0, 0), "recall 1.0000 measured (nothing stayed silent)");
    assert!(words(0.2, 1.0, 90).starts_with("recall not measured to any use: it is 0.2000-1.0000 ("));
}

/// A generator of numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 += 1;
        mix(self.0) % bound
    }
}

/// Asks a unit with `silent` questions, of which `marked` have an answer that comes with the chance `comes` of a thousand:
/// first a small sample, and all of it where that finds something and `goes_on`.
fn drawn(dice: &mut Dice, silent: u64, marked: u64, comes: u64, goes_on: bool) -> (Recapture, u64) {
    let first = (silent / 20).max(16).min(silent);
    let draw = |dice: &mut Dice, all: u64, marked: u64, asked: u64| {
        let (mut left, mut found, mut met) = (marked, 0, 0);
        for at in 0..asked {
            if dice.below(all - at) < left {
                left -= 1;
                met += 1;
                found += u64::from(dice.below(1000) < comes);
            }
        }
        (met, found)
    };
    let (met, early) = draw(dice, silent, marked, first);
    let (asked, found) = match goes_on && early > 0 {
        true => (silent, early + (met..marked).filter(|_| dice.below(1000) < comes).count() as u64),
        false => (first, early),
    };
    let came = (0..64).filter(|_| dice.below(1000) < comes).count() as u64;
    let sample = Sample { first: [first, early, early], controls: [64, came], ..sample(silent, asked, found) };
    let found_before = Found { targets: 100, open: 2_000, hosts: 400 };
    (Recapture::of_unit(found_before, &[sample, Sample::default(), Sample::default()], found), found)
}

#[test]
fn what_was_asked_whole_is_told_exactly_whatever_was_lost_again() {
    for found in 1..200 {
        let asked = Sample { controls: [61, 58], ..sample(500, 500, found) };
        let recall = unit(asked).recall().unwrap();
        assert!(recall.high >= 1.0 && recall.low < 1.0, "all of it may have been found: {found} {recall:?}");
    }
}

#[test]
fn the_truth_lies_in_the_interval_in_at_least_95_of_100_draws() {
    for (units, silent, marked, comes, goes_on) in [
        (1, 2_000, 0, 1000, true),
        (1, 2_000, 40, 1000, false),
        (1, 2_000, 40, 900, true),
        (1, 400, 100, 700, true),
        (40, 200, 4, 1000, true),
        (40, 200, 4, 900, true),
        (40, 50, 1, 970, true),
        (8, 5_000, 500, 950, false),
    ] {
        let mut inside = 0;
        for seed in 0..200 {
            let mut dice = Dice(mix(seed ^ mix(units) ^ mix(marked << 20)) >> 8);
            let (mut job, mut found, mut missing) = (Recapture::default(), 0, 0);
            for _ in 0..units {
                // Misses are not spread evenly over units: some have twice as many, others none.
                let marked = if units > 1 { marked * dice.below(3) } else { marked };
                let (unit, more) = drawn(&mut dice, silent, marked, comes, goes_on);
                job.add(&unit);
                found += 2_000 + more;
                missing += marked - more;
            }
            let (recall, truth) = (job.recall().unwrap(), found as f64 / (found + missing) as f64);
            inside += u64::from(recall.low <= truth + 1e-12 && truth <= recall.high + 1e-12);
        }
        assert!(inside >= 190, "{inside} of 200 with {units} x {marked} of {silent}, {comes} in 1,000 heard");
    }
}

proptest! {
    #[test]
    fn no_counts_make_an_interval_that_is_none(figures in proptest::collection::vec((0_u64..1 << 40, 0_u32..30).prop_map(|(all, cut)| all >> cut), 10), sums in proptest::collection::vec((0_u8..40, any::<u64>()), 0..40)) {
        let [a, b, c, d, e, f, g, h, i, j] = figures.try_into().unwrap();
        let sample = Sample { silent: a, asked: b, answered: c, open: d, first: [b.min(e), f, g], controls: [h, i] };
        let unit = Recapture::of_unit(Found { targets: 5, open: j, hosts: d }, &[sample; 3], c);
        for recapture in [unit, Recapture::from_sums(sums)] {
            if let Some(recall) = recapture.recall() {
                let is_whole = 0.0 <= recall.low && recall.low <= recall.point && recall.point <= recall.high && recall.high <= 1.0;
                prop_assert!(is_whole, "{recall:?}");
            }
        }
    }
}
