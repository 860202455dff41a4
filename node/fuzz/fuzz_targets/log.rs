//! Entries of the log, each behind its length: whatever they say, applying them answers, the laws hold behind each, two that apply
//! the same come to the same, and the state reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_raft::codec::{self, Kind, VERSION};
use pentora_raft::command::Proposal;
use pentora_raft::{State, invariant, recovery};

/// What consensus writes first.
const FIRST_INDEX: u64 = 2;

fuzz_target!(|data: &[u8]| {
    let (mut state, mut other) = (State::default(), State::default());
    for (index, proposal) in (FIRST_INDEX..).zip(proposals(data)) {
        let response = state.apply(index, &proposal);
        assert_eq!(other.apply(index, &proposal), response);
        let written = codec::encode(Kind::CallFrame, &response);
        assert!(codec::decode(Kind::CallFrame, &written).is_ok_and(|read: pentora_raft::Response| read == response));
        if let Err(broken) = invariant::check(&state, index) {
            panic!("{broken}, behind {proposal:?}, which was answered with {response:?}");
        }
    }
    let written = recovery::state_bytes(&state).expect("in memory");
    assert_eq!(recovery::read_state(written).expect("what was written reads"), other);
});

fn proposals(mut rest: &[u8]) -> impl Iterator<Item = Proposal> {
    std::iter::from_fn(move || {
        let (length, more) = rest.split_first_chunk::<2>()?;
        let (fields, more) = more.split_at(usize::from(u16::from_le_bytes(*length)).min(more.len()));
        rest = more;
        Some(codec::decode(Kind::Entry, &[&[VERSION, Kind::Entry as u8], fields].concat()).ok())
    })
    .flatten()
}
