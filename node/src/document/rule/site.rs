//! `/sites`: private ranges that several places use, each for its own hosts.

use pentora_raft::command::{Author, NewRule, Rule, RuleKind, SiteRule};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Noun, networks};

/// `/sites`: private ranges that several places use.
#[derive(Debug, Clone, Copy)]
pub struct Sites;

/// `POST /api/v1/sites`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteRequest {
    /// The site, as `nodes set --site` and join tokens name it.
    pub name: String,
    /// Its networks, which other sites may have as well.
    pub networks: Vec<String>,
    /// What it is.
    #[serde(default)]
    pub reason: String,
}

/// What a site says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteWords {
    /// Its networks.
    pub networks: Vec<String>,
}

impl Noun for Sites {
    const KIND: RuleKind = RuleKind::Site;
    const PATH: &'static str = "sites";
    type Request = SiteRequest;
    type Words = SiteWords;

    fn rule(request: SiteRequest, author: Author) -> Result<NewRule, String> {
        let SiteRequest { name, networks: texts, reason } = request;
        let networks = networks("networks", &texts)?;
        Ok(NewRule { name, rule: Rule::Site(SiteRule { networks }), reason, author })
    }

    fn words(rule: &Rule) -> Option<SiteWords> {
        let Rule::Site(site) = rule else { return None };
        Some(SiteWords { networks: site.networks.iter().map(ToString::to_string).collect() })
    }
}
