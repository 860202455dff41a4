//! The certificate authority of the nodes' APIs: its certificate for all, and its key, sealed for members.
//!
//! What is sealed is opaque here. Nodes that only scan are not shown this table.

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{Refusal, Response};

/// The largest certificate that is kept, in bytes. Ours: one of an authority with a name and a key has 500.
const CERTIFICATE_BYTES_MAX: usize = 4_096;
/// The largest sealed key.
const SEALED_BYTES_MAX: usize = 1_024;

/// An authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its certificate, in DER.
    pub certificate: Vec<u8>,
    /// Its private key, which members alone can open.
    pub sealed_key: Vec<u8>,
}

/// The key of the one row.
const AUTHORITY: u8 = 0;

impl State {
    /// The cluster's authority; `None` before a member has made one.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.get(&AUTHORITY)
    }

    /// Has no authority, as in a backup: a cluster that begins with what was another's makes one of its own.
    pub fn forget_authority(&mut self) {
        self.authority.remove(&AUTHORITY);
    }

    /// Notes an authority. The first one holds: members that make one at the same time agree by reading which it is.
    pub(super) fn set_authority(&mut self, authority: &Authority) -> Result<Response, Refusal> {
        let Authority { certificate, sealed_key } = authority;
        let fits = |bytes: &[u8], max: usize| !bytes.is_empty() && bytes.len() <= max;
        if !fits(certificate, CERTIFICATE_BYTES_MAX) || !fits(sealed_key, SEALED_BYTES_MAX) {
            return Err(Refusal::Malformed { what: "no authority has a certificate or a key of that size".into() });
        }
        if self.authority().is_none() {
            self.authority.insert(AUTHORITY, authority.clone());
        }
        Ok(Response::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample_test::node_info;
    use crate::command::{Command, NodeInfo, Proposal};
    use crate::id::{ClusterId, Digest};
    use crate::state::Beginning;

    fn noted(state: &mut State, certificate: &[u8], sealed_key: &[u8]) -> Response {
        let authority = Authority { certificate: certificate.to_vec(), sealed_key: sealed_key.to_vec() };
        state.apply(2, &Proposal { at_ms: 1, command: Command::SetAuthority(Box::new(authority)) })
    }

    #[test]
    fn the_first_authority_holds_and_what_is_none_changes_nothing() {
        let mut state = State::default();
        for (certificate, key) in [(&b""[..], &b"k"[..]), (b"c", b""), (&[0; 4_097], b"k"), (b"c", &[0; 1_025])] {
            assert!(matches!(noted(&mut state, certificate, key), Response::Refused(Refusal::Malformed { .. })));
        }
        assert_eq!(state.authority(), None);
        assert_eq!(noted(&mut state, b"first", b"k"), Response::Done);
        assert_eq!(noted(&mut state, b"second", b"k"), Response::Done);
        assert_eq!(state.authority().unwrap().certificate, b"first");
    }

    #[test]
    fn a_cluster_that_begins_with_a_backup_has_no_authority_of_another() {
        let mut state = State::default();
        noted(&mut state, b"first", b"k");
        let info: NodeInfo = node_info("r1");
        state.begin_again(&Beginning { cluster: ClusterId([9; 16]), node: 5, info, admin_token: Digest::of(b"a") });
        assert_eq!(state.authority(), None);
    }
}
