//! Encoded target sets, as they come from a peer: refused, or as good as a set parsed here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::target::{Target, TargetSet, parse_targets};

fuzz_target!(|data: &[u8]| {
    let Ok(set) = postcard::from_bytes::<TargetSet>(data) else { return };
    let encoded = postcard::to_stdvec(&set).expect("a set has an encoding");
    assert_eq!(postcard::from_bytes::<TargetSet>(&encoded).as_ref(), Ok(&set), "the encoding of what was read");
    if set.is_empty() {
        return;
    }
    let last = set.count() - 1;
    for index in [0, last] {
        match set.get(index).expect("an index below the count") {
            Target::Address(address) => assert_eq!(set.position(address), Some(index)),
            Target::Name(name) => assert!(!name.is_empty()),
        }
    }
    let printed = set.to_string();
    // The highest address of what is left out may be in it, and have no index.
    let _ = set.position([0xff; 16].into());
    // A set of an earlier release may hold `0x7f000001` as a name, which is kept and never resolved.
    if !set.names().all(|name| parse_targets(name, "name").is_ok()) {
        return;
    }
    let mut again = TargetSet::builder();
    again.add_text(&printed, "printed").expect("what was printed parses");
    if set.is_countable() {
        assert_eq!(set.get(set.count()), None);
        assert_eq!(again.build().as_ref(), Ok(&set), "{printed}");
    } else {
        // It is for what is left out alone.
        assert_eq!(again.build_uncounted().as_ref(), Ok(&set), "{printed}");
    }
});
