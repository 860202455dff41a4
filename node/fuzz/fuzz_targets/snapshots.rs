//! A state as it is sent and kept: any bytes, and rows under a digest that is right. Refused, or a state that reads back.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pentora_raft::{Digest, State, recovery};

/// What stands behind the last row: four bytes for its end, and the digest.
const END_BYTES: usize = 4 + 32;

/// A snapshot without a row, and without its end.
static FRONT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = recovery::state_bytes(&State::default()).expect("in memory");
    bytes.truncate(bytes.len() - END_BYTES);
    bytes
});

fuzz_target!(|data: &[u8]| {
    check(data.to_vec());
    // Cells of at most 64 KiB, each a key or a value in turn; no cell is empty, which would be the end.
    let mut bytes = FRONT.clone();
    let (mut rest, mut cells) = (data, 0);
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let (cell, more) = more.split_at(usize::from(u16::from_le_bytes(*length)).min(more.len()));
        rest = more;
        if cell.is_empty() {
            continue;
        }
        bytes.extend(u32::try_from(cell.len()).expect("a length of two bytes").to_le_bytes());
        bytes.extend(cell);
        cells += 1;
    }
    if cells % 2 == 1 {
        return;
    }
    bytes.extend([0; 4]);
    let digest = Digest::of(&bytes);
    bytes.extend(digest.0);
    check(bytes);
});

fn check(bytes: Vec<u8>) {
    match recovery::read_state(bytes) {
        Ok(state) => {
            let written = recovery::state_bytes(&state).expect("in memory");
            assert_eq!(recovery::read_state(written).expect("what was written reads"), state);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
