//! In which charset a page is written, as browsers tell (WHATWG Encoding, and HTML section 13.2.3.2).

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::markup::Tags;

/// How much of a page is looked through for its own word.
const PRESCAN_BYTES: usize = 4096;

/// The text of a page: by its byte order mark, its header, its own word, or its look.
pub(super) fn decode<'a>(body: &'a [u8], content_type: Option<&str>) -> Cow<'a, str> {
    if let Some((encoding, mark)) = Encoding::for_bom(body) {
        let body = body.get(mark..).unwrap_or_default();
        return encoding.decode_without_bom_handling(body).0;
    }
    let encoding = content_type.and_then(|value| named_in(&value.to_ascii_lowercase()));
    let encoding = encoding.or_else(|| by_look(body)).or_else(|| own_word(body));
    let encoding = encoding.unwrap_or(if std::str::from_utf8(body).is_ok() { UTF_8 } else { WINDOWS_1252 });
    // A charset that is named and does not fit is named wrongly, unless it is the body that was cut.
    if encoding != UTF_8 && std::str::from_utf8(body).is_ok() && !body.is_ascii() && is_single_byte(encoding) {
        return UTF_8.decode_without_bom_handling(body).0;
    }
    encoding.decode_without_bom_handling(body).0
}

/// A short text that says nothing of its charset: UTF-8 where it is, else what the web writes Latin letters in. The front of one that
/// was cut within a letter is UTF-8 too.
pub(in crate::detect) fn text_in(bytes: &[u8]) -> Cow<'_, str> {
    let is_utf_8 = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => {
            error.error_len().is_none() && bytes.get(..error.valid_up_to()).is_some_and(|front| !front.is_ascii())
        }
    };
    let encoding = if is_utf_8 { UTF_8 } else { WINDOWS_1252 };
    encoding.decode_without_bom_handling(bytes).0
}

/// Whether all bytes are text to it, so that what is UTF-8 would be taken for other letters.
fn is_single_byte(encoding: &'static Encoding) -> bool {
    encoding == WINDOWS_1252
}

/// UTF-16 without a mark: a tag in ASCII shows it.
fn by_look(body: &[u8]) -> Option<&'static Encoding> {
    let blanks = |place: usize| {
        let is_blank =
            |pair: &&[u8]| pair.get(place).is_some_and(u8::is_ascii_whitespace) && pair.get(1 - place) == Some(&0);
        2 * body.chunks(2).take_while(is_blank).count()
    };
    match body.get(blanks(0).max(blanks(1))..)? {
        [b'<', 0, _, 0, ..] => Some(UTF_16LE),
        [0, b'<', 0, _, ..] => Some(UTF_16BE),
        _ => None,
    }
}

/// What the page's own `<meta>` says.
fn own_word(body: &[u8]) -> Option<&'static Encoding> {
    let front = String::from_utf8_lossy(body.get(..PRESCAN_BYTES).unwrap_or(body)).to_ascii_lowercase();
    if let Some(declaration) = front.trim_start().strip_prefix("<?xml").and_then(|xml| xml.split("?>").next())
        && let Some(encoding) = label_behind("encoding", declaration)
    {
        return Some(if [UTF_16LE, UTF_16BE].contains(&encoding) { UTF_8 } else { encoding });
    }
    for tag in Tags::of(&front).filter(|tag| tag.name == "meta") {
        let tag = front.get(tag.place)?;
        // The content of a description is not a word of the page's own.
        let is_of_content =
            tag.find("content").is_some_and(|content| tag.find("charset").is_some_and(|at| content < at));
        if is_of_content && !tag.contains("http-equiv") {
            continue;
        }
        if let Some(encoding) = named_in(tag) {
            // Whoever can read this word is not reading UTF-16.
            return Some(if [UTF_16LE, UTF_16BE].contains(&encoding) { UTF_8 } else { encoding });
        }
    }
    None
}

/// The charset named in a text in lower case.
fn named_in(text: &str) -> Option<&'static Encoding> {
    label_behind("charset", text)
}

