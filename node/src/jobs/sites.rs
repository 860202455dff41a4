//! Which site the targets of a request are at: an address is a host's own only together with its site.

use std::collections::BTreeSet;

use pentora_raft::State;
use pentora_scanner::target::TargetSet;

use super::RefusedRequest;
use crate::policy::Policy;

/// Targets by site; those that no site has are at none.
pub(super) type AtSite = (Option<String>, TargetSet);

/// The sites that nodes are at, whether or not a rule says which networks those have.
pub(super) fn of_nodes(state: &State) -> BTreeSet<String> {
    state.standings().filter_map(|(_, standing)| standing.policy.site.clone()).collect()
}

/// Parts the targets by site: by the one that was named, or for each address by the one that has it. A name is at the site of its
/// addresses, as far as `names` has them.
///
/// # Errors
/// An address that several sites have, with them, and a name whose addresses are at several; a name that neither a rule nor a node has as
/// its site, with those there are.
pub(super) fn by_site(
    targets: &TargetSet,
    names: &[(String, TargetSet)],
    named: Option<&str>,
    policy: &Policy,
    of_nodes: BTreeSet<String>,
) -> Result<Vec<AtSite>, RefusedRequest> {
    if let Some(site) = named {
        let by_rule = policy.sites().map(|(name, _)| name.to_owned());
        let sites: BTreeSet<String> = of_nodes.into_iter().chain(by_rule).collect();
        return match sites.contains(site) {
            true => Ok(vec![(Some(site.to_owned()), targets.clone())]),
            false => Err(RefusedRequest::Site { name: site.to_owned(), sites: sites.into_iter().collect() }),
        };
    }
    let mut parts = by_address(targets, policy)?;
    for (name, addresses) in names {
        let mut sites: Vec<String> = by_address(addresses, policy)
            .map_err(|refused| of_name(name, refused))?
            .into_iter()
            .filter_map(|(site, _)| site)
            .collect();
        let Some(site) = sites.pop() else { continue };
        if !sites.is_empty() {
            sites.push(site);
            return Err(RefusedRequest::Ambiguous { range: name.clone(), sites });
        }
        move_to(&mut parts, name, site)?;
    }
    Ok(parts)
}

/// An address that several sites have is told as that of the name that has it.
fn of_name(name: &str, refused: RefusedRequest) -> RefusedRequest {
    match refused {
        RefusedRequest::Ambiguous { range, sites } => {
            RefusedRequest::Ambiguous { range: format!("{name} ({range})"), sites }
        }
        other => other,
    }
}

/// Takes a name out of what is at no site, to those of a site.
fn move_to(parts: &mut Vec<AtSite>, name: &str, site: String) -> Result<(), RefusedRequest> {
    let name: TargetSet = name.parse()?;
    for (at, part) in parts.iter_mut() {
        if at.is_none() {
            *part = part.exclude(&name);
        }
    }
    match parts.iter_mut().find(|(at, _)| at.as_deref() == Some(&site)) {
        Some((_, part)) => {
            let mut both = TargetSet::builder();
            both.add_set(part);
            both.add_set(&name);
            *part = both.build()?;
        }
        None => parts.insert(0, (Some(site), name)),
    }
    parts.retain(|(_, part)| !part.is_empty());
    Ok(())
}

