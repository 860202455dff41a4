//! What nodes say to each other, and what they keep in the same form: refused, or a value that reads back as what it is written as.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_node::fuzzing::MESSAGES;
use pentora_raft::fuzzing::{entry_written_again, frames_written_again};

fuzz_target!(|data: &[u8]| {
    let Some((which, fields)) = data.split_first() else { return };
    match usize::from(*which) {
        0 => {
            if let Some(written) = entry_written_again(fields) {
                assert_eq!(entry_written_again(&written), Some(written));
            }
        }
        1 => {
            for written in frames_written_again(fields) {
                assert!(frames_written_again(&written).contains(&written));
            }
        }
        which => {
            let (name, written_again) = MESSAGES[which % MESSAGES.len()];
            if let Some(written) = written_again(fields) {
                assert_eq!(written_again(&written), Some(written), "{name}");
            }
        }
    }
});
