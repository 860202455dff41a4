//! Port specs: whatever is typed is refused with its column, or becomes a set that prints and parses back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::port::PortSet;

fuzz_target!(|text: &str| {
    let set = match text.parse::<PortSet>() {
        Ok(set) => set,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
            assert!(error.token.chars().count() <= 64, "{error}");
            return;
        }
    };
    assert!(!set.is_empty(), "a list without a port is refused");
    let printed = set.to_string();
    assert_eq!(printed.parse::<PortSet>().as_ref(), Ok(&set), "{printed}");
    assert_eq!(set.iter().count(), set.count() as usize);
    assert_eq!(set.get(set.count()), None);
    for (index, port) in (0..).zip(set.iter()) {
        assert!(port.number != 0 && set.contains(port));
        assert_eq!((set.get(index), set.position(port)), (Some(port), Some(index)));
    }
});
