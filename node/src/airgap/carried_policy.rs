//! The cluster's policy as orders carry it: the rules of scope, exclusions, windows and budgets, word for word.
//!
//! They are of the same index of the log as the orders beside them, so that an older policy is refused with its orders, and a
//! rule that is not there any more has ended. A worker without a network puts them into the log of its own node, where they
//! are held to as anywhere. Profiles are not carried, because orders are complete; nor are sites, which the orders name.

use pentora_raft::command::{Command, NewRule, Proposal, RuleKind};
use pentora_raft::{Response, State};

use crate::policy::Policy;

/// The kinds that are carried.
const KINDS: [RuleKind; 4] = [RuleKind::Scope, RuleKind::Exclusion, RuleKind::Window, RuleKind::Budget];

/// The rules that hold in a state.
#[must_use]
pub fn rules_of(state: &State) -> Vec<NewRule> {
    let of_kind = |kind| {
        state.rules(kind).map(|(name, record)| NewRule {
            name: name.to_owned(),
            rule: record.rule.clone(),
            reason: record.reason.clone(),
            author: record.author.clone(),
        })
    };
    KINDS.into_iter().flat_map(of_kind).collect()
}

/// What rules come to for jobs of the token named `who`.
///
/// # Errors
/// A sentence about the first that is no rule.
pub fn policy_of(rules: &[NewRule], who: &str) -> Result<Policy, String> {
    let mut state = State::default();
    for (index, rule) in (1..).zip(rules) {
        if !KINDS.contains(&rule.rule.kind()) {
            return Err(format!("rule `{}` is of a kind that is not carried", rule.name));
        }
        let command = Command::SetRule(Box::new(rule.clone()));
        if let Response::Refused(refusal) = state.apply(index, &Proposal { at_ms: 1, command }) {
            return Err(format!("rule `{}`: {refusal}", rule.name));
        }
    }
    Ok(Policy::of(&state, who))
}

/// What brings the rules of a state to these.
#[must_use]
pub fn changes(state: &State, rules: &[NewRule]) -> Vec<Command> {
    let now = rules_of(state);
    let is_there = |rule: &NewRule| rules.iter().any(|it| (it.rule.kind(), &it.name) == (rule.rule.kind(), &rule.name));
    let gone = now.iter().filter(|rule| !is_there(rule)).map(|rule| Command::RemoveRule {
        kind: rule.rule.kind(),
        name: rule.name.clone(),
        author: rule.author.clone(),
    });
    let new = rules.iter().filter(|rule| !now.contains(rule)).map(|rule| Command::SetRule(Box::new(rule.clone())));
    // What narrows comes before what widens goes: for a moment less is allowed, and never more.
    new.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use pentora_raft::command::{Author, ProfileRule, Rule, ScopeEffect, ScopeRule, When, WindowEffect, WindowRule};

    use super::*;

    fn scope(name: &str, net: &str, effect: ScopeEffect, tokens: &[&str]) -> NewRule {
        let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
        let rule = Rule::Scope(ScopeRule { networks: vec![net.parse().unwrap()], tokens, effect });
        let author = Author { who: "admin".into(), from: "10.0.0.1".into() };
        NewRule { name: name.into(), rule, reason: "contract".into(), author }
    }

    fn freeze(until_ms: u64) -> NewRule {
        let when = When::Once { from_ms: 1, until_ms };
        let rule = Rule::Window(WindowRule { networks: Vec::new(), when, effect: WindowEffect::Blackout });
        NewRule { name: "freeze".into(), rule, reason: String::new(), author: Author::default() }
    }

    #[test]
    fn rules_come_over_word_for_word_and_those_that_are_gone_go() {
        let first = [scope("lab", "203.0.113.0/24", ScopeEffect::Allow, &[]), freeze(100)];
        let mut state = State::default();
        let apply = |state: &mut State, rules: &[NewRule]| {
            for command in changes(state, rules) {
                let response = state.apply(9, &Proposal { at_ms: 1, command });
                assert_eq!(response, Response::Done);
            }
        };
        apply(&mut state, &first);
        assert_eq!(rules_of(&state), first);
        assert_eq!(changes(&state, &first), []);
        let second = [freeze(200)];
        apply(&mut state, &second);
        assert_eq!(rules_of(&state), second);
    }

    #[test]
    fn rules_hold_for_whoever_asked_and_what_is_no_rule_is_told() {
        let rules = [scope("half", "10.0.0.0/25", ScopeEffect::Only, &["ci"])];
        let targets = "10.0.0.200".parse().unwrap();
        let refused = policy_of(&rules, "ci").unwrap().check(&targets).unwrap_err().to_string();
        assert!(refused.contains("scope `half` lets token `ci` scan 10.0.0.0/25 alone"), "{refused}");
        assert_eq!(policy_of(&rules, "admin").unwrap().check(&targets), Ok(()));
        let nameless = NewRule { name: String::new(), ..freeze(9) };
        assert!(policy_of(&[nameless], "").is_err());
        let profile = Rule::Profile(ProfileRule { options: "{}".into() });
        let foreign = NewRule { name: "p".into(), rule: profile, reason: String::new(), author: Author::default() };
        assert!(policy_of(&[foreign], "").unwrap_err().contains("not carried"));
    }
}
