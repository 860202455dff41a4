//! Good histories pass, bad ones do not, and on small ones the search agrees with trying every order.

use super::*;
use crate::dice::Dice;

fn write(client: usize, value: u64, began_ns: u64, ended_ns: u64) -> Call {
    Call { client, act: Act::Write(value), began_ns, ended_ns: Some(ended_ns) }
}

fn read(client: usize, value: u64, began_ns: u64, ended_ns: u64) -> Call {
    Call { client, act: Act::Read(Some(value)), began_ns, ended_ns: Some(ended_ns) }
}

fn unknown(client: usize, value: u64, began_ns: u64) -> Call {
    Call { client, act: Act::Write(value), began_ns, ended_ns: None }
}

#[test]
fn an_empty_history_and_one_call_after_the_other_are_linearizable() {
    check(None, &[]).unwrap();
    let nothing = Call { client: 1, act: Act::Read(None), began_ns: 0, ended_ns: Some(1) };
    check(None, &[nothing, write(1, 7, 2, 3), read(2, 7, 4, 5), write(2, 8, 6, 7), read(1, 8, 8, 9)]).unwrap();
    check(Some(7), &[read(1, 7, 0, 1)]).unwrap();
}

#[test]
fn a_read_during_a_write_may_have_either_value() {
    for value in [1, 2] {
        check(None, &[write(1, 1, 0, 10), write(1, 2, 20, 60), read(2, value, 30, 40)]).unwrap();
    }
}

#[test]
fn a_write_of_unknown_outcome_may_have_happened_at_once_late_or_never() {
    let history = |reads: &[Call]| [&[write(1, 1, 0, 10), unknown(2, 2, 20)][..], reads].concat();
    check(None, &history(&[read(1, 2, 30, 40), read(1, 2, 50, 60)])).unwrap();
    check(None, &history(&[read(1, 1, 30, 40), read(1, 1, 50, 60), read(1, 2, 500, 510)])).unwrap();
    check(None, &history(&[read(1, 1, 30, 40), read(1, 1, 500, 510)])).unwrap();
}

fn assert_broken(initial: Option<u64>, calls: &[Call], stuck: Call) {
    match check(initial, calls) {
        Err(Fault::Broken { stuck: found, .. }) => assert!(found.contains(&stuck), "{found:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_read_that_misses_an_acknowledged_write_is_seen() {
    assert_broken(None, &[write(1, 1, 0, 10), write(1, 2, 20, 30), read(2, 1, 40, 50)], read(2, 1, 40, 50));
    let nothing = Call { client: 2, act: Act::Read(None), began_ns: 20, ended_ns: Some(30) };
    assert_broken(None, &[write(1, 1, 0, 10), nothing], nothing);
}

#[test]
fn two_reads_that_see_new_and_then_old_are_seen() {
    let history = [write(1, 1, 0, 10), write(1, 2, 20, 100), read(2, 2, 30, 40), read(3, 1, 50, 60)];
    assert_broken(None, &history, read(3, 1, 50, 60));
}

#[test]
fn two_readers_who_disagree_about_the_order_of_two_writes_are_seen() {
    let writes = [write(1, 1, 0, 100), write(2, 2, 0, 100)];
    let reads = [read(3, 1, 10, 20), read(3, 2, 30, 40), read(4, 2, 10, 20), read(4, 1, 45, 50)];
    check(None, &[writes, [reads[0], reads[1]]].concat()).unwrap();
    assert!(check(None, &[&writes[..], &reads[..]].concat()).is_err());
}

#[test]
fn a_value_that_nobody_wrote_is_seen() {
    assert_broken(None, &[write(1, 1, 0, 10), read(2, 9, 20, 30)], read(2, 9, 20, 30));
}

#[test]
fn a_write_that_is_applied_again_after_a_later_one_is_seen() {
    let history = [write(1, 1, 0, 10), write(2, 2, 20, 30), read(3, 2, 40, 50), read(3, 1, 60, 70)];
    assert_broken(None, &history, read(3, 1, 60, 70));
    // The same of a write of unknown outcome: it happens once.
    let history = [write(2, 2, 0, 10), unknown(1, 1, 0), read(3, 1, 20, 30), write(2, 4, 40, 50), read(3, 1, 60, 70)];
    assert_broken(None, &history, read(3, 1, 60, 70));
}

#[test]
fn what_is_said_of_a_broken_history_names_the_calls() {
    let fault = check(None, &[write(1, 1, 0, 10), read(2, 9, 1_500_000_000, 1_600_000_000)]).unwrap_err().to_string();
    assert!(fault.contains("1 calls fit") && fault.contains("client 2 reads 9 (1.500000 to 1.600000 s)"), "{fault}");
}

/// Every order that respects the times, with any of the unknown writes left out.
fn by_every_order(value: Option<u64>, left: &[Call]) -> bool {
    let first_end = left.iter().filter_map(|call| call.ended_ns).min();
    let Some(first_end) = first_end else { return true };
    left.iter().enumerate().any(|(at, call)| {
        let after = match call.act {
            Act::Write(written) => Some(written),
            Act::Read(read) if read == value => value,
            Act::Read(_) => return false,
        };
        let rest: Vec<Call> =
            left.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, call)| *call).collect();
        call.began_ns <= first_end && by_every_order(after, &rest)
    })
}