/// Parts addresses by the site that has them; names are at none.
fn by_address(targets: &TargetSet, policy: &Policy) -> Result<Vec<AtSite>, RefusedRequest> {
    let sites: Vec<_> = policy.sites().map(|(name, nets)| (name, targets.intersect_nets(nets))).collect();
    let sites: Vec<_> = sites.into_iter().filter(|(_, part)| !part.is_empty()).collect();
    for (at, (_, part)) in sites.iter().enumerate() {
        let others = sites.iter().skip(at + 1).filter(|(_, other)| part.exclude(other) != *part);
        let candidates: Vec<&str> = others.map(|(name, _)| *name).collect();
        if !candidates.is_empty() {
            let shared = sites.iter().skip(at + 1).fold(part.clone(), |left, (_, other)| left.exclude(other));
            let range = part.exclude(&shared).ranges().next().map_or_else(String::new, |range| range.to_string());
            let first = sites.get(at).map_or("", |(name, _)| *name);
            let sites = std::iter::once(first).chain(candidates).map(str::to_owned).collect();
            return Err(RefusedRequest::Ambiguous { range, sites });
        }
    }
    let mut rest = targets.clone();
    let mut parts: Vec<AtSite> = Vec::new();
    for (name, part) in sites {
        rest = rest.exclude(&part);
        parts.push((Some(name.to_owned()), part));
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push((None, rest));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use pentora_raft::command::{Author, Command, NewRule, Proposal, Rule, SiteRule};

    use super::*;

    fn policy() -> Policy {
        let mut state = State::default();
        let sites = [("berlin", "10.77.0.0/16"), ("madrid", "10.77.128.0/17"), ("oslo", "10.78.0.0/16")];
        for (index, (name, net)) in (1..).zip(sites) {
            let rule = Rule::Site(SiteRule { networks: vec![net.parse().unwrap()] });
            let new = NewRule { name: name.into(), rule, reason: String::new(), author: Author::default() };
            state.apply(index, &Proposal { at_ms: index, command: Command::SetRule(Box::new(new)) });
        }
        Policy::of(&state, "")
    }

    fn joined(parts: &[AtSite]) -> TargetSet {
        let mut all = TargetSet::builder();
        parts.iter().for_each(|(_, part)| all.add_set(part));
        all.build().unwrap()
    }

    fn parted(targets: &str, named: Option<&str>) -> Result<Vec<(Option<String>, String)>, RefusedRequest> {
        let targets: TargetSet = targets.parse().unwrap();
        let of = |name: &str, addresses: &str| (name.to_owned(), addresses.parse().unwrap());
        let names = [
            of("oslo.example", "10.78.0.9,10.1.0.1"),
            of("web.example", "10.1.0.1"),
            of("berlin.example", "10.77.0.9"),
            of("both.example", "10.77.128.9"),
            of("apart.example", "10.77.0.9,10.78.0.9"),
        ];
        let names: Vec<_> = names.into_iter().filter(|(name, _)| targets.contains_name(name)).collect();
        let parts = by_site(&targets, &names, named, &policy(), BTreeSet::from(["fra1".to_owned()]))?;
        assert_eq!(joined(&parts), targets, "nothing is lost");
        Ok(parts.into_iter().map(|(site, part)| (site, part.to_string())).collect())
    }

    #[test]
    fn each_address_is_at_the_site_that_has_it_and_what_none_has_at_none() {
        let parts = parted("10.77.0.0/24,10.78.0.9,10.1.0.1,web.example", None).unwrap();
        let site = |name: &str| Some(name.to_owned());
        let expected = [
            (site("berlin"), "10.77.0.0/24".to_owned()),
            (site("oslo"), "10.78.0.9".to_owned()),
            (None, "10.1.0.1,web.example".to_owned()),
        ];
        assert_eq!(parts, expected);
        assert_eq!(parted("10.1.0.1", None).unwrap(), [(None, "10.1.0.1".to_owned())]);
    }

    #[test]
    fn a_name_is_at_the_site_of_its_addresses_and_refused_where_those_are_several() {
        let site = |name: &str| Some(name.to_owned());
        let parts = parted("10.78.0.9,10.1.0.1,oslo.example,web.example,berlin.example,unknown.example", None).unwrap();
        let expected = [
            (site("berlin"), "berlin.example".to_owned()),
            (site("oslo"), "10.78.0.9,oslo.example".to_owned()),
            (None, "10.1.0.1,unknown.example,web.example".to_owned()),
        ];
        assert_eq!(parts, expected);
        assert_eq!(parted("oslo.example", None).unwrap(), [(site("oslo"), "oslo.example".to_owned())]);
        let refused = parted("both.example", None).unwrap_err().to_string();
        assert!(refused.starts_with("both.example (10.77.128.9) is at several sites"), "{refused}");
        let refused = parted("apart.example", None).unwrap_err();
        let RefusedRequest::Ambiguous { range, sites } = &refused else { panic!("{refused}") };
        assert_eq!((range.as_str(), sites.len()), ("apart.example", 2), "{refused}");
        assert_eq!(parted("both.example", Some("madrid")).unwrap(), [(site("madrid"), "both.example".to_owned())]);
    }

    #[test]
    fn a_site_that_neither_a_rule_nor_a_node_has_is_refused_with_those_there_are() {
        for known in ["oslo", "fra1"] {
            assert_eq!(parted("10.1.0.1", Some(known)).unwrap()[0].0.as_deref(), Some(known));
        }
        let refused = parted("10.1.0.1", Some("rome")).unwrap_err().to_string();
        assert_eq!(refused, "there is no site named `rome`: there are berlin, fra1, madrid, oslo");
        let targets = "10.1.0.1".parse().unwrap();
        let refused =
            by_site(&targets, &[], Some("rome"), &Policy::default(), BTreeSet::new()).unwrap_err().to_string();
        assert!(refused.contains("`pentora site add`"), "{refused}");
    }

    #[test]
    fn an_address_that_several_sites_have_is_refused_with_them_unless_one_is_named() {
        let refused = parted("10.77.0.0/16", None).unwrap_err();
        let RefusedRequest::Ambiguous { range, sites } = &refused else { panic!("{refused}") };
        assert_eq!((range.as_str(), sites.as_slice()), ("10.77.128.0/17", &["berlin".to_owned(), "madrid".into()][..]));
        assert_eq!(parted("10.77.128.1", Some("madrid")).unwrap()[0].0.as_deref(), Some("madrid"));
    }
}
