//! Access tokens: who may use the API. A token that was revoked or has ended stays known by its name, so that no other takes
//! its place in rules and in the audit log.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{AccessRole, Author, NewAccessToken, Refusal, Response};
use crate::id::{Digest, JobId, TokenId};

/// How many access tokens are kept; when there are more, the oldest goes that is of no use any more and asked for nothing that goes on,
/// which is held to its limits. Ours: every person and program of a large organisation.
pub const ACCESS_TOKENS_MAX: usize = 1_000;

/// The name of the token that was made with the cluster.
pub(super) const FIRST_NAME: &str = "admin";

/// Who answers for what was made with that token lately: no token has a name with spaces.
const NEW_OF_FIRST: &str = "new tokens of admin";
/// How long the secret of a token is new: for so long whoever gave it answers for it. Ours: whoever stole a token that makes others has
/// one share for all of these until the theft is a day old, and a team looks at its audit log once a day.
const NEW_FOR_MS: u64 = 24 * 3600 * 1000;

/// In place of the digest of a secret, of a token that came with a backup and has none in this cluster yet: of no text that can be
/// shown, since none begins with this byte.
pub(super) fn key_without_secret(name: &str) -> Digest {
    Digest::of(&[b"\0no secret yet: ", name.as_bytes()].concat())
}

/// An access token's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// What it is called.
    pub name: String,
    /// What its bearer may do.
    pub role: AccessRole,
    /// When it was made, unix milliseconds of the log's clock.
    pub created_at_ms: u64,
    /// When its secret became what it is.
    pub changed_at_ms: u64,
    /// When it ends; `None` where it does not end by itself.
    pub expires_at_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_at_ms: Option<u64>,
    /// The networks that its bearer may scan.
    pub networks: Option<Vec<IpNet>>,
    /// The scopes that its bearer may scan, by their names.
    pub scopes: Vec<String>,
    /// Who made it.
    pub author: Author,
    /// Who gave it the secret that it has, by name: whoever did may know it.
    pub changed_by: String,
}

impl AccessToken {
    /// Whether its bearer is let in.
    #[must_use]
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.revoked_at_ms.is_none() && self.expires_at_ms.is_none_or(|end| end > now_ms)
    }

    /// The one that was made with the cluster, as long as it is what it was then.
    fn first(name: &str, began_at_ms: u64) -> Self {
        Self {
            name: name.to_owned(),
            role: AccessRole::Admin,
            created_at_ms: began_at_ms,
            changed_at_ms: began_at_ms,
            expires_at_ms: None,
            revoked_at_ms: None,
            networks: None,
            scopes: Vec::new(),
            author: Author::default(),
            changed_by: String::new(),
        }
    }
}

/// What somebody asked for that goes on by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkOf {
    /// Schedules that are not paused, by name.
    pub schedules: Vec<String>,
    /// Standing scans that are not paused, by name.
    pub keeps: Vec<String>,
    /// Jobs that wait or run.
    pub jobs: Vec<JobId>,
    /// Access tokens that let somebody in and that it made or gave their secret, by name.
    pub tokens: Vec<String>,
    /// Join tokens that it made and that still let nodes in.
    pub join_tokens: Vec<TokenId>,
}

/// Who answers for tokens: of each, by name, the first of those that led to it, where one made another. What was made with the token that
/// came with the cluster answers for itself, since that hands tokens out to people, but not at once: as long as such tokens are new, one
/// share is for all of them, beside that token's own. A person whom a provider lets in answers for the tokens that they made.
#[derive(Debug)]
pub(super) struct Makers<'a> {
    /// Who led to a token, by its name.
    authors: BTreeMap<&'a str, Origin<'a>>,
    known: BTreeMap<&'a str, &'a str>,
}

/// Who led to a token.
#[derive(Debug, Clone, Copy)]
struct Origin<'a> {
    /// Who made it; while it is new, who gave it the secret that it has, and may know that.
    by: &'a str,
    is_new: bool,
}

impl<'a> Origin<'a> {
    fn of(token: &'a AccessToken, now_ms: u64) -> Self {
        let is_own = token.changed_by == token.name;
        let (giver, since_ms) = match is_own {
            true => (token.author.who.as_str(), token.created_at_ms),
            false => (token.changed_by.as_str(), token.changed_at_ms),
        };
        let is_new = token.name != FIRST_NAME && now_ms.saturating_sub(since_ms) < NEW_FOR_MS;
        Self { by: if is_new { giver } else { token.author.who.as_str() }, is_new }
    }
}

