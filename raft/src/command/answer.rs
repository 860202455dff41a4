//! What applying a command answers: what was done, or why nothing was.
//!
//! A refusal is an answer like any other, because applying never fails: every replica comes to the same one.

use serde::{Deserialize, Serialize};

use super::UnitKey;
use crate::id::{JobId, NodeId};
use crate::names::names;
use crate::state::Lease;
use crate::version::{LogVersion, Versions};

/// What applying a command answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Done, with nothing to say.
    Done,
    /// The node is in, under this id.
    Joined {
        /// Its id.
        node: NodeId,
    },
    /// The job is accepted, or was before under the same key.
    Submitted {
        /// Its id.
        job: JobId,
        /// Whether an earlier submission made it.
        existing: bool,
    },
    /// These leases were made.
    Granted {
        /// In the order of the grants that stood.
        leases: Vec<(UnitKey, Lease)>,
    },
    /// For each completion, whether it was counted (now, or before under the same epoch).
    Completed {
        /// In the order asked.
        accepted: Vec<bool>,
    },
    /// Not done; nothing changed.
    Refused(Refusal),
    /// What the node reads is noted.
    LogVersion {
        /// The version of the log.
        version: LogVersion,
    },
    /// The audit log has the entries.
    Audited {
        /// The number of the last of them.
        last: u64,
    },
}

/// `job` and what it does, or `jobs` and what they do.
fn jobs(number: usize, does: &str, they_do: &str) -> String {
    if number == 1 { format!("job {does}") } else { format!("jobs {they_do}") }
}

/// How many targets a token may have scanned a day, and how many of them are left.
fn targets(limit: u64, left: u64) -> String {
    let day = if limit == 1 { "1 target scanned a day".to_owned() } else { format!("{limit} targets scanned a day") };
    match (limit, left) {
        (_, 0) => format!("{day}, and none is left today"),
        (1, _) => format!("{day}, and it is left today"),
        (_, 1) => format!("{day}, and 1 of them is left today"),
        (_, left) => format!("{day}, and {left} of them are left today"),
    }
}

