//! Fields of a match: captures as `$1`, `$P(1)` (printable only), `$SUBST(1,"_",".")` and `$I(1,">")` (an integer).

use regex::bytes::Captures;

use crate::detect::rules::printable;

/// A field's text with captures in it.
pub(super) type Template = Vec<Piece>;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Capture(usize),
    Printable(usize),
    Substituted(usize, Vec<u8>, Vec<u8>),
    Integer(usize, bool),
}

/// Reads a template; what only looks like a capture is plain text.
pub(super) fn parse(text: &[u8]) -> Template {
    let mut pieces = Vec::new();
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte == b'$').then(|| capture(tail)).flatten() {
            Some((piece, tail)) => {
                push_text(&mut pieces, &mut plain);
                pieces.push(piece);
                rest = tail;
            }
            None => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    push_text(&mut pieces, &mut plain);
    pieces
}

fn push_text(pieces: &mut Template, plain: &mut Vec<u8>) {
    if !plain.is_empty() {
        pieces.push(Piece::Text(String::from_utf8_lossy(&std::mem::take(plain)).into_owned()));
    }
}

fn capture(text: &[u8]) -> Option<(Piece, &[u8])> {
    if let Some((group, rest)) = number(text) {
        return Some((Piece::Capture(group), rest));
    }
    let open = text.iter().position(|b| *b == b'(')?;
    let (name, rest) = text.split_at(open);
    let (group, rest) = number(rest.get(1..)?)?;
    match name {
        b"P" => Some((Piece::Printable(group), rest.strip_prefix(b")")?)),
        b"I" => {
            let (order, rest) = quoted(rest.strip_prefix(b",")?)?;
            Some((Piece::Integer(group, order == b">"), rest.strip_prefix(b")")?))
        }
        b"SUBST" => {
            let (from, rest) = quoted(rest.strip_prefix(b",")?)?;
            let (to, rest) = quoted(rest.strip_prefix(b",")?)?;
            Some((Piece::Substituted(group, from.to_vec(), to.to_vec()), rest.strip_prefix(b")")?))
        }
        _ => None,
    }
}

fn number(text: &[u8]) -> Option<(usize, &[u8])> {
    let (&digit, rest) = text.split_first()?;
    (digit.is_ascii_digit() && digit != b'0').then(|| (usize::from(digit - b'0'), rest))
}

fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start().strip_prefix(b"\"")?;
    let end = text.iter().position(|b| *b == b'"')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Most bytes of a field that are put together: only its first 200 characters are kept, and a substitution may name a
/// megabyte for each byte of a capture.
const TEXT_BYTES_MAX: usize = 4096;

/// The text of a template for a match, printable and bounded.
pub(super) fn fill(template: &Template, captures: &Captures<'_>) -> String {
    let of = |group: &usize| captures.get(*group).map_or(&[][..], |captured| captured.as_bytes());
    let mut text = Vec::new();
    for piece in template {
        if text.len() >= TEXT_BYTES_MAX {
            break;
        }
        match piece {
            Piece::Text(plain) => text.extend(plain.bytes()),
            Piece::Capture(group) => text.extend(of(group)),
            Piece::Printable(group) => text.extend(of(group).iter().filter(|b| (b' '..=b'~').contains(*b))),
            Piece::Substituted(group, from, to) => text.extend(substitute(of(group), from, to)),
            Piece::Integer(group, is_big) => text.extend(integer(of(group), *is_big).unwrap_or_default().bytes()),
        }
    }
    printable(&text)
}

fn substitute(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        if out.len() >= TEXT_BYTES_MAX {
            break;
        }
        match rest.strip_prefix(from).filter(|_| !from.is_empty()) {
            Some(after) => {
                out.extend(to);
                rest = after;
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

fn integer(bytes: &[u8], is_big: bool) -> Option<String> {
    if bytes.is_empty() || bytes.len() > 8 {
        return None;
    }
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = if is_big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) };
    Some(value.to_string())
}
