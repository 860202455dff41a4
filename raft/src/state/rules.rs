//! The cluster's policy: rules by kind and name, who asked for each job, and the jobs that policy holds.
//!
//! A job that its rules no longer allow is held as if somebody had paused it, with the reason kept beside, and let go on when
//! they do; what a person paused stays paused.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{JobStatus, State};
use crate::command::{Arrangement, Author, NewRule, Refusal, Response, Rule, RuleKind, Submission};
use crate::event::{ClusterEventKind, EventKind};
use crate::id::JobId;

/// Most rules of all kinds. Ours: each node looks through them at every change.
pub const RULES_MAX: usize = 1_000;
/// The longest reason of a hold, in characters.
const HOLD_CHARS_MAX: usize = 300;

/// Names a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleKey {
    /// Its kind.
    pub kind: RuleKind,
    /// Its name.
    pub name: String,
}

/// A rule as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRecord {
    /// What it says.
    pub rule: Rule,
    /// Why.
    pub reason: String,
    /// Who wrote it.
    pub author: Author,
    /// When, unix milliseconds of the log's clock.
    pub at_ms: u64,
    /// The log index of the entry that wrote it.
    pub index: u64,
}

/// Tells one set of rules from another that this state had: how many there are, and the last index that wrote one.
pub type RulesMark = (usize, u64);

impl State {
    /// The rules of a kind, by name.
    pub fn rules(&self, kind: RuleKind) -> impl Iterator<Item = (&str, &RuleRecord)> {
        let of_kind = self.rules.iter().filter(move |(key, _)| key.kind == kind);
        of_kind.map(|(key, record)| (key.name.as_str(), record))
    }

    /// One rule.
    #[must_use]
    pub fn rule(&self, kind: RuleKind, name: &str) -> Option<&RuleRecord> {
        self.rules.get(&RuleKey { kind, name: name.to_owned() })
    }

    /// What the set of rules is known by: another mark, other rules.
    #[must_use]
    pub fn rules_mark(&self) -> RulesMark {
        (self.rules.len(), self.rules.iter().map(|(_, record)| record.index).max().unwrap_or(0))
    }

    /// Who asked for a job; `None` for jobs of an earlier release.
    #[must_use]
    pub fn author(&self, job: JobId) -> Option<&Author> {
        self.authors.get(&job)
    }

    /// Why policy holds a job; `None` where it does not.
    #[must_use]
    pub fn hold(&self, job: JobId) -> Option<&str> {
        self.holds.get(&job).map(String::as_str)
    }

    pub(super) fn set_rule(&mut self, index: u64, new: &NewRule) -> Result<Response, Refusal> {
        if let Some(what) = new.problem() {
            return Err(Refusal::Malformed { what });
        }
        let key = RuleKey { kind: new.rule.kind(), name: new.name.clone() };
        let author = new.author.cut();
        let before = self.rules.get(&key);
        let is_as_before =
            |record: &RuleRecord| (&record.rule, &record.reason, &record.author) == (&new.rule, &new.reason, &author);
        if before.is_some_and(is_as_before) {
            return Ok(Response::Done);
        }
        if before.is_none() && self.rules.len() >= RULES_MAX {
            return Err(Refusal::Malformed { what: format!("there are {RULES_MAX} rules already; remove one") });
        }
        let record =
            RuleRecord { rule: new.rule.clone(), reason: new.reason.clone(), author, at_ms: self.now_ms(), index };
        let what = ClusterEventKind::RuleSet { kind: key.kind, name: key.name.clone() };
        self.rules.insert(key, record);
        self.tell(index, what, None);
        Ok(Response::Done)
    }

    pub(super) fn remove_rule(&mut self, index: u64, kind: RuleKind, name: &str) -> Result<Response, Refusal> {
        if self.rules.remove(&RuleKey { kind, name: name.to_owned() }).is_none() {
            return Err(Refusal::RuleUnknown { kind: kind.name().into(), name: name.chars().take(64).collect() });
        }
        self.tell(index, ClusterEventKind::RuleRemoved { kind, name: name.to_owned() }, None);
        Ok(Response::Done)
    }

