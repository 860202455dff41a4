//! What rules come to for those whom they are about.

use pentora_raft::Digest;
use pentora_raft::command::{
    AccessRole, Author, Command, EVERY_DAY, ExclusionRule, Hours, NewAccessToken, NewRule, Proposal,
};

use super::*;

/// A state with these scopes: name, networks, tokens, and whether they are all that is allowed.
fn state(scopes: &[(&str, &str, &[&str], bool)]) -> State {
    let mut state = State::default();
    for (index, (name, networks, tokens, only)) in (1..).zip(scopes) {
        let rule = Rule::Scope(ScopeRule {
            networks: networks.split(',').map(|net| net.parse().unwrap()).collect(),
            tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
            effect: if *only { ScopeEffect::Only } else { ScopeEffect::Allow },
        });
        let new = NewRule { name: (*name).into(), rule, reason: "why".into(), author: Author::default() };
        state.apply(index, &Proposal { at_ms: index, command: Command::SetRule(Box::new(new)) });
    }
    state
}

fn targets(text: &str) -> TargetSet {
    text.parse().unwrap()
}

#[test]
fn without_rules_private_space_may_be_scanned_and_a_refusal_says_what_there_is() {
    let policy = Policy::of(&State::default(), "admin");
    assert_eq!(policy.scope(), Scope::default());
    let refused = policy.check(&targets("10.0.0.1,192.0.2.7")).unwrap_err();
    assert_eq!(refused.outside.to_string(), "192.0.2.7");
    assert!(refused.to_string().contains("loopback, private and link-local networks are all"), "{refused}");
}

#[test]
fn a_scope_allows_its_networks_to_those_it_is_for() {
    let state =
        state(&[("lab", "203.0.113.0/24,2001:db8::/32", &["ci"], false), ("cgnat", "100.64.0.0/10", &[], false)]);
    let (ci, admin) = (Policy::of(&state, "ci"), Policy::of(&state, "admin"));
    ci.check(&targets("203.0.113.9,2001:db8::1,100.64.0.1,10.0.0.1")).unwrap();
    admin.check(&targets("100.64.0.1")).unwrap();
    let refused = admin.check(&targets("203.0.113.9")).unwrap_err().to_string();
    assert!(refused.contains("203.0.113.9 is outside") && refused.contains("and scope `cgnat` are all"), "{refused}");
}

#[test]
fn a_scope_that_is_the_only_one_narrows_and_never_widens() {
    let state = state(&[("ci-only", "10.1.0.0/16,198.51.100.0/24", &["ci"], true)]);
    let ci = Policy::of(&state, "ci");
    assert_eq!(ci.scope().to_string(), "10.1.0.0/16", "what nobody allowed stays outside");
    let refused = ci.check(&targets("10.2.0.1")).unwrap_err().to_string();
    assert!(refused.contains("scope `ci-only` lets token `ci` scan 10.1.0.0/16, 198.51.100.0/24 alone"), "{refused}");
    Policy::of(&state, "admin").check(&targets("10.2.0.1")).unwrap();
}

#[test]
fn a_token_is_limited_to_its_networks_and_scopes_within_what_rules_allow_also_once_it_is_revoked() {
    let mut state = state(&[
        ("lab", "203.0.113.0/24", &[], false),
        ("part", "10.1.0.0/16", &["ci"], true),
        ("gone", "10.1.9.0/24", &[], true),
    ]);
    let mut apply = |index, command| state.apply(index, &Proposal { at_ms: index, command });
    let new = NewAccessToken {
        name: "ci".into(),
        key: Digest::of(b"ci"),
        role: AccessRole::Operator,
        ttl_ms: None,
        networks: Some(["10.1.2.0/24", "10.9.0.0/16", "203.0.113.0/24"].map(|net| net.parse().unwrap()).into()),
        scopes: Vec::new(),
        author: Author::default(),
    };
    apply(10, Command::MakeAccessToken(Box::new(NewAccessToken { name: "boss".into(), ..new.clone() })));
    let boss = NewAccessToken { name: "chief".into(), key: Digest::of(b"c"), role: AccessRole::Admin, ..new.clone() };
    apply(11, Command::MakeAccessToken(Box::new(boss)));
    apply(12, Command::RemoveRule { kind: RuleKind::Scope, name: "gone".into(), author: Author::default() });
    apply(13, Command::MakeAccessToken(Box::new(NewAccessToken { key: Digest::of(b"x"), ..new.clone() })));
    let lost = NewAccessToken {
        name: "lost".into(),
        key: Digest::of(b"l"),
        networks: None,
        scopes: vec!["gone".into()],
        ..new
    };
    apply(14, Command::MakeAccessToken(Box::new(lost)));
    let ci = Policy::of(&state, "ci");
    ci.check(&targets("10.1.2.7")).unwrap();
    let refused = |who: &str, text: &str| Policy::of(&state, who).check(&targets(text)).unwrap_err().to_string();
    assert!(refused("ci", "10.1.3.1").contains("token `ci` may scan 10.1.2.0/24, 10.9.0.0/16, 203.0.113.0/24 alone"));
    assert!(refused("ci", "10.9.0.1").contains("scope `part` lets token `ci` scan 10.1.0.0/16 alone"));
    assert!(refused("lost", "10.0.0.1").contains("nothing, because its scopes are gone"));
    Policy::of(&state, "boss").check(&targets("203.0.113.9,10.9.0.1")).unwrap();
    state.apply(
        15,
        &Proposal { at_ms: 15, command: Command::RevokeAccessToken { name: "ci".into(), author: Author::default() } },
    );
    assert_eq!(Policy::of(&state, "ci"), ci, "its jobs stay limited");
}

