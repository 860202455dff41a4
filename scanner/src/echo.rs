//! Requests that come back: an echo service, a terminal server or a loop sends what it hears, and that is no answer.
//!
//! Many protocols are symmetrical enough that a request read as an answer is somebody's word. So whatever reads answers asks
//! here, and no rule, decoder or check has to think of it.

/// The service of which a request that comes back tells, and the only one.
pub(crate) const ECHO: &str = "echo";
/// Shortest request that is told apart: of a byte or two an answer may be the same by chance.
const REQUEST_BYTES_MIN: usize = 3;

/// Whether `answer` is `request` itself, once or again and again, or as much of it as has come.
pub(crate) fn is_echo(request: &[u8], answer: &[u8]) -> bool {
    request.len() >= REQUEST_BYTES_MIN
        && answer.len() >= REQUEST_BYTES_MIN
        && answer.chunks(request.len()).all(|part| request.starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_no_answer_whole_in_part_or_twice() {
        let request = b"\x05d\x05\xc9";
        for answer in [&b"\x05d\x05\xc9"[..], b"\x05d\x05", b"\x05d\x05\xc9\x05d\x05\xc9", b"\x05d\x05\xc9\x05d"] {
            assert!(is_echo(request, answer), "{answer:?}");
        }
        for answer in [&b""[..], b"\x05d", b"\x05d\x05\x0b", b"\x05d\x05\xc9x", b"x\x05d\x05\xc9"] {
            assert!(!is_echo(request, answer), "{answer:?}");
        }
        assert!(!is_echo(b"", b"anything") && !is_echo(b"\r\n", b"\r\n"));
    }
}
