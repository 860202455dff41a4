//! Files of rules and checks: TOML into rules that hold together.

use serde::Deserialize;

use super::{Condition, METHOD_CHECKED, METHOD_SEEN, RuleError, Seen, fill};
use crate::finding::{Service, ServiceMethod, Severity, Weakness};
use crate::vuln::check::{Check, CheckText};

/// What a rule or check is for. It applies where one of its services, products or ports is met, and to everything
/// where it names none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Applies {
    /// Names of services.
    pub services: Vec<String>,
    /// Products, by a part of their name, whatever its case.
    pub products: Vec<String>,
    /// Ports, for services that were not recognised or are only known as HTTP.
    pub ports: Vec<u16>,
}

impl Applies {
    /// Whether it applies to what was seen.
    #[must_use]
    pub fn to(&self, seen: &Seen<'_>) -> bool {
        let service = seen.service;
        if self.services.is_empty() && self.products.is_empty() && self.ports.is_empty() {
            return true;
        }
        let name = service.name.to_lowercase();
        let product = service.product.as_deref().unwrap_or_default().to_lowercase();
        let is_vague =
            service.method == ServiceMethod::Table || matches!(name.as_str(), "" | "unknown" | "http" | "https");
        self.services.contains(&name)
            || (!product.is_empty() && self.products.iter().any(|known| product.contains(&known.to_lowercase())))
            || (is_vague && self.ports.contains(&seen.port.number))
    }
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its id, such as `PEN-REDIS-NOAUTH`.
    pub id: String,
    /// One line that names what it finds.
    pub title: String,
    /// How bad that is.
    pub severity: Severity,
    /// How sure it is when it holds, 0 to 100.
    pub confidence: u8,
    /// Where it applies.
    pub applies: Applies,
    /// The check that must say yes, unless `known` holds.
    pub check: Option<String>,
    /// What to do about it.
    pub remedy: String,
    /// Where to read more.
    pub references: Vec<String>,
    /// Services that it must find and must not find: its own tests.
    pub examples: Vec<Example>,
    evidence: String,
    when: Vec<Condition>,
    any: Vec<Condition>,
    unless: Vec<Condition>,
    known: Vec<Condition>,
}

/// A service that a rule must find, or must not.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// Whether the rule must find it.
    pub is_found: bool,
    /// The port.
    #[serde(default)]
    pub port: u16,
    /// The service.
    pub service: Service,
    /// Days from now until its certificate ends, for rules that look at that.
    pub days_left: Option<i64>,
}

impl Rule {
    /// Whether it holds for what was seen.
    #[must_use]
    pub fn holds(&self, seen: &Seen<'_>) -> bool {
        // The number of a port is no proof of what answers there; a check that says yes is.
        let is_recognised = seen.service.method == ServiceMethod::Probed;
        let is_seen = is_recognised && (self.check.is_none() || self.is_known(seen));
        self.may_hold_with_its_check(seen) && (is_seen || self.is_checked(seen))
    }

    /// Whether it holds but for its check.
    #[must_use]
    pub fn may_hold_with_its_check(&self, seen: &Seen<'_>) -> bool {
        self.applies.to(seen)
            && self.when.iter().all(|condition| condition.holds(seen))
            && (self.any.is_empty() || self.any.iter().any(|condition| condition.holds(seen)))
            && !self.unless.iter().any(|condition| condition.holds(seen))
    }

    fn is_checked(&self, seen: &Seen<'_>) -> bool {
        self.check.as_ref().is_some_and(|id| seen.answers.contains_key(id))
    }

    fn is_known(&self, seen: &Seen<'_>) -> bool {
        !self.known.is_empty() && self.known.iter().all(|condition| condition.holds(seen))
    }

    /// The weakness, once it holds.
    #[must_use]
    pub fn weakness(&self, seen: &Seen<'_>) -> Weakness {
        let method = if self.is_checked(seen) { METHOD_CHECKED } else { METHOD_SEEN };
        Weakness {
            id: self.id.clone(),
            title: self.title.clone(),
            severity: self.severity,
            confidence: self.confidence,
            method: method.to_owned(),
            evidence: fill(&self.evidence, seen),
            remedy: self.remedy.clone(),
            references: self.references.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    rule: Vec<RuleText>,
    #[serde(default)]
    check: Vec<CheckText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: String,
    title: String,
    severity: Severity,
    #[serde(default = "sure")]
    confidence: u8,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    products: Vec<String>,
    #[serde(default)]
    ports: Vec<u16>,
    check: Option<String>,
    #[serde(default)]
    when: Vec<String>,
    #[serde(default)]
    any: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
    #[serde(default)]
    known: Vec<String>,
    evidence: String,
    remedy: String,
    references: Vec<String>,
    #[serde(default)]
    example: Vec<Example>,
}

fn sure() -> u8 {
    95
}

/// What is in one file.
pub(super) struct Parsed {
    pub(super) rules: Vec<Rule>,
    pub(super) checks: Vec<Check>,
}

/// Reads one file.
pub(super) fn parse(file: &str, text: &str) -> Result<Parsed, RuleError> {
    let read: FileText = toml::from_str(text).map_err(|source| RuleError::Shape { file: file.to_owned(), source })?;
    let wrong = |id: &str| {
        let (file, id) = (file.to_owned(), id.to_owned());
        move |why: String| RuleError::Content { file, id, why }
    };
    let mut rules = Vec::new();
    for rule in read.rule {
        let id = rule.id.clone();
        rules.push(rule_of(rule).map_err(wrong(&id))?);
    }
    let mut checks = Vec::new();
    for check in read.check {
        let id = check.id.clone();
        checks.push(Check::of(check).map_err(wrong(&id))?);
    }
    Ok(Parsed { rules, checks })
}

fn rule_of(text: RuleText) -> Result<Rule, String> {
    let is_id = ["PEN-", "OWN-"].iter().any(|start| text.id.starts_with(start))
        && text.id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_id {
        return Err("an id is `PEN-`, or `OWN-` in files of a user's, and upper-case words".to_owned());
    }
    if text.confidence > 100 || text.references.is_empty() {
        return Err("confidence is 0 to 100, and there is at least one reference".to_owned());
    }
    let applies = Applies { services: text.services, products: text.products, ports: text.ports };
    if applies == Applies::default() && text.check.is_none() && text.when.is_empty() && text.any.is_empty() {
        return Err("holds for everything".to_owned());
    }
    let conditions = |list: &[String]| list.iter().map(|text| Condition::parse(text)).collect::<Result<Vec<_>, _>>();
    Ok(Rule {
        when: conditions(&text.when)?,
        any: conditions(&text.any)?,
        unless: conditions(&text.unless)?,
        known: conditions(&text.known)?,
        id: text.id,
        title: text.title,
        severity: text.severity,
        confidence: text.confidence,
        applies,
        check: text.check,
        remedy: text.remedy,
        references: text.references,
        examples: text.example,
        evidence: text.evidence,
    })
}