    /// Accepts a job by `accept` ([`State::submit`] or [`State::carry`]), and keeps who asked for it.
    pub(super) fn accept_as(
        &mut self,
        index: u64,
        submission: &Submission,
        author: &Author,
        accept: fn(&mut Self, u64, &Submission) -> Result<Response, Refusal>,
    ) -> Result<Response, Refusal> {
        if !self.is_asked_again(submission) {
            self.within_limits(&author.who, submission)?;
        }
        let response = accept(self, index, submission)?;
        if let Response::Submitted { job, existing: false } = response {
            self.count_targets(&author.who, submission);
            self.note_author(job, author.cut());
        }
        Ok(response)
    }

    /// Keeps who asked for a job, and which networks that token is limited to as things are now, so that every node that
    /// works for the job can hold to them, whatever becomes of the token.
    pub(super) fn note_author(&mut self, job: JobId, author: Author) {
        if let Some(networks) = self.limits_of(&author.who) {
            self.job_networks.insert(job, networks);
        }
        self.authors.insert(job, author);
    }

    /// The networks that whoever asked for a job was limited to; `None` where to none.
    #[must_use]
    pub fn job_networks(&self, job: JobId) -> Option<&[IpNet]> {
        self.job_networks.get(&job).map(Vec::as_slice)
    }

    /// The networks that the bearer of the token `who` may scan; `None` where it is not limited. Where networks were said and
    /// scopes too, what is in both. A scope that is gone allows nothing.
    #[must_use]
    pub fn limits_of(&self, who: &str) -> Option<Vec<IpNet>> {
        let token = self.access_token_named(who)?;
        let of_scopes = token.scopes.iter().filter_map(|name| match &self.rule(RuleKind::Scope, name)?.rule {
            Rule::Scope(scope) => Some(scope.networks.iter().copied()),
            _ => None,
        });
        match (token.networks, token.scopes.is_empty()) {
            (None, true) => None,
            (Some(networks), true) => Some(networks),
            (None, false) => Some(of_scopes.flatten().collect()),
            (Some(networks), false) => {
                let of_scopes: Vec<IpNet> = of_scopes.flatten().collect();
                let in_scopes = |net: IpNet| of_scopes.iter().filter_map(move |other| narrower(net, *other));
                Some(networks.into_iter().flat_map(in_scopes).collect())
            }
        }
    }

    /// Does what is asked for, and keeps who asked: of a schedule or standing scan that is there already, who asked first.
    pub(super) fn arrange_as(
        &mut self,
        index: u64,
        author: &Author,
        arrangement: &Arrangement,
    ) -> Result<Response, Refusal> {
        match arrangement {
            Arrangement::Schedule { name, spec } => {
                let is_new = self.schedule(name).is_none();
                let response = self.add_schedule(name, spec)?;
                if is_new {
                    self.schedule_authors.insert(name.clone(), author.cut());
                }
                Ok(response)
            }
            Arrangement::Keep { name, spec } => {
                let limits = self.token_limits(&author.who);
                if limits.open_jobs.is_some() || limits.targets_per_day.is_some() {
                    let what = format!("token `{}` has a quota, and a standing scan never ends", author.who);
                    return Err(Refusal::Malformed { what });
                }
                let is_new = self.keep(name).is_none();
                let response = self.add_keep(name, spec)?;
                if is_new {
                    self.keep_authors.insert(name.clone(), author.cut());
                }
                Ok(response)
            }
            Arrangement::Carried(submission) => self.accept_as(index, submission, author, Self::carry),
        }
    }

    /// Who asked for a schedule; `None` for nobody that is known.
    #[must_use]
    pub fn schedule_author(&self, name: &str) -> Option<&Author> {
        self.schedule_authors.get(&name.to_owned())
    }

    /// Who asked for a standing scan; `None` for nobody that is known.
    #[must_use]
    pub fn keep_author(&self, name: &str) -> Option<&Author> {
        self.keep_authors.get(&name.to_owned())
    }

