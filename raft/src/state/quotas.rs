//! How much the bearer of an access token may ask for: jobs at once, and targets a day. How many requests a minute is for each
//! node to count.
//!
//! Nobody has more than half of the queue, nor of all jobs that may be open, with all tokens that they answer for, as long as others may
//! order as well and no bound of its own says otherwise. A job that somebody holds counts as one that waits: let go on, it does.
//!
//! Jobs of schedules count for whoever made them. Deleting a job gives no targets back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{JobStatus, State};
use crate::command::{AccessRole, Refusal, Response, Submission, TokenLimits};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// What was asked for with an access token on the last day on which anything was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenDay {
    /// Which day, counted from 1970 on, UTC.
    pub day: u64,
    /// Targets of the jobs that were accepted.
    pub targets: u64,
}

impl State {
    /// How much the bearer of a token may ask for.
    #[must_use]
    pub fn token_limits(&self, name: &str) -> TokenLimits {
        self.token_limits.get(&name.to_owned()).copied().unwrap_or_default()
    }

    pub(super) fn limit_access_token(&mut self, name: &str, limits: &TokenLimits) -> Result<Response, Refusal> {
        if let Some(what) = limits.problem() {
            return Err(Refusal::Malformed { what });
        }
        if self.access_token_named(name).is_none() {
            return Err(Refusal::AccessTokenUnknown { name: name.chars().take(64).collect() });
        }
        let counts = limits.open_jobs.is_some() || limits.targets_per_day.is_some();
        if counts && self.keep_authors.iter().any(|(_, author)| author.who == name) {
            let what = format!(
                "token `{name}` has a standing scan, which never ends: remove that before its jobs are counted"
            );
            return Err(Refusal::Malformed { what });
        }
        if limits.is_empty() {
            self.token_limits.remove(&name.to_owned());
        } else {
            self.token_limits.insert(name.to_owned(), *limits);
        }
        Ok(Response::Done)
    }

    /// Forgets what a token was bound to and has used up.
    pub(super) fn forget_limits(&mut self, name: &str) {
        self.token_limits.remove(&name.to_owned());
        self.token_days.remove(&name.to_owned());
    }

    /// Whether `who` may have one more job accepted.
    ///
    /// # Errors
    /// [`Refusal::TokenJobs`], [`Refusal::QueueShare`] and [`Refusal::TokenTargets`].
    pub(super) fn within_limits(&self, who: &str, submission: &Submission) -> Result<(), Refusal> {
        let limits = self.token_limits(who);
        if let Some(limit) = limits.open_jobs {
            let is_open = |job| self.job(job).is_some_and(super::Job::is_open);
            let open = self.authors.iter().filter(|(job, author)| author.who == who && is_open(**job)).count();
            if open >= limit as usize {
                return Err(Refusal::TokenJobs { name: who.to_owned(), limit });
            }
        } else {
            self.within_share(who, submission)?;
        }
        if let Some(limit) = limits.targets_per_day {
            let left = limit.saturating_sub(self.used_today(who));
            if targets_of(submission) > left {
                let wait_seconds = (DAY_MS - self.now_ms() % DAY_MS).div_ceil(1_000);
                return Err(Refusal::TokenTargets { name: who.to_owned(), limit, left, wait_seconds });
            }
        }
        Ok(())
    }

    /// The names of `who`, of whoever answers for that, and of all tokens that they answer for.
    fn family_of<'a>(&'a self, who: &'a str) -> BTreeSet<&'a str> {
        let mut makers = self.makers();
        let maker = makers.of(who);
        let tokens = self.access_tokens.iter().map(|(_, token)| token.name.as_str());
        let family: Vec<&str> = tokens.filter(|name| makers.of(name) == maker).collect();
        family.into_iter().chain([who, maker]).collect()
    }