/// Whether this made a token that answers for itself in time.
fn is_first(author: &str) -> bool {
    author.is_empty() || author == FIRST_NAME
}

impl<'a> Makers<'a> {
    /// Who answers for the token of this name.
    pub(super) fn of(&mut self, name: &'a str) -> &'a str {
        let (mut way, mut passed, mut at) = (Vec::new(), BTreeSet::new(), name);
        let answers = loop {
            if let Some(known) = self.known.get(at) {
                break *known;
            }
            if !passed.insert(at) {
                // A name that was forgotten was given again, by what had been made with it. All on this round have one answer.
                break way.iter().skip_while(|passed| **passed != at).min().map_or(at, |least: &&str| *least);
            }
            way.push(at);
            match self.authors.get(at) {
                Some(origin) if !is_first(origin.by) => at = origin.by,
                Some(origin) if origin.is_new => break NEW_OF_FIRST,
                _ => break at,
            }
        };
        self.known.extend(way.into_iter().map(|passed| (passed, answers)));
        answers
    }
}

impl State {
    /// What `who` asked for that goes on whether or not `who` is let in any more.
    #[must_use]
    pub fn work_of(&self, who: &str) -> WorkOf {
        let now_ms = self.now_ms();
        let is_its = |author: Option<&Author>| author.is_some_and(|author| author.who == who);
        let schedules = self.schedules.iter().filter(|(name, row)| !row.paused && is_its(self.schedule_author(name)));
        let keeps = self.keeps.iter().filter(|(name, row)| !row.paused && is_its(self.keep_author(name)));
        let jobs = self.jobs.iter().filter(|(id, job)| job.is_open() && is_its(self.author(**id)));
        let is_known = |row: &AccessToken| row.name != who && (row.author.who == who || row.changed_by == who);
        let tokens = self.access_tokens.iter().filter(|(_, row)| row.is_valid(now_ms) && is_known(row));
        let join_tokens = self.tokens.iter().filter(|(_, row)| row.by == who && self.usable(row).is_ok());
        WorkOf {
            join_tokens: join_tokens.map(|(id, _)| *id).collect(),
            schedules: schedules.map(|(name, _)| name.clone()).collect(),
            keeps: keeps.map(|(name, _)| name.clone()).collect(),
            jobs: jobs.map(|(id, _)| *id).collect(),
            tokens: tokens.map(|(_, row)| row.name.clone()).collect(),
        }
    }

    /// Every access token, those of no use any more included.
    pub fn access_tokens(&self) -> impl Iterator<Item = AccessToken> {
        self.keyed_tokens().map(|(_, token)| token)
    }

    fn keyed_tokens(&self) -> impl Iterator<Item = (Digest, AccessToken)> {
        let began_at_ms = self.cluster().began_at_ms;
        let first = self.admin_tokens.iter().map(move |(key, name)| (*key, AccessToken::first(name, began_at_ms)));
        first.chain(self.access_tokens.iter().map(|(key, token)| (*key, token.clone())))
    }

    /// The token whose secret has this digest, whether or not it is still valid.
    #[must_use]
    pub fn access_token(&self, key: &Digest) -> Option<AccessToken> {
        let first = || Some(AccessToken::first(self.admin_tokens.get(key)?, self.cluster().began_at_ms));
        self.access_tokens.get(key).cloned().or_else(first)
    }

    /// The token of this name, whether or not it is still valid.
    #[must_use]
    pub fn access_token_named(&self, name: &str) -> Option<AccessToken> {
        self.keyed(name).map(|(_, token)| token)
    }

    /// Who answers for the token of this name: see `Makers`.
    #[must_use]
    pub fn maker_of(&self, name: &str) -> String {
        let own = self.access_tokens.iter().find(|(_, token)| token.name == name);
        // Most were made with the first one, or are it: nothing has to be followed for them.
        match own.map(|(_, token)| Origin::of(token, self.now_ms())) {
            Some(origin) if !is_first(origin.by) => self.makers().of(name).to_owned(),
            Some(Origin { is_new: true, .. }) => NEW_OF_FIRST.to_owned(),
            _ => name.to_owned(),
        }
    }

