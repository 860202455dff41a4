//! Why a question to a node got no answer, or not the wanted one.

use crate::document::Problem;

/// Each variant says what happened to the request.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No node took the connection: nothing was sent.
    #[error("no node answers at {endpoints}: {reason}")]
    Unreachable {
        /// The addresses tried.
        endpoints: String,
        /// What the last one failed with.
        reason: String,
    },
    /// Whoever took the connection is not who it should be: nothing was sent.
    #[error("what answers at {endpoints} is not trusted: {reason}")]
    Untrusted {
        /// The address.
        endpoints: String,
        /// What is wrong with its certificate.
        reason: String,
    },
    /// The connection broke or the answer stayed out: the request may have been carried out.
    #[error("the connection to the node broke: {reason}")]
    Interrupted {
        /// What it failed with.
        reason: String,
    },
    /// The node said no, and why.
    #[error("{}", if problem.detail.is_empty() { &problem.title } else { &problem.detail })]
    Refused {
        /// HTTP status.
        status: u16,
        /// The node's words.
        problem: Box<Problem>,
    },
    /// An error that is not the API's own: something else listens there, or a proxy answered.
    #[error("the answer was HTTP status {status} without an explanation: is this a Pentora node?")]
    Unexpected {
        /// HTTP status.
        status: u16,
    },
    /// The answer is not the document that was asked for; the request was carried out.
    #[error("the {what} is not understood: {source}")]
    NotUnderstood {
        /// Answer, or a line of results.
        what: &'static str,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// More than this client keeps in memory.
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// A list's cursor that cannot be sent back.
    #[error("the node's cursor cannot be sent back to it")]
    BadCursor,
    /// The HTTP client could not be set up; nothing was sent.
    #[error("the HTTP client cannot be set up: {reason}")]
    Setup {
        /// Why.
        reason: String,
    },
}

impl ClientError {
    /// The API's own word for the problem, or nothing.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { problem, .. } => &problem.code,
            _ => "",
        }
    }

    /// Whether asking again later may go better: no node, a broken connection, or one that is not ready.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            Self::Refused { status, .. } | Self::Unexpected { status } => matches!(status, 502..=504),
            _ => false,
        }
    }
}
