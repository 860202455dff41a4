//! Rules of the cluster's policy: `/scopes` and the like, each listed, shown, written and removed in the same way.

mod budget;
mod exclusion;
mod profile;
mod scope;
mod site;
mod when;
mod window;

use std::borrow::Cow;

use pentora_raft::command::{Author, NewRule, Rule, RuleKind};
use pentora_raft::state::RuleRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

pub use self::budget::*;
pub use self::exclusion::*;
pub use self::profile::*;
pub use self::scope::*;
pub use self::site::*;
pub use self::when::*;
pub use self::window::*;
use crate::clock::rfc3339;

/// Most characters of a word that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// A kind of rule as people name it.
pub trait Noun: Send + Sync + 'static {
    /// Its kind in the log; its name there is the command's as well.
    const KIND: RuleKind;
    /// Where its rules are below `/api/v1`.
    const PATH: &'static str;
    /// What is sent to write one.
    type Request: Serialize + DeserializeOwned + ToSchema + Send + Sync + 'static;
    /// What it says.
    type Words: Serialize + DeserializeOwned + ToSchema + Clone + Send + Sync;

    /// The rule that a request is for.
    ///
    /// # Errors
    /// A sentence that names the field.
    fn rule(request: Self::Request, author: Author) -> Result<NewRule, String>;

    /// A rule in words; `None` for one of another kind.
    fn words(rule: &Rule) -> Option<Self::Words>;

    /// Rules of this kind that are there without anybody's having written them: name, what it is for, what it says.
    #[must_use]
    fn built_in() -> Vec<(&'static str, &'static str, Self::Words)> {
        Vec::new()
    }
}

/// Who wrote the rules that are built in.
const BUILT_IN: &str = "built in";

/// A rule as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleDocument<W> {
    /// What it is called.
    pub name: String,
    /// What it says.
    #[serde(flatten)]
    pub words: W,
    /// Why.
    pub reason: String,
    /// The token by which it was written; empty where none was asked for.
    pub by: String,
    /// Where that came from.
    pub from: String,
    /// When it was written, RFC 3339.
    pub at: String,
}

/// What it says, beside what is said of every rule.
impl<W: ToSchema> PartialSchema for RuleDocument<W> {
    fn schema() -> RefOr<Schema> {
        let of_all = ["name", "reason", "by", "from", "at"];
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let of_all = of_all
            .into_iter()
            .fold(ObjectBuilder::new(), |of_all, field| of_all.property(field, text()).required(field));
        AllOfBuilder::new().item(Ref::from_schema_name(W::name())).item(of_all).into()
    }
}

impl<W: ToSchema> ToSchema for RuleDocument<W> {
    fn name() -> Cow<'static, str> {
        format!("{}Document", W::name().trim_end_matches("Words")).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((W::name().into_owned(), W::schema()));
        W::schemas(schemas);
    }
}

impl<W> RuleDocument<W> {
    /// The document of a rule of `N`.
    pub fn of<N: Noun<Words = W>>(name: &str, record: &RuleRecord) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            words: N::words(&record.rule)?,
            reason: record.reason.clone(),
            by: record.author.who.clone(),
            from: record.author.from.clone(),
            at: rfc3339(record.at_ms),
        })
    }
}

impl<W> RuleDocument<W> {
    /// The documents of the rules of `N` that are built in.
    pub fn built_in<N: Noun<Words = W>>() -> Vec<Self> {
        let document = |(name, about, words): (&str, &str, W)| Self {
            name: name.to_owned(),
            words,
            reason: about.to_owned(),
            by: BUILT_IN.to_owned(),
            from: String::new(),
            at: String::new(),
        };
        N::built_in().into_iter().map(document).collect()
    }
}

/// A name for a rule that got none: made of the first thing that it is about.
fn name_of(given: Option<String>, about: Option<&String>) -> String {
    given.unwrap_or_else(|| {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' };
        about.map_or_else(String::new, |about| about.chars().take(SHOWN_CHARS_MAX).map(plain).collect())
    })
}

/// The networks that are named in a field.
fn networks(field: &str, texts: &[String]) -> Result<Vec<ipnet::IpNet>, String> {
    let read = |text: &String| {
        let net = text.parse::<ipnet::IpNet>().ok();
        let net = net.or_else(|| text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from));
        let net = net.ok_or_else(|| format!("{field}: `{}` is no prefix such as 203.0.113.0/24", shown(text)))?;
        if net.trunc() == net { Ok(net) } else { Err(format!("{field}: {net} is an address in {}", net.trunc())) }
    };
    texts.iter().map(read).collect()
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
