//! Target specs: whatever is typed is refused with its place, or becomes a set that prints and parses back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::target::{Target, TargetSet, parse_targets};

fuzz_target!(|text: &str| {
    let set = match parse_targets(text, "fuzz") {
        Ok(set) => set,
        Err(error) => {
            // A sentence that names the text it is about, on one line.
            let words = error.to_string();
            assert!(!words.is_empty() && !words.contains('\n'), "{words:?}");
            return;
        }
    };
    let printed = set.to_string();
    assert_eq!(parse_targets(&printed, "printed").as_ref(), Ok(&set), "{printed}");
    check_index(&set);
    assert!(set.exclude(&set).is_empty());
    assert_eq!(set.exclude(&TargetSet::default()), set);
});

/// Every index below the count has one target and the target that index; none beyond it has any.
fn check_index(set: &TargetSet) {
    let count = set.count();
    assert_eq!(set.get(count), None);
    assert_eq!(set.get(u64::MAX), None);
    let middle = [count / 2, count / 3, count.saturating_sub(2), count.saturating_sub(1)];
    for index in (0..count.min(64)).chain(middle.into_iter().filter(|index| *index < count)) {
        match set.get(index).expect("an index below the count has a target") {
            Target::Address(address) => {
                assert_eq!(set.position(address), Some(index));
                assert!(set.contains(address));
            }
            Target::Name(name) => assert!(set.contains_name(name) && index >= set.address_count()),
        }
    }
}