/// The charset that a text in lower case has behind this word and a sign.
fn label_behind(word: &str, text: &str) -> Option<&'static Encoding> {
    let after = text.split(word).nth(1)?.trim_start().strip_prefix('=')?.trim_start();
    let label = after.trim_start_matches(['"', '\'']);
    let end = label.find(|c: char| c.is_whitespace() || "\"';>/,".contains(c)).unwrap_or(label.len());
    Encoding::for_label(label.get(..end)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_no_charset_keeps_its_letters() {
        for (bytes, text) in [
            (&b"Ger\xe4t"[..], "Ger\u{e4}t"),
            ("Ger\u{e4}t".as_bytes(), "Ger\u{e4}t"),
            (b"caf\xe9", "caf\u{e9}"),
            (b"caf\xc3\xa9 \xc3", "caf\u{e9} \u{fffd}"),
            (b"10 \x80", "10 \u{20ac}"),
            (b"", ""),
        ] {
            assert_eq!(text_in(bytes), text, "{bytes:?}");
        }
    }

    fn meta(charset: &str, text: &[u8]) -> Vec<u8> {
        [format!("<meta charset=\"{charset}\"><title>").as_bytes(), text].concat()
    }

    #[test]
    fn a_page_is_read_in_its_own_charset() {
        let utf16 = |text: &str, is_big: bool| -> Vec<u8> {
            text.encode_utf16().flat_map(|unit| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
        };
        for (body, content_type, text) in [
            ("\u{421}\u{435}\u{442}\u{44c}".as_bytes().to_vec(), None, "\u{421}\u{435}\u{442}\u{44c}"),
            (b"\xd1\xe5\xf2\xfc".to_vec(), Some("text/html; charset=windows-1251"), "\u{421}\u{435}\u{442}\u{44c}"),
            (meta("koi8-r", b"\xf3\xc5\xd4\xd8"), None, "\u{421}\u{435}\u{442}\u{44c}"),
            (meta("euc-kr", b"\xc7\xd1\xb1\xdb"), Some("text/html"), "\u{d55c}\u{ae00}"),
            (b"<?xml version=\"1.0\" encoding='windows-1251'?><title>\xd1".to_vec(), None, "\u{421}"),
            (b"<!-- <meta charset=koi8-r> --><meta charset=windows-1251>\xd1".to_vec(), None, "\u{421}"),
            (b"<meta name=a content='charset=koi8-r'><meta charset=windows-1251>\xd1".to_vec(), None, "\u{421}"),
            (b"<!-- a --><meta charset=koi8-r>\xf3".to_vec(), None, "\u{421}"),
            (b"<script>w('<meta charset=windows-1252>')</script><meta charset=koi8-r>\xf3".to_vec(), None, "\u{421}"),
            (b"<meta data=\"a>b\" charset=koi8-r>\xf3".to_vec(), None, "\u{421}"),
            (meta("big5", b"\xa4\xa4\xa4\xe5"), None, "\u{4e2d}\u{6587}"),
            (b"<meta http-equiv=Content-Type content='text/html; charset=gbk'>\xd6\xd0".to_vec(), None, "\u{4e2d}"),
            (b"caf\xe9 \x80".to_vec(), None, "caf\u{e9} \u{20ac}"),
            (meta("utf-16", "\u{e9}".as_bytes()), None, "\u{e9}"),
            (utf16("\u{feff}<b>\u{e9}", false), Some("text/html; charset=iso-8859-1"), "\u{e9}"),
            (utf16("<b>\u{e9}", true), None, "\u{e9}"),
            (utf16("\r\n <b>\u{e9}", true), None, "\u{e9}"),
            (utf16("\n<b>\u{e9}", false), None, "\u{e9}"),
            ("\u{feff}\u{e9}".as_bytes().to_vec(), Some("text/html; charset=latin1"), "\u{e9}"),
            ("\u{e9}".as_bytes().to_vec(), Some("text/html; charset=iso-8859-1"), "\u{e9}"),
            (b"\xe9".to_vec(), Some("text/html; CHARSET=\"ISO-8859-1\""), "\u{e9}"),
            (b"\xe9".to_vec(), Some("text/html; charset=unheard"), "\u{e9}"),
        ] {
            let found = decode(&body, content_type.map(str::to_owned).as_deref());
            assert!(found.ends_with(text), "{found} of {body:?}");
        }
    }
}
