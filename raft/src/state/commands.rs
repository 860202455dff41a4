//! One row per command: its name, the events it may bring to the history of a job, and what it does to the state. A
//! command that came after the first version of the log says since which one it may stand there.
//!
//! All that is said of every command alike is made from these rows, so that a command without one does not compile.
//! That a command brings the events of its row, each of them and no other, is held by `laws_test.rs`.

use super::State;
use crate::command::{Command, Refusal, Response};
use crate::version::{FIRST, LogVersion};

/// Makes [`CommandKind`], [`Command::kind`] and `State::dispatch` from the rows. The two names in front are how the rows
/// call the state and the log index of the entry.
macro_rules! commands {
    ($state:ident, $index:ident: $(
        $(#[$only:meta])* $command:ident $fields:tt => $name:literal, [$($event:literal),*], $call:expr
        $(, since $since:literal)?;
    )+) => {
        /// A command without what it carries.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CommandKind {
            $($(#[$only])* #[doc = concat!("[`Command::", stringify!($command), "`]")] $command,)+
        }

        impl CommandKind {
            /// All of them, in the order of their rows.
            pub const ALL: &[Self] = &[$($(#[$only])* Self::$command),+];

            /// The word for traces.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $($(#[$only])* Self::$command => $name,)+
                }
            }

            /// The first version of the log that it may stand in.
            #[must_use]
            pub fn since(self) -> LogVersion {
                match self {
                    $($(#[$only])* Self::$command => FIRST $(.max($since))?,)+
                }
            }

            /// The events that it may bring, by their words.
            #[must_use]
            pub fn events(self) -> &'static [&'static str] {
                match self {
                    $($(#[$only])* Self::$command => &[$($event),*],)+
                }
            }
        }

        impl Command {
            /// Which command it is.
            #[must_use]
            pub fn kind(&self) -> CommandKind {
                match self {
                    $($(#[$only])* Self::$command { .. } => CommandKind::$command,)+
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
                    $($(#[$only])* Command::$command $fields => $call,)+
                }
            }
        }
    };
}

commands! { state, index:
    Begin { cluster, info, admin_token } => "begin", [], state.begin(index, *cluster, info, *admin_token);
    CreateToken(token) => "create-token", [], state.create_token(token);
    RevokeToken { token } => "revoke-token", [], state.revoke_token(*token);
    Join { token, secret, info } => "join", [], state.join(index, *token, *secret, info);
    UpdateNode { node, info } => "update-node", [], state.update_node(index, *node, info);
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
    DeleteJob { job } => "delete-job", [], state.delete_job(*job);
    SetSettings { settings } => "set-settings", [], state.set_settings(settings);
    PauseJob { job, paused, reason } =>
        "pause-job", ["paused", "resumed"], state.pause(index, *job, *paused, reason);
    Reprioritize { job, priority } => "reprioritize", ["reprioritized"], state.reprioritize(index, *job, *priority);
    SetBackoff { updates } => "set-backoff", [], Ok(state.set_backoff(updates));
    SetAside { node, until_ms } => "set-aside", [], state.set_aside(*node, *until_ms);
    SetNetworks { node, networks } => "set-networks", [], state.set_networks(index, *node, networks.as_deref());
    MakeToken(grant) => "make-token", [], state.make_token(grant);
    Admit { token, info } => "admit", [], state.admit_by_token(index, *token, info);
    SetPolicy { node, change } => "set-policy", [], state.set_policy(index, *node, change);
    NodeLeft { node } => "node-left", ["released"], state.node_left(index, *node);
    Retire { node } => "retire", ["released"], state.retire(index, *node);
    Forget { node, since_ms } => "forget", [], state.forget(index, *node, *since_ms);
    AimVoters { voters } => "aim-voters", [], state.aim_voters(*voters);
    CarryJob(submission) => "carry-job", ["submitted"], state.carry(index, submission);
    SetOffline { peer, name } => "set-offline", [], state.set_offline(index, peer, name.as_deref());
    Import(imported) => "import", ["unit_done", "finished"], state.import(index, imported);
    NoteBundles { worker, first, last } => "note-bundles", [], state.note_bundles(*worker, *first, *last);
    AddSchedule { name, spec } => "add-schedule", [], state.add_schedule(name, spec);
    RemoveSchedule { name } => "remove-schedule", [], state.remove_schedule(name);
    PauseSchedule { name, paused } => "pause-schedule", [], state.pause_schedule(name, *paused);
    StartOccurrence { schedule, occurrence, submission } =>
        "start-occurrence", ["submitted"], state.start_occurrence(index, schedule, *occurrence, submission);
    PassOccurrence { schedule, occurrence, why } =>
        "pass-occurrence", [], state.pass_occurrence(schedule, *occurrence, why);
    SetRule(new) => "set-rule", [], state.set_rule(index, new);
    RemoveRule { kind, name, author: _ } => "remove-rule", [], state.remove_rule(index, *kind, name);
    SubmitAs { submission, author } =>
        "submit-as", ["submitted", "finished"], state.accept_as(index, submission, author, State::submit);
    HoldJob { job, hold } => "hold-job", ["paused", "resumed"], state.hold_job(index, *job, hold.as_deref());
    CompleteMeasured { completion, remarks, measures } => "complete-measured", ["unit_done", "finished"],
        Ok(state.complete_measured(index, completion, remarks, measures));
    AddKeep { name, spec } => "add-keep", [], state.add_keep(name, spec);
    RemoveKeep { name } => "remove-keep", ["cancelled"], state.remove_keep(index, name);
    PauseKeep { name, paused } => "pause-keep", [], state.pause_keep(name, *paused);
    StartSlice { keep, slice, submission } =>
        "start-slice", ["submitted"], state.start_slice(index, keep, *slice, submission);
    EndSlice { keep, job } => "end-slice", [], state.end_slice(keep, *job);
    RefuseSlice { keep, reason } => "refuse-slice", [], state.refuse_slice(keep, reason);
    SetVersions { node, versions } => "set-versions", [], state.set_versions(*node, *versions);
    RaiseLog { version } => "raise-log", [], Ok(state.raise_log(*version));
    ArrangeAs { author, arrangement } => "arrange-as", ["submitted"], state.arrange_as(index, author, arrangement);
    MakeAccessToken(new) => "make-access-token", [], state.make_access_token(new);
    RotateAccessToken { name, key, author } => "rotate-access-token", [], state.rotate_access_token(name, *key, author);
    RevokeAccessToken { name, author: _ } => "revoke-access-token", [], state.revoke_access_token(name);
    NoteAudit { batch, entries } => "note-audit", [], state.note_audit(*batch, entries);
    SetAuthority(authority) => "set-authority", [], state.set_authority(authority);
    SetSigners { node, keys } => "set-signers", [], state.set_signers(*node, keys.as_deref());
    LimitAccessToken { name, limits, author: _ } =>
        "limit-access-token", [], state.limit_access_token(name, limits);
    MoveInLog { node, step } => "move-in-log", [], state.move_in_log(index, *node, *step);
    SetSessionKey(new) => "set-session-key", [], state.set_session_key(new);
    Decline { leases, reason } =>
        "decline", ["expired", "given_up", "finished"], Ok(state.decline(index, leases, reason));
    SubmitOrdered(ordered) =>
        "submit-ordered", ["submitted", "finished"], state.submit_ordered(index, ordered);
    TakeBack(node) => "take-back", ["expired", "given_up", "finished"], Ok(state.take_back(index, *node));
    YieldShare { lease, rate_pps } => "yield-share", [], Ok(state.yield_share(lease, *rate_pps));
    SetAddresses(node, addresses) => "set-addresses", [], state.set_addresses(index, *node, addresses), since 2;
    RetireNoted(noted) => "retire-noted", ["released"], state.retire_noted(index, noted), since 2;
    Recover(recovery) => "recover", [], state.recover(index, recovery), since 2;
    #[cfg(feature = "next-version")]
    Rehearse { node } => "rehearse", [], state.rehearse(*node), since 3;
}
