//! Files of targets and exclusions: refused with their place, or the same in every encoding and with every line end. Whatever
//! else a list holds, an exclusion on a line of its own is not lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::target::{TargetSet, decode_text, lines};

fuzz_target!(|data: &[u8]| {
    let Some(text) = read(data) else { return };
    let kept: usize = lines(&text).map(str::len).sum();
    assert!(kept <= text.len() && lines(&text).all(|line| !line.contains(['\n', '\r', '\u{85}', '\u{2028}'])));
    let set = exclusions(&text);
    if !data.starts_with(b"\xff\xfe") && !data.starts_with(b"\xfe\xff") {
        let longer = read(&[data, b"\n10.77.0.77\n"].concat()).expect("what follows a readable list is readable");
        if let Some(longer) = exclusions(&longer) {
            assert!(longer.contains([10, 77, 0, 77].into()), "{text:?}");
        }
    }
    for end in ["\r", "\r\n", "\u{2029}"] {
        let other: String = lines(&text).flat_map(|line| [line, end]).collect();
        assert_eq!(exclusions(&other), set, "{end:?}");
        let bytes: Vec<u8> = "\u{feff}".encode_utf16().chain(other.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        assert_eq!(read(&bytes).as_ref(), Some(&other));
    }
});

/// The text of a list; a refusal is a sentence with a place.
fn read(data: &[u8]) -> Option<String> {
    match decode_text(data.to_vec(), "fuzz") {
        Ok(text) => Some(text),
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && !error.to_string().contains('\n'), "{error}");
            None
        }
    }
}

fn exclusions(text: &str) -> Option<TargetSet> {
    let mut builder = TargetSet::builder();
    if let Err(error) = builder.add_exclusions(text, "fuzz") {
        assert!(error.to_string().starts_with("fuzz:") && !error.to_string().contains('\n'), "{error}");
        return None;
    }
    builder.build().ok()
}
