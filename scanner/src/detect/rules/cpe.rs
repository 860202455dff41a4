//! CPE 2.3 names as formatted strings (NISTIR 7695), made from a stranger's words and from names in the older URI form.

use std::fmt::Write;

use super::template::FIELD_CHARS_MAX;

/// Parts of a name after its prefix.
pub(super) const CPE_PARTS: usize = 11;

/// A stranger's word as a part of a CPE formatted string (NISTIR 7695 section 6.2): lower case, punctuation quoted.
pub(crate) fn cpe_quoted(bytes: &[u8]) -> String {
    let mut quoted = String::new();
    for c in String::from_utf8_lossy(bytes).trim().chars().take(FIELD_CHARS_MAX) {
        match c {
            'a'..='z' | '0'..='9' | '.' | '-' | '_' => quoted.push(c),
            'A'..='Z' => quoted.push(c.to_ascii_lowercase()),
            ' ' => quoted.push('_'),
            '!'..='~' => write!(quoted, "\\{c}").expect("writing to a string cannot fail"),
            _ => {}
        }
    }
    // A lone hyphen would mean "not applicable".
    if quoted == "-" { "\\-".to_owned() } else { quoted }
}

/// Parts after the prefix, as a full CPE 2.3 formatted string.
pub(crate) fn full_cpe(parts: &str) -> String {
    let mut name = String::from("cpe:2.3");
    let mut count = 0;
    let mut part = String::new();
    let mut rest = parts.chars().chain([':']);
    while let Some(c) = rest.next() {
        match c {
            ':' if count < CPE_PARTS => {
                name.push(':');
                name.push_str(if part.is_empty() { "*" } else { &part });
                part.clear();
                count += 1;
            }
            '\\' => {
                part.push(c);
                part.extend(rest.next());
            }
            _ => part.push(c),
        }
    }
    for _ in count..CPE_PARTS {
        name.push_str(":*");
    }
    name
}

/// The formatted string of a name written as a URI (`cpe:/a:vendor:product:version`) or as one already.
pub(crate) fn cpe_2_3(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix("cpe:2.3:") {
        let text: String = rest.chars().filter(char::is_ascii_graphic).take(400).collect();
        return Some(full_cpe(&text));
    }
    let parts: Vec<String> = text.strip_prefix("cpe:/")?.split(':').take(7).map(uri_part).collect();
    let kind = parts.first().filter(|kind| ["a", "o", "h"].contains(&kind.as_str()))?;
    let parts: Vec<String> = [kind.clone()].into_iter().chain(parts.iter().skip(1).cloned()).collect();
    (parts.len() >= 3).then(|| full_cpe(&parts.join(":")))
}

/// One part of a URI: percent escapes are bytes; a lone hyphen stays "not applicable".
fn uri_part(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        let pair: Option<[u8; 2]> =
            (byte == b'%').then(|| [rest.clone().next().unwrap_or(0), rest.clone().nth(1).unwrap_or(0)]);
        let decoded = pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok());
        if decoded.is_some() {
            rest.nth(1);
        }
        bytes.push(decoded.unwrap_or(byte));
    }
    if bytes == b"-" { "-".to_owned() } else { cpe_quoted(&bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_missing_are_any() {
        assert_eq!(full_cpe(r"a:v\:w:p"), r"cpe:2.3:a:v\:w:p:*:*:*:*:*:*:*:*");
        assert_eq!(full_cpe("a:v::1"), "cpe:2.3:a:v:*:1:*:*:*:*:*:*:*");
    }

    #[test]
    fn a_cpe_uri_becomes_a_formatted_string() {
        assert_eq!(cpe_2_3("cpe:/a:x:y%2bz:1.0~rc1").unwrap(), r"cpe:2.3:a:x:y\+z:1.0\~rc1:*:*:*:*:*:*:*");
        assert_eq!(cpe_2_3("cpe:/a:%:%2").unwrap(), r"cpe:2.3:a:\%:\%2:*:*:*:*:*:*:*:*");
        assert_eq!(cpe_2_3("cpe:/q:x:y"), None);
        assert_eq!(cpe_2_3("nonsense"), None);
    }
}
