//! Rewrites the regular expressions of other tools into the syntax of the `regex` crate, keeping what they mean.
//!
//! Only spelling is translated: octal escapes, bare braces, brackets in classes, Ruby's `(?m)`, the end-of-text anchors.
//! What needs backtracking (look-around, references, atomic groups) passes through unchanged and is refused when parsed,
//! since a pattern that could take exponential time never sees a stranger's bytes.

use std::iter::Peekable;
use std::slice::Iter;

/// Whose syntax a pattern is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The `regex` crate's own: nothing is rewritten.
    Native,
    /// Ruby's (Oniguruma): `^` and `$` are line anchors, `(?m)` lets the dot match newlines, `\h` is a hex digit.
    Ruby,
    /// Perl's (PCRE): `$` is the end or before a last newline, `\h` is a horizontal space.
    Perl,
}

/// Rewrites a pattern, given as bytes since files of other tools need not be UTF-8; bytes above ASCII become `\xNN`
/// when the pattern is not text.
pub(crate) fn rewrite(pattern: &[u8], dialect: Dialect) -> String {
    let is_text = std::str::from_utf8(pattern).is_ok();
    if dialect == Dialect::Native && is_text {
        return String::from_utf8_lossy(pattern).into_owned();
    }
    let mut out = Vec::with_capacity(pattern.len() + 16);
    let mut rest = pattern.iter().peekable();
    let mut in_class = false;
    while let Some(&byte) = rest.next() {
        match byte {
            b'\\' => escape(&mut rest, &mut out, in_class, dialect),
            b'[' if !in_class => {
                in_class = true;
                out.push(b'[');
                if rest.next_if_eq(&&b'^').is_some() {
                    out.push(b'^');
                }
                if rest.next_if_eq(&&b']').is_some() {
                    out.extend(br"\]");
                }
            }
            b'[' if is_posix_class(&rest) => posix_class(&mut rest, &mut out),
            b'[' => out.extend(br"\["),
            b']' if in_class => {
                in_class = false;
                out.push(b']');
            }
            b'&' | b'~' if in_class => out.extend([b'\\', byte]),
            b'-' if in_class && out.last() == Some(&b'-') => out.extend(br"\-"),
            b'{' if !in_class => brace(&mut rest, &mut out, dialect),
            b'(' if !in_class => group(&mut rest, &mut out, dialect),
            // One character of any length. Before `*` and `+` a byte at a time comes to the same.
            b'.' if !in_class && dialect == Dialect::Ruby && !matches!(rest.peek(), Some(b'*' | b'+')) => {
                out.extend(br"(?:(?u:.)|[\x80-\xff])");
            }
            b'$' if !in_class && dialect == Dialect::Perl => out.extend(br"(?:\n?\z)"),
            128.. if !is_text => push_hex(&mut out, byte),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Digits of `\x{...}` that are shown.
const HEX_DIGITS_SHOWN: usize = 12;

/// What of another tool's syntax in a pattern is the reason why it is refused, where that is known: the first such thing.
pub(crate) fn refused(pattern: &[u8], dialect: Dialect) -> Option<String> {
    if dialect == Dialect::Native {
        return None;
    }
    let mut rest = pattern;
    let mut in_class = false;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'\\', [b'Q', ..]) if dialect == Dialect::Perl && !in_class => {
                let end = after.windows(2).position(|pair| pair == br"\E");
                rest = end.and_then(|end| after.get(end + 2..)).unwrap_or_default();
            }
            (b'\\', [b'x', b'{', more @ ..]) => {
                let end = more.iter().take(HEX_DIGITS_SHOWN).position(|byte| *byte == b'}');
                let shown = more.get(..end.unwrap_or(HEX_DIGITS_SHOWN.min(more.len()))).unwrap_or_default();
                let digits = String::from_utf8_lossy(shown);
                match end.and_then(|_| u32::from_str_radix(&digits, 16).ok()) {
                    Some(0..=0xff) => {}
                    Some(_) => {
                        return Some(format!(
                            "\\x{{{digits}}} is a character of more than a byte, and answers are bytes"
                        ));
                    }
                    None => return Some(format!("\\x{{{digits} is no number of a character")),
                }
                rest = more;
            }
            (b'\\', [b'1'..=b'9', ..] | [b'k' | b'g', b'{' | b'<' | b'\'' | b'0'..=b'9', ..])
                if !in_class && !is_octal_triple_at(after) =>
            {
                return Some("a reference to what a group matched needs backtracking".to_owned());
            }
            (b'\\', [letter @ (b'G' | b'K' | b'X' | b'C'), ..]) if !in_class => {
                return Some(format!("\\{} is not known", char::from(*letter)));
            }
            (b'\\', [_, more @ ..]) => rest = more,
            (b'[', _) if !in_class => {
                in_class = true;
                // A bracket that comes first is one of the class.
                let first = after.strip_prefix(b"^").unwrap_or(after);
                rest = first.strip_prefix(b"]").unwrap_or(first);
            }
            (b']', _) => in_class = false,
            (b'(', [b'?', more @ ..]) if !in_class => {
                if let Some(why) = refused_group(more) {
                    return Some(why.to_owned());
                }
            }
            (b'(', [b'*', ..]) if !in_class => return Some("a verb, (*...), steers backtracking".to_owned()),
            _ => {}
        }
    }
    None
}

