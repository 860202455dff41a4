//! Encoded target sets, as they come from a peer: refused, or as good as a set parsed here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::target::{TargetSet, parse_targets};

fuzz_target!(|data: &[u8]| {
    let Ok(set) = postcard::from_bytes::<TargetSet>(data) else { return };
    assert_eq!(set.get(set.count()), None);
    let encoded = postcard::to_stdvec(&set).expect("a set has an encoding");
    assert_eq!(postcard::from_bytes::<TargetSet>(&encoded).as_ref(), Ok(&set), "the encoding of what was read");
    if set.is_empty() {
        return;
    }
    // A set of an earlier release may hold `0x7f000001` as a name, which is kept and never resolved.
    let printed = set.to_string();
    if set.names().all(|name| parse_targets(name, "name").is_ok()) {
        assert_eq!(parse_targets(&printed, "printed").as_ref(), Ok(&set), "{printed}");
    }
    let last = set.count() - 1;
    assert!(set.get(last).is_some() && set.get(0).is_some());
});
