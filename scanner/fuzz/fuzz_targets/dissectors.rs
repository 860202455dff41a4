//! Answers of binary protocols taken apart: lines `name=value` and no other, bounded, also where an answer is as long as any
//! that is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::detect::ANSWER_BYTES_MAX;
use pentora_scanner::fuzzing::each_dissected;

fuzz_target!(|data: &[u8]| {
    check(data);
    // The same beginning, and its end again and again.
    let Some((at, rest)) = data.split_first() else { return };
    if at % 8 != 0 || rest.is_empty() {
        return;
    }
    let (head, tail) = rest.split_at(usize::from(*at) % rest.len());
    let long: Vec<u8> = head.iter().chain(tail.iter().cycle()).copied().take(ANSWER_BYTES_MAX).collect();
    check(&long);
});

fn check(bytes: &[u8]) {
    each_dissected(bytes, |name, text| {
        assert!(text.len() <= 96 * 1024, "{name}");
        let lines: Vec<&[u8]> =
            text.strip_suffix(b"\n").expect("a last line ends").split(|byte| *byte == b'\n').collect();
        assert!(lines.len() <= 512, "{name}");
        assert!(lines.iter().all(|line| line.contains(&b'=') && !line.contains(&b'\r')), "{name}");
    });
}