#[test]
fn on_small_histories_the_search_agrees_with_trying_every_order() {
    let mut dice = Dice::new(3);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..3_000 {
        let history: Vec<Call> = (0..2 + dice.below(5))
            .map(|_| {
                let began_ns = dice.below(30);
                let ended_ns = began_ns + 1 + dice.below(20);
                let value = dice.below(3);
                let is_write = dice.below(2) == 0;
                let act = if is_write { Act::Write(value) } else { Act::Read((value > 0).then_some(value)) };
                let ended_ns = (!is_write || dice.below(4) > 0).then_some(ended_ns);
                Call { client: 0, act, began_ns, ended_ns }
            })
            .collect();
        let found = check(None, &history).is_ok();
        assert_eq!(found, by_every_order(None, &history), "{history:?}");
        *(if found { &mut good } else { &mut bad }) += 1;
    }
    assert!(good > 300 && bad > 300, "{good} good, {bad} bad");
}

/// What six clients see of a register that is one, each call taking effect at a moment within it; some lose their answers.
fn of_a_real_register(dice: &mut Dice, calls: u64) -> Vec<Call> {
    let mut plan: Vec<(u64, Call)> = Vec::new();
    let mut free = [0_u64; 6];
    for number in 1..=calls {
        let (client, _) = free.iter().enumerate().min_by_key(|(_, at)| **at).unwrap();
        let began_ns = free[client] + dice.below(50);
        let ended_ns = began_ns + 1 + dice.below(100);
        free[client] = ended_ns + 1;
        let act = if dice.below(2) == 0 { Act::Write(number) } else { Act::Read(None) };
        let lost = matches!(act, Act::Write(_)) && dice.below(10) == 0;
        // One whose answer is lost may come late.
        let at = began_ns + dice.below(if lost { 1_000 } else { ended_ns - began_ns + 1 });
        plan.push((at, Call { client, act, began_ns, ended_ns: (!lost).then_some(ended_ns) }));
    }
    plan.sort_by_key(|(at, _)| *at);
    let mut value = None;
    for (_, call) in &mut plan {
        match &mut call.act {
            Act::Write(written) => value = Some(*written),
            Act::Read(read) => *read = value,
        }
    }
    plan.into_iter().map(|(_, call)| call).collect()
}

#[test]
fn long_histories_of_a_real_register_pass_and_none_does_with_one_stale_read() {
    let mut dice = Dice::new(5);
    for _ in 0..5 {
        let history = of_a_real_register(&mut dice, 400);
        check(None, &history).unwrap();
        let is_read = |call: &&Call| matches!(call.act, Act::Read(Some(_)));
        let first = history.iter().find(is_read).unwrap().act;
        let mut stale = history.clone();
        let last = stale.iter_mut().rev().find(|call| matches!(call.act, Act::Read(_))).unwrap();
        last.act = first;
        assert!(matches!(check(None, &stale), Err(Fault::Broken { .. })));
    }
}
