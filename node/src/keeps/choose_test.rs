//! Standing scans played by a clock of their own: what is promised is held where it can be.

use pentora_raft::state::KeepSpec;
use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3_600_000;
/// A quarter of the shortest pass that is played: by so much a pass may begin late.
const IDLE_MS: u64 = 15_000;

fn keep(slices: usize, fresh_ms: u64) -> Keep {
    let spec =
        KeepSpec { request: Vec::new(), title: String::new(), fresh_ms, rate_pps: 5_000, slices: vec![256; slices] };
    let slices = vec![Slice::default(); slices];
    Keep { spec, made_at_ms: 0, paused: false, slices, running: None, refused: None }
}

/// How well it is held where every address may be scanned.
fn held_whole(keep: &Keep, now_ms: u64) -> Held {
    held(keep, &keep.spec.slices, now_ms)
}

/// What came of a standing scan.
struct Played {
    /// How often each slice was looked at.
    passes: Vec<u64>,
    /// The longest time that an address of it was not seen, its first pass aside.
    stalest_ms: Vec<u64>,
    /// Time in which nothing was looked at.
    idle_ms: u64,
}

/// Plays it for a time: a pass over slice `n` takes `took_ms(n)`, and leaves what `see` makes of the slice.
fn play(keep: &mut Keep, until_ms: u64, took_ms: impl Fn(u32) -> u64, see: impl Fn(u32, u64, &mut Slice)) -> Played {
    let count = keep.slices.len();
    let mut played = Played { passes: vec![0; count], stalest_ms: vec![0; count], idle_ms: 0 };
    let mut now_ms = 0;
    while now_ms < until_ms {
        let Some(number) = choose(keep, &[], now_ms) else {
            now_ms += IDLE_MS;
            played.idle_ms += IDLE_MS;
            continue;
        };
        let (at, began_ms) = (number as usize, now_ms);
        now_ms += took_ms(number);
        let slice = &mut keep.slices[at];
        if let Some(seen_ms) = slice.seen_ms {
            // The address that came first then and comes last now.
            played.stalest_ms[at] = played.stalest_ms[at].max(now_ms - seen_ms);
        }
        (slice.seen_ms, slice.took_ms) = (Some(began_ms), took_ms(number));
        see(number, now_ms, slice);
        played.passes[at] += 1;
    }
    played
}

#[test]
fn a_promise_that_can_be_held_is_and_what_answers_or_changes_is_looked_at_more_often() {
    let mut keep = keep(8, 24 * HOUR);
    let played = play(
        &mut keep,
        30 * 24 * HOUR,
        |_| HOUR,
        |number, now_ms, slice| {
            slice.hosts_up = u64::from(number >= 6);
            slice.changed_ms = (number == 7).then_some(now_ms);
        },
    );
    assert!(played.stalest_ms.iter().all(|stalest| *stalest <= 24 * HOUR), "{:?}", played.stalest_ms);
    let (quiet, answers, changes) = (played.passes[0], played.passes[6], played.passes[7]);
    assert!(quiet < answers && answers < changes, "{:?}", played.passes);
    assert!(played.idle_ms > 0, "what is fresh enough is left alone");
    let held = held_whole(&keep, 30 * 24 * HOUR);
    assert_eq!((held.fresh, held.never, held.is_enough(24 * HOUR)), (8 * 256, 0, Some(true)));
    assert_eq!((held.pass_ms, held.needed_pps), (Some(8 * HOUR), Some(1_667)));
}

#[test]
fn a_promise_that_cannot_be_held_goes_round_and_says_what_it_would_need() {
    let mut keep = keep(8, 4 * HOUR);
    let played = play(
        &mut keep,
        80 * HOUR,
        |_| HOUR,
        |number, now_ms, slice| {
            slice.changed_ms = (number == 7).then_some(now_ms);
        },
    );
    assert!(played.passes.iter().all(|passes| *passes == 10), "{:?}", played.passes);
    assert_eq!(played.idle_ms, 0);
    let held = held_whole(&keep, 80 * HOUR);
    assert_eq!((held.is_enough(4 * HOUR), held.needed_pps), (Some(false), Some(10_000)));
    assert_eq!((held.fresh, held.oldest), (4 * 256, Some((0, 72 * HOUR))));
}