/// Why a group that begins so behind its `(?` is refused.
fn refused_group(rest: &[u8]) -> Option<&'static str> {
    match rest {
        [b'=' | b'!', ..] | [b'<', b'=' | b'!', ..] => Some("look-around, (?=...) and the like, needs backtracking"),
        [b'>', ..] => Some("an atomic group, (?>...), needs backtracking"),
        [b'(', ..] => Some("a condition, (?(...)...), needs backtracking"),
        [b'R' | b'&' | b'+' | b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] | [b'P', b'>' | b'=', ..] => {
            Some("a group that repeats another needs backtracking")
        }
        [b'|', ..] => Some("groups that share their numbers, (?|...), are not known"),
        _ => None,
    }
}

fn is_octal_triple_at(text: &[u8]) -> bool {
    matches!(text, [b'1'..=b'3', b'0'..=b'7', b'0'..=b'7', ..])
}

type Rest<'a> = Peekable<Iter<'a, u8>>;

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    out.extend(format!("\\x{byte:02x}").bytes());
}

fn escape(rest: &mut Rest<'_>, out: &mut Vec<u8>, in_class: bool, dialect: Dialect) {
    let Some(&byte) = rest.next() else {
        out.push(b'\\');
        return;
    };
    match byte {
        b'0' => push_hex(out, octal(rest, 0, 2)),
        b'1'..=b'7' if in_class => push_hex(out, octal(rest, byte - b'0', 2)),
        b'1'..=b'3' if is_octal_triple(rest) => push_hex(out, octal(rest, byte - b'0', 2)),
        b'x' => hex(rest, out),
        b'e' => push_hex(out, 0x1b),
        b'c' if dialect == Dialect::Perl && rest.peek().is_some_and(|byte| byte.is_ascii()) => {
            push_hex(out, rest.next().map_or(0, |byte| byte.to_ascii_uppercase() ^ 0x40));
        }
        b'N' if dialect == Dialect::Perl && !in_class && rest.peek() != Some(&&b'{') => out.extend(br"[^\n]"),
        b'h' => {
            let set: &[u8] = if dialect == Dialect::Ruby { b"0-9a-fA-F" } else { br" \t" };
            let (open, close): (&[u8], &[u8]) = if in_class { (b"", b"") } else { (b"[", b"]") };
            out.extend([open, set, close].concat());
        }
        b'b' if in_class => push_hex(out, 0x08),
        b'Z' if !in_class => out.extend(br"(?:\n?\z)"),
        b'R' if !in_class => out.extend(br"(?:\r\n|[\n\x0b\x0c\r])"),
        b'Q' if dialect == Dialect::Perl && !in_class => quoted(rest, out),
        // The end of a quotation that was none.
        b'E' if dialect == Dialect::Perl => {}
        // Word boundaries in the crate's syntax, plain characters in the others'.
        b'<' | b'>' => out.push(byte),
        // Letters without a meaning stand for themselves; those with one that the crate does not know are left to be refused.
        b'i' | b'j' | b'l' | b'm' | b'o' | b'q' | b'y' | b'F' | b'I' | b'J' | b'L' | b'M' | b'O' | b'T' | b'Y' => {
            out.push(byte)
        }
        _ => out.extend([b'\\', byte]),
    }
}

