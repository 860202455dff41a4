//! What the state says of versions: the log's never falls, a node's word is its own, and what is newer is held back.

use crate::command::sample_test::two_nodes;
use crate::command::{Command, Proposal, Refusal, Response};
use crate::state::{ADDRESSES_MAX, State};
use crate::version::{FIRST, SECOND, Versions};

fn state() -> State {
    let mut state = State::default();
    for (index, command) in (2..).zip(two_nodes()) {
        state.apply(index, &Proposal { at_ms: 1, command });
    }
    state
}

fn apply(state: &mut State, command: Command) -> Response {
    state.apply(99, &Proposal { at_ms: 1, command })
}

#[test]
fn a_log_is_of_the_first_version_until_it_is_raised_and_never_falls() {
    let mut state = state();
    assert_eq!(state.log_version(), FIRST);
    for (version, then) in [(3, 3), (2, 3), (3, 3), (0, 3)] {
        assert_eq!(apply(&mut state, Command::RaiseLog { version }), Response::Done);
        assert_eq!(state.log_version(), then);
    }
}

#[test]
fn a_node_says_what_it_reads_and_is_told_what_the_log_is() {
    let mut state = state();
    let node = state.nodes().next().unwrap().0;
    assert!(state.reads_log(node), "one that says nothing reads the first version");
    let versions = Versions { oldest: 1, newest: 2 };
    apply(&mut state, Command::RaiseLog { version: 2 });
    assert!(!state.reads_log(node));
    let told = apply(&mut state, Command::SetVersions { node, versions });
    assert_eq!(told, Response::LogVersion { version: 2 });
    assert!(state.reads_log(node));
    let odd = Versions { oldest: 3, newest: 2 };
    let refused = apply(&mut state, Command::SetVersions { node, versions: odd });
    assert!(matches!(refused, Response::Refused(Refusal::Malformed { .. })), "{refused:?}");
    let unknown = apply(&mut state, Command::SetVersions { node: 77, versions });
    assert_eq!(unknown, Response::Refused(Refusal::NodeUnknown { node: 77 }));
    assert_eq!(state.versions(node), versions);
    apply(&mut state, Command::RemoveNode { node });
    assert_eq!(state.versions(node), Versions::default(), "nothing is left of a node that was removed");
}

#[test]
fn what_a_release_reads_is_told_in_words() {
    assert_eq!(Versions { oldest: 1, newest: 1 }.to_string(), "version 1");
    assert_eq!(Versions { oldest: 2, newest: 4 }.to_string(), "versions 2 to 4");
    let refusal = Refusal::Incompatible { version: 3, reads: Versions { oldest: 1, newest: 2 } };
    assert!(refusal.to_string().contains("version 3, and this release reads versions 1 to 2"), "{refusal}");
}

#[test]
fn what_the_second_version_brings_waits_until_the_log_is_of_it() {
    let mut state = state();
    let node = state.nodes().next().unwrap().0;
    let moved = || Command::SetAddresses(node, vec!["10.0.0.9:7400".into()]);
    let refused = apply(&mut state, moved());
    assert_eq!(refused, Response::Refused(Refusal::NewerThanLog { needed: 2, version: 1 }));
    apply(&mut state, Command::RaiseLog { version: SECOND });
    assert_eq!(apply(&mut state, moved()), Response::Done);
    let info = &state.node(node).unwrap().info;
    assert_eq!((info.addresses.as_slice(), info.name.as_str()), (&["10.0.0.9:7400".to_owned()][..], "n0"));
    let many = Command::SetAddresses(node, vec!["a:1".into(); ADDRESSES_MAX + 1]);
    assert!(matches!(apply(&mut state, many), Response::Refused(Refusal::Malformed { .. })));
    let unknown = apply(&mut state, Command::SetAddresses(77, Vec::new()));
    assert_eq!(unknown, Response::Refused(Refusal::NodeUnknown { node: 77 }));
}

#[cfg(feature = "next-version")]
#[test]
fn a_command_of_the_next_version_waits_until_the_log_is_of_it() {
    let mut state = state();
    let node = state.nodes().next().unwrap().0;
    let refused = apply(&mut state, Command::Rehearse { node });
    assert_eq!(refused, Response::Refused(Refusal::NewerThanLog { needed: 3, version: 1 }));
    apply(&mut state, Command::RaiseLog { version: 3 });
    assert_eq!(apply(&mut state, Command::Rehearse { node }), Response::Done);
}
