//! Whole IPv6 links among the targets (`fe80::/64%eth0`): the hosts that are on them, in their place.
//!
//! Only the machine that scans can ask a link, so this is for a node that is alone in its process. Who was found becomes part
//! of the request, so that a scan that is taken up again has the targets it began with, and what the request says of it is told in
//! the results. So is what is told of networks of which a sample is scanned.

use std::sync::Arc;

use pentora_raft::Raft;
use pentora_raft::command::Author;
use pentora_scanner::gate::{Denial, Gate};
use pentora_scanner::io::{LinkHosts, attached_links, find_link_hosts};
use pentora_scanner::scope::Permit;
use pentora_scanner::spec::ScanSpec;
use pentora_scanner::target::{AddressRange, LinkRange, TargetError, TargetSet, TargetSetBuilder, Zoned};

use super::{RefusedRequest, profile};
use crate::document::{LINKS_MAX, LinkFound, ScanRequest};
use crate::exclusions::{self, Unresolved};
use crate::policy::Policy;

/// The request with the hosts of each link in its place; as it is where it names none. Asks the links and looks names up, so it
/// takes seconds: not for a thread that others wait for.
///
/// # Errors
/// [`RefusedRequest`]: exclusions that cannot be held to, a link that may not or cannot be asked.
pub fn with_link_hosts(request: ScanRequest, author: &Author, raft: &Raft) -> Result<ScanRequest, RefusedRequest> {
    if request.sample.is_some() {
        return Ok(request);
    }
    let parted = Parted::of(&request)?;
    if parted.links.is_empty() {
        return Ok(request);
    }
    if parted.links.len() > LINKS_MAX {
        return Err(RefusedRequest::Field("a scan is of 64 links at most"));
    }
    let gate = gate(&request, parted.excluded, author, raft)?;
    let (attached, mut hosts, mut links) = (attached_links(), Vec::new(), Vec::new());
    for link in &parted.links {
        let unasked = |is_denied, why: String| RefusedRequest::Link { link: link.to_string(), why, is_denied };
        let found = find_link_hosts(link, &attached, &gate).map_err(|error| unasked(false, error.to_string()))?;
        let LinkHosts { hosts: found, denied } = found;
        if let Some(denied) = denied.filter(|_| found.is_empty()) {
            return Err(unasked(true, why_not(denied)));
        }
        let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
        links.push(LinkFound { link: link.to_string(), hosts: count, asked: denied.is_none() });
        hosts.extend(found.into_iter().map(|host| Zoned(host).to_string()));
    }
    let targets: Vec<String> = parted.targets.into_iter().chain(hosts).collect();
    if targets.is_empty() && parted.text.as_deref().is_none_or(is_without_targets) {
        let link = parted.links.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let why = "nobody there answers a request to all nodes".to_owned();
        return Err(RefusedRequest::Link { link, why, is_denied: false });
    }
    Ok(ScanRequest { targets, target_text: parted.text, links, ..request })
}

/// Why nobody may be asked.
fn why_not(denied: Denial) -> String {
    match denied {
        Denial::Excluded => "a request to all of its nodes would reach what is excluded there".to_owned(),
        denied => denied.to_string(),
    }
}

/// What has to be said of a link in the results.
pub(super) fn note(found: &LinkFound) -> String {
    let LinkFound { link, hosts, asked } = found;
    let hosts = if *hosts == 1 { "1 host is".to_owned() } else { format!("{hosts} hosts are") };
    match asked {
        true => {
            format!("{link} is a sample: {hosts} scanned, who answered a request to all nodes of the link or was known")
        }
        false => format!("{link} is a sample: {hosts} scanned, known before; no request to all nodes was let through"),
    }
}

/// What the report says of links, if all of it can be meant.
pub(super) fn notes(request: &ScanRequest) -> Result<Vec<String>, RefusedRequest> {
    let is_link = |found: &LinkFound| {
        let mut targets = TargetSet::builder();
        targets.add_text(&found.link, "links").is_ok()
            && targets.build_uncounted().is_ok_and(|set| set.name_count() == 0)
    };
    if request.links.len() > LINKS_MAX || !request.links.iter().all(is_link) {
        return Err(RefusedRequest::Field("links are networks or ranges of IPv6 addresses, 64 at most"));
    }
    Ok(request.links.iter().map(note).collect())
}

/// What readers have to know of networks that are scanned in part.
pub(super) fn sample_note(sample: u32, networks: &[AddressRange]) -> Option<String> {
    let first = networks.first()?;
    let more = match networks.len() - 1 {
        0 => String::new(),
        1 => " and of 1 more network".to_owned(),
        more => format!(" and of {more} more networks each"),
    };
    let addresses = if sample == 1 { "address" } else { "addresses" };
    Some(format!("a sample: {sample} {addresses} of {first}{more} scanned, the others not"))
}

