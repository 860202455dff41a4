//! People and programs that use the API: the tokens they show, what each of these may do, and what is kept of their orders.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Author;
use super::rule::is_rule_name;
use crate::id::Digest;
use crate::names::names;

/// What the bearer of an access token may do. Append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AccessRole {
    /// Looks at everything but secrets and the audit log.
    Viewer,
    /// Looks at the audit log as well.
    Auditor,
    /// Looks, and scans: jobs, schedules and standing scans.
    Operator,
    /// May do everything.
    Admin,
}

names! { AccessRole, name, NAMES:
    Viewer => "viewer",
    Auditor => "auditor",
    Operator => "operator",
    Admin => "admin",
}

impl AccessRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Auditor, Self::Operator, Self::Admin];

    /// The role of a word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == word)
    }

    /// Whether whoever has this role may do what `needed` is needed for.
    #[must_use]
    pub fn may(self, needed: Self) -> bool {
        self == needed || self == Self::Admin || needed == Self::Viewer
    }
}

/// An access token to be made. Of its secret, the log has the digest alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccessToken {
    /// What it is called; no other token has that name, or had it.
    pub name: String,
    /// The digest of what is shown.
    pub key: Digest,
    /// What its bearer may do.
    pub role: AccessRole,
    /// How long it is valid, in milliseconds; without it, until it is revoked.
    pub ttl_ms: Option<u64>,
    /// The networks that its bearer may scan, within what policy allows; all of that where it is `None`.
    pub networks: Option<Vec<IpNet>>,
    /// The scopes that its bearer may scan, by their names, within what policy allows; all of that where there is none.
    pub scopes: Vec<String>,
    /// Who makes it.
    pub author: Author,
}

/// How much the bearer of an access token may ask for. What is `None` has no bound of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenLimits {
    /// Requests a minute that a node takes.
    pub requests_per_minute: Option<u32>,
    /// Jobs that wait or run at once.
    pub open_jobs: Option<u32>,
    /// Targets of all jobs that are accepted on one day of the log's clock, UTC.
    pub targets_per_day: Option<u64>,
}

impl TokenLimits {
    /// Whether there is no bound.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with them, or `None`.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let is_none =
            self.requests_per_minute == Some(0) || self.open_jobs == Some(0) || self.targets_per_day == Some(0);
        is_none.then(|| "a bound of 0 lets nothing through: leave it out, or make no such token".into())
    }
}

/// Most networks and scopes that a token is limited to. Ours: what is looked through for each of its jobs.
const LIMITS_MAX: usize = 64;

impl NewAccessToken {
    /// What is wrong with it, or `None`.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if !is_rule_name(&self.name) {
            return Some("a token's name has 1 to 64 letters, digits, dots, - and _, and is no secret of one".into());
        }
        if matches!(self.name.as_str(), "self" | "." | "..") {
            return Some(format!("no token is called `{}`: it could not be named in an address", self.name));
        }
        if self.ttl_ms == Some(0) {
            return Some("a token is valid for some time, or until it is revoked".into());
        }
        let networks = self.networks.as_ref().map_or(1, Vec::len);
        if !(1..=LIMITS_MAX).contains(&networks) || self.scopes.len() > LIMITS_MAX {
            return Some(format!("a token is limited to at most {LIMITS_MAX} networks and as many scopes"));
        }
        let odd = self.scopes.iter().find(|scope| !is_rule_name(scope));
        odd.map(|scope| format!("no scope is called `{}`", scope.escape_debug()))
    }
}

/// Something that was asked of the API, or came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Who asked, and from where.
    pub author: Author,
    /// What was asked: the method and the path, without its query.
    pub action: String,
    /// On what, as far as what came of it tells: names, ids, networks and roles; never a secret.
    pub object: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How often the same came of the same within a short time.
    pub times: u32,
}

/// What came of something that was asked. Append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It is about to be carried out.
    Asked,
    /// What was asked in the entry with this number was answered with this HTTP status.
    Answered {
        /// The number of the entry that says that it was asked.
        asked: u64,
        /// The status.
        status: u16,
    },
    /// It was refused with this HTTP status, before anything was done.
    Refused {
        /// The status.
        status: u16,
    },
}

/// The longest action and the longest object that are kept, in bytes.
const ACTION_BYTES_MAX: usize = 512;

impl AuditEntry {
    /// The same, cut to what is kept.
    #[must_use]
    pub fn cut(&self) -> Self {
        let [action, object] = [&self.action, &self.object].map(|text| super::rule::cut(text, ACTION_BYTES_MAX));
        Self { author: self.author.cut(), action, object, outcome: self.outcome, times: self.times }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_may_do_everything_everybody_may_look_and_no_other_role_does_the_part_of_another() {
        use AccessRole::{Admin, Auditor, Operator, Viewer};
        for role in AccessRole::ALL {
            assert!(Admin.may(role) && role.may(Viewer) && role.may(role), "{role:?}");
            assert_eq!(AccessRole::named(role.name()), Some(role));
        }
        for (role, needed) in [
            (Viewer, Operator),
            (Viewer, Auditor),
            (Auditor, Operator),
            (Operator, Auditor),
            (Operator, Admin),
            (Auditor, Admin),
            (Viewer, Admin),
        ] {
            assert!(!role.may(needed), "{role:?} {needed:?}");
        }
        assert_eq!(AccessRole::named("root"), None);
    }

    #[test]
    fn a_token_that_makes_no_sense_is_told_why() {
        let good = NewAccessToken {
            name: "ci".into(),
            key: Digest::of(b"k"),
            role: AccessRole::Operator,
            ttl_ms: None,
            networks: Some(vec!["10.0.0.0/8".parse().unwrap()]),
            scopes: vec!["lab".into()],
            author: Author::default(),
        };
        assert_eq!(good.problem(), None);
        for (bad, part) in [
            (NewAccessToken { name: "a b".into(), ..good.clone() }, "name has 1 to 64"),
            (
                NewAccessToken { name: format!("pna_{}", "mfrggzdfmztwq2lk".repeat(3)), ..good.clone() },
                "name has 1 to 64",
            ),
            (NewAccessToken { name: "self".into(), ..good.clone() }, "could not be named"),
            (NewAccessToken { name: "..".into(), ..good.clone() }, "could not be named"),
            (NewAccessToken { ttl_ms: Some(0), ..good.clone() }, "some time"),
            (NewAccessToken { networks: Some(Vec::new()), ..good.clone() }, "at most 64"),
            (NewAccessToken { scopes: vec!["a".into(); 65], ..good.clone() }, "at most 64"),
            (NewAccessToken { scopes: vec!["\n".into()], ..good }, "no scope is called"),
        ] {
            assert!(bad.problem().is_some_and(|problem| problem.contains(part)), "{bad:?}");
        }
    }
}
