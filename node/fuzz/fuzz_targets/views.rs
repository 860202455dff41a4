//! What a gateway shows a node of the log, frame by frame: refused and nothing changed, or a state that reads back, as of an index
//! that never goes back. The rules that it was shown hold at any time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_node::policy::Policy;
use pentora_raft::codec::{self, Kind, VERSION};
use pentora_raft::handle::Viewer;
use pentora_raft::recovery;
use pentora_raft::view::ViewFrame;
use pentora_scanner::target::TargetSet;

fuzz_target!(|data: &[u8]| {
    let mut viewer = Viewer::alone();
    let mut rest = data;
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let (fields, more) = more.split_at(usize::from(u16::from_le_bytes(*length)).min(more.len()));
        rest = more;
        let bytes = [&[VERSION, Kind::CallFrame as u8], fields].concat();
        let Ok(frame) = codec::decode::<ViewFrame>(Kind::CallFrame, &bytes) else { continue };
        let (before, applied) = (viewer.state(), viewer.applied());
        match viewer.take(frame) {
            Ok(()) => assert!(viewer.applied() >= applied),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert_eq!((viewer.state(), viewer.applied()), (before, applied));
                viewer.lost();
            }
        }
    }
    let policy = Policy::of(&viewer.state(), "");
    let targets: TargetSet = "10.0.0.0/30 fd00::1".parse().expect("targets");
    for at_ms in [0, 1_711_846_800_000, u64::MAX] {
        let _ = policy.excluded_at(at_ms).map(|excluded| policy.permitted(None, excluded));
        let _ = (policy.hold_at(at_ms), policy.closed(&targets, at_ms).map(|closed| closed.to_string()));
    }
    let written = recovery::state_bytes(&viewer.state()).expect("in memory");
    assert_eq!(recovery::read_state(written).expect("what was written reads"), viewer.state());
});