/// Why a command was refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The cluster began before.
    #[error("the cluster has begun already")]
    BegunAlready,
    /// No such token.
    #[error("the join token is not known to this cluster (revoked, or made by another one)")]
    TokenUnknown,
    /// The token's time is over.
    #[error("the join token expired; make a new one with `pentora coordinator worker-token create`")]
    TokenExpired,
    /// The token was used as often as it allows.
    #[error("the join token has been used already; make a new one with `pentora coordinator worker-token create`")]
    TokenUsed,
    /// The secret half is another.
    #[error("the join token's secret is wrong")]
    TokenSecretWrong,
    /// Another node has this name.
    #[error("a node named `{name}` (or with the same worker id) is in the cluster already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No such node.
    #[error("node {node} is not in the cluster")]
    NodeUnknown {
        /// Which.
        node: NodeId,
    },
    /// No such job.
    #[error("there is no {job}")]
    JobUnknown {
        /// Which.
        job: JobId,
    },
    /// The job has ended.
    #[error("{job} has ended already")]
    JobEnded {
        /// Which.
        job: JobId,
    },
    /// As many jobs are open as the cluster keeps.
    #[error(
        "{limit} {} already; wait for one to end, or cancel one",
        jobs(*limit, "waits, runs or is held", "wait, run or are held")
    )]
    QueueFull {
        /// The limit.
        limit: usize,
    },
    /// The command itself makes no sense; a bug of the proposer.
    #[error("the command is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: String,
    },
    /// The job still wants work done.
    #[error("{job} has not ended yet; cancel it first: pentora job cancel {job}")]
    JobOpen {
        /// Which.
        job: JobId,
    },
    /// So many jobs wait that those of normal and low priority are turned away.
    #[error(
        "{waiting} {} already, and {limit} may before normal and low priority are turned away; try again later, \
         or submit with --priority high",
        jobs(*waiting, "waits", "wait")
    )]
    QueueDeep {
        /// How many wait.
        waiting: usize,
        /// How many may.
        limit: usize,
    },
    /// The job's work is carried to a worker without a network.
    #[error(
        "the work of {job} is carried to a worker without a network, so it is neither held nor let go on here; to end it: \
         pentora job cancel {job}"
    )]
    JobCarried {
        /// Which.
        job: JobId,
    },
    /// No such schedule.
    #[error("there is no schedule `{name}`")]
    ScheduleUnknown {
        /// Which.
        name: String,
    },
    /// Another schedule has this name.
    #[error("there is another schedule `{name}` already; remove it first, or take another name")]
    ScheduleExists {
        /// The name.
        name: String,
    },
    /// There are as many schedules as the cluster keeps.
    #[error(
        "there {} already; remove one that is not needed",
        if *limit == 1 { "is 1 schedule".into() } else { format!("are {limit} schedules") }
    )]
    SchedulesFull {
        /// The limit.
        limit: usize,
    },
    /// An occurrence that is over, or not due.
    #[error("no run of the schedule `{name}` is due: it is held, its time is over, or not there yet")]
    NotDue {
        /// Of which schedule.
        name: String,
    },
    /// No such rule of the cluster's policy.
    #[error("no {kind} is named `{name}`; `pentora {kind} list` prints those there are")]
    RuleUnknown {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Policy holds the job.
    #[error("{job} is held by policy and goes on by itself when that allows it: {reason}")]
    JobHeld {
        /// Which.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// No such standing scan.
    #[error("there is no standing scan `{name}`")]
    KeepUnknown {
        /// Which.
        name: String,
    },
    /// Another standing scan has this name.
    #[error("there is another standing scan `{name}` already; remove it first, or take another name")]
    KeepExists {
        /// The name.
        name: String,
    },
    /// There are as many standing scans as the cluster keeps.
    #[error(
        "there {} already; remove one that is not needed",
        if *limit == 1 { "is 1 standing scan".into() } else { format!("are {limit} standing scans") }
    )]
    KeepsFull {
        /// The limit.
        limit: usize,
    },
    /// Some node that follows the log could not read the command.
    #[error(
        "it needs version {needed} of the log, which is at {version}: some node runs a release that does not read more; \
         `pentora cluster status` names it"
    )]
    NewerThanLog {
        /// The first version that holds it.
        needed: LogVersion,
        /// The version of the log.
        version: LogVersion,
    },
    /// The node does not read the log as it is.
    #[error("the cluster's log is of version {version}, and this release reads {reads}: run one that reads it")]
    Incompatible {
        /// The version of the log.
        version: LogVersion,
        /// What the node reads.
        reads: Versions,
    },
    /// No such access token.
    #[error("there is no access token `{name}`; `pentora token list` has them")]
    AccessTokenUnknown {
        /// Its name.
        name: String,
    },
    /// Another access token has this name, or had it.
    #[error(
        "an access token `{name}` was made before, and names are not given twice; choose another, or give that one another \
         secret with `pentora token rotate {name}`"
    )]
    AccessTokenExists {
        /// Its name.
        name: String,
    },
    /// The access token has ended or was revoked.
    #[error("access token `{name}` has ended; make another with `pentora token create`")]
    AccessTokenEnded {
        /// Its name.
        name: String,
    },
    /// No administrator would be left.
    #[error(
        "`{name}` is the last valid administrator's token; make another first with `pentora token create --role admin`, \
         or give it another secret with `pentora token rotate {name}`"
    )]
    LastAdministrator {
        /// Its name.
        name: String,
    },
    /// The key of an earlier submission came with another.
    #[error("the Idempotency-Key belongs to {job}, which asked for something else; use a new key for another request")]
    KeyReused {
        /// The job that was made with it.
        job: JobId,
    },
    /// As many jobs of this access token wait or run as may.
    #[error(
        "{limit} {} already, as many as may at once; wait for one to end, or cancel one",
        match limit {
            1 => format!("job of token `{name}` waits or runs"),
            _ => format!("jobs of token `{name}` wait or run"),
        }
    )]
    TokenJobs {
        /// Its name.
        name: String,
        /// How many may.
        limit: u32,
    },
    /// This access token has asked for as many targets as it may in a day.
    #[error("token `{name}` may have {}", targets(*limit, *left))]
    TokenTargets {
        /// Its name.
        name: String,
        /// How many it may.
        limit: u64,
        /// How many of them are left.
        left: u64,
        /// After how many seconds another day begins, UTC.
        wait_seconds: u64,
    },
    /// As many jobs of this author wait or are held as leave half of the queue to others, or are open as leave half of all.
    #[error(
        "{limit} {} in the queue already, those of other tokens that one answers for included: half of it and as many as leave room \
         for others; wait for one to start or end, cancel one, or use a token with a bound of its own (--max-jobs)",
        if *limit == 1 { format!("job of `{name}` is") } else { format!("jobs of `{name}` are") }
    )]
    QueueShare {
        /// Its name.
        name: String,
        /// How many may.
        limit: usize,
    },
    /// The audit log would lose entries of others before their time to those of this author.
    #[error(
        "`{name}`, with other tokens that one answers for, has written {of_all} of the audit log's entries within a day, and what \
         others do needs room as well: order less, or wait"
    )]
    AuditShare {
        /// Its name.
        name: String,
        /// How many of them are its own.
        of_all: u64,
        /// After how many seconds the oldest entry is old enough to go.
        wait_seconds: u64,
    },
    /// As many access tokens as are kept, all of use.
    #[error(
        "there are {limit} access tokens that let somebody in or whose work goes on; revoke some, and stop what they asked for"
    )]
    TokensFull {
        /// The limit.
        limit: usize,
    },
}

