//! Pages that come without a status line and headers, as HTTP/0.9 sent them: from servers of devices, and from whoever could not read
//! the question.

use super::response::Head;

/// How much of the front of an answer is looked at, behind which no page begins any more.
const FRONT_BYTES: usize = 4096;
/// From so many bytes on it can be told whether a page begins.
const TOLD_FROM_BYTES: usize = 64;
/// What a page begins with: what browsers take for one (WHATWG's MIME Sniffing, section 7.1), without the elements of one letter, which
/// prompts of chat servers begin with as well, and with others that stand in a page's head.
const OPENERS: [&str; 20] = [
    "!doctype html",
    "html",
    "head",
    "title",
    "body",
    "script",
    "iframe",
    "h1",
    "h2",
    "div",
    "font",
    "table",
    "style",
    "br",
    "meta",
    "link",
    "center",
    "frameset",
    "form",
    "base",
];

/// Whether this is a page, or the front of one, without anything that says so.
#[must_use]
pub fn is_bare_page(bytes: &[u8]) -> bool {
    let front = front(bytes);
    let mut rest = front.trim_ascii_start();
    // Comments, and what says that it is XML, stand before pages.
    loop {
        let end: &[u8] = if rest.starts_with(b"<!--") {
            b"-->"
        } else if rest.starts_with(b"<?xml") {
            b"?>"
        } else {
            break;
        };
        let Some(at) = rest.windows(end.len()).position(|window| window == end) else { return false };
        rest = rest.get(at + end.len()..).unwrap_or_default().trim_ascii_start();
    }
    let Some(tag) = rest.strip_prefix(b"<") else { return false };
    OPENERS.iter().any(|name| {
        let is_it = tag.get(..name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        is_it && tag.get(name.len()).is_some_and(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/'))
    })
}

/// Whether what has come of an answer without a status line is enough: a page to its end, or what begins as none.
pub(super) fn is_enough(bytes: &[u8]) -> bool {
    match is_bare_page(bytes) {
        true => is_whole_page(bytes),
        false => {
            let is_tag = front(bytes).trim_ascii_start().first().is_none_or(|byte| *byte == b'<');
            bytes.len() > if is_tag { TOLD_FROM_BYTES } else { b"HTTP/1.1".len() }
        }
    }
}

/// Whether a page without a head has come to its end.
#[must_use]
pub fn is_whole_page(bytes: &[u8]) -> bool {
    const END: &[u8] = b"</html>";
    let bytes = bytes.trim_ascii_end();
    bytes.len().checked_sub(END.len()).and_then(|at| bytes.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(END))
}

/// What stands in for the head of such a page: no status, no headers.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    is_bare_page(bytes).then(|| Head { status: 0, headers: Vec::new(), body_at: 0 })
}

/// The front of an answer in bytes of ASCII, without a byte order mark.
fn front(bytes: &[u8]) -> Vec<u8> {
    let front = bytes.get(..FRONT_BYTES).unwrap_or(bytes);
    match front {
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.to_vec(),
        // UTF-16: of letters of ASCII one byte is zero.
        [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] => rest.iter().copied().filter(|byte| *byte != 0).collect(),
        front => front.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_how_it_begins_and_nothing_else_is() {
        for page in [
            "<html>",
            "<!DOCTYPE html>\n<html>",
            "\r\n  <HTML lang=en>",
            "<Title>x</title>",
            "<head\n>",
            "<!-- v1 --><html>",
            "<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"x\">",
            "\u{feff}<html>",
            "<body bgcolor=#fff>",
            "<br/>",
            "<h1>It works</h1>",
            "<!-- a --> <!-- b -->\n<meta charset=utf-8>",
        ] {
            assert!(is_bare_page(page.as_bytes()), "{page}");
        }
        for other in [
            "",
            "<",
            "<htm",
            "<html",
            "html>",
            "<htmlx>",
            "<?xml version=\"1.0\"?><stream:stream>",
            "<!-- never ends",
            "<b>",
            "<a href=x>",
            "HTTP/1.1 200 OK\r\n\r\n<html>",
            "220 <html>",
            "<?xml version=\"1.0\"?><cross-domain-policy>",
            "<policy-file-request/>",
        ] {
            assert!(!is_bare_page(other.as_bytes()), "{other}");
        }
        let wide: Vec<u8> = "\u{feff}<html>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(is_bare_page(&wide));
        assert!(!is_bare_page(&[b' '; 100_000]) && is_enough(&[b' '; 100]));
    }

    #[test]
    fn a_page_is_read_to_its_end_and_what_is_none_no_further() {
        assert!(!is_enough(b"<html><title>x") && is_enough(b"<html></HTML>\r\n") && !is_enough(b"<!DOC"));
        assert!(is_enough(b"SSH-2.0-x\r\n") && is_enough(&[b"<stream:".as_slice(), &[b'x'; 60]].concat()));
    }
}
