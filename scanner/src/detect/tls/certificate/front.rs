//! The front of a certificate whose end was not read: pure bytes (ITU-T X.690, RFC 5280 section 4.1).
//!
//! A certificate of megabytes is one with megabytes of extensions, which stand last. What stands before them is put into a
//! certificate of its own, without extensions and with an empty signature, for a parser that wants a whole one.

use super::DER_BYTES_MAX;

const SEQUENCE: u8 = 0x30;
/// The version, the first optional field.
const VERSION: u8 = 0xa0;
/// An empty signature: a bit string without bits.
const NO_SIGNATURE: [u8; 3] = [3, 1, 0];

/// A certificate of what stands before the extensions; `None` when `der` is whole and not too long, or no certificate.
pub(super) fn without_extensions(der: &[u8]) -> Option<Vec<u8>> {
    let outer = Head::of(der)?;
    let is_too_long = outer.length > outer.rest.len() || der.len() > DER_BYTES_MAX;
    let inner = Head::of(outer.rest).filter(|_| outer.tag == SEQUENCE && is_too_long)?;
    let (mut rest, mut kept, mut algorithm) = (inner.rest, Vec::new(), None);
    // Fields with a number of their own stand behind the key: unique ids and extensions.
    while let Some(head) = Head::of(rest).filter(|head| head.tag < 0x80 || head.tag == VERSION) {
        let Some(after) = head.rest.get(head.length..) else { break };
        let field = rest.get(..rest.len() - after.len())?;
        kept.extend_from_slice(field);
        algorithm = algorithm.or((head.tag == SEQUENCE).then_some(field));
        rest = after;
    }
    let mut certificate = wrapped(&kept);
    certificate.extend_from_slice(algorithm.filter(|_| inner.tag == SEQUENCE)?);
    certificate.extend(NO_SIGNATURE);
    Some(wrapped(&certificate))
}

/// What begins an element.
pub(super) struct Head<'a> {
    pub(super) tag: u8,
    /// Bytes of its content.
    pub(super) length: usize,
    /// What follows the head: the content, or as much of it as is there, and further elements.
    pub(super) rest: &'a [u8],
}

impl<'a> Head<'a> {
    /// The head of the element at the front.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (&[tag, first], mut rest) = bytes.split_first_chunk::<2>()?;
        if first < 0x80 {
            return Some(Self { tag, length: usize::from(first), rest });
        }
        let mut length = 0;
        for _ in 0..first & 0x7f {
            let (byte, after) = rest.split_first()?;
            length = usize::checked_mul(length, 256)?.checked_add(usize::from(*byte))?;
            rest = after;
        }
        Some(Self { tag, length, rest })
    }
}

/// A sequence of `content`.
pub(super) fn wrapped(content: &[u8]) -> Vec<u8> {
    // Four bytes of length are more than DER would take, and no reader minds.
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
    let significant = length.iter().position(|byte| *byte != 0).unwrap_or(3);
    let bytes = length.get(significant..).unwrap_or_default();
    let mut sequence = vec![SEQUENCE];
    match bytes {
        [short] if *short < 0x80 => sequence.push(*short),
        _ => {
            sequence.push(0x80 | u8::try_from(bytes.len()).unwrap_or(4));
            sequence.extend_from_slice(bytes);
        }
    }
    sequence.extend_from_slice(content);
    sequence
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{problems, read_certificate, read_front};
    use super::*;

    fn certificate() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["long.example".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "long");
        let comment = vec![b'x'; 100_000];
        params.custom_extensions =
            vec![rcgen::CustomExtension::from_oid_content(&[2, 16, 840, 1, 113_730, 1, 13], comment)];
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_of_any_length_tells_whose_it_is() {
        let long = certificate();
        assert!(read_certificate(&long).is_none());
        for end in [long.len(), 60_000, 1_000] {
            let seen = read_front(&long[..end]).unwrap();
            let certificate = &seen.certificate;
            assert_eq!((certificate.subject.as_str(), certificate.key.as_str()), ("CN=long", "EC P-256"));
            assert!(certificate.not_after_s > certificate.not_before_s && certificate.sha256.is_empty());
            let wrong = problems(&[seen], Some("long.example"), 1_700_000_000);
            assert_eq!(wrong, ["self-signed", "too-long"]);
        }
        assert!(read_front(&long[..40]).is_none());
    }

    #[test]
    fn a_whole_certificate_is_not_read_by_its_front() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["short.example".to_owned()]).unwrap();
        let short = params.self_signed(&key).unwrap().der().to_vec();
        assert!(read_certificate(&short).is_some() && read_front(&short).is_none());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = without_extensions(&[&[0x30, 0x84, 0xff, 0, 0, 0, 0x30][..], &bytes].concat());
            let _ = without_extensions(&bytes);
        }
    }
}