#[test]
fn at_first_everything_is_looked_at_once_and_a_pass_that_failed_rests() {
    let mut keep = keep(3, HOUR);
    assert_eq!(held_whole(&keep, 5).never, 3 * 256);
    assert_eq!((held_whole(&keep, 5).is_enough(HOUR), held_whole(&keep, 5).needed_pps), (None, None));
    assert_eq!(choose(&keep, &[], 1_000_000), Some(0));
    keep.slices[0].failed_ms = Some(1_000_000);
    assert_eq!(choose(&keep, &[], 1_000_000), Some(1));
    for slice in &mut keep.slices[1..] {
        *slice = Slice { seen_ms: Some(1_000_000), took_ms: 1_000, ..Slice::default() };
    }
    assert_eq!(choose(&keep, &[], 1_059_999), None, "the others are fresh");
    assert_eq!(choose(&keep, &[], 1_060_000), Some(0));
    let halfway = held_whole(&keep, 1_060_000);
    assert_eq!((halfway.never, halfway.pass_ms), (256, Some(3_000)), "a third is like what was measured");
}

#[test]
fn what_a_pass_did_not_get_to_is_not_fresh() {
    let mut keep = keep(1, HOUR);
    keep.slices[0] = Slice { seen_ms: Some(0), unseen: 56, ..Slice::default() };
    assert_eq!(held_whole(&keep, HOUR).fresh, 200);
    assert_eq!(held_whole(&keep, HOUR + 1).fresh, 0);
}

#[test]
fn what_is_left_out_is_neither_fresh_nor_counted_in_the_share() {
    let mut keep = keep(3, HOUR);
    // Of the first six are left out; the second was seen before eight of it were; of the third nothing may be scanned.
    keep.slices[0] = Slice { seen_ms: Some(5), left_out: 6, unseen: 1, ..Slice::default() };
    keep.slices[1] = Slice { seen_ms: Some(7), ..Slice::default() };
    let now = held(&keep, &[250, 248, 0], HOUR);
    assert_eq!((now.targets, now.excluded, now.fresh, now.never), (498, 6 + 8 + 256, 249 + 248, 0));
    assert_eq!((now.oldest, now.fresh_share()), (Some((0, 5)), 497.0 / 498.0));
    // What may be scanned again has not been seen.
    assert_eq!(held(&keep, &[256, 256, 0], HOUR).fresh, 249 + 256);
    keep.slices[2] = Slice { seen_ms: Some(1), ..Slice::default() };
    assert_eq!(held(&keep, &[250, 248, 0], HOUR), now, "what was seen and may not be scanned any more tells nothing");
    let none = held(&keep, &[0, 0, 0], HOUR);
    assert_eq!((none.targets, none.excluded, none.fresh, none.fresh_share()), (0, 768, 0, 0.0));
}

#[test]
fn a_slice_of_which_nothing_may_be_scanned_does_not_keep_the_others_waiting() {
    let mut keep = keep(3, HOUR);
    assert_eq!(choose(&keep, &[0, 256, 1], 0), Some(1));
    keep.slices[1] = Slice { seen_ms: Some(0), took_ms: 1_000, ..Slice::default() };
    assert_eq!(choose(&keep, &[0, 256, 1], 1), Some(2));
    keep.slices[2] = Slice { seen_ms: Some(1), took_ms: 1_000, ..Slice::default() };
    assert_eq!(choose(&keep, &[0, 256, 1], 2), None, "the others are fresh");
    assert_eq!(choose(&keep, &[0, 0, 0], 2), Some(0), "its refusal says that nothing may be scanned");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_slices_take_a_promise_with_room_is_held(
        took in prop::collection::vec(1u64..60, 1..12),
        hot in prop::collection::vec(0u8..3, 12),
        room in 20u64..80,
    ) {
        let pass: u64 = took.iter().sum::<u64>() * 60_000;
        // Every pass may take a quarter longer, and the one that is on has to end first.
        let longest = took.iter().max().copied().unwrap_or(0) * 60_000;
        let fresh = pass * (100 + room) / 100 * 5 / 4 + 2 * longest;
        let mut keep = keep(took.len(), fresh);
        let played = play(&mut keep, fresh * 20, |number| took[number as usize] * 60_000, |number, now_ms, slice| {
            let hot = hot[number as usize];
            slice.hosts_up = u64::from(hot > 0);
            slice.changed_ms = (hot > 1).then_some(now_ms);
        });
        prop_assert!(played.stalest_ms.iter().all(|stalest| *stalest <= fresh), "{:?} of {fresh}", played.stalest_ms);
    }
}
