//! Scan specs as they come from a peer: refused, or a plan whose index and target are each other's inverse.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use pentora_scanner::plan::Plan;
use pentora_scanner::spec::{ScanSpec, parse_discovery};
use pentora_scanner::target::Target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(probes) = parse_discovery(text)
    {
        let printed: Vec<String> = probes.iter().map(ToString::to_string).collect();
        assert_eq!(parse_discovery(&printed.join(",")).as_ref(), Ok(&probes), "{printed:?}");
    }
    let Ok(spec) = postcard::from_bytes::<ScanSpec>(data) else { return };
    if spec.validate().is_err() {
        return;
    }
    let spec = Arc::new(spec);
    let partitions = u32::try_from(spec.partitions.len()).unwrap();
    assert!(Plan::new(spec.clone(), partitions).is_none());
    for partition in (0..partitions).take(4) {
        let plan = Plan::new(spec.clone(), partition).expect("a partition of the spec");
        assert!(plan.target(plan.target_count()).is_none() && plan.target(u64::MAX).is_none());
        for index in (0..plan.target_count()).take(16) {
            match plan.target(index).expect("an index below the count") {
                Target::Address(address) => assert_eq!(plan.index_of(address), Some(index)),
                Target::Name(name) => assert!(!name.is_empty()),
            }
            for step in (0..plan.port_count()).take(8) {
                let position = plan.port_position(index, step).expect("a step below the count");
                assert!(plan.port(position).is_some_and(|port| spec.ports.contains(port)));
            }
        }
    }
});
