//! Frames of the mesh, of every class of stream: the same frames in whatever pieces they come, and bytes that are nothing but those
//! frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_p2p::Class;
use pentora_p2p::fuzzing::read_frames;

fuzz_target!(|data: &[u8]| {
    let Some(([class, at], bytes)) = data.split_first_chunk::<2>() else { return };
    let class = Class::ALL[usize::from(*class) % Class::ALL.len()];
    let whole = read_frames(class, &[bytes]);
    assert_eq!(whole.written, bytes[..whole.written.len()], "a frame has one form");
    assert_eq!(whole.written.len() + whole.left, bytes.len());
    let said = whole.error.as_ref().map(ToString::to_string);
    assert!(said.as_ref().is_none_or(|said| !said.is_empty() && said.len() < 200), "{said:?}");
    let (front, back) = bytes.split_at(usize::from(*at).min(bytes.len()));
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    for pieces in [vec![front, back], single] {
        let parts = read_frames(class, &pieces);
        assert_eq!(parts.written, whole.written);
        assert_eq!(parts.error.map(|error| error.to_string()), said);
    }
});
