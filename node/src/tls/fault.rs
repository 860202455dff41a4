//! Why a connection over TLS did not come about, in a person's words.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// What is wrong at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not who it should be.
    Untrusted(String),
    /// It speaks something else.
    Speech(String),
}

/// The fault of TLS among an error and its causes, if there is one.
#[must_use]
pub fn fault_in(error: &(dyn StdError + 'static)) -> Option<Fault> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(fault(found));
        }
        // What an I/O error carries is no cause of it to `source`.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(inner) = inner
            && let Some(found) = fault_in(inner)
        {
            return Some(found);
        }
        at = error.source();
    }
    None
}

/// The last of a chain of causes, which is the one that names the fault ("connection refused").
#[must_use]
pub fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::InvalidCertificate(wrong) => Fault::Untrusted(sentence(wrong)),
        Error::NoCertificatesPresented => Fault::Untrusted("it shows no certificate".to_owned()),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Fault::Speech("what answers there does not speak TLS: ask http:// in place of https://".to_owned())
        }
        Error::AlertReceived(AlertDescription::AccessDenied) => {
            Fault::Speech("the node there has no certificate yet: ask again in a moment".to_owned())
        }
        other => Fault::Speech(format!("no TLS with what answers there: {other}")),
    }
}

fn sentence(wrong: &CertificateError) -> String {
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is for other names: {wrong}")
        }
        CertificateError::UnknownIssuer => "it is signed by no authority that is trusted here".to_owned(),
        CertificateError::BadSignature => "its certificate's signature is not its authority's".to_owned(),
        CertificateError::BadEncoding => "what it shows is no certificate".to_owned(),
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not for servers".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => {
            "its certificate has a limit that is not understood here".to_owned()
        }
        CertificateError::Other(ours) => broken_rule(&ours.to_string()),
        other => broken_rule(&other.to_string()),
    }
}

/// A sentence of ours as it is; in place of one word, which is what the library has for a rule of chains, what the rule is.
fn broken_rule(wrong: &str) -> String {
    let rule = match wrong {
        sentence if sentence.contains(' ') => return sentence.to_owned(),
        "CaUsedAsEndEntity" => "its own certificate is an authority's",
        "EndEntityUsedAsCa" => "a certificate that may sign none has signed one",
        "PathLenConstraintViolated" => "an authority's certificate allows no authority below it",
        "NameConstraintViolation" => "an authority's certificate does not allow this name",
        "MaximumPathDepthExceeded" | "MaximumPathBuildCallsExceeded" | "MaximumSignatureChecksExceeded" => {
            "there are too many certificates between it and its authority"
        }
        _ => return format!("its certificates do not hold ({wrong})"),
    };
    format!("its certificates do not hold: {rule}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_a_sentence_and_no_word_of_a_library() {
        let other =
            |text: &str| CertificateError::Other(OtherError(Arc::from(Box::<dyn StdError + Send + Sync>::from(text))));
        let words = ["CaUsedAsEndEntity", "EndEntityUsedAsCa", "PathLenConstraintViolated", "NameConstraintViolation"];
        let ours = other("its certificate is aa, not bb");
        assert_eq!(sentence(&ours), "its certificate is aa, not bb");
        let kinds = [CertificateError::BadEncoding, CertificateError::UnknownIssuer, CertificateError::InvalidPurpose];
        for wrong in words.map(other).into_iter().chain(kinds) {
            let said = sentence(&wrong);
            assert!(said.contains(' ') && !words.iter().any(|word| said.contains(word)), "{said}");
        }
        assert_eq!(sentence(&other("Unheard")), "its certificates do not hold (Unheard)");
    }
}