#[test]
fn a_token_with_networks_and_scopes_may_scan_what_is_in_both() {
    let mut state = state(&[("lab", "10.1.2.0/24", &[], false), ("wide", "10.0.0.0/8", &[], false)]);
    let new = |name: &str, networks: &[&str], scopes: &[&str]| NewAccessToken {
        name: name.into(),
        key: Digest::of(name.as_bytes()),
        role: AccessRole::Operator,
        ttl_ms: None,
        networks: Some(networks.iter().map(|net| net.parse().unwrap()).collect()),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        author: Author::default(),
    };
    let tokens = [
        new("boss", &["0.0.0.0/0"], &[]),
        new("ci", &["10.1.0.0/16", "10.9.0.0/16"], &["lab"]),
        new("both", &["10.1.0.0/16", "10.9.0.0/16"], &["lab", "wide"]),
        new("none", &["10.9.0.0/16"], &["lab"]),
    ];
    for (index, token) in (10..).zip(tokens) {
        // The first one is an administrator's.
        let role = if token.name == "boss" { AccessRole::Admin } else { token.role };
        let command = Command::MakeAccessToken(Box::new(NewAccessToken { role, ..token }));
        state.apply(index, &Proposal { at_ms: index, command });
    }
    let check =
        |who: &str, text: &str| Policy::of(&state, who).check(&targets(text)).map_err(|error| error.to_string());
    assert_eq!(check("ci", "10.1.2.7"), Ok(()));
    for outside in ["10.1.3.1", "10.9.0.1"] {
        let refused = check("ci", outside).unwrap_err();
        assert!(refused.contains("token `ci` may scan 10.1.2.0/24 alone"), "{refused}");
    }
    assert_eq!([check("both", "10.1.3.1"), check("both", "10.9.0.1")], [Ok(()), Ok(())]);
    assert!(check("both", "10.2.0.1").is_err());
    let refused = check("none", "10.9.0.1").unwrap_err();
    assert!(refused.contains("have no address of its networks"), "{refused}");
}

#[test]
fn a_nodes_own_file_narrows_what_is_permitted() {
    let state = state(&[("lab", "203.0.113.0/24", &[], false)]);
    let own = Scope::new(&["203.0.113.0/25".parse().unwrap(), "8.8.8.0/24".parse().unwrap()]);
    let policy = Policy::of(&state, "");
    assert_eq!(policy.permitted(Some(&own), TargetSet::default()).scope.to_string(), "203.0.113.0/25");
    assert!(policy.permitted(None, TargetSet::default()).scope.contains("203.0.113.200".parse().unwrap()));
}

#[test]
fn it_can_be_sent_to_a_node_without_the_log() {
    use pentora_raft::codec::{Kind, decode, encode};
    let policy = Policy::of(&state(&[("lab", "203.0.113.0/24", &[], false)]), "ci");
    assert_eq!(decode::<Policy>(Kind::CallFrame, &encode(Kind::CallFrame, &policy)).unwrap(), policy);
}

#[test]
fn exclusions_hold_for_everybody_always_or_at_their_hours() {
    let mut state = State::default();
    let hours = Hours { zone: "UTC".into(), days: EVERY_DAY, from_minute: 60, until_minute: 120 };
    let nowhere = Hours { zone: "Mars/Base".into(), ..hours.clone() };
    let rules = [
        ("plc", "10.0.0.9,plc1.plant", None),
        ("night", "10.0.0.8", Some(When::Weekly(hours))),
        ("mars", "10.0.0.7", Some(When::Weekly(nowhere))),
    ];
    for (index, (name, targets, when)) in (1..).zip(rules) {
        let rule = Rule::Exclusion(ExclusionRule { targets: vec![targets.into()], when });
        let new = NewRule { name: name.into(), rule, reason: String::new(), author: Author::default() };
        state.apply(index, &Proposal { at_ms: index, command: Command::SetRule(Box::new(new)) });
    }
    let policy = Policy::of(&state, "anybody");
    let always: Vec<_> =
        policy.always_excluded().map(|(rule, set)| (rule.to_owned(), set.unwrap().to_string())).collect();
    assert_eq!(always, [("plc".to_owned(), targets("10.0.0.9,plc1.plant").to_string())]);
    let hour_ms = 3_600_000;
    assert_eq!(policy.excluded_at(0), Ok(targets("10.0.0.7,10.0.0.9,plc1.plant")), "a zone that is not known protects");
    assert_eq!(policy.excluded_at(hour_ms), Ok(targets("10.0.0.7,10.0.0.8,10.0.0.9,plc1.plant")));
    assert_ne!(policy.hold_at(0), policy.hold_at(hour_ms));
    assert_eq!(policy.hold_at(hour_ms), policy.hold_at(2 * hour_ms - 1));
}