names! { Refusal, code, CODES:
    BegunAlready => "already_begun",
    TokenUnknown => "token_unknown",
    TokenExpired => "token_expired",
    TokenUsed => "token_used",
    TokenSecretWrong => "token_wrong",
    NameTaken => "name_taken",
    NodeUnknown => "node_unknown",
    JobUnknown => "job_unknown",
    JobEnded => "job_ended",
    QueueFull => "queue_full",
    Malformed => "malformed",
    JobOpen => "job_open",
    QueueDeep => "queue_full",
    JobCarried => "job_carried",
    ScheduleUnknown => "schedule_unknown",
    ScheduleExists => "schedule_exists",
    SchedulesFull => "schedules_full",
    NotDue => "not_due",
    RuleUnknown => "rule_unknown",
    JobHeld => "job_held",
    KeepUnknown => "keep_unknown",
    KeepExists => "keep_exists",
    KeepsFull => "keeps_full",
    NewerThanLog => "newer_than_log",
    Incompatible => "incompatible",
    AccessTokenUnknown => "token_unknown",
    AccessTokenExists => "token_exists",
    AccessTokenEnded => "token_ended",
    LastAdministrator => "last_administrator",
    KeyReused => "idempotency_key_reused",
    TokenJobs => "token_queue_full",
    TokenTargets => "quota_exceeded",
    QueueShare => "token_queue_full",
    AuditShare => "rate_limited",
    TokensFull => "tokens_full",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_is_told_as_one() {
        let told = |waiting| Refusal::QueueDeep { waiting, limit: 1 }.to_string();
        assert!(told(1).starts_with("1 job waits already, and 1 may"), "{}", told(1));
        assert!(told(2).starts_with("2 jobs wait already"), "{}", told(2));
        assert!(Refusal::QueueFull { limit: 1 }.to_string().starts_with("1 job waits, runs or is held already"));
        let of_token = |limit| Refusal::TokenJobs { name: "ci".into(), limit }.to_string();
        assert!(of_token(1).starts_with("1 job of token `ci` waits or runs already"), "{}", of_token(1));
        assert!(of_token(2).starts_with("2 jobs of token `ci` wait or run already"), "{}", of_token(2));
        let targets =
            |limit, left| Refusal::TokenTargets { name: "ci".into(), limit, left, wait_seconds: 1 }.to_string();
        assert_eq!(targets(1, 0), "token `ci` may have 1 target scanned a day, and none is left today");
        assert_eq!(targets(9, 1), "token `ci` may have 9 targets scanned a day, and 1 of them is left today");
        assert!(Refusal::KeepsFull { limit: 1 }.to_string().starts_with("there is 1 standing scan already"));
        assert!(Refusal::SchedulesFull { limit: 2 }.to_string().starts_with("there are 2 schedules already"));
    }
}
