//! Why a finding is one: the chain of reasons, from what the service said to what the advisory says.

use std::net::IpAddr;

use pentora_scanner::finding::{HostRecord, PortRecord, Weakness};
use pentora_scanner::port::Protocol;
use pentora_scanner::vuln::matching::{Matcher, Subject, explain};
use pentora_scanner::vuln::store::{AdvisoryStore, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FeedStore;
use super::rematch::is_seen;

/// Most ports that are explained at once: beyond that, a reader names the host.
pub const EXPLAINED_MAX: usize = 20;

/// Which finding is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its id, in any case of letters.
    pub id: String,
    /// The host, if one is meant.
    pub address: Option<IpAddr>,
    /// The port, if one is meant.
    pub port: Option<u16>,
}

/// The reasons for one finding on one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The finding's id.
    pub id: String,
    /// The host.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Its protocol.
    #[schema(value_type = String)]
    pub protocol: Protocol,
    /// The finding, or `None` where the reasons show that there is none.
    #[schema(value_type = Option<serde_json::Value>)]
    pub weakness: Option<Weakness>,
    /// The reasons, in order.
    pub steps: Vec<Reason>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// What was looked at, in a stable word.
    pub about: String,
    /// What was found, in a sentence.
    pub what: String,
}

/// The reasons for what `asked` names on the ports of a record, where there is something to say.
///
/// # Errors
/// Feeds that cannot be read.
pub fn of_record(asked: &Asked, record: &HostRecord, store: Option<&FeedStore>) -> Result<Vec<Explained>, StoreError> {
    let mut explained = Vec::new();
    if asked.address.is_some_and(|address| address != record.address) {
        return Ok(explained);
    }
    for port in record.ports.iter().filter(|port| asked.port.is_none_or(|wanted| wanted == port.port)) {
        if let Some((weakness, steps)) = of_port(&asked.id, port, store)? {
            let id = weakness.as_ref().map_or_else(|| asked.id.clone(), |weakness| weakness.id.clone());
            let (address, protocol) = (record.address, port.protocol);
            explained.push(Explained { id, address, port: port.port, protocol, weakness, steps });
        }
    }
    Ok(explained)
}

type Reasons = (Option<Weakness>, Vec<Reason>);

fn of_port(id: &str, port: &PortRecord, store: Option<&FeedStore>) -> Result<Option<Reasons>, StoreError> {
    let known = port.weaknesses.iter().find(|weakness| weakness.id.eq_ignore_ascii_case(id));
    if let Some(seen) = known.filter(|weakness| is_seen(weakness)) {
        return Ok(Some((Some(seen.clone()), of_exposure(seen))));
    }
    let (Some(service), Some(store)) = (&port.service, store) else { return Ok(None) };
    let subjects = Subject::all_of(service);
    for key in subjects.iter().flat_map(Subject::keys) {
        for advisory in store.by_product(key)? {
            if !advisory.names().into_iter().any(|name| name.eq_ignore_ascii_case(id)) {
                continue;
            }
            let steps = explain(service, &advisory);
            let steps = steps.into_iter().map(|step| Reason { about: step.about.to_owned(), what: step.what });
            let found = Matcher::new(store.clone()).weaknesses(service)?;
            let weakness = found.into_iter().find(|weakness| weakness.id.eq_ignore_ascii_case(id));
            return Ok(Some((weakness, steps.collect())));
        }
    }
    Ok(None)
}

/// An exposure was seen: what was seen is the reason.
fn of_exposure(seen: &Weakness) -> Vec<Reason> {
    let reason = |about: &str, what: String| Reason { about: about.to_owned(), what };
    vec![
        reason("rule", format!("{} ({}): {}.", seen.id, seen.severity, seen.title)),
        reason("seen", seen.evidence.clone()),
        reason("confidence", format!("{} of 100, by {}.", seen.confidence, seen.method)),
    ]
}
