//! The order of versions in every scheme: what is known is reflexive, antisymmetric and transitive, and ranges agree with it.
#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use pentora_scanner::vuln::version::{Range, Scheme, Verdict, compare};

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (a, b, c) = (next(), next(), next());
    for scheme in Scheme::ALL {
        let (ab, bc, ac) = (compare(scheme, a, b), compare(scheme, b, c), compare(scheme, a, c));
        assert_eq!(compare(scheme, b, a), ab.map(Ordering::reverse), "{scheme}: {a:?} {b:?}");
        assert!(compare(scheme, a, a).is_none_or(Ordering::is_eq), "{scheme}: {a:?}");
        if let (Some(ab), Some(bc), Some(ac)) = (ab, bc, ac) {
            let follows = match (ab, bc) {
                (Ordering::Equal, other) | (other, Ordering::Equal) => Some(other),
                (ab, bc) => (ab == bc).then_some(ab),
            };
            assert!(follows.is_none_or(|follows| follows == ac), "{scheme}: {a:?} {b:?} {c:?}");
        }
        ranges(scheme, a, b, c);
    }
});

fn ranges(scheme: Scheme, a: &str, b: &str, c: &str) {
    assert_eq!(Range::all(scheme).holds(a), Verdict::Inside);
    if compare(scheme, a, a).is_some() {
        assert_eq!(Range::exactly(scheme, a).holds(a), Verdict::Inside, "{scheme}: {a:?}");
        assert_eq!(Range::all(scheme).before(a).holds(a), Verdict::Outside, "{scheme}: {a:?}");
        assert_eq!(Range::all(scheme).after(a).holds(a), Verdict::Outside, "{scheme}: {a:?}");
    }
    // What is outside of either half is outside of both together; what is inside of both is inside.
    let (from, to) = (Range::all(scheme).since(a).holds(b), Range::all(scheme).through(c).holds(b));
    let both = Range::all(scheme).since(a).through(c).holds(b);
    match (from, to) {
        (Verdict::Inside, Verdict::Inside) => assert_eq!(both, Verdict::Inside),
        (Verdict::Outside, _) | (_, Verdict::Outside) => assert_eq!(both, Verdict::Outside),
        _ => assert_eq!(both, Verdict::Indeterminate),
    }
}
