//! Rules of the policy as an API is sent them, one after another: refused in a line, or rules that read back as words, stand in the
//! state, and hold at any time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_node::document::{Budgets, Exclusions, Noun, Profiles, Scopes, Sites, Windows};
use pentora_node::policy::Policy;
use pentora_raft::State;
use pentora_raft::command::{Author, Command, Proposal};
use pentora_scanner::target::TargetSet;

/// Where clocks are put forth and back, and the end of what an instant can be.
const INSTANTS_MS: [u64; 4] = [0, 1_711_846_800_000, 1_729_990_800_000, u64::MAX];

fuzz_target!(|data: &[u8]| {
    let mut state = State::default();
    // A line each: a kind, and the request.
    for (index, line) in (2..).zip(data.split(|byte| *byte == b'\n')) {
        let Some((kind, request)) = line.split_first() else { continue };
        match kind % 6 {
            0 => set::<Scopes>(&mut state, index, request),
            1 => set::<Exclusions>(&mut state, index, request),
            2 => set::<Windows>(&mut state, index, request),
            3 => set::<Budgets>(&mut state, index, request),
            4 => set::<Sites>(&mut state, index, request),
            _ => set::<Profiles>(&mut state, index, request),
        }
    }
    let policy = Policy::of(&state, "ci");
    let targets: TargetSet = "10.0.0.0/30 fd00::1 192.0.2.1".parse().expect("targets");
    for at_ms in INSTANTS_MS {
        if let Ok(excluded) = policy.excluded_at(at_ms) {
            let _ = policy.permitted(None, excluded);
        }
        let _ = (policy.hold_at(at_ms), policy.closed(&targets, at_ms).map(|closed| closed.to_string()));
    }
    let _ = policy.check(&targets).map_err(|error| error.to_string());
});

fn set<N: Noun>(state: &mut State, index: u64, request: &[u8]) {
    let Ok(request) = serde_json::from_slice::<N::Request>(request) else { return };
    let author = Author { who: "ci".into(), from: "192.0.2.7".into() };
    match N::rule(request, author) {
        Ok(new) => {
            let words = N::words(&new.rule).expect("a rule of its own kind");
            let written = serde_json::to_string(&words).expect("it is JSON");
            assert!(serde_json::from_str::<N::Words>(&written).is_ok(), "{written}");
            let command = Command::SetRule(Box::new(new));
            state.apply(index, &Proposal { at_ms: 1_700_000_000_000, command });
        }
        Err(said) => assert!(!said.is_empty() && !said.contains('\n'), "{said:?}"),
    }
}