    /// Holds a job, nothing of it out, or lets one go on that is held.
    pub(super) fn hold_job(&mut self, index: u64, job: JobId, hold: Option<&str>) -> Result<Response, Refusal> {
        let record = self.jobs.get(&job).ok_or(Refusal::JobUnknown { job })?;
        if !record.is_open() {
            return Err(Refusal::JobEnded { job });
        }
        let (is_paused, is_held) = (record.status == JobStatus::Paused, self.holds.get(&job).is_some());
        match hold {
            // A person paused it.
            Some(_) if is_paused && !is_held => return Ok(Response::Done),
            // Nothing of it is out in this cluster.
            Some(_) if record.status == JobStatus::Carried => return Ok(Response::Done),
            Some(reason) => {
                let reason: String = reason.chars().take(HOLD_CHARS_MAX).collect();
                if self.hold(job) == Some(reason.as_str()) {
                    return Ok(Response::Done);
                }
                self.holds.insert(job, reason.clone());
                if is_paused {
                    return Ok(Response::Done);
                }
                self.set_paused(job, true);
                self.record(job, index, EventKind::Paused { reason }, None, None);
            }
            None if !is_held => return Ok(Response::Done),
            None => {
                self.holds.remove(&job);
                self.set_paused(job, false);
                self.record(job, index, EventKind::Resumed, None, None);
            }
        }
        Ok(Response::Done)
    }
}

