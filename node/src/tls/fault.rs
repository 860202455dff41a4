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
        CertificateError::Other(ours) => ours.to_string(),
        other => other.to_string(),
    }
}