/// A request's targets, its links apart.
struct Parted {
    targets: Vec<String>,
    text: Option<String>,
    links: Vec<LinkRange>,
    excluded: TargetSet,
}

impl Parted {
    fn of(request: &ScanRequest) -> Result<Self, TargetError> {
        let mut excluded = TargetSet::builder();
        request.exclude.iter().try_for_each(|text| excluded.add_exclusions(text, "exclude"))?;
        request.exclude_text.iter().try_for_each(|text| excluded.add_exclusions(text, "exclude file"))?;
        let (mut links, mut targets) = (Vec::new(), Vec::new());
        let mut part = |text: &str, origin: &str| {
            let mut own = TargetSet::builder();
            own.add_text(text, origin)?;
            let apart = own.take_links(attached_links);
            let left_out = own.take_excluded()?;
            excluded.add_set(&left_out);
            if apart.is_empty() {
                return Ok(text.to_owned());
            }
            for link in apart {
                if !links.contains(&link) {
                    links.push(link);
                }
            }
            rest(own, &left_out)
        };
        for text in &request.targets {
            targets.push(part(text, "targets")?);
        }
        let text = request.target_text.as_deref().map(|text| part(text, "file")).transpose()?;
        targets.retain(|text| !text.is_empty());
        Ok(Self { targets, text, links, excluded: excluded.build_uncounted()? })
    }
}

/// What is left of a text, which leaves out what it left out before.
fn rest(own: TargetSetBuilder, left_out: &TargetSet) -> Result<String, TargetError> {
    let mut text = own.build_uncounted()?.to_string();
    if !left_out.is_empty() {
        text = format!("{text}\nexclude = {left_out}\n");
    }
    Ok(text)
}

fn is_without_targets(text: &str) -> bool {
    let mut targets = TargetSet::builder();
    targets.add_text(text, "file").and_then(|()| targets.build_uncounted()).is_ok_and(|targets| targets.is_empty())
}

/// The gate that a job of the request would have here and now.
fn gate(request: &ScanRequest, excluded: TargetSet, author: &Author, raft: &Raft) -> Result<Gate, RefusedRequest> {
    let (_, profile) = profile::complete(request.clone(), raft)?;
    let exclude = exclusions::resolved(&excluded, request.exclude_unresolved.unwrap_or_default())?.exclude;
    let policy = raft.read(|state| Policy::of(state, &author.who));
    let by_rules = exclusions::resolved(&policy.excluded_at(raft.now_ms())?, Unresolved::Refuse)?.exclude;
    let permit = Permit::new(policy.permitted(None, by_rules));
    Ok(Gate::new(Arc::new(ScanSpec { exclude, profile, ..ScanSpec::default() }), Arc::new(permit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(targets: &[&str], text: Option<&str>) -> ScanRequest {
        let targets = targets.iter().map(ToString::to_string).collect();
        ScanRequest { targets, target_text: text.map(str::to_owned), ..ScanRequest::default() }
    }

    #[test]
    fn links_are_taken_out_of_the_words_and_of_the_file_and_all_else_stays_as_typed() {
        let words = request(
            &["10.0.0.0/30", "fe80::/64%lo,web.example", "fe80::/64%lo"],
            Some("# all\nfe80::%lo/64\nexclude = fe80::9%lo,10.0.0.1\n"),
        );
        let parted = Parted::of(&words).unwrap();
        assert_eq!(parted.links.iter().map(ToString::to_string).collect::<Vec<_>>(), ["fe80::%lo/64"]);
        assert_eq!(parted.targets, ["10.0.0.0/30", "web.example"]);
        assert_eq!(parted.text.as_deref(), Some("\nexclude = 10.0.0.1,fe80::9%lo\n"));
        assert!(is_without_targets(parted.text.as_deref().unwrap()));
        assert_eq!(parted.excluded.to_string(), "10.0.0.1,fe80::9%lo");
        let plain = request(&["10.0.0.0/8"], Some("10.1.0.1 # one"));
        let parted = Parted::of(&plain).unwrap();
        assert_eq!((parted.targets, parted.text, parted.links.len()), (plain.targets, plain.target_text, 0));
    }

    #[test]
    fn what_is_said_of_links_in_a_request_is_about_networks_or_refused() {
        let of = |link: &str| {
            let found = LinkFound { link: link.to_owned(), hosts: 1, asked: true };
            notes(&ScanRequest { links: vec![found], ..ScanRequest::default() })
        };
        let [note] = of("fd00::/64").unwrap().try_into().unwrap();
        assert!(note.starts_with("fd00::/64 is a sample: 1 host is scanned, who answered"), "{note}");
        assert!(of("the whole internet").is_err() && of("fd00::/640").is_err());
        let many = vec![LinkFound { link: "fd00::/64".to_owned(), hosts: 2, asked: false }; LINKS_MAX + 1];
        assert!(notes(&ScanRequest { links: many, ..ScanRequest::default() }).is_err());
    }
}
