//! Why a JWT is not taken. Nothing of the JWT itself is told, because errors are shown and logged.

/// Why a JWT is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody signs so much.
    #[error("the JWT has more than {most} bytes")]
    TooLarge {
        /// The most that is looked at.
        most: usize,
    },
    /// It is not written as a JWT is (RFC 7519 section 7.2).
    #[error("the JWT is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// It asks for something that is not understood here (RFC 7515 section 4.1.11).
    #[error("the JWT's heading has `crit`, and nothing critical is understood here")]
    Critical,
    /// No key signs by the algorithm that it names; `none` and those with a shared secret are among these.
    #[error("the JWT's `alg` is not that of its key: EdDSA, ES256 or RS256, as the key is of one kind")]
    Algorithm,
    /// No key is known by that name.
    #[error("no key that is known here has the JWT's `kid`")]
    KeyUnknown,
    /// It was changed, or signed by another key.
    #[error("the JWT's signature is not of its key")]
    Signature,
    /// Another cluster's, or of nobody who is asked here.
    #[error("the JWT is of an issuer that this cluster does not take")]
    Issuer,
    /// For somebody else.
    #[error("the JWT is for another audience")]
    Audience,
    /// For another purpose than signing in (RFC 8725 section 3.11).
    #[error("the JWT is not for signing in: its `typ` is another's, or it tells of events")]
    Kind,
    /// It would let in for longer than anybody is let in by one.
    #[error("the JWT lets in for more than {most_h} h; have the provider sign shorter ones")]
    Long {
        /// The longest that is taken.
        most_h: u64,
    },
    /// Its time is over.
    #[error("the JWT has expired; sign in again")]
    Expired,
    /// Its time has not begun, as the cluster has the time.
    #[error("the JWT is not valid yet by the cluster's clock; compare clocks with whoever signed it")]
    Early,
    /// The access token that a session stands for does not let in any more.
    #[error("the access token that this session was made with has ended, was revoked, or has another secret now")]
    Ended,
    /// A person without a role here.
    #[error("`{who}` has no role here: none of the values of `{claim}` stands in server.api.oidc.roles")]
    NoRole {
        /// Who.
        who: String,
        /// The claim that was looked at.
        claim: String,
    },
}

impl Fault {
    /// The stable code of the problem.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "jwt_too_large",
            Self::Malformed { .. } => "jwt_malformed",
            Self::Critical => "jwt_critical",
            Self::Algorithm => "jwt_algorithm",
            Self::KeyUnknown => "jwt_key_unknown",
            Self::Signature => "jwt_signature",
            Self::Issuer => "jwt_issuer",
            Self::Audience => "jwt_audience",
            Self::Kind => "jwt_kind",
            Self::Long { .. } => "jwt_long",
            Self::Expired => "jwt_expired",
            Self::Early => "jwt_early",
            Self::Ended => "session_ended",
            Self::NoRole { .. } => "no_role",
        }
    }
}

/// A fault of the writing.
pub(super) fn malformed(what: &'static str) -> Fault {
    Fault::Malformed { what }
}
