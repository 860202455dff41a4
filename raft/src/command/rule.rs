//! Rules of the cluster's policy: what people decided about what may be scanned, with their reason.
//!
//! The log keeps them and says nothing of what they mean for an address: that is `node/src/policy.rs`, on every node alike.
//! A rule is named by its kind and its name; writing one again replaces it. The enums are append only.

mod budget;
mod exclusion;
mod profile;
mod site;
mod when;
mod window;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::budget::BudgetRule;
pub use self::exclusion::ExclusionRule;
pub use self::profile::ProfileRule;
pub use self::site::SiteRule;
pub use self::when::{EVERY_DAY, Hours, When};
pub use self::window::{WindowEffect, WindowRule};
use crate::id::looks_secret;
use crate::names::names;

/// Who asked for something, as far as the node that was asked knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Author {
    /// The name of the token that was shown; empty where none was asked for.
    pub who: String,
    /// The address that the request came from, and through which node where another took it.
    pub from: String,
}

/// The longest name and address of an author that are kept, in bytes.
const AUTHOR_BYTES_MAX: usize = 256;

impl Author {
    /// The same, cut to what is kept.
    #[must_use]
    pub fn cut(&self) -> Self {
        Self { who: cut(&self.who, AUTHOR_BYTES_MAX), from: cut(&self.from, AUTHOR_BYTES_MAX) }
    }
}

pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RuleKind {
    /// Which addresses may be scanned at all, and by whom.
    Scope,
    /// Which addresses are left out of every job.
    Exclusion,
    /// Options of a scan under a name.
    Profile,
    /// When networks may be scanned, or may not.
    Window,
    /// How many packets per second networks may get.
    Budget,
    /// Private ranges that several places use.
    Site,
}

names! { RuleKind, name, NAMES:
    Scope => "scope",
    Exclusion => "exclude",
    Profile => "profile",
    Window => "window",
    Budget => "budget",
    Site => "site",
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// Which addresses may be scanned at all, and by whom.
    Scope(ScopeRule),
    /// Which addresses are left out of every job.
    Exclusion(ExclusionRule),
    /// Options of a scan under a name.
    Profile(ProfileRule),
    /// When networks may be scanned, or may not.
    Window(WindowRule),
    /// How many packets per second networks may get.
    Budget(BudgetRule),
    /// Private ranges that several places use.
    Site(SiteRule),
}

/// Networks that may be scanned beside private space, or alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRule {
    /// Which.
    pub networks: Vec<IpNet>,
    /// For whom it holds, by the names of their tokens; for everybody where there is none.
    pub tokens: Vec<String>,
    /// What it does.
    pub effect: ScopeEffect,
}

/// What a scope does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScopeEffect {
    /// It allows its networks, beside what is allowed without it.
    Allow,
    /// It allows nothing but its networks, as far as they are allowed without it.
    Only,
}

names! { ScopeEffect, name, NAMES:
    Allow => "allow",
    Only => "only",
}

/// A rule to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRule {
    /// What it is called among those of its kind.
    pub name: String,
    /// What it says.
    pub rule: Rule,
    /// Why, in the words of whoever asked.
    pub reason: String,
    /// Who asked.
    pub author: Author,
}

/// The longest name of a rule, in bytes.
pub const RULE_NAME_BYTES_MAX: usize = 64;
/// The longest reason of a rule, in bytes. Ours: a few lines of a terminal.
pub const RULE_REASON_BYTES_MAX: usize = 500;
/// Most networks of one rule. Ours: 1,000 rules of as many are what a node can still look through at each change.
pub const RULE_NETWORKS_MAX: usize = 1_024;
/// Most tokens that one scope names.
const RULE_TOKENS_MAX: usize = 64;

impl Rule {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> RuleKind {
        match self {
            Self::Scope(_) => RuleKind::Scope,
            Self::Exclusion(_) => RuleKind::Exclusion,
            Self::Profile(_) => RuleKind::Profile,
            Self::Window(_) => RuleKind::Window,
            Self::Budget(_) => RuleKind::Budget,
            Self::Site(_) => RuleKind::Site,
        }
    }
}

/// Whether `name` may be a rule's, or a token's that a rule names.
#[must_use]
pub fn is_rule_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=RULE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(good) && !looks_secret(name)
}

