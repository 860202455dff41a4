//! A backup of a cluster: any bytes, and any chunks behind a good state. Refused, or chunks that have the digests they are named by.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pentora_node::backup;
use pentora_raft::{Digest, State, recovery};

/// The beginning of a backup, up to its first chunk.
static FRONT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let state = recovery::state_bytes(&State::default()).expect("in memory");
    [b"pentora-backup-1", &(state.len() as u64).to_le_bytes()[..], &state].concat()
});

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&[&FRONT[..], data].concat());
    // A chunk under its own name, and what is behind it.
    let (chunk, rest) = data.split_at(data.len() / 2);
    let named = [&Digest::of(chunk).0[..], &(chunk.len() as u64).to_le_bytes(), chunk].concat();
    check(&[&FRONT[..], &named, rest].concat());
    let whole = [&FRONT[..], &named, &[0; 32], &0u32.to_le_bytes()].concat();
    assert_eq!(check(&whole), Some(1));
});

/// How many chunks there are; `None` where it is refused.
fn check(bytes: &[u8]) -> Option<u64> {
    let mut taken = 0;
    let read = backup::read(bytes, |digest, chunk| {
        assert_eq!(Digest::of(&chunk), digest);
        taken += 1;
        Ok(())
    });
    match read {
        Ok(contents) => {
            assert_eq!(contents.chunks, taken);
            Some(contents.chunks)
        }
        Err(error) => {
            assert!(!error.to_string().contains('\n'));
            None
        }
    }
}
