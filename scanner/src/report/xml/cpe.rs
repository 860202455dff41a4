//! CPE names as nmap writes them: CPE 2.2 URIs, made from the 2.3 formatted strings of records.
//!
//! NISTIR 7695, sections 6.1.2 (URI binding) and 6.2.3 (unbinding a formatted string). What is no formatted string is
//! left out rather than passed on.

use std::fmt::Write;

/// `cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*` as `cpe:/a:openbsd:openssh:9.2:p1`.
pub(in crate::report) fn cpe_uri(formatted: &str) -> Option<String> {
    let parts = split(formatted.strip_prefix("cpe:2.3:")?);
    let [part, vendor, product, version, update, edition, language, software, target, hardware, other] =
        <[&str; 11]>::try_from(parts).ok()?;
    if !matches!(part, "a" | "o" | "h" | "*" | "-") {
        return None;
    }
    let packed = [software, target, hardware, other].map(bind);
    let edition = match packed.iter().all(String::is_empty) {
        true => bind(edition),
        false => format!("~{}~{}", bind(edition), packed.join("~")),
    };
    let mut uri = format!("cpe:/{}", bind(part));
    for value in [bind(vendor), bind(product), bind(version), bind(update), edition, bind(language)] {
        uri.push(':');
        uri.push_str(&value);
    }
    uri.truncate(uri.trim_end_matches(':').len());
    Some(uri)
}

/// Parts between colons that are not quoted by a backslash.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        if c == ':' && !quoted {
            parts.extend(text.get(from..at));
            from = at + 1;
        }
        quoted = c == '\\' && !quoted;
    }
    parts.extend(text.get(from..));
    parts
}

/// One value: any is empty, not applicable is `-`, whatever is not a letter, digit, `_`, `.` or `-` is a percent code.
fn bind(value: &str) -> String {
    match value {
        "*" => return String::new(),
        "-" => return "-".to_owned(),
        _ => {}
    }
    let mut bound = String::with_capacity(value.len());
    let mut quoted = false;
    for byte in value.bytes() {
        match byte {
            b'\\' if !quoted => {
                quoted = true;
                continue;
            }
            b'?' if !quoted => bound.push_str("%01"),
            b'*' if !quoted => bound.push_str("%02"),
            b'_' | b'.' | b'-' => bound.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => bound.push(char::from(byte.to_ascii_lowercase())),
            _ => write!(bound, "%{byte:02x}").expect("writing to a string cannot fail"),
        }
        quoted = false;
    }
    bound
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names of NISTIR 7695, sections 6.1.2.4 and 6.2.3.2.
    #[test]
    fn names_of_the_standard_are_bound_as_it_says() {
        for (formatted, uri) in [
            ("cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*", Some("cpe:/a:openbsd:openssh:9.2:p1")),
            (
                "cpe:2.3:a:microsoft:internet_explorer:8.0.6001:beta:*:*:*:*:*:*",
                Some("cpe:/a:microsoft:internet_explorer:8.0.6001:beta"),
            ),
            (
                "cpe:2.3:a:hp:insight_diagnostics:7.4.0.1570:-:*:*:online:win2003:x64:*",
                Some("cpe:/a:hp:insight_diagnostics:7.4.0.1570:-:~~online~win2003~x64~"),
            ),
            ("cpe:2.3:a:foo\\\\bar:big\\$money:2010:*:*:*:*:*:*:*", Some("cpe:/a:foo%5cbar:big%24money:2010")),
            ("cpe:2.3:a:x:y\\:z:1.*:*:*:*:*:*:*:*", Some("cpe:/a:x:y%3az:1.%02")),
            ("cpe:/a:openbsd:openssh", None),
            ("cpe:2.3:a:too:short", None),
            ("cpe:2.3:<:a:b:c:*:*:*:*:*:*:*", None),
        ] {
            assert_eq!(cpe_uri(formatted).as_deref(), uri, "{formatted}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_bound_is_a_uri(text in "cpe:2\\.3:(a:|[ao]:)?([a-z*?\\\\:.<>\"&\\x00-\\u{ff}]{0,6}:){10}[a-z]*") {
            if let Some(uri) = cpe_uri(&text) {
                prop_assert!(uri.starts_with("cpe:/"));
                prop_assert!(uri.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/%._~-".contains(&byte)));
            }
        }
    }
}
