//! What the cluster's rules allow: one value, made from the log's state, that everybody who checks asks.
//!
//! Scope is checked three times with it: where a job is admitted (`jobs`), before its work is leased (`coordinator/holds.rs`),
//! and by the node that scans before each send (`worker/permits.rs`, through the scanner's gate). It is a plain value that can
//! be encoded, so that a node without the log can be told it. A node's own file narrows it and never widens it.

pub mod hours;
pub mod own;
mod window;

use ipnet::IpNet;
use pentora_raft::command::{Rule, RuleKind, ScopeEffect, ScopeRule, When, WindowEffect};
use pentora_raft::state::RuleRecord;
use pentora_raft::{JobId, State};
use pentora_scanner::scope::{Permitted, Scope};
use pentora_scanner::target::{AddressRange, TargetError, TargetSet};
use serde::{Deserialize, Serialize};

pub use self::window::Closed;
use self::window::Window;

/// Networks of one rule that a message names.
const NETWORKS_SHOWN: usize = 4;

/// The rules that hold for whoever asked for a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    /// The name of the token that was shown.
    who: String,
    /// What is allowed beside private space.
    allowed: Vec<Named>,
    /// What alone is allowed; all of it where there is none.
    only: Vec<Named>,
    /// What the token alone is for; all of it where there is none.
    of_token: Vec<Named>,
    /// What is left out.
    excluded: Vec<Excluded>,
    /// When what may be scanned.
    windows: Vec<Window>,
    /// How many packets per second networks may get.
    budgets: Vec<Budget>,
    /// Which networks which sites have.
    sites: Vec<Named>,
}

/// A budget of networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    networks: Vec<IpNet>,
    /// Packets per second.
    pub rate_pps: u64,
}

impl Budget {
    /// Whether any of the targets may be in its networks; host names may be anywhere.
    #[must_use]
    pub fn is_about(&self, targets: &TargetSet) -> bool {
        targets.name_count() > 0 || !targets.intersect_nets(&self.networks).is_empty()
    }
}

/// An exclusion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Excluded {
    rule: String,
    targets: Vec<String>,
    /// When; always, where nothing is said.
    when: Option<When>,
}

impl Excluded {
    /// A zone that this node does not know protects as if it were always so.
    fn holds(&self, at_ms: u64) -> bool {
        self.when.as_ref().is_none_or(|when| hours::at(when, at_ms) != hours::At::Outside)
    }
}

/// The networks of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    rule: String,
    networks: Vec<IpNet>,
}

/// Targets that the rules do not allow. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{outside} is outside the authorised scope: {why}")]
pub struct OutsidePolicy {
    /// The first range that is not allowed.
    pub outside: AddressRange,
    /// Which rule says so.
    why: String,
}

impl Policy {
    /// What holds for bearers of the token named `who`; the empty name is that of those who show none.
    #[must_use]
    pub fn of(state: &State, who: &str) -> Self {
        let mut policy = Self { who: who.to_owned(), ..Self::default() };
        for (name, record) in state.rules(RuleKind::Scope) {
            let Some(scope) = scope_for(record, who) else { continue };
            let named = Named { rule: name.to_owned(), networks: scope.networks.clone() };
            match scope.effect {
                ScopeEffect::Allow => policy.allowed.push(named),
                ScopeEffect::Only => policy.only.push(named),
            }
        }
        policy.of_token = state.limits_of(who).map(|networks| of_token(who, networks)).unwrap_or_default();
        for (name, record) in state.rules(RuleKind::Exclusion) {
            let Rule::Exclusion(exclusion) = &record.rule else { continue };
            let (rule, targets, when) = (name.to_owned(), exclusion.targets.clone(), exclusion.when.clone());
            policy.excluded.push(Excluded { rule, targets, when });
        }
        for (name, record) in state.rules(RuleKind::Window) {
            let Rule::Window(window) = &record.rule else { continue };
            policy.windows.push(Window {
                rule: name.to_owned(),
                networks: window.networks.clone(),
                when: window.when.clone(),
                blackout: window.effect == WindowEffect::Blackout,
            });
        }
        for (_, record) in state.rules(RuleKind::Budget) {
            let Rule::Budget(budget) = &record.rule else { continue };
            policy.budgets.push(Budget { networks: budget.networks.clone(), rate_pps: budget.rate_pps });
        }
        for (name, record) in state.rules(RuleKind::Site) {
            let Rule::Site(site) = &record.rule else { continue };
            policy.sites.push(Named { rule: name.to_owned(), networks: site.networks.clone() });
        }
        policy
    }

    /// The sites and their networks, which several may have.
    pub fn sites(&self) -> impl Iterator<Item = (&str, &[IpNet])> {
        self.sites.iter().map(|site| (site.rule.as_str(), site.networks.as_slice()))
    }

    /// The budgets of networks, by the names of their rules.
    pub fn budgets(&self) -> impl Iterator<Item = &Budget> {
        self.budgets.iter()
    }

    /// What holds for a job: for whoever asked for it.
    #[must_use]
    pub fn of_job(state: &State, job: JobId) -> Self {
        let who = state.author(job).map_or("", |author| author.who.as_str());
        let mut policy = Self::of(state, who);
        // As they were when the job was accepted: a node outside the log knows them by the job alone.
        if let Some(networks) = state.job_networks(job) {
            policy.of_token = of_token(who, networks.to_vec());
        }
        policy
    }