    /// Who answers for which token.
    pub(super) fn makers(&self) -> Makers<'_> {
        let now_ms = self.now_ms();
        let rows = self.access_tokens.iter().map(|(_, token)| (token.name.as_str(), Origin::of(token, now_ms)));
        Makers { authors: rows.collect(), known: BTreeMap::new() }
    }

    /// Whether the token of this name came with a backup and lets nobody in until it has a secret of this cluster.
    #[must_use]
    pub fn waits_for_secret(&self, name: &str) -> bool {
        self.access_tokens.get(&key_without_secret(name)).is_some()
    }

    /// The token of this name with the digest of its secret, whether or not it is still valid.
    #[must_use]
    pub fn keyed_access_token(&self, name: &str) -> Option<(Digest, AccessToken)> {
        self.keyed(name)
    }

    /// Looks at names before anything is copied: each request with a session asks.
    fn keyed(&self, name: &str) -> Option<(Digest, AccessToken)> {
        let first = self.admin_tokens.iter().find(|(_, of)| of.as_str() == name);
        let first = first.map(|(key, of)| (*key, AccessToken::first(of, self.cluster().began_at_ms)));
        let other = || self.access_tokens.iter().find(|(_, token)| token.name == name);
        first.or_else(|| other().map(|(key, token)| (*key, token.clone())))
    }

