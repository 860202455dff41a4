//! TLS of the API: what a node shows, and what a client believes.
//!
//! A node shows a certificate that can be exchanged while it serves (`shown`): of the cluster's own authority (`authority`,
//! `leaf`), or from files that somebody gives it (`files`).
//! A client believes the system's roots, the authorities of a file, or the one whose fingerprint it was told (`trust`);
//! there is no way to believe anybody. Everything here uses ring, TLS 1.2 and later, and HTTP/1.1 inside.

mod authority;
mod fault;
mod files;
mod fingerprint;
mod leaf;
mod sealing;
mod shown;
mod trust;
mod verifier;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use authority::{Authority, AuthorityError, Wanted, is_host};
pub use fault::{Fault, fault_in, innermost};
pub use files::{Files, FilesError, Given, first_of};
pub use fingerprint::Fingerprint;
pub use leaf::{Leaf, Pair, certificate_pem};
pub use sealing::{Sealed, Sealing};
pub use shown::{Shown, is_handshake};
pub(crate) use trust::nobody;
pub use trust::{Anchor, Trust, TrustError};

/// Certificates that a server may show in a row. Ours: a public authority's chain has two or three, and each costs whoever
/// verifies it a signature.
const CHAIN_MAX: usize = 10;

/// The file in a node's data directory with the certificate of its cluster's authority.
pub const AUTHORITY_FILE: &str = "authority.pem";

/// The file there with the certificate that a node shows while it waits to be let in: of its own making, and for commands beside it.
pub const WAITING_FILE: &str = "waiting.pem";

/// What HTTP is spoken inside, as ALPN calls it (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

#[cfg(test)]
#[path = "tls/made_test.rs"]
pub(crate) mod made;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
