//! Whose orders nodes take alone, by their own files: for the planner, so that work goes to whoever takes it. What a node
//! starts is its own decision, whatever stands here.

use super::State;
use crate::command::{Refusal, Response};
use crate::id::NodeId;

/// Most keys that a node names. Ours: they stand in one row and are looked through for each signed job.
pub const SIGNERS_MAX: usize = 64;
/// The longest text of a key, in bytes.
pub const SIGNER_BYTES_MAX: usize = 96;

impl State {
    /// The keys of those whose orders a node takes alone; `None` where it takes every order.
    #[must_use]
    pub fn signers(&self, node: NodeId) -> Option<&[String]> {
        self.signers.get(&node).map(Vec::as_slice)
    }

    pub(super) fn set_signers(&mut self, node: NodeId, keys: Option<&[String]>) -> Result<Response, Refusal> {
        if self.nodes.get(&node).is_none() {
            return Err(Refusal::NodeUnknown { node });
        }
        let Some(keys) = keys else {
            self.signers.remove(&node);
            return Ok(Response::Done);
        };
        if keys.len() > SIGNERS_MAX || keys.iter().any(|key| key.is_empty() || key.len() > SIGNER_BYTES_MAX) {
            let what = format!("a node names at most {SIGNERS_MAX} keys of 1 to {SIGNER_BYTES_MAX} bytes");
            return Err(Refusal::Malformed { what });
        }
        if self.signers(node) != Some(keys) {
            self.signers.insert(node, keys.to_vec());
        }
        Ok(Response::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample_test::two_nodes;
    use crate::command::{Command, Proposal};

    #[test]
    fn a_node_names_whose_orders_it_takes_takes_it_back_and_is_forgotten_with_it() {
        let mut state = State::default();
        let mut index = 1;
        let mut apply = |state: &mut State, command: Command| {
            index += 1;
            state.apply(index, &Proposal { at_ms: 1, command })
        };
        two_nodes().into_iter().for_each(|command| drop(apply(&mut state, command)));
        let set = |keys: Option<&[&str]>| Command::SetSigners {
            node: 5,
            keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
        };
        assert_eq!(apply(&mut state, set(Some(&["a", "b"]))), Response::Done);
        assert_eq!((state.signers(5).map(<[_]>::len), state.signers(1)), (Some(2), None));
        let long = "x".repeat(SIGNER_BYTES_MAX + 1);
        let many = vec!["a"; SIGNERS_MAX + 1];
        for bad in [&[long.as_str()][..], &[""], &many] {
            assert!(matches!(apply(&mut state, set(Some(bad))), Response::Refused(Refusal::Malformed { .. })));
        }
        assert_eq!(apply(&mut state, set(Some(&[]))), Response::Done, "a node that trusts nobody takes nothing");
        assert_eq!(state.signers(5), Some(&[][..]));
        apply(&mut state, set(None));
        assert_eq!(state.signers(5), None);
        apply(&mut state, set(Some(&["a"])));
        apply(&mut state, Command::RemoveNode { node: 5 });
        assert_eq!(state.signers(5), None);
        let of_nobody = apply(&mut state, set(None));
        assert!(matches!(of_nobody, Response::Refused(Refusal::NodeUnknown { node: 5 })), "{of_nobody:?}");
    }
}
