//! What the rules leave of a standing scan's addresses, as they are now.

use pentora_raft::command::{Author, ExclusionRule, NewRule, Proposal, Rule, ScopeEffect, ScopeRule};
use pentora_raft::state::Slice;

use super::*;

fn keep(exclude: &[&str]) -> Keep {
    let exclude = exclude.iter().map(|text| (*text).to_owned()).collect();
    let request = ScanRequest { targets: vec!["10.0.0.0/23".into()], exclude, ..ScanRequest::default() };
    let spec = spec_of(request, 60_000, 9).unwrap();
    let slices = vec![Slice::default(); spec.slices.len()];
    Keep { spec, made_at_ms: 0, paused: false, slices, running: None, refused: None }
}

fn rules(rules: impl IntoIterator<Item = Rule>) -> State {
    let mut state = State::default();
    for (index, rule) in (1..).zip(rules) {
        let rule = NewRule { name: format!("r{index}"), rule, reason: "r".into(), author: Author::default() };
        state.apply(index, &Proposal { at_ms: index, command: Command::SetRule(Box::new(rule)) });
    }
    state
}

fn exclusion(targets: &[&str]) -> Rule {
    Rule::Exclusion(ExclusionRule { targets: targets.iter().map(|text| (*text).to_owned()).collect(), when: None })
}

fn only(network: &str) -> Rule {
    Rule::Scope(ScopeRule { networks: vec![network.parse().unwrap()], tokens: Vec::new(), effect: ScopeEffect::Only })
}

fn allowed_by(keep: &Keep, state: &State) -> Vec<u64> {
    allowed(keep, &Policy::of(state, ""))
}

#[test]
fn what_rules_exclude_or_do_not_allow_is_left_out_of_each_slice_and_comes_back_with_them() {
    let keep = keep(&[]);
    assert_eq!(allowed_by(&keep, &rules([])), [256, 256]);
    assert_eq!(allowed_by(&keep, &rules([exclusion(&["10.0.0.7", "10.0.0.250-10.0.1.3", "10.9.0.0/16"])])), [249, 252]);
    assert_eq!(allowed_by(&keep, &rules([only("10.0.1.0/25")])), [0, 128]);
    assert_eq!(allowed_by(&keep, &rules([only("10.0.1.0/25"), exclusion(&["10.0.1.1"])])), [0, 127]);
}

#[test]
fn of_what_names_leave_out_the_last_pass_is_asked() {
    let mut keep = keep(&[]);
    keep.slices[1].left_out = 5;
    let state = rules([exclusion(&["plc.example", "10.0.0.7"])]);
    assert_eq!(allowed_by(&keep, &state), [255, 251]);
    assert_eq!(allowed_by(&keep, &rules([])), [256, 256], "where there are no names any more it is over");
}

#[test]
fn a_slice_that_is_excluded_is_passed_over_and_the_next_one_is_begun() {
    let mut state = rules([exclusion(&["10.0.0.0/24"])]);
    let spec = Box::new(keep(&[]).spec);
    let add = Command::AddKeep { name: "k".into(), spec };
    state.apply(9, &Proposal { at_ms: 9, command: add });
    let due = due(&state, 10, |_| false);
    let begun: Vec<_> = due.into_iter().filter_map(|due| step(due, 10)).collect();
    assert!(matches!(begun.as_slice(), [(name, Step::Start(1, _))] if name == "k"), "{begun:?}");
}

#[test]
fn what_is_due_is_found_without_a_look_at_any_request_and_what_rests_is_not_looked_at() {
    let mut state = rules([exclusion(&["10.0.0.0/23"])]);
    let spec = Box::new(keep(&[]).spec);
    state.apply(9, &Proposal { at_ms: 9, command: Command::AddKeep { name: "k".into(), spec } });
    let due_of = |rests: bool| due(&state, 10, |name| name == "k" && rests);
    // The rules leave nothing of it, which only its request tells.
    assert_eq!((due_of(false).len(), due_of(true).len()), (1, 0));
}
