//! Headers that a collector wants of whoever sends it spans, such as a key: as other programs are told them, in the form of
//! `OTEL_EXPORTER_OTLP_HEADERS` (opentelemetry.io/docs/specs/otel/protocol/exporter), and of a file with one to a line.
//!
//! **Invariant: no value is told to anybody but the collector.** They are secrets more often than not, so that faults name the header
//! alone.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// Headers at most. Ours: services want one or two.
const HEADERS_MAX: usize = 32;
/// What a request of ours says itself.
const OWN: [&str; 5] = ["connection", "content-length", "content-type", "host", "transfer-encoding"];

/// The headers of a text: `name=value`, one behind a comma or a line's end, the value with `%20` and the like for what no text of this
/// form holds.
///
/// # Errors
/// A sentence fragment, without a value.
pub fn read(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for part in text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty()) {
        if headers.len() >= HEADERS_MAX {
            return Err(format!("are more than {HEADERS_MAX} headers"));
        }
        // What stands before no `=` may be a value.
        let (name, value) =
            part.split_once('=').ok_or("are not name=value, with a comma or a line's end between two")?;
        let name = HeaderName::try_from(name.trim()).map_err(|_odd| "hold a name that no header can have")?;
        if OWN.contains(&name.as_str()) {
            return Err(format!("hold `{name}`, which this program says itself"));
        }
        let value = decoded(value.trim()).and_then(|value| HeaderValue::from_bytes(&value).ok());
        let mut value = value.ok_or_else(|| format!("hold a value of `{name}` that no header can have"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The bytes of a text with `%` and two hexadecimal digits for some.
fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (mut bytes, mut rest) = (Zeroizing::new(Vec::with_capacity(text.len())), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        bytes.push(*hex::decode(digits).ok()?.first()?);
        rest = behind;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_other_programs_read_them_and_shown_nowhere() {
        let headers = read("Authorization=Bearer%20s3cret==, x-tenant = a/b ,\n\nx-empty=\n").unwrap();
        let of = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(
            (of("authorization").as_str(), of("x-tenant").as_str(), of("x-empty").as_str()),
            ("Bearer s3cret==", "a/b", "")
        );
        assert!(headers.len() == 3 && !format!("{headers:?}").contains("s3cret"));
        assert!(read("").unwrap().is_empty());
        for bad in [
            "s3cret",
            "a b=s3cret",
            "=s3cret",
            "x=s3cret%0d%0ax-b: c",
            "x=s3cret%zz",
            "x=s3cret%4",
            "host=s3cret",
            "Content-Type=s3cret",
        ] {
            let why = read(bad).unwrap_err();
            assert!(!why.contains("s3cret"), "{bad}: {why}");
        }
        let many: Vec<String> = (0..=HEADERS_MAX).map(|number| format!("x-{number}=1")).collect();
        assert!(read(&many.join(",")).is_err());
    }
}