    pub(super) fn make_access_token(&mut self, new: &NewAccessToken) -> Result<Response, Refusal> {
        if let Some(what) = new.problem() {
            return Err(Refusal::Malformed { what });
        }
        // Asked again because the first answer was lost.
        if self.access_tokens.get(&new.key).is_some_and(|token| token.name == new.name) {
            return Ok(Response::Done);
        }
        if new.name == FIRST_NAME || self.keyed(&new.name).is_some() || self.access_token(&new.key).is_some() {
            return Err(Refusal::AccessTokenExists { name: new.name.clone() });
        }
        self.make_room_for_a_token()?;
        let now_ms = self.now_ms();
        let token = AccessToken {
            name: new.name.clone(),
            role: new.role,
            created_at_ms: now_ms,
            changed_at_ms: now_ms,
            expires_at_ms: new.ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms)),
            revoked_at_ms: None,
            networks: new.networks.clone(),
            scopes: new.scopes.clone(),
            author: new.author.cut(),
            changed_by: new.author.cut().who,
        };
        self.access_tokens.insert(new.key, token);
        Ok(Response::Done)
    }

    fn make_room_for_a_token(&mut self) -> Result<(), Refusal> {
        if self.access_tokens.len() < ACCESS_TOKENS_MAX {
            return Ok(());
        }
        let now_ms = self.now_ms();
        // What goes on by a token that was limited stays limited by its row.
        let held = self.who_holds();
        let is_of_use = |token: &AccessToken| token.is_valid(now_ms) || held.contains(token.name.as_str());
        let of_no_use = self.access_tokens.iter().filter(|(_, token)| !is_of_use(token));
        let oldest = of_no_use.min_by_key(|(key, token)| (token.created_at_ms, **key)).map(|(key, _)| *key);
        let oldest = oldest.ok_or(Refusal::TokensFull { limit: ACCESS_TOKENS_MAX })?;
        if let Some(gone) = self.access_tokens.remove(&oldest) {
            self.forget_limits(&gone.name);
        }
        Ok(())
    }

    /// Who has something that goes on and is held to their limits: schedules, standing scans and jobs, also such as are paused.
    pub(super) fn who_holds(&self) -> BTreeSet<&str> {
        let is_open = |job: JobId| self.job(job).is_some_and(super::Job::is_open);
        let schedules = self.schedule_authors.iter().map(|(_, author)| author);
        let keeps = self.keep_authors.iter().map(|(_, author)| author);
        let jobs = self.authors.iter().filter(|(job, _)| is_open(**job)).map(|(_, author)| author);
        schedules.chain(keeps).chain(jobs).map(|author| author.who.as_str()).collect()
    }

    /// Gives a token another secret; the one before is of no use from here on. One that came with a backup is what it was again.
    pub(super) fn rotate_access_token(
        &mut self,
        name: &str,
        key: Digest,
        author: &Author,
    ) -> Result<Response, Refusal> {
        let (before, token) = self.known(name)?;
        if before == key {
            return Ok(Response::Done);
        }
        let now_ms = self.now_ms();
        let revoked_at_ms = token.revoked_at_ms.filter(|_| before != key_without_secret(name));
        let token = AccessToken { revoked_at_ms, ..token };
        if !token.is_valid(now_ms) {
            return Err(Refusal::AccessTokenEnded { name: token.name });
        }
        if self.access_token(&key).is_some() {
            return Err(Refusal::Malformed { what: "another access token has this secret".into() });
        }
        self.admin_tokens.remove(&before);
        self.access_tokens.remove(&before);
        let changed_by = author.cut().who;
        self.access_tokens.insert(key, AccessToken { changed_at_ms: now_ms, changed_by, ..token });
        Ok(Response::Done)
    }

    /// Makes a token useless.
    pub(super) fn revoke_access_token(&mut self, name: &str) -> Result<Response, Refusal> {
        let (key, token) = self.known(name)?;
        if token.revoked_at_ms.is_some() {
            if key == key_without_secret(name) {
                // It gets none any more.
                self.access_tokens.remove(&key);
                self.access_tokens.insert(Digest::of(&key.0), token);
            }
            return Ok(Response::Done);
        }
        let now_ms = self.now_ms();
        let is_other_admin =
            |other: &AccessToken| other.role == AccessRole::Admin && other.name != token.name && other.is_valid(now_ms);
        if token.role == AccessRole::Admin
            && token.is_valid(now_ms)
            && !self.access_tokens().any(|other| is_other_admin(&other))
        {
            return Err(Refusal::LastAdministrator { name: token.name });
        }
        self.admin_tokens.remove(&key);
        self.access_tokens.insert(key, AccessToken { revoked_at_ms: Some(now_ms), ..token });
        Ok(Response::Done)
    }

    fn known(&self, name: &str) -> Result<(Digest, AccessToken), Refusal> {
        self.keyed(name).ok_or_else(|| Refusal::AccessTokenUnknown { name: name.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample_test::begin;
    use crate::command::{Command, Proposal};

    fn apply(state: &mut State, at_ms: u64, command: Command) -> Response {
        state.apply(at_ms, &Proposal { at_ms, command })
    }

    fn begun() -> State {
        let mut state = State::default();
        apply(&mut state, 10, begin("n1"));
        state
    }

    fn make(name: &str, role: AccessRole, ttl_ms: Option<u64>) -> Command {
        let (key, name) = (Digest::of(name.as_bytes()), name.to_owned());
        let author = Author { who: "admin".into(), from: "a".into() };
        Command::MakeAccessToken(Box::new(NewAccessToken {
            name,
            key,
            role,
            ttl_ms,
            networks: None,
            scopes: Vec::new(),
            author,
        }))
    }

    fn revoke(name: &str) -> Command {
        Command::RevokeAccessToken { name: name.into(), author: Author::default() }
    }

    fn rotate(name: &str, secret: &str) -> Command {
        let (name, key) = (name.to_owned(), Digest::of(secret.as_bytes()));
        Command::RotateAccessToken { name, key, author: Author::default() }
    }

    fn lets_in(state: &State, secret: &str) -> bool {
        state.access_token(&Digest::of(secret.as_bytes())).is_some_and(|token| token.is_valid(state.now_ms()))
    }

    #[test]
    fn a_token_lets_in_until_it_ends_is_revoked_or_gets_another_secret_and_its_name_is_never_given_again() {
        let mut state = begun();
        assert_eq!(apply(&mut state, 100, make("ci", AccessRole::Operator, Some(50))), Response::Done);
        assert_eq!(apply(&mut state, 101, make("ci", AccessRole::Operator, Some(50))), Response::Done, "asked again");
        assert!(lets_in(&state, "ci") && !lets_in(&state, "other"));
        assert_eq!(apply(&mut state, 120, rotate("ci", "new")), Response::Done);
        assert!(!lets_in(&state, "ci") && lets_in(&state, "new"));
        apply(&mut state, 150, Command::WorkerBack { node: 1 });
        assert!(!lets_in(&state, "new"), "it has ended");
        assert!(matches!(
            apply(&mut state, 151, rotate("ci", "x")),
            Response::Refused(Refusal::AccessTokenEnded { .. })
        ));
        let again = apply(&mut state, 152, make("ci", AccessRole::Viewer, None));
        assert!(matches!(again, Response::Refused(Refusal::AccessTokenExists { .. })), "{again:?}");
        apply(&mut state, 160, make("eve", AccessRole::Viewer, None));
        assert_eq!(apply(&mut state, 161, revoke("eve")), Response::Done);
        assert_eq!(apply(&mut state, 162, revoke("eve")), Response::Done, "asked again");
        assert!(!lets_in(&state, "eve"));
        assert!(state.access_token_named("eve").is_some_and(|token| token.revoked_at_ms == Some(161)));
        let unknown = apply(&mut state, 163, revoke("nobody"));
        assert!(matches!(unknown, Response::Refused(Refusal::AccessTokenUnknown { .. })), "{unknown:?}");
    }

    #[test]
    fn the_first_token_can_be_replaced_and_the_last_administrator_cannot_be_shut_out() {
        let mut state = begun();
        assert!(lets_in(&state, "admin"), "as it was made with the cluster");
        let last = apply(&mut state, 11, revoke("admin"));
        assert!(matches!(last, Response::Refused(Refusal::LastAdministrator { .. })), "{last:?}");
        assert_eq!(apply(&mut state, 12, rotate("admin", "second")), Response::Done);
        assert!(!lets_in(&state, "admin") && lets_in(&state, "second"));
        assert_eq!(state.access_tokens().filter(|token| token.name == "admin").count(), 1);
        apply(&mut state, 13, make("boss", AccessRole::Admin, Some(5)));
        assert_eq!(apply(&mut state, 14, revoke("admin")), Response::Done);
        let last = apply(&mut state, 15, revoke("boss"));
        assert!(matches!(last, Response::Refused(Refusal::LastAdministrator { .. })), "{last:?}");
        let again = apply(&mut state, 16, make("admin", AccessRole::Viewer, None));
        assert!(matches!(again, Response::Refused(Refusal::AccessTokenExists { .. })), "{again:?}");
    }

    #[test]
    fn at_the_bound_the_oldest_of_no_use_goes_and_where_all_are_of_use_no_more_are_made() {
        let mut state = begun();
        for number in 0..ACCESS_TOKENS_MAX as u64 {
            let name = format!("t{number}");
            assert_eq!(apply(&mut state, 100 + number, make(&name, AccessRole::Viewer, None)), Response::Done);
        }
        let full = apply(&mut state, 5_000, make("more", AccessRole::Viewer, None));
        assert!(matches!(full, Response::Refused(Refusal::TokensFull { .. })), "{full:?}");
        apply(&mut state, 5_001, revoke("t7"));
        // Its limits keep no place for good: nothing of it goes on.
        let limits = crate::command::TokenLimits { open_jobs: Some(1), ..Default::default() };
        let limit = Command::LimitAccessToken { name: "t7".into(), limits, author: Author::default() };
        assert_eq!(apply(&mut state, 5_001, limit), Response::Done);
        assert_eq!(apply(&mut state, 5_002, make("more", AccessRole::Viewer, None)), Response::Done);
        assert!(state.access_token_named("t7").is_none() && state.access_token_named("t0").is_some());
        assert!(state.token_limits("t7").is_empty());
    }

    #[test]
    fn whoever_was_given_a_token_answers_for_all_that_was_made_with_it() {
        let mut state = begun();
        let mut made = |name: &str, who: &str| {
            let Command::MakeAccessToken(mut new) = make(name, AccessRole::Admin, None) else { return };
            new.author.who = who.to_owned();
            assert_eq!(apply(&mut state, 100, Command::MakeAccessToken(new)), Response::Done);
        };
        for (name, who) in
            [("ops", "admin"), ("eve", "admin"), ("e1", "eve"), ("e2", "eve"), ("e3", "e2"), ("p1", "oidc:i#ann")]
        {
            made(name, who);
        }
        // What came of names that are forgotten: the one made the other.
        for (name, who) in [("round", "b"), ("b", "a"), ("a", "b")] {
            made(name, who);
        }
        for (name, maker) in [
            ("admin", "admin"),
            ("ops", NEW_OF_FIRST),
            ("eve", NEW_OF_FIRST),
            ("e3", NEW_OF_FIRST),
            ("p1", "oidc:i#ann"),
        ] {
            assert_eq!(state.maker_of(name), maker, "{name} is new");
        }
        apply(&mut state, 100 + NEW_FOR_MS, Command::WorkerBack { node: 1 });
        for (name, maker) in [
            ("admin", "admin"),
            ("ops", "ops"),
            ("eve", "eve"),
            ("e1", "eve"),
            ("e3", "eve"),
            ("p1", "oidc:i#ann"),
            ("oidc:i#ann", "oidc:i#ann"),
            ("nobody", "nobody"),
            ("", ""),
            ("a", "a"),
            ("b", "a"),
            ("round", "a"),
        ] {
            assert_eq!(state.maker_of(name), maker, "{name}");
        }
    }

    /// What multiplied the shares of whoever stole the token that came with the cluster, or one that may give secrets.
    #[test]
    fn what_was_given_a_secret_lately_is_answered_for_by_whoever_gave_it() {
        let mut state = begun();
        for number in 0..50 {
            apply(&mut state, 100, make(&format!("old{number}"), AccessRole::Operator, None));
        }
        apply(&mut state, 100, make("boss", AccessRole::Admin, None));
        let later = 100 + NEW_FOR_MS;
        for number in 0..50 {
            apply(&mut state, later, make(&format!("new{number}"), AccessRole::Admin, None));
        }
        let makers = |state: &State, front: &str| {
            (0..50).map(|number| state.maker_of(&format!("{front}{number}"))).collect::<BTreeSet<_>>()
        };
        assert_eq!((makers(&state, "old").len(), makers(&state, "new").len()), (50, 1));
        assert_eq!((state.maker_of("admin"), state.maker_of("boss")), ("admin".into(), "boss".into()));
        let rotated = |name: &str, by: &str| Command::RotateAccessToken {
            name: name.into(),
            key: Digest::of(format!("{name} of {by}").as_bytes()),
            author: Author { who: by.into(), from: "a".into() },
        };
        for (name, by, maker) in [
            ("old0", "boss", "boss"),
            ("old1", "admin", NEW_OF_FIRST),
            ("old2", "old2", "old2"),
            ("admin", "boss", "admin"),
            // One that is new does not grow old by giving itself a secret, and is none the newer.
            ("new0", "new0", NEW_OF_FIRST),
        ] {
            assert_eq!(apply(&mut state, later + 1, rotated(name, by)), Response::Done);
            assert_eq!(state.maker_of(name), maker, "{name} by {by}");
        }
        apply(&mut state, later + 1 + NEW_FOR_MS, Command::WorkerBack { node: 1 });
        assert_eq!((makers(&state, "old").len(), makers(&state, "new").len()), (50, 50));
    }

    /// What a thief keeps of a token that is revoked: tokens and join tokens whose secrets it knows.
    #[test]
    fn whatever_lets_in_whoever_had_a_token_is_named_of_it() {
        let mut state = begun();
        let by = |who: &str| Author { who: who.into(), from: "a".into() };
        for name in ["thief", "boss"] {
            apply(&mut state, 100, make(name, AccessRole::Admin, None));
        }
        let rotated =
            Command::RotateAccessToken { name: "boss".into(), key: Digest::of(b"known"), author: by("thief") };
        assert_eq!(apply(&mut state, 101, rotated), Response::Done);
        let own = Command::RotateAccessToken { name: "thief".into(), key: Digest::of(b"own"), author: by("thief") };
        assert_eq!(apply(&mut state, 102, own), Response::Done);
        let token = crate::id::TokenId([7; 8]);
        let grant = crate::command::TokenGrant {
            token,
            key: Digest::of(b"k"),
            name: "n9".into(),
            ttl_ms: 5_000,
            uses: 5,
            policy: crate::command::NodePolicy::default(),
            by: "thief".into(),
        };
        assert_eq!(apply(&mut state, 103, Command::MakeToken(Box::new(grant))), Response::Done);
        let work = state.work_of("thief");
        assert_eq!((work.tokens, work.join_tokens), (vec!["boss".to_owned()], vec![token]));
        assert_eq!(state.work_of("boss").join_tokens, []);
        apply(&mut state, 104, Command::RevokeToken { token });
        assert_eq!(state.work_of("thief").join_tokens, []);
    }
}