    /// Whether one more job of `who` leaves half of the queue, and of what may be open, to others.
    fn within_share(&self, who: &str, submission: &Submission) -> Result<(), Refusal> {
        let (mut open, mut waiting) = (0, 0);
        let family = self.family_of(who);
        for (id, _) in self.authors.iter().filter(|(_, author)| family.contains(author.who.as_str())) {
            let Some(job) = self.job(*id).filter(|job| job.is_open()) else { continue };
            open += 1;
            waiting += usize::from(job.status == JobStatus::Paused || self.waits(*id, job));
        }
        let bounds = [(waiting, self.queue_depth(submission.priority)), (open, Some(self.jobs_open_max()))];
        let full =
            bounds.into_iter().find_map(|(has, of_all)| of_all.map(|all| all.div_ceil(2)).filter(|max| has >= *max));
        match full {
            Some(limit) if self.others_order(who, &family) => Err(Refusal::QueueShare { name: who.to_owned(), limit }),
            _ => Ok(()),
        }
    }

    /// Whether somebody else than those may order, of whom `who` is one. Whoever asks where no token is asked for is everybody.
    fn others_order(&self, who: &str, family: &BTreeSet<&str>) -> bool {
        let now_ms = self.now_ms();
        let orders = |token: &super::AccessToken| token.is_valid(now_ms) && token.role.may(AccessRole::Operator);
        let is_other = |name: &str| !family.contains(name);
        let first = self.admin_tokens.iter().any(|(_, name)| is_other(name));
        !who.is_empty() && (first || self.access_tokens.iter().any(|(_, token)| is_other(&token.name) && orders(token)))
    }

    /// Counts the targets of a job that was accepted, for a token that has a bound.
    pub(super) fn count_targets(&mut self, who: &str, submission: &Submission) {
        if self.token_limits(who).targets_per_day.is_some() {
            let targets = self.used_today(who).saturating_add(targets_of(submission));
            self.token_days.insert(who.to_owned(), TokenDay { day: self.now_ms() / DAY_MS, targets });
        }
    }

    fn used_today(&self, who: &str) -> u64 {
        let today = self.now_ms() / DAY_MS;
        self.token_days.get(&who.to_owned()).filter(|used| used.day == today).map_or(0, |used| used.targets)
    }
}