impl NewRule {
    /// What is wrong with it, or `None`.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if !is_rule_name(&self.name) {
            return Some(format!(
                "a rule's name has 1 to {RULE_NAME_BYTES_MAX} letters, digits, dots, - and _, and is no token's secret"
            ));
        }
        if self.reason.len() > RULE_REASON_BYTES_MAX {
            return Some(format!("a reason has at most {RULE_REASON_BYTES_MAX} bytes"));
        }
        match &self.rule {
            Rule::Scope(scope) => scope.problem(&self.reason),
            Rule::Exclusion(exclusion) => exclusion.problem(),
            Rule::Profile(profile) => profile.problem(),
            Rule::Window(window) => window.problem(),
            Rule::Budget(budget) => budget.problem(),
            Rule::Site(site) => site.problem(),
        }
    }
}

impl ScopeRule {
    fn problem(&self, reason: &str) -> Option<String> {
        if reason.trim().is_empty() {
            return Some("a scope needs its reason".into());
        }
        if !self.tokens.iter().all(|token| is_rule_name(token)) || self.tokens.len() > RULE_TOKENS_MAX {
            return Some(format!("a scope is for at most {RULE_TOKENS_MAX} tokens, by their names"));
        }
        networks_problem(&self.networks).or_else(|| {
            let nobody = self.networks.iter().find_map(|net| Some((net, nobodys(net)?)));
            nobody.map(|(net, why)| format!("{net} holds {why}, which no scan can be of"))
        })
    }
}

fn networks_problem(networks: &[IpNet]) -> Option<String> {
    (networks.is_empty() || networks.len() > RULE_NETWORKS_MAX)
        .then(|| format!("a rule names 1 to {RULE_NETWORKS_MAX} networks"))
}

/// What in a network belongs to no host, or `None`.
fn nobodys(net: &IpNet) -> Option<&'static str> {
    // RFC 6890 (this network, multicast, reserved with the limited broadcast) and RFC 4291 section 2.4.
    const NOBODYS: [(&str, &str); 5] = [
        ("0.0.0.0/8", "addresses of \"this network\""),
        ("224.0.0.0/4", "multicast addresses"),
        ("240.0.0.0/4", "reserved addresses"),
        ("ff00::/8", "multicast addresses"),
        ("::/128", "the unspecified address"),
    ];
    let overlaps = |other: &IpNet| net.contains(other) || other.contains(net);
    NOBODYS.iter().find(|(other, _)| other.parse().is_ok_and(|other| overlaps(&other))).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(networks: &str, reason: &str) -> NewRule {
        let networks = networks.split(',').filter(|net| !net.is_empty()).map(|net| net.parse().unwrap()).collect();
        let rule = Rule::Scope(ScopeRule { networks, tokens: vec!["ci".into()], effect: ScopeEffect::Allow });
        NewRule { name: "lab".into(), rule, reason: reason.into(), author: Author::default() }
    }

    #[test]
    fn a_scope_without_reason_networks_or_sense_is_told_what_it_lacks() {
        assert_eq!(scope("203.0.113.0/24,2001:db8::/32", "contract 7").problem(), None);
        assert_eq!(scope("64.0.0.0/2", "all of it").problem(), None);
        for (rule, part) in [
            (scope("203.0.113.0/24", " "), "needs its reason"),
            (scope("", "why"), "1 to 1024 networks"),
            (scope("0.0.0.0/0", "why"), "this network"),
            (scope("192.0.0.0/2", "why"), "multicast"),
            (scope("::/0", "why"), "no scan can be of"),
            (NewRule { name: "a b".into(), ..scope("203.0.113.0/24", "why") }, "name has 1 to 64"),
            (NewRule { reason: "x".repeat(501), ..scope("203.0.113.0/24", "why") }, "at most 500"),
        ] {
            assert!(rule.problem().is_some_and(|problem| problem.contains(part)), "{rule:?}");
        }
    }

    #[test]
    fn what_is_kept_of_an_author_is_bounded_and_stays_text() {
        let author = Author { who: "é".repeat(200), from: "10.0.0.1".into() }.cut();
        assert_eq!((author.who.len(), author.from.as_str()), (256, "10.0.0.1"));
    }
}
