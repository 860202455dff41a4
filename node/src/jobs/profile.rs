//! A request with the options of the profile that it names.
//!
//! What the request says itself goes before the profile, but for what the profile turns off or restricts: that stays.

use pentora_raft::command::RuleKind;
use pentora_raft::{Raft, State};
use pentora_scanner::spec::Profile;

use super::RefusedRequest;
use crate::document::{Noun, ProfileOptions, Profiles, ScanRequest};

/// The request as its profile completes it, and the profile's restriction of what may be sent.
///
/// # Errors
/// There is no such profile.
pub(super) fn complete(request: ScanRequest, raft: &Raft) -> Result<(ScanRequest, Profile), RefusedRequest> {
    let Some(name) = request.profile.clone() else { return Ok((request, Profile::Default)) };
    let options = raft.read(|state| options_of(state, &name)).ok_or_else(|| {
        let built_in: Vec<&str> = Profiles::built_in().into_iter().map(|(name, _, _)| name).collect();
        let (name, built_in) = (name.chars().take(64).collect(), built_in.join(", "));
        RefusedRequest::Profile { name, built_in }
    })?;
    let restriction = if options.ot_safe { Profile::OtSafe } else { Profile::Default };
    Ok((with(request, options), restriction))
}

/// The same for a request that names no profile, or one that is built in: what needs no cluster to be known.
pub(super) fn complete_built_in(request: ScanRequest) -> Option<(ScanRequest, Profile)> {
    let Some(name) = &request.profile else { return Some((request, Profile::Default)) };
    let options = ProfileOptions::built_in(&name.to_ascii_lowercase())?;
    let restriction = if options.ot_safe { Profile::OtSafe } else { Profile::Default };
    Some((with(request, options), restriction))
}

fn options_of(state: &State, name: &str) -> Option<ProfileOptions> {
    let stored = || Profiles::words(&state.rule(RuleKind::Profile, name)?.rule);
    ProfileOptions::built_in(&name.to_ascii_lowercase()).or_else(|| stored().map(|words| words.options))
}

fn with(request: ScanRequest, options: ProfileOptions) -> ScanRequest {
    let is_silent = request.ports.is_none() && request.top_ports.is_none() && request.top_udp_ports.is_none();
    let of_profile = |keep: bool| if keep { Some(()) } else { None };
    let excluded = [request.exclude_ports.clone(), options.exclude_ports].into_iter().flatten().collect::<Vec<_>>();
    ScanRequest {
        ports: request.ports.or(of_profile(is_silent).and(options.ports)),
        top_ports: request.top_ports.or(of_profile(is_silent).and(options.top_ports)),
        top_udp_ports: request.top_udp_ports.or(of_profile(is_silent).and(options.top_udp_ports)),
        exclude_ports: (!excluded.is_empty()).then(|| excluded.join(",")),
        rate: request.rate.or(options.rate),
        max_rate: request.max_rate.or(options.max_rate),
        network_rate: request.network_rate.or(options.network_rate),
        host_rate: request.host_rate.or(options.host_rate),
        timing: request.timing.or(options.timing),
        discovery: request.discovery && options.discovery.unwrap_or(true),
        discovery_probes: request.discovery_probes.or(options.discovery_probes).filter(|_| request.discovery),
        engine: request.engine.or(options.engine),
        banners: request.banners && options.banners.unwrap_or(true),
        services: request.services && options.services.unwrap_or(true),
        intensity: request.intensity.or(options.intensity),
        weaknesses: request.weaknesses && options.weaknesses.unwrap_or(true),
        retries: request.retries.or(options.retries),
        confidence: request.confidence.or(options.confidence),
        ..request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_says_goes_before_its_profile_and_what_that_turns_off_stays_off() {
        let options = ProfileOptions {
            ports: Some("80".into()),
            exclude_ports: Some("9100".into()),
            rate: Some(50),
            services: Some(false),
            ..ProfileOptions::default()
        };
        let plain = with(ScanRequest::default(), options.clone());
        assert_eq!(
            (plain.ports.as_deref(), plain.rate, plain.services, plain.discovery),
            (Some("80"), Some(50), false, true)
        );
        let said = ScanRequest {
            top_ports: Some(5),
            rate: Some(9),
            exclude_ports: Some("23".into()),
            ..ScanRequest::default()
        };
        let said = with(said, options);
        assert_eq!((said.ports, said.top_ports, said.rate), (None, Some(5), Some(9)));
        assert_eq!(said.exclude_ports.as_deref(), Some("23,9100"));
    }
}