fn targets_of(submission: &Submission) -> u64 {
    submission.partitions.iter().fold(0, |sum, part| sum.saturating_add(part.target_count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample_test::{begin, limits, submission};
    use crate::command::{AccessRole, Author, Command, NewAccessToken, Proposal};
    use crate::id::{Digest, JobId};

    struct Scene {
        state: State,
        index: u64,
        at_ms: u64,
    }

    impl Scene {
        /// A cluster with the token `ci`, which has these limits.
        fn new(limits: TokenLimits) -> Self {
            let mut scene = Self { state: State::default(), index: 1, at_ms: 10 * DAY_MS + 1_000 };
            scene.apply(begin("n1"));
            scene.apply(Command::MakeAccessToken(Box::new(NewAccessToken {
                name: "ci".into(),
                key: Digest::of(b"ci"),
                role: AccessRole::Operator,
                ttl_ms: None,
                networks: None,
                scopes: Vec::new(),
                author: Author::default(),
            })));
            let limit = Command::LimitAccessToken { name: "ci".into(), limits, author: Author::default() };
            assert_eq!(scene.apply(limit), Response::Done);
            scene
        }

        fn apply(&mut self, command: Command) -> Response {
            self.index += 1;
            self.state.apply(self.index, &Proposal { at_ms: self.at_ms, command })
        }

        fn submit(&mut self, who: &str, targets: u64, key: Option<Digest>) -> Response {
            let submission = Submission { idempotency_key: key, ..submission(&[targets], limits()) };
            let author = Author { who: who.into(), from: String::new() };
            self.apply(Command::SubmitAs { submission: Box::new(submission), author })
        }
    }

    #[test]
    fn a_token_has_so_many_jobs_at_once_and_others_are_not_held_up() {
        let mut scene = Scene::new(TokenLimits { open_jobs: Some(2), ..TokenLimits::default() });
        let key = Some(Digest::of(b"key"));
        let first = scene.submit("ci", 5, key);
        assert!(matches!(scene.submit("ci", 5, None), Response::Submitted { .. }));
        let third = scene.submit("ci", 5, None);
        assert_eq!(third, Response::Refused(Refusal::TokenJobs { name: "ci".into(), limit: 2 }));
        let Response::Submitted { job, .. } = first else { panic!("{first:?}") };
        assert_eq!(scene.submit("ci", 5, key), Response::Submitted { job, existing: true }, "the same once more");
        assert!(matches!(scene.submit("other", 5, None), Response::Submitted { .. }));
        scene.apply(Command::Cancel { job, reason: String::new() });
        assert!(matches!(scene.submit("ci", 5, None), Response::Submitted { .. }), "one has ended");
    }

    #[test]
    fn a_token_without_a_bound_of_its_own_leaves_half_of_the_queue_to_others_where_there_are_any() {
        let mut scene = Scene::new(TokenLimits::default());
        let settings = super::super::Settings { queue_depth: 5, ..super::super::Settings::default() };
        assert_eq!(scene.apply(Command::SetSettings { settings: Box::new(settings) }), Response::Done);
        for _ in 0..3 {
            assert!(matches!(scene.submit("ci", 5, None), Response::Submitted { .. }));
        }
        let over = scene.submit("ci", 5, None);
        assert_eq!(over, Response::Refused(Refusal::QueueShare { name: "ci".into(), limit: 3 }));
        assert!(matches!(scene.submit("admin", 5, None), Response::Submitted { .. }), "others are not kept out");
        let own = TokenLimits { open_jobs: Some(4), ..TokenLimits::default() };
        scene.apply(Command::LimitAccessToken { name: "ci".into(), limits: own, author: Author::default() });
        assert!(matches!(scene.submit("ci", 5, None), Response::Submitted { .. }), "a bound of its own goes first");
        scene.apply(Command::RevokeAccessToken { name: "ci".into(), author: Author::default() });
        let others = |who: &str| scene.state.others_order(who, &scene.state.family_of(who));
        assert!(!others("admin") && others("ci") && !others(""));
    }

    /// What shut everybody out with two tokens: each had half.
    #[test]
    fn the_tokens_that_one_answers_for_have_half_of_the_queue_together() {
        let mut scene = Scene::new(TokenLimits::default());
        let settings = super::super::Settings { queue_depth: 6, ..super::super::Settings::default() };
        assert_eq!(scene.apply(Command::SetSettings { settings: Box::new(settings) }), Response::Done);
        let made = |name: &str, who: &str| {
            Command::MakeAccessToken(Box::new(NewAccessToken {
                name: name.into(),
                key: Digest::of(name.as_bytes()),
                role: AccessRole::Operator,
                ttl_ms: None,
                networks: None,
                scopes: Vec::new(),
                author: Author { who: who.into(), from: String::new() },
            }))
        };
        for (name, who) in [("eve", "admin"), ("e1", "eve"), ("e2", "e1"), ("ops", "admin")] {
            assert_eq!(scene.apply(made(name, who)), Response::Done);
        }
        // From when on what the first token made answers for itself.
        scene.at_ms += DAY_MS;
        for who in ["eve", "e1", "e2"] {
            assert!(matches!(scene.submit(who, 5, None), Response::Submitted { .. }), "{who}");
        }
        for who in ["eve", "e1", "e2"] {
            let over = Response::Refused(Refusal::QueueShare { name: who.into(), limit: 3 });
            assert_eq!(scene.submit(who, 5, None), over);
        }
        for who in ["ops", "admin", "ci"] {
            assert!(matches!(scene.submit(who, 5, None), Response::Submitted { .. }), "{who} is not kept out");
        }
    }

    /// What shut everybody out: jobs that are held were in no queue, and took all the room there is.
    #[test]
    fn jobs_that_are_held_count_as_waiting_ones_and_nobody_has_more_than_half_of_those_that_may_be_open() {
        let mut scene = Scene::new(TokenLimits::default());
        let settings = super::super::Settings { queue_depth: 4, ..super::super::Settings::default() };
        assert_eq!(scene.apply(Command::SetSettings { settings: Box::new(settings) }), Response::Done);
        let hold = |scene: &mut Scene, told: Response| {
            let Response::Submitted { job, .. } = told else { panic!("{told:?}") };
            scene.apply(Command::PauseJob { job, paused: true, reason: String::new() });
            job
        };
        let held: Vec<JobId> = (0..2)
            .map(|_| {
                let told = scene.submit("ci", 5, None);
                hold(&mut scene, told)
            })
            .collect();
        let over = |limit| Response::Refused(Refusal::QueueShare { name: "ci".into(), limit });
        assert_eq!(scene.submit("ci", 5, None), over(2), "let go on, they would wait");
        assert!(matches!(scene.submit("admin", 5, None), Response::Submitted { .. }), "others are not kept out");
        scene.apply(Command::Cancel { job: held[0], reason: String::new() });
        assert!(matches!(scene.submit("ci", 5, None), Response::Submitted { .. }), "one has ended");
        // As settings were not written yet, so that the queue has no depth.
        let mut scene = Scene::new(TokenLimits::default());
        let most = super::super::submit::JOBS_OPEN_MAX / 2;
        for _ in 0..most {
            let told = scene.submit("ci", 5, None);
            hold(&mut scene, told);
        }
        assert_eq!(scene.submit("ci", 5, None), over(most));
        assert!(matches!(scene.submit("admin", 5, None), Response::Submitted { .. }), "others are not kept out");
    }

    #[test]
    fn a_token_has_so_many_targets_a_day_and_deleting_a_job_gives_none_back() {
        let mut scene = Scene::new(TokenLimits { targets_per_day: Some(100), ..TokenLimits::default() });
        let Response::Submitted { job, .. } = scene.submit("ci", 60, None) else { panic!("it fits") };
        let refused = |left| Refusal::TokenTargets { name: "ci".into(), limit: 100, left, wait_seconds: 86_399 };
        assert_eq!(scene.submit("ci", 41, None), Response::Refused(refused(40)));
        scene.apply(Command::Cancel { job, reason: String::new() });
        scene.apply(Command::DeleteJob { job });
        assert_eq!(scene.submit("ci", 41, None), Response::Refused(refused(40)));
        assert!(matches!(scene.submit("ci", 40, None), Response::Submitted { .. }));
        scene.at_ms += DAY_MS;
        assert!(matches!(scene.submit("ci", 100, None), Response::Submitted { .. }), "another day");
        assert!(scene.state.job(JobId(1)).is_none());
    }

    #[test]
    fn a_token_that_has_a_standing_scan_is_given_no_bound_that_would_not_hold_for_it() {
        let mut scene = Scene::new(TokenLimits { requests_per_minute: Some(9), ..TokenLimits::default() });
        scene.state.keep_authors.insert("k".into(), Author { who: "ci".into(), from: String::new() });
        let limit = |limits| Command::LimitAccessToken { name: "ci".into(), limits, author: Author::default() };
        for bound in [
            TokenLimits { open_jobs: Some(1), ..TokenLimits::default() },
            TokenLimits { targets_per_day: Some(9), ..TokenLimits::default() },
        ] {
            let told = scene.apply(limit(bound));
            assert!(
                matches!(&told, Response::Refused(Refusal::Malformed { what }) if what.contains("standing scan")),
                "{told:?}"
            );
        }
        assert_eq!(scene.state.token_limits("ci").requests_per_minute, Some(9), "nothing was changed");
        let rate = TokenLimits { requests_per_minute: Some(5), ..TokenLimits::default() };
        assert_eq!(scene.apply(limit(rate)), Response::Done, "requests are counted all the same");
    }

    #[test]
    fn limits_of_nothing_and_of_nobody_are_refused_and_can_be_taken_away() {
        let mut scene = Scene::new(TokenLimits { open_jobs: Some(1), ..TokenLimits::default() });
        let limit = |name: &str, open_jobs| Command::LimitAccessToken {
            name: name.into(),
            limits: TokenLimits { open_jobs, ..TokenLimits::default() },
            author: Author::default(),
        };
        assert!(matches!(scene.apply(limit("ci", Some(0))), Response::Refused(Refusal::Malformed { .. })));
        let unknown = scene.apply(limit("cd", Some(1)));
        assert_eq!(unknown, Response::Refused(Refusal::AccessTokenUnknown { name: "cd".into() }));
        assert_eq!(scene.apply(limit("ci", None)), Response::Done);
        assert!(scene.state.token_limits("ci").is_empty());
    }
}