    /// The addresses that may be scanned.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let widest = self.widest();
        let limits = [&self.only, &self.of_token].into_iter().filter(|rules| !rules.is_empty());
        limits.fold(widest, |scope, rules| scope.narrow(&scope_of(rules)))
    }

    /// What may be sent to by a node whose own file allows `own` alone, or anything where it says nothing, without what is
    /// excluded, with the addresses of its names.
    #[must_use]
    pub fn permitted(&self, own: Option<&Scope>, exclude: TargetSet) -> Permitted {
        let scope = self.scope();
        Permitted { scope: own.map_or_else(|| scope.clone(), |own| scope.narrow(own)), exclude }
    }

    /// What is left out of every job at any time: by rule, its names not resolved.
    pub fn always_excluded(&self) -> impl Iterator<Item = (&str, Result<TargetSet, TargetError>)> {
        let always = self.excluded.iter().filter(|excluded| excluded.when.is_none());
        always.map(|excluded| (excluded.rule.as_str(), exclusion_targets(&excluded.targets)))
    }

    /// Why the targets may not be scanned at an instant, by windows and blackouts; `None` where they may.
    #[must_use]
    pub fn closed(&self, targets: &TargetSet, at_ms: u64) -> Option<Closed> {
        window::closed(&self.windows, targets, at_ms)
    }

    /// What is left out at an instant, its names not resolved: what is excluded, and what windows and blackouts close.
    ///
    /// # Errors
    /// A rule that this release cannot read, or more than a set may hold: what cannot be held to must stop the scan.
    pub fn excluded_at(&self, at_ms: u64) -> Result<TargetSet, TargetError> {
        let mut all = TargetSet::builder();
        all.add_set(&window::all_closed(&self.windows, at_ms));
        let now = self.excluded.iter().filter(|excluded| excluded.holds(at_ms));
        now.flat_map(|excluded| &excluded.targets).try_for_each(|text| all.add_exclusions(text, "exclude"))?;
        all.build_uncounted()
    }

    /// Which of the rules that hold at some times only hold at an instant.
    #[must_use]
    pub fn hold_at(&self, at_ms: u64) -> Vec<bool> {
        let timed = self.excluded.iter().filter(|excluded| excluded.when.is_some());
        let windows = self.windows.iter().map(|window| window.holds(at_ms));
        timed.map(|excluded| excluded.holds(at_ms)).chain(windows).collect()
    }

    /// Checks that every address among the targets may be scanned. Those of names are checked where they are resolved.
    ///
    /// # Errors
    /// The first range that may not, and the rule by which.
    pub fn check(&self, targets: &TargetSet) -> Result<(), OutsidePolicy> {
        if let Err(error) = self.widest().check(targets) {
            let more = match self.allowed.as_slice() {
                [] => String::new(),
                rules => format!(" and scope {}", names(rules)),
            };
            let why = format!("loopback, private and link-local networks{more} are all that may be scanned");
            return Err(OutsidePolicy { outside: error.outside, why });
        }
        let by_rules = if self.only.is_empty() { self.widest() } else { self.widest().narrow(&scope_of(&self.only)) };
        if let Err(error) = by_rules.check(targets) {
            let whom = if self.who.is_empty() { "everybody".to_owned() } else { format!("token `{}`", self.who) };
            let why = format!("scope {} lets {whom} scan {} alone", names(&self.only), networks(&self.only));
            return Err(OutsidePolicy { outside: error.outside, why });
        }
        if let Err(error) = self.scope().check(targets) {
            let what = if self.of_token.iter().all(|limit| limit.networks.is_empty()) {
                "nothing, because its scopes are gone, or have no address of its networks".to_owned()
            } else {
                format!("{} alone", networks(&self.of_token))
            };
            return Err(OutsidePolicy { outside: error.outside, why: format!("token `{}` may scan {what}", self.who) });
        }
        Ok(())
    }

    /// Private space, and what rules allow beside it.
    fn widest(&self) -> Scope {
        let private = Scope::default();
        let allowed = self.allowed.iter().flat_map(|rule| &rule.networks);
        Scope::new(&private.nets().iter().chain(allowed).copied().collect::<Vec<_>>())
    }
}

/// Networks that the bearer of a token is limited to.
fn of_token(who: &str, networks: Vec<IpNet>) -> Vec<Named> {
    vec![Named { rule: format!("of token {who}"), networks }]
}

/// The scope of a rule, where it holds for `who`.
fn scope_for<'a>(record: &'a RuleRecord, who: &str) -> Option<&'a ScopeRule> {
    let Rule::Scope(scope) = &record.rule else { return None };
    (scope.tokens.is_empty() || scope.tokens.iter().any(|token| token == who)).then_some(scope)
}

/// The targets of an exclusion, as typed.
///
/// # Errors
/// The first that is none.
pub fn exclusion_targets(texts: &[String]) -> Result<TargetSet, TargetError> {
    let mut all = TargetSet::builder();
    texts.iter().try_for_each(|text| all.add_exclusions(text, "targets"))?;
    all.build_uncounted()
}

fn scope_of(rules: &[Named]) -> Scope {
    Scope::new(&rules.iter().flat_map(|rule| &rule.networks).copied().collect::<Vec<_>>())
}

fn names(rules: &[Named]) -> String {
    rules.iter().map(|rule| format!("`{}`", rule.rule)).collect::<Vec<_>>().join(", ")
}

fn networks(rules: &[Named]) -> String {
    let all: Vec<String> = rules.iter().flat_map(|rule| &rule.networks).map(ToString::to_string).collect();
    let more = all.len().saturating_sub(NETWORKS_SHOWN);
    let shown = all.into_iter().take(NETWORKS_SHOWN).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
#[path = "policy/policy_test.rs"]
mod tests;
