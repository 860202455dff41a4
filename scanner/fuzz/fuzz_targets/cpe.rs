//! Names of products: refused, or print and parse back; and how two names relate holds in both directions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::vuln::cpe::{CPE_BYTES_MAX, Cpe, Relation, Value};

fuzz_target!(|text: &str| {
    let names: Vec<Cpe> = text.split('\n').take(3).filter_map(|line| line.parse().ok()).collect();
    for name in &names {
        let printed = name.to_string();
        assert!(printed.len() <= CPE_BYTES_MAX, "{printed}");
        assert_eq!(printed.parse::<Cpe>().as_ref(), Ok(name), "{printed}");
        let _ = (name.product_key(), name.full_version());
        if name.says_only_versions() {
            assert_eq!(*name.target_software(), Value::Any);
        }
        // A name with wildcards in it has no relation to itself: the right side must be whole.
        assert!(matches!(name.relation(name), Some(Relation::Equal) | None));
        for other in &names {
            related(name, other);
        }
    }
});

fn related(a: &Cpe, b: &Cpe) {
    if let (Some(ab), Some(ba)) = (a.relation(b), b.relation(a)) {
        let mirrored = match ab {
            Relation::Superset => Relation::Subset,
            Relation::Subset => Relation::Superset,
            same => same,
        };
        assert_eq!(ba, mirrored, "{a} and {b}");
        assert_eq!(ab == Relation::Equal, a == b, "{a} and {b}");
    }
    // Versions can only part what is the same product.
    if matches!(a.relation(b), Some(Relation::Equal | Relation::Superset)) {
        assert!(matches!(a.product_relation(b), Some(Relation::Equal | Relation::Superset)), "{a} and {b}");
    }
}
