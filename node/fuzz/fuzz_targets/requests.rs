//! What an API is asked for: a scan as JSON, in the clear and within an order that is well signed, and a standing scan of it. Refused
//! in one line, or targets that come to the same each time, and slices that part them.
#![no_main]

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use libfuzzer_sys::fuzz_target;
use pentora_node::document::{ScanRequest, SignedOrder};
use pentora_node::signing::PersonKey;
use pentora_node::{jobs, keeps, orders};

static KEY: LazyLock<PersonKey> = LazyLock::new(PersonKey::generate);

fuzz_target!(|text: &str| {
    let signature = BASE64URL_NOPAD.encode(&KEY.sign("pentora order v1", text.as_bytes()));
    let signed = SignedOrder { order: text.into(), key: KEY.public().to_string(), signature };
    match orders::verify(&signed) {
        Ok(verified) => {
            assert_eq!(verified.signer, KEY.public());
            assert!(orders::id_of(&signed).is_some_and(|id| id.id == verified.order.id));
            let carried = orders::to_carry(&signed).expect("it is text");
            assert_eq!(orders::carried(Some(&carried)), Some(signed));
            check(&verified.order.request);
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
    let _ = orders::carried(Some(text)).map(|order| orders::verify(&order).is_ok());
    if let Ok(request) = serde_json::from_str::<ScanRequest>(text) {
        check(&request);
    }
});

fn check(request: &ScanRequest) {
    let written = serde_json::to_string(request).expect("it is JSON");
    assert_eq!(serde_json::from_str::<ScanRequest>(&written).ok().as_ref(), Some(request));
    assert!(jobs::title(request).chars().count() <= 200);
    let targets = match jobs::addresses(request) {
        Ok(targets) => targets,
        Err(error) => return assert!(!error.to_string().contains('\n'), "{error}"),
    };
    assert_eq!(jobs::addresses(request).ok().as_ref(), Some(&targets));
    // A standing scan of nothing is refused like any other scan of nothing, by whoever prepares its job.
    if targets.is_empty() {
        return;
    }
    let Ok(spec) = keeps::spec_of(request.clone(), 3_600_000, 100) else { return };
    assert!(!spec.slices.is_empty());
    let mut count = 0;
    for slice in 0..u32::try_from(spec.slices.len()).expect("slices are few") {
        let part = keeps::slice_request(&spec, slice).expect("a slice of it");
        let part = jobs::addresses(&part).expect("its own text");
        count += part.count();
        if slice >= 16 {
            return;
        }
    }
    assert_eq!(count, targets.count());
}
