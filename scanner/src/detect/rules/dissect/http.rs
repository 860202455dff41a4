//! HTTP/1 (RFC 9112): `status`, one line per header by lower-case name, `title`, `generator`, and `body`; of a page without a head,
//! which is called HTTP/0.9, the last ones.

use super::Lines;
use crate::detect::http::{final_answer, is_bare_page, read_page};

/// Most bytes of a body that rules see.
const BODY_BYTES_MAX: usize = 32 * 1024;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    if is_bare_page(bytes) {
        lines.put("http", "0.9");
        return read_body(bytes, lines);
    }
    let bytes = final_answer(bytes);
    let rest = match bytes.split_at_checked(b"HTTP/".len()) {
        Some((front, rest)) if front.eq_ignore_ascii_case(b"HTTP/") => rest,
        _ => bytes.strip_prefix(b"ICY ")?,
    };
    let (head, body) = split_head(rest);
    let mut rows = head.split(|b| *b == b'\n');
    let mut words = rows.next()?.trim_ascii().splitn(3, |b| *b == b' ');
    lines.put("http", words.next()?);
    lines.put("status", words.next()?);
    lines.put("reason", words.next().unwrap_or_default());
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for row in rows {
        // A line that goes on (RFC 9112 section 5.2).
        if let ([b' ' | b'\t', ..], Some((_, value))) = (row, fields.last_mut()) {
            if !value.is_empty() {
                value.push(b' ');
            }
            value.extend(row.trim_ascii());
            continue;
        }
        let Some(colon) = row.iter().position(|b| *b == b':') else { continue };
        let (name, value) = row.split_at(colon);
        fields.push((name.trim_ascii().to_ascii_lowercase(), value.get(1..).unwrap_or_default().trim_ascii().to_vec()));
    }
    for (name, value) in fields {
        lines.put_bytes(&name, &value);
    }
    read_body(body, lines)
}

fn read_body(body: &[u8], lines: &mut Lines) -> Option<()> {
    let body = body.get(..BODY_BYTES_MAX).unwrap_or(body);
    // A tag in a comment, a script or a field of a form is text about one.
    if find(body, b"generator").is_some()
        && let Some(generator) = read_page(body, None).generator
    {
        lines.put("generator", generator.trim().as_bytes());
    }
    if let Some(title) = between(body, b"<title", b"</title") {
        let start = title.iter().position(|b| *b == b'>')? + 1;
        lines.put("title", title.get(start..)?.trim_ascii());
    }
    if !body.trim_ascii().is_empty() {
        lines.put("body", body.trim_ascii());
    }
    Some(())
}

fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    for (end, skip) in [(b"\r\n\r\n".as_slice(), 4), (b"\n\n", 2)] {
        if let Some(at) = find(bytes, end) {
            let (head, body) = bytes.split_at(at);
            return (head, body.get(skip..).unwrap_or_default());
        }
    }
    (bytes, &[])
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))
}

fn between<'a>(bytes: &'a [u8], open: &[u8], close: &[u8]) -> Option<&'a [u8]> {
    let rest = bytes.get(find(bytes, open)? + open.len()..)?;
    rest.get(..find(rest, close)?)
}

#[cfg(test)]
mod tests {
    use super::super::Dissector;

    #[test]
    fn head_and_page_become_lines() {
        let answer = b"HTTP/1.1 404 Not Found\r\nSERVER:  x/1 \r\n\r\n<TITLE a=b>\n Hi </title>";
        let text = Dissector::named("http").unwrap().dissect(answer).unwrap();
        let expected = "http=1.1\nstatus=404\nreason=Not Found\nserver=x/1\ntitle=Hi\nbody=<TITLE a b>  Hi </title>\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected.replace("a b", "a=b"));
        let folded = b"HTTP/1.1 404 Not Found\r\nSERVER:\r\n x/1 \r\n\r\n<TITLE a=b>\n Hi </title>";
        assert_eq!(
            Dissector::named("http").unwrap().dissect(folded).unwrap(),
            Dissector::named("http").unwrap().dissect(answer).unwrap()
        );
        let page =
            b"HTTP/1.1 200 OK\r\n\r\n<!--<meta name=generator content='A 1'>--><META content='B 2' name=Generator>";
        let text = String::from_utf8(Dissector::named("http").unwrap().dissect(page).unwrap()).unwrap();
        assert!(text.contains("\ngenerator=B 2\n") && !text.contains("\ngenerator=A"), "{text}");
        let bare = Dissector::named("http").unwrap().dissect(b"<html><title>Hi</title>").unwrap();
        assert_eq!(String::from_utf8(bare).unwrap(), "http=0.9\ntitle=Hi\nbody=<html><title>Hi</title>\n");
        let late = [&b"HTTP/1.1 103 Early Hints\r\nServer: hint\r\n\r\n"[..], answer].concat();
        assert_eq!(
            Dissector::named("http").unwrap().dissect(&late).unwrap(),
            Dissector::named("http").unwrap().dissect(answer).unwrap()
        );
    }
}
