//! Messages about links, routes and neighbours: read within their bytes, whatever their lengths say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::fuzzing::read_netlink;

fuzz_target!(|data: &[u8]| {
    let (messages, entries) = read_netlink(data);
    assert!(messages <= data.len() / 16, "more messages than headers fit");
    assert!(entries <= 3 * messages, "more entries than messages");
});