/// What stands between `\Q` and `\E`, or the pattern's end: every character is itself.
fn quoted(rest: &mut Rest<'_>, out: &mut Vec<u8>) {
    while let Some(&byte) = rest.next() {
        match byte {
            b'\\' if rest.next_if_eq(&&b'E').is_some() => return,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(byte),
            _ => push_hex(out, byte),
        }
    }
}

fn octal(rest: &mut Rest<'_>, first: u8, more_max: usize) -> u8 {
    let mut value = u32::from(first);
    for _ in 0..more_max {
        match rest.next_if(|b| (b'0'..=b'7').contains(*b)) {
            Some(digit) => value = value * 8 + u32::from(digit - b'0'),
            None => break,
        }
    }
    u8::try_from(value & 0xff).unwrap_or_default()
}

fn is_octal_triple(rest: &Rest<'_>) -> bool {
    let mut ahead = rest.clone();
    (0..2).all(|_| ahead.next().is_some_and(|b| (b'0'..=b'7').contains(b)))
}

fn hex(rest: &mut Rest<'_>, out: &mut Vec<u8>) {
    if rest.peek() == Some(&&b'{') {
        let digits: Vec<u8> = rest.clone().skip(1).take_while(|byte| **byte != b'}').copied().take(8).collect();
        let number = std::str::from_utf8(&digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match number.and_then(|number| u8::try_from(number).ok()) {
            Some(byte) if rest.clone().nth(digits.len() + 1) == Some(&b'}') => {
                rest.by_ref().take(digits.len() + 2).for_each(drop);
                push_hex(out, byte);
            }
            // A character of more than a byte: patterns are of bytes, and it is refused.
            _ => out.extend(br"\x\"),
        }
        return;
    }
    let mut value = 0;
    for _ in 0..2 {
        match rest.next_if(|b| b.is_ascii_hexdigit()) {
            Some(digit) => value = value * 16 + u8::try_from(char::from(*digit).to_digit(16).unwrap_or(0)).unwrap_or(0),
            None => break,
        }
    }
    push_hex(out, value);
}

fn is_posix_class(rest: &Rest<'_>) -> bool {
    let mut ahead = rest.clone();
    if ahead.next() != Some(&b':') {
        return false;
    }
    let name: Vec<u8> = ahead.by_ref().take_while(|b| **b != b':').copied().take(12).collect();
    name.iter().all(|b| b.is_ascii_lowercase() || *b == b'^') && ahead.next() == Some(&b']')
}

fn posix_class(rest: &mut Rest<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    for byte in rest.by_ref() {
        out.push(*byte);
        if *byte == b']' {
            break;
        }
    }
}

/// A brace is a counted repetition only where digits say so.
fn brace(rest: &mut Rest<'_>, out: &mut Vec<u8>, dialect: Dialect) {
    let inside: Vec<u8> = rest.clone().take_while(|b| **b != b'}').copied().take(12).collect();
    let is_closed = rest.clone().nth(inside.len()) == Some(&b'}');
    let is_counts = inside.iter().all(|b| b.is_ascii_digit() || *b == b',');
    let is_leading = inside.first().is_some_and(u8::is_ascii_digit);
    if is_closed && is_counts && is_leading {
        out.push(b'{');
    } else if is_closed && is_counts && dialect == Dialect::Ruby && inside.len() > 1 {
        out.extend(b"{0");
    } else {
        out.extend(br"\{");
    }
}

fn group(rest: &mut Rest<'_>, out: &mut Vec<u8>, dialect: Dialect) {
    out.push(b'(');
    if rest.peek() != Some(&&b'?') {
        return;
    }
    rest.next();
    if rest.peek() == Some(&&b'#') {
        rest.by_ref().find(|b| **b == b')');
        out.pop();
        return;
    }
    out.push(b'?');
    while let Some(flag) = rest.next_if(|b| matches!(**b, b'm' | b'i' | b'x' | b's' | b'-')) {
        out.push(if *flag == b'm' && dialect == Dialect::Ruby { b's' } else { *flag });
    }
    if rest.peek() == Some(&&b'R') {
        // The whole pattern once more, and not the flag that the crate calls so: it is refused.
        out.push(b'>');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ruby_patterns_keep_their_meaning() {
        for (from, to) in [
            (r"(?m)^a.*b$", r"(?s)^a.*b$"),
            (r"^a.b\.[.]", r"^a(?:(?u:.)|[\x80-\xff])b\.[.]"),
            (r"(?mi:a)(?i-m:b)", r"(?si:a)(?i-s:b)"),
            (r"\h{2}[\h_]", r"[0-9a-fA-F]{2}[0-9a-fA-F_]"),
            (r"a\Z", r"a(?:\n?\z)"),
            (r"a{,3}b{2,}{c}", r"a{0,3}b{2,}\{c}"),
            (r"[[:alpha:]_][]a][^]b][a[b]", r"[[:alpha:]_][\]a][^\]b][a\[b]"),
            (r"\<b\>", "<b>"),
        ] {
            assert_eq!(rewrite(from.as_bytes(), Dialect::Ruby), to);
        }
    }

    #[test]
    fn perl_patterns_keep_their_meaning() {
        for (from, to) in [
            (r"^\0\x1\012$", r"^\x00\x01\x0a(?:\n?\z)"),
            (r"[\1\177]", r"[\x01\x7f]"),
            (r"(?#why)a\h\e", r"a[ \t]\x1b"),
            (r"{a}", r"\{a}"),
            (r"^\QA.(b\E.c\Q]", r"^A\x2e\x28b.c\x5d"),
            (r"\Qa\\E", r"a\x5c"),
            (r"^\x{00e9}\x{a}[\x{41}]\cA\c[\e", r"^\xe9\x0a[\x41]\x01\x1b\x1b"),
            (r"A\NB", r"A[^\n]B"),
        ] {
            assert_eq!(rewrite(from.as_bytes(), Dialect::Perl), to);
        }
        assert_eq!(rewrite(b"a\xffb", Dialect::Perl), r"a\xffb");
    }

    #[test]
    fn the_reason_of_a_refusal_is_its_own() {
        for (pattern, words) in [
            (r"^a\x{20ac}b", r"\x{20ac} is a character of more than a byte"),
            (r"[\x{100}]", r"\x{100} is a character"),
            (r"^\x{zz}", r"\x{zz is no number"),
            (r"\x{41", r"\x{41"),
            (r"a(?!b)", "look-around"),
            (r"(?<=a)b", "look-around"),
            (r"(?>a)", "atomic"),
            (r"(?(1)a|b)", "condition"),
            (r"(a)(?R)", "repeats another"),
            (r"(?|(a)|(b))", "share their numbers"),
            (r"(a)\1", "a reference"),
            (r"(?<x>a)\k<x>", "a reference"),
            (r"\Ga", r"\G is not known"),
            (r"a\Kb", r"\K is not known"),
            (r"(*ANYCRLF)a", "a verb"),
        ] {
            let found = refused(pattern.as_bytes(), Dialect::Perl).unwrap_or_else(|| panic!("{pattern}"));
            assert!(found.contains(words), "{pattern}: {found}");
            assert!(regex_syntax::parse(&rewrite(pattern.as_bytes(), Dialect::Perl)).is_err(), "{pattern}");
        }
        for pattern in
            [r"^\Q(?!\x{20ac}\E", r"[(?!]", r"[]\1(?=]", r"\\Ga", r"\(?!", r"\x{e9}\012[\K]", r"(?<n>a)(?i:b)"]
        {
            assert_eq!(refused(pattern.as_bytes(), Dialect::Perl), None, "{pattern}");
        }
    }

    #[test]
    fn what_needs_backtracking_stays_recognisable_and_is_refused() {
        for pattern in [r"(?!a)b", r"(a)\1", r"(?>a)b", r"(?<=a)b", r"\x{zz}", r"\x{20ac"] {
            assert!(regex_syntax::parse(&rewrite(pattern.as_bytes(), Dialect::Perl)).is_err(), "{pattern}");
        }
    }
}
