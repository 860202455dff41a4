//! The keys that sign sessions: a public half for all who verify, and a private one, sealed for members.
//!
//! What is sealed is opaque here. Nodes that only scan are not shown this table.

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{Refusal, Response};

/// Keys that are kept: the one that signs, and the one before it, whose sessions may not be over yet.
pub const SESSION_KEYS_MAX: usize = 2;
/// A public key of Ed25519 (RFC 8032 section 5.1.5), in bytes.
const PUBLIC_BYTES: usize = 32;
/// The largest sealed key, in bytes. Ours: one of Ed25519 in PKCS #8 has 85.
const SEALED_BYTES_MAX: usize = 512;

/// A key that signs sessions, as it is to be noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSessionKey {
    /// The number of the newest key that whoever makes this one knows of; 0 where there is none.
    pub after: u64,
    /// Its public half.
    pub public: Vec<u8>,
    /// Its private half, which members alone can open.
    pub sealed: Vec<u8>,
}

/// A key that signs sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKey {
    /// Its public half.
    pub public: Vec<u8>,
    /// Its private half, which members alone can open.
    pub sealed: Vec<u8>,
    /// When it was made, unix milliseconds of the log's clock.
    pub made_at_ms: u64,
}

impl State {
    /// The key of this number, as long as sessions may be of it.
    #[must_use]
    pub fn session_key(&self, number: u64) -> Option<&SessionKey> {
        self.session_keys.get(&number)
    }

    /// The key that signs, with its number.
    #[must_use]
    pub fn newest_session_key(&self) -> Option<(u64, &SessionKey)> {
        self.session_keys.iter().next_back().map(|(number, key)| (*number, key))
    }

    /// Has no key of sessions, as in a backup: a cluster that begins with what was another's makes its own.
    pub fn forget_session_keys(&mut self) {
        let numbers: Vec<u64> = self.session_keys.iter().map(|(number, _)| *number).collect();
        numbers.iter().for_each(|number| drop(self.session_keys.remove(number)));
    }

    /// Notes one more, which signs from here on. Of two that are made behind the same one, the first holds.
    pub(super) fn set_session_key(&mut self, new: &NewSessionKey) -> Result<Response, Refusal> {
        if new.public.len() != PUBLIC_BYTES || new.sealed.is_empty() || new.sealed.len() > SEALED_BYTES_MAX {
            return Err(Refusal::Malformed { what: "no key of sessions has that size".into() });
        }
        let newest = self.newest_session_key().map_or(0, |(number, _)| number);
        if new.after != newest {
            return Ok(Response::Done);
        }
        let NewSessionKey { public, sealed, .. } = new.clone();
        let key = SessionKey { public, sealed, made_at_ms: self.now_ms() };
        self.session_keys.insert(newest.saturating_add(1), key);
        let numbers: Vec<u64> = self.session_keys.iter().map(|(number, _)| *number).collect();
        for old in numbers.iter().rev().skip(SESSION_KEYS_MAX) {
            self.session_keys.remove(old);
        }
        Ok(Response::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample_test::node_info;
    use crate::command::{Command, Proposal};
    use crate::id::{ClusterId, Digest};
    use crate::state::Beginning;

    fn noted(state: &mut State, after: u64, public: &[u8], sealed: &[u8]) -> Response {
        let new = NewSessionKey { after, public: public.to_vec(), sealed: sealed.to_vec() };
        let at_ms = 1_000 + after;
        state.apply(2, &Proposal { at_ms, command: Command::SetSessionKey(Box::new(new)) })
    }

    fn numbers(state: &State) -> Vec<u64> {
        (0..10).filter(|number| state.session_key(*number).is_some()).collect()
    }

    #[test]
    fn the_newest_key_signs_the_one_before_stays_and_of_two_at_once_the_first_holds() {
        let mut state = State::default();
        assert_eq!(state.newest_session_key(), None);
        for (after, public) in [(0, [1; 32]), (0, [9; 32]), (7, [9; 32]), (1, [2; 32]), (1, [9; 32]), (2, [3; 32])] {
            assert_eq!(noted(&mut state, after, &public, b"k"), Response::Done);
        }
        assert_eq!(numbers(&state), [2, 3]);
        let (number, key) = state.newest_session_key().unwrap();
        assert_eq!((number, key.public[0], key.made_at_ms), (3, 3, 1_007));
        assert_eq!(state.session_key(2).unwrap().public, [2; 32]);
    }

    #[test]
    fn what_is_no_key_changes_nothing() {
        let mut state = State::default();
        for (public, sealed) in [(&[1; 31][..], &b"k"[..]), (&[1; 33], b"k"), (&[1; 32], b""), (&[1; 32], &[0; 513])] {
            assert!(matches!(noted(&mut state, 0, public, sealed), Response::Refused(Refusal::Malformed { .. })));
        }
        assert_eq!(state.newest_session_key(), None);
    }

    #[test]
    fn a_cluster_that_begins_with_a_backup_has_no_key_of_another() {
        let mut state = State::default();
        noted(&mut state, 0, &[1; 32], b"k");
        let info = node_info("r1");
        state.begin_again(&Beginning { cluster: ClusterId([9; 16]), node: 5, info, admin_token: Digest::of(b"a") });
        assert_eq!(state.newest_session_key(), None);
    }
}
