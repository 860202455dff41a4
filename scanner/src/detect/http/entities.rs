//! Character references of HTML (WHATWG HTML, section 13.2.5.72): numbers, and the names that titles have.

/// Longest reference that is looked at, without `&` and `;`.
const REFERENCE_BYTES_MAX: usize = 16;
/// Names of the characters from U+00A0 to U+00FF, in their order.
const LATIN_1: [&str; 96] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf", "laquo", "not", "shy",
    "reg", "macr", "deg", "plusmn", "sup2", "sup3", "acute", "micro", "para", "middot", "cedil", "sup1", "ordm",
    "raquo", "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc", "Atilde", "Auml", "Aring", "AElig",
    "Ccedil", "Egrave", "Eacute", "Ecirc", "Euml", "Igrave", "Iacute", "Icirc", "Iuml", "ETH", "Ntilde", "Ograve",
    "Oacute", "Ocirc", "Otilde", "Ouml", "times", "Oslash", "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute", "THORN",
    "szlig", "agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute", "ecirc",
    "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute", "ocirc", "otilde", "ouml",
    "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];
/// Names of others.
const OTHERS: [(&str, char); 29] = [
    ("lt", '<'),
    ("gt", '>'),
    ("amp", '&'),
    ("quot", '"'),
    ("apos", '\''),
    ("OElig", '\u{152}'),
    ("oelig", '\u{153}'),
    ("Scaron", '\u{160}'),
    ("scaron", '\u{161}'),
    ("Yuml", '\u{178}'),
    ("fnof", '\u{192}'),
    ("circ", '\u{2c6}'),
    ("tilde", '\u{2dc}'),
    ("ensp", ' '),
    ("emsp", ' '),
    ("thinsp", ' '),
    ("ndash", '\u{2013}'),
    ("mdash", '\u{2014}'),
    ("lsquo", '\u{2018}'),
    ("rsquo", '\u{2019}'),
    ("sbquo", '\u{201a}'),
    ("ldquo", '\u{201c}'),
    ("rdquo", '\u{201d}'),
    ("bdquo", '\u{201e}'),
    ("bull", '\u{2022}'),
    ("hellip", '\u{2026}'),
    ("lsaquo", '\u{2039}'),
    ("rsaquo", '\u{203a}'),
    ("euro", '\u{20ac}'),
];
/// Further names of signs.
const SIGNS: [(&str, char); 6] = [
    ("trade", '\u{2122}'),
    ("larr", '\u{2190}'),
    ("rarr", '\u{2192}'),
    ("minus", '\u{2212}'),
    ("check", '\u{2713}'),
    ("star", '\u{2606}'),
];
/// What the numbers 128 to 159 stand for: windows-1252, because pages mean that.
const WINDOWS_1252: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d,
    0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d,
    0x17e, 0x178,
];

/// The text with its references replaced, once: `&amp;lt;` is `&lt;`. What is none stays.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let front: String = after.chars().take(REFERENCE_BYTES_MAX).collect();
        let found = match front.split_once(';') {
            Some((name, _)) => character(name).map(|c| (c, name.len() + 1)),
            None => None,
        };
        let found = found.or_else(|| unended(after));
        match found {
            Some((c, length)) => {
                plain.push(c);
                rest = after.get(length..).unwrap_or_default();
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain + rest
}

/// A number without its semicolon, which browsers take.
fn unended(after: &str) -> Option<(char, usize)> {
    let digits = after.strip_prefix('#')?;
    let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()).min(7);
    Some((character(after.get(..=length)?)?, length + 1))
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let hex = number.strip_prefix(['x', 'X']);
        let code = match hex {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        let windows = code.checked_sub(128).and_then(|at| WINDOWS_1252.get(usize::try_from(at).ok()?));
        return char::from_u32(windows.map_or(code, |code| u32::from(*code)));
    }
    if let Some((_, c)) = OTHERS.iter().chain(&SIGNS).find(|(known, _)| *known == name) {
        return Some(*c);
    }
    let at = LATIN_1.iter().position(|known| *known == name)?;
    char::from_u32(0xa0 + u32::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_the_characters_that_they_name() {
        for (text, plain) in [
            ("a &amp; b &lt;1&gt; &quot;&apos;", "a & b <1> \"'"),
            ("&eacute;&Uuml;&szlig;&yuml;&nbsp;&middot;", "\u{e9}\u{dc}\u{df}\u{ff}\u{a0}\u{b7}"),
            ("&#233;&#xE9;&#8364;&#x1F600;", "\u{e9}\u{e9}\u{20ac}\u{1f600}"),
            ("&#128;&#150;&#39;", "\u{20ac}\u{2013}'"),
            ("&#39 x&#8211", "' x\u{2013}"),
            ("&amp;lt;&amp;#60;", "&lt;&#60;"),
            ("AT&T & co &unheard; &;&#;&#x;&#xd800;&", "AT&T & co &unheard; &;&#;&#x;&#xd800;&"),
        ] {
            assert_eq!(unescape(text), plain, "{text}");
        }
    }
}
