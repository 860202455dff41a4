//! Whose a request is, where places are shared out: the token that was shown, and who answers for it.

use axum::http::Extensions;
use pentora_raft::State;

/// Who takes a place. Put beside a request by whoever lets it in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Whose {
    /// The token's name, or the person's; what stands for it where none is known, and empty where nobody is asked who they are.
    pub(super) token: String,
    /// Who answers for it, so that tokens which somebody makes for themselves are no more places.
    pub(super) maker: String,
}

impl Whose {
    /// As the log has it.
    pub(super) fn of(state: &State, who: &str) -> Self {
        Self { token: who.to_owned(), maker: state.maker_of(who) }
    }

    /// One of whose making nothing is known.
    pub(super) fn alone(who: impl Into<String>) -> Self {
        let token = who.into();
        Self { maker: token.clone(), token }
    }

    /// Whose the request is that these were put beside.
    pub(super) fn beside(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Whether nobody is asked who they are.
    pub(super) fn is_anybody(&self) -> bool {
        self.token.is_empty()
    }
}
