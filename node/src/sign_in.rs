//! Who shows a JWT in place of an access token: a session of this cluster, or what a provider of identities signed.
//!
//! Nothing here lets anybody in. A JWT is looked at from outside (`compact`), then held against the key that its heading names, and then
//! its claims against the time and against whom they are for: of this cluster in `session`, of a provider in `provider`, whose keys
//! (`key_set`) are kept by `providers`. What its bearer may do is said by the log and the table of routes, in `api`.
//!
//! Signatures are checked by the `jsonwebtoken` library over ring (`crypto`). What that library takes and we do not is refused before: doubled
//! names, `crit`, and any algorithm but the one that a key is for. Times are the log's, so they are checked here.

mod compact;
mod crypto;
mod fault;
mod key_set;
mod provider;
mod providers;
mod session;

pub use compact::{Look, is_jwt, look};
pub use fault::Fault;
pub use key_set::{KeySet, KeySetError};
pub use provider::{Person, Provider, Source, is_person};
pub use providers::{SignIn, Word};
pub use session::{Granted, LIFE_S, MadeKey, Session, Wanted, issuer_of, make_key, number_of, read, sign};

#[cfg(test)]
#[path = "sign_in/made_test.rs"]
pub(crate) mod made;