/// What two networks have in common, which is the narrower one or nothing.
fn narrower(one: IpNet, other: IpNet) -> Option<IpNet> {
    if one.contains(&other) {
        return Some(other);
    }
    other.contains(&one).then_some(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample_test::{limits, submission, two_nodes};
    use crate::command::{AccessRole, Command, NewAccessToken, Proposal, ScopeEffect, ScopeRule};
    use crate::id::Digest;

    fn state() -> State {
        let mut state = State::default();
        for (index, command) in (2..).zip(two_nodes()) {
            state.apply(index, &Proposal { at_ms: index, command });
        }
        state
    }

    fn apply(state: &mut State, index: u64, command: Command) -> Response {
        state.apply(index, &Proposal { at_ms: 1_000 * index, command })
    }

    fn scope(name: &str) -> Command {
        let rule = ScopeRule {
            networks: vec!["203.0.113.0/24".parse().unwrap()],
            tokens: Vec::new(),
            effect: ScopeEffect::Allow,
        };
        let author = Author { who: "admin".into(), from: "127.0.0.1".into() };
        let new = NewRule { name: name.into(), rule: Rule::Scope(rule), reason: "contract".into(), author };
        Command::SetRule(Box::new(new))
    }

    fn remove(name: &str) -> Command {
        Command::RemoveRule { kind: RuleKind::Scope, name: name.into(), author: Author::default() }
    }

    #[test]
    fn a_rule_is_kept_with_who_wrote_it_replaced_by_name_and_gone_when_removed() {
        let mut state = state();
        assert_eq!(apply(&mut state, 50, scope("a")), Response::Done);
        let before = state.rules_mark();
        let record = state.rule(RuleKind::Scope, "a").unwrap();
        assert_eq!((record.author.who.as_str(), record.at_ms, record.index), ("admin", 50_000, 50));
        apply(&mut state, 51, scope("a"));
        assert_eq!(state.rules_mark(), before, "the same again changes nothing");
        let Command::SetRule(rule) = scope("a") else { unreachable!() };
        let other = NewRule { reason: "another".into(), ..*rule };
        apply(&mut state, 51, Command::SetRule(Box::new(other)));
        assert_ne!(state.rules_mark(), before);
        assert_eq!(state.rules(RuleKind::Scope).count(), 1);
        assert_eq!(apply(&mut state, 52, remove("a")), Response::Done);
        assert!(matches!(apply(&mut state, 53, remove("a")), Response::Refused(Refusal::RuleUnknown { .. })));
        assert_eq!(state.rules_mark(), (0, 0));
    }

    #[test]
    fn there_is_a_bound_on_rules() {
        let mut state = state();
        for number in 0..=RULES_MAX as u64 {
            apply(&mut state, 50 + number, scope(&format!("r{number}")));
        }
        assert_eq!(state.rules(RuleKind::Scope).count(), RULES_MAX);
        assert_eq!(apply(&mut state, 5_000, scope("r0")), Response::Done, "one that is there can be written again");
    }

    #[test]
    fn a_job_remembers_who_asked_and_forgets_it_with_itself() {
        let mut state = state();
        let author = Author { who: "ci".into(), from: "10.0.0.9".into() };
        let submission = Box::new(submission(&[20], limits()));
        apply(&mut state, 60, Command::SubmitAs { submission, author: author.clone() });
        assert_eq!(state.author(JobId(60)), Some(&author));
        apply(&mut state, 61, Command::Cancel { job: JobId(60), reason: "done".into() });
        apply(&mut state, 62, Command::DeleteJob { job: JobId(60) });
        assert_eq!(state.author(JobId(60)), None);
    }

    #[test]
    fn a_job_keeps_what_is_in_the_networks_and_in_the_scopes_of_its_token_and_not_what_is_in_either() {
        let mut state = state();
        apply(&mut state, 60, scope("lab"));
        let lab = match &state.rule(RuleKind::Scope, "lab").unwrap().rule {
            Rule::Scope(scope) => scope.networks.clone(),
            other => panic!("{other:?}"),
        };
        let elsewhere: IpNet = "198.51.100.0/24".parse().unwrap();
        let job_of = |state: &mut State, index, name: &str, networks: Option<Vec<IpNet>>, scopes: &[&str]| {
            let new = NewAccessToken {
                name: name.into(),
                key: Digest::of(name.as_bytes()),
                role: AccessRole::Operator,
                ttl_ms: None,
                networks,
                scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
                author: Author::default(),
            };
            assert_eq!(apply(state, index, Command::MakeAccessToken(Box::new(new))), Response::Done);
            let author = Author { who: name.into(), from: String::new() };
            let submission = Box::new(submission(&[20], limits()));
            apply(state, index + 1, Command::SubmitAs { submission, author });
            state.job_networks(JobId(index + 1)).map(<[IpNet]>::to_vec)
        };
        let wider = vec!["203.0.0.0/16".parse().unwrap(), elsewhere];
        assert_eq!(job_of(&mut state, 70, "both", Some(wider), &["lab"]), Some(lab.clone()));
        assert_eq!(job_of(&mut state, 80, "scopes", None, &["lab"]), Some(lab));
        assert_eq!(job_of(&mut state, 90, "networks", Some(vec![elsewhere]), &[]), Some(vec![elsewhere]));
        assert_eq!(job_of(&mut state, 100, "gone", Some(vec![elsewhere]), &["nowhere"]), Some(Vec::new()));
        assert_eq!(job_of(&mut state, 110, "free", None, &[]), None);
    }

    #[test]
    fn a_held_job_rests_with_its_reason_and_goes_on_only_when_policy_or_nobody_else_holds_it() {
        let mut state = state();
        let job = JobId(60);
        apply(&mut state, 60, Command::SubmitJob(Box::new(submission(&[20], limits()))));
        let hold = |hold: Option<&str>| Command::HoldJob { job, hold: hold.map(str::to_owned) };
        let pause = |paused| Command::PauseJob { job, paused, reason: "me".into() };
        let status = |state: &State| state.job(job).unwrap().status;
        apply(&mut state, 61, hold(Some("scope lab is gone")));
        assert_eq!((status(&state), state.hold(job)), (JobStatus::Paused, Some("scope lab is gone")));
        let refused = apply(&mut state, 62, pause(false));
        assert!(matches!(&refused, Response::Refused(Refusal::JobHeld { reason, .. }) if reason.contains("lab")));
        apply(&mut state, 63, hold(None));
        assert_eq!((status(&state), state.hold(job)), (JobStatus::Queued, None));
        apply(&mut state, 64, pause(true));
        apply(&mut state, 65, hold(Some("scope lab is gone")));
        assert_eq!(state.hold(job), None, "what a person paused is not policy's");
        apply(&mut state, 66, hold(None));
        assert_eq!(status(&state), JobStatus::Paused);
        apply(&mut state, 67, pause(false));
        apply(&mut state, 68, hold(Some("again")));
        apply(&mut state, 69, pause(true));
        apply(&mut state, 70, hold(None));
        assert_eq!((status(&state), state.hold(job)), (JobStatus::Paused, None), "a person paused it meanwhile");
    }
}
