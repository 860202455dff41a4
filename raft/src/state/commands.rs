//! One row per command: its name, the events it may bring to the history of a job, and what it does to the state.
//!
//! All that is said of every command alike is made from these rows, so that a command without one does not compile.
//! That a command brings the events of its row, each of them and no other, is held by `laws_test.rs`.

use super::State;
use crate::command::{Command, Refusal, Response};

/// Makes [`CommandKind`], [`Command::kind`] and `State::dispatch` from the rows. The two names in front are how the rows
/// call the state and the log index of the entry.
macro_rules! commands {
    ($state:ident, $index:ident: $($command:ident $fields:tt => $name:literal, [$($event:literal),*], $call:expr;)+) => {
        /// A command without what it carries.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CommandKind {
            $(#[doc = concat!("[`Command::", stringify!($command), "`]")] $command,)+
        }

        impl CommandKind {
            /// All of them, in the order of their rows.
            pub const ALL: &[Self] = &[$(Self::$command),+];

            /// The word for traces.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$command => $name,)+
                }
            }

            /// The events that it may bring, by their words.
            #[must_use]
            pub fn events(self) -> &'static [&'static str] {
                match self {
                    $(Self::$command => &[$($event),*],)+
                }
            }
        }

        impl Command {
            /// Which command it is.
            #[must_use]
            pub fn kind(&self) -> CommandKind {
                match self {
                    $(Self::$command { .. } => CommandKind::$command,)+
                }
            }

            /// The word for traces.
            #[must_use]
            pub fn name(&self) -> &'static str {
                self.kind().name()
            }
        }

        impl State {
            /// Does what a command says, whose entry has this index.
            pub(super) fn dispatch(&mut self, $index: u64, command: &Command) -> Result<Response, Refusal> {
                let $state = self;
                match command {
                    $(Command::$command $fields => $call,)+
                }
            }
        }
    };
}

commands! { state, index:
    Begin { cluster, info, admin_token } => "begin", [], state.begin(*cluster, info, *admin_token);
    CreateToken(token) => "create-token", [], state.create_token(token);
    RevokeToken { token } => "revoke-token", [], state.revoke_token(*token);
    Join { token, secret, info } => "join", [], state.join(index, *token, *secret, info);
    UpdateNode { node, info } => "update-node", [], state.update_node(*node, info);
    SubmitJob(submission) => "submit-job", ["submitted", "finished"], state.submit(index, submission);
    Grant { grants } => "grant", ["assigned", "reassigned"], Ok(state.grant(index, grants));
    Complete { completions } => "complete", ["unit_done", "finished"], Ok(state.complete(index, completions));
    Release { leases } => "release", ["released"], Ok(state.release(index, leases));
    Expire { leases, reason } =>
        "expire", ["expired", "given_up", "finished"], Ok(state.expire(index, leases, reason));
    WorkerSuspect { node } => "worker-suspect", ["heartbeat_missed"], state.worker_suspect(index, *node);
    Cancel { job, reason } => "cancel", ["cancelled"], state.cancel(index, *job, reason);
    WorkerFailed { node } =>
        "worker-failed", ["worker_failed", "given_up", "finished"], state.worker_failed(index, *node);
    WorkerBack { node } => "worker-back", ["worker_back"], state.worker_back(index, *node);
    SetHolders { updates } => "set-holders", [], Ok(state.set_holders(updates));
    RemoveNode { node } => "remove-node", ["released"], state.remove_node(index, *node);
    DrainNode { node, draining } => "drain-node", [], state.drain_node(*node, *draining);
    SetFeed { kind, record } => "set-feed", [], state.set_feed(kind, record);
    RemoveFeed { kind } => "remove-feed", [], Ok(state.remove_feed(kind));
    SetFeedHolders { digest, holders } => "set-feed-holders", [], Ok(state.set_feed_holders(*digest, holders));
    SetSpecHolders { updates } => "set-spec-holders", [], Ok(state.set_spec_holders(updates));
    CompleteWith { completion, remarks } => "complete-with", ["unit_done", "finished"],
        Ok(state.complete_with(index, completion, remarks));
}
