//! What was kept of one cluster as the beginning of another: its jobs, feeds and results, and none of its nodes.

use std::collections::BTreeSet;

use super::access::{FIRST_NAME, key_without_secret};
use super::{AccessToken, CLUSTER, FORMER_MAX, NodeRecord, State};
use crate::command::{NodeInfo, SpecRef, UnitKey};
use crate::event::ClusterEventKind;
use crate::id::{ClusterId, Digest, JobId, NodeId};

/// How a cluster begins whose state was another's before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// Its id.
    pub cluster: ClusterId,
    /// Its first node, an id that nothing in the state has.
    pub node: NodeId,
    /// What that node says of itself.
    pub info: NodeInfo,
    /// Digest of its first administrator token.
    pub admin_token: Digest,
}

impl State {
    /// The largest log index that anything in the state names: jobs, nodes, grants, events and rules.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        let jobs = self.jobs.iter().map(|(job, _)| job.0);
        let nodes = self.nodes.iter().map(|(node, _)| *node).chain(self.offline.iter().map(|(worker, _)| *worker));
        let grants = self.chunks.iter().map(|(_, chunk)| chunk.epoch);
        let leases = self.leases.iter().map(|(_, lease)| lease.epoch);
        let events = self.events.iter().map(|(key, _)| key.index);
        let runs = self.schedules.iter().flat_map(|(_, schedule)| schedule.last_job).map(|job| job.0);
        let rules = self.rules.iter().map(|(_, record)| record.index);
        let history = self.history.iter().map(|(_, event)| event.index);
        let passes = self.keeps.iter().flat_map(|(_, keep)| {
            keep.running
                .iter()
                .map(|(_, job)| job.0)
                .chain(keep.slices.iter().filter_map(|slice| slice.job).map(|job| job.0))
        });
        jobs.chain(passes)
            .chain(runs)
            .chain(nodes)
            .chain(grants)
            .chain(leases)
            .chain(events)
            .chain(rules)
            .chain(history)
            .max()
            .unwrap_or(0)
    }

    /// Begins another cluster with what is here. What was out comes back without blame; nodes, join tokens and
    /// administrators are those of `beginning` alone, which holds every chunk.
    pub fn begin_again(&mut self, beginning: &Beginning) {
        let Beginning { cluster, node, info, admin_token } = beginning;
        let nodes: Vec<NodeId> = self.nodes.iter().map(|(node, _)| *node).collect();
        self.forget_recoveries();
        for gone in nodes {
            // What is known of a node beside its row goes as for any that leaves; its row goes in any case.
            drop(self.remove_node(*node, gone));
            self.nodes.remove(&gone);
        }
        let tokens: Vec<_> = self.tokens.iter().map(|(token, _)| *token).collect();
        for token in &tokens {
            self.tokens.remove(token);
            self.token_policies.remove(token);
        }
        let admins: Vec<Digest> = self.admin_tokens.iter().map(|(digest, _)| *digest).collect();
        admins.iter().for_each(|digest| drop(self.admin_tokens.remove(digest)));
        // Its key is sealed with what this cluster does not have.
        self.forget_authority();
        self.forget_session_keys();
        self.shut_tokens();
        self.admin_tokens.insert(*admin_token, "admin".into());
        let mut row = self.cluster();
        row.former.extend(row.id.replace(*cluster));
        row.former.drain(..row.former.len().saturating_sub(FORMER_MAX));
        self.cluster.insert(CLUSTER, row);
        self.nodes.insert(*node, NodeRecord::new(info.clone(), self.now_ms()));
        self.tell_of_node(*node, *node, ClusterEventKind::NodeJoined);
        self.name_holder(*node);
    }

    /// Access tokens let nobody in here. Those with limits, or by which something goes on, keep name and limits and wait for a secret of
    /// this cluster; the names of all others are free again, and the first administrator is another.
    fn shut_tokens(&mut self) {
        let now_ms = self.now_ms();
        let held: BTreeSet<String> = self.who_holds().into_iter().map(str::to_owned).collect();
        let keys: Vec<Digest> = self.access_tokens.iter().map(|(key, _)| *key).collect();
        for key in keys {
            let Some(token) = self.access_tokens.remove(&key) else { continue };
            let is_limited =
                token.networks.is_some() || !token.scopes.is_empty() || !self.token_limits(&token.name).is_empty();
            if token.name == FIRST_NAME || !(is_limited || held.contains(&token.name)) {
                self.forget_limits(&token.name);
            } else if token.is_valid(now_ms) {
                let shut = AccessToken { revoked_at_ms: Some(now_ms), ..token };
                self.access_tokens.insert(key_without_secret(&shut.name), shut);
            } else {
                self.access_tokens.insert(key, token);
            }
        }
    }

    /// Names `node` the one holder of every chunk.
    fn name_holder(&mut self, node: NodeId) {
        let units: Vec<UnitKey> = self.chunks.iter().map(|(unit, _)| *unit).collect();
        for unit in &units {
            if let Some(chunk) = self.chunks.get_mut(unit) {
                chunk.stored.holders = vec![node];
            }
        }
        let jobs: Vec<JobId> = self.specs.iter().map(|(job, _)| *job).collect();
        for job in &jobs {
            if let Some(SpecRef::Chunk { holders, .. }) = self.specs.get_mut(job) {
                *holders = vec![node];
            }
        }
        let kinds: Vec<String> = self.feeds.iter().map(|(kind, _)| kind.clone()).collect();
        for kind in &kinds {
            if let Some(feed) = self.feeds.get_mut(kind) {
                feed.holders = vec![node];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::draw_test::{Past, Scene, any_move};
    use crate::command::sample_test::{begin, node_info, two_nodes};
    use crate::command::{AccessRole, Author, Command, NewAccessToken, Proposal, Refusal, Response, TokenLimits};
    use crate::invariant;

    fn apply(state: &mut State, command: Command) -> Response {
        let index = state.now_ms() + 1;
        state.apply(index, &Proposal { at_ms: index, command })
    }

    #[test]
    fn another_cluster_knows_which_it_was_and_names_of_tokens_that_hold_nothing_are_free_again() {
        let mut state = State::default();
        apply(&mut state, begin("n1"));
        let was = state.cluster().id.unwrap();
        let make = |name: &str, key: &str, networks: Option<&str>| {
            Command::MakeAccessToken(Box::new(NewAccessToken {
                name: name.into(),
                key: Digest::of(key.as_bytes()),
                role: AccessRole::Operator,
                ttl_ms: None,
                networks: networks.map(|net| vec![net.parse().unwrap()]),
                scopes: Vec::new(),
                author: Author::default(),
            }))
        };
        apply(&mut state, make("free", "1", None));
        apply(&mut state, make("limited", "2", Some("10.0.0.0/8")));
        let info = node_info("r1");
        let beginning =
            Beginning { cluster: ClusterId([9; 16]), node: 99, info: info.clone(), admin_token: Digest::of(b"new") };
        state.begin_again(&beginning);
        assert_eq!(state.cluster().former, [was]);
        assert_eq!(apply(&mut state, make("free", "3", None)), Response::Done);
        let kept = apply(&mut state, make("limited", "4", None));
        assert!(matches!(kept, Response::Refused(_)), "{kept:?}");
        assert!(state.access_token(&Digest::of(b"1")).is_none(), "its secret lets nobody in");
        assert!(state.access_token(&Digest::of(b"2")).is_none(), "nor does this one's");
        assert!(state.access_token_named("limited").is_some_and(|token| !token.is_valid(state.now_ms())));
        assert!(state.waits_for_secret("limited") && !state.waits_for_secret("free"));
        state.begin_again(&Beginning { cluster: ClusterId([8; 16]), node: 199, info, admin_token: Digest::of(b"x") });
        assert_eq!(state.cluster().former, [was, ClusterId([9; 16])]);
    }

    #[test]
    fn a_token_that_came_with_a_backup_is_what_it_was_once_it_has_a_secret_of_the_new_cluster() {
        let mut state = State::default();
        let rotate = |name: &str, secret: &str| {
            let (name, key) = (name.to_owned(), Digest::of(secret.as_bytes()));
            Command::RotateAccessToken { name, key, author: Author::default() }
        };
        let revoke = |name: &str| Command::RevokeAccessToken { name: name.into(), author: Author::default() };
        apply(&mut state, begin("n1"));
        // One that an administrator replaced is no other row than the new cluster's own.
        assert_eq!(apply(&mut state, rotate("admin", "second")), Response::Done);
        let limits = TokenLimits { open_jobs: Some(2), ..TokenLimits::default() };
        for name in ["ci", "gone", "out"] {
            let new = NewAccessToken {
                name: name.into(),
                key: Digest::of(name.as_bytes()),
                role: AccessRole::Operator,
                ttl_ms: None,
                networks: Some(vec!["10.0.0.0/8".parse().unwrap()]),
                scopes: Vec::new(),
                author: Author::default(),
            };
            assert_eq!(apply(&mut state, Command::MakeAccessToken(Box::new(new))), Response::Done);
            let limit = Command::LimitAccessToken { name: name.into(), limits, author: Author::default() };
            assert_eq!(apply(&mut state, limit), Response::Done);
        }
        assert_eq!(apply(&mut state, revoke("out")), Response::Done);
        let before = state.access_token_named("ci").unwrap();
        let (cluster, info, admin_token) = (ClusterId([9; 16]), node_info("r1"), Digest::of(b"new"));
        state.begin_again(&Beginning { cluster, node: 99, info, admin_token });
        assert_eq!(state.access_tokens().filter(|token| token.name == "admin").count(), 1);
        assert_eq!(apply(&mut state, rotate("admin", "third")), Response::Done);
        assert_eq!(apply(&mut state, rotate("ci", "ci again")), Response::Done);
        let after = state.access_token(&Digest::of(b"ci again")).unwrap();
        assert!(after.is_valid(state.now_ms()) && !state.waits_for_secret("ci"));
        assert_eq!((after.networks, state.token_limits("ci")), (before.networks, limits));
        // What was revoked stays so, before the backup and behind it.
        assert_eq!(apply(&mut state, revoke("gone")), Response::Done);
        for name in ["gone", "out"] {
            let refused = apply(&mut state, rotate(name, "x"));
            assert!(matches!(refused, Response::Refused(Refusal::AccessTokenEnded { .. })), "{refused:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn whatever_a_cluster_came_to_another_begins_with_its_jobs_and_keeps_every_law(
            run in prop::collection::vec(any_move(), 1..80)
        ) {
            let (mut state, mut past) = (State::default(), Past::default());
            let mut index = 1;
            for drawn in two_nodes().into_iter().map(Err).chain(run.iter().map(Ok)) {
                index += 1;
                let command = drawn.map_or_else(|command| command, |drawn| drawn.at(&Scene { state: &state, past: &past }));
                past.note(&state.apply(index, &Proposal { at_ms: 1_000 + index, command }));
            }
            let before = state.clone();
            prop_assert!(before.last_index() <= index);
            let node = before.last_index() + 1;
            let beginning =
                Beginning { cluster: ClusterId([9; 16]), node, info: node_info("r1"), admin_token: Digest::of(b"new") };
            state.begin_again(&beginning);
            invariant::check(&state, node).map_err(TestCaseError::fail)?;
            let jobs = |state: &State| state.jobs().map(|(id, job)| (id, job.done, job.counts)).collect::<Vec<_>>();
            prop_assert_eq!(jobs(&state), jobs(&before));
            prop_assert_eq!(state.nodes().map(|(id, _)| id).collect::<Vec<_>>(), [node]);
            prop_assert_eq!((state.leases().count(), state.tokens().count()), (0, 0));
            prop_assert!(state.chunks().all(|(_, chunk)| chunk.stored.holders == [node]));
            prop_assert!(state.admin_token(&Digest::of(b"admin")).is_none() && state.admin_token(&Digest::of(b"new")).is_some());
            prop_assert_eq!(state.cluster().id, Some(ClusterId([9; 16])));
            let ids = |state: &State| state.cluster().ids().collect::<Vec<_>>();
            let expected: Vec<ClusterId> = std::iter::once(ClusterId([9; 16])).chain(ids(&before)).collect();
            prop_assert_eq!(ids(&state), expected, "it knows what it was");
        }
    }
}
