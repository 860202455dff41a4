//! `/profiles`: options of a scan under a name, those that are built in and those that were written.

use pentora_raft::command::{Author, NewRule, ProfileRule, Rule, RuleKind};
use pentora_scanner::detect::INTENSITY_MAX;
use pentora_scanner::port::PortSet;
use pentora_scanner::spec::{EngineChoice, RETRIES_MAX, Timing, parse_discovery};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Noun;
use crate::document::{foreign, words};

/// `/profiles`: options of a scan under a name.
#[derive(Debug, Clone, Copy)]
pub struct Profiles;

/// Options of a scan, as in `POST /scans`; what a request says itself goes before them, and what they turn off stays off.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileOptions {
    /// Ports such as `22,80,8000-8100,U:53`, or `-` for all TCP ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// The N most common TCP ports instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_ports: Option<u32>,
    /// The N most common UDP ports, beside them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_udp_ports: Option<u32>,
    /// Ports never to ask, beside those of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_ports: Option<String>,
    /// Packets per second of the whole job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Most packets per second of the whole job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<u64>,
    /// Most probes per second into one network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_rate: Option<u64>,
    /// Most probes per second to one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_rate: Option<u64>,
    /// `polite`, `normal` or `fast`.
    #[serde(with = "words", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = foreign::timing)]
    pub timing: Option<Timing>,
    /// Whether it is looked first which hosts are up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<bool>,
    /// What to look with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery_probes: Option<String>,
    /// `auto`, `connect` or `raw`.
    #[serde(with = "words", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = foreign::engine)]
    pub engine: Option<EngineChoice>,
    /// Whether it is read what open ports say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banners: Option<bool>,
    /// Whether open ports are asked what they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<bool>,
    /// How many probes for the service may be tried, 0 to 9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intensity: Option<u8>,
    /// Whether weaknesses are looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weaknesses: Option<bool>,
    /// Retransmissions of an unanswered probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u8>,
    /// Wanted share of answering ports that are found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Single SYNs and nothing else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ot_safe: bool,
}

/// `POST /api/v1/profiles`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileRequest {
    /// What it is called; none of those that are built in.
    pub name: String,
    /// What it is.
    pub options: ProfileOptions,
    /// What for.
    #[serde(default)]
    pub reason: String,
}

/// What a profile says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProfileWords {
    /// What it is.
    pub options: ProfileOptions,
}

/// The profiles that are built in, by name, with what each is for.
const BUILT_IN: [(&str, &str); 7] = [
    ("quick", "the 100 most common ports, and what is behind them at a glance"),
    ("standard", "the default: the 1,000 most common ports, services and weaknesses"),
    ("deep", "every TCP port and the 100 most common of UDP, every probe for services"),
    ("discovery", "which hosts are up, and whether they have ports of the web"),
    ("udp", "the 100 most common UDP ports"),
    ("ot-safe", "industrial devices: single SYNs and nothing else; needs raw packets"),
    ("default", "the same as standard"),
];

impl ProfileOptions {
    /// The options of a profile that is built in.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        let none = Self::default();
        Some(match name {
            "quick" => Self { top_ports: Some(100), intensity: Some(2), weaknesses: Some(false), ..none },
            "standard" | "default" => none,
            "deep" => Self { ports: Some("-".into()), top_udp_ports: Some(100), intensity: Some(9), ..none },
            "discovery" => Self {
                ports: Some("80,443".into()),
                banners: Some(false),
                services: Some(false),
                weaknesses: Some(false),
                ..none
            },
            "udp" => Self { top_udp_ports: Some(100), ..none },
            "ot-safe" => Self { ot_safe: true, ..none },
            _ => return None,
        })
    }

    /// What is wrong with them.
    ///
    /// # Errors
    /// A sentence that names the option.
    fn check(&self) -> Result<(), String> {
        if let Some(ports) = &self.ports {
            ports.parse::<PortSet>().map_err(|error| error.to_string())?;
        }
        if let Some(ports) = &self.exclude_ports {
            ports.parse::<PortSet>().map_err(|error| format!("exclude_{error}"))?;
        }
        if let Some(probes) = &self.discovery_probes {
            parse_discovery(probes).map_err(|error| error.to_string())?;
        }
        if self.ports.is_some() && self.top_ports.is_some() {
            return Err("ports and top_ports exclude each other".into());
        }
        if self.discovery == Some(false) && self.discovery_probes.is_some() {
            return Err("discovery is turned off, and is asked for".into());
        }
        if [self.top_ports, self.top_udp_ports].contains(&Some(0)) {
            return Err("top_ports and top_udp_ports must be at least 1".into());
        }
        if [self.rate, self.max_rate, self.network_rate, self.host_rate].contains(&Some(0)) {
            return Err("a rate of 0 probes per second sends nothing".into());
        }
        if self.intensity.is_some_and(|intensity| intensity > INTENSITY_MAX) {
            return Err(format!("intensity must be from 0 to {INTENSITY_MAX}"));
        }
        if self.retries.is_some_and(|retries| retries > RETRIES_MAX) {
            return Err(format!("retries must be from 0 to {RETRIES_MAX}"));
        }
        if self.confidence.is_some_and(|share| !(0.5..1.0).contains(&share)) {
            return Err("confidence must be from 0.5 up to less than 1".into());
        }
        Ok(())
    }

    /// On one line, for people: `top_ports=100 intensity=2`.
    #[must_use]
    pub fn line(&self) -> String {
        let fields = serde_json::to_value(self).ok();
        let fields = fields.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten();
        let words = fields.map(|(field, value)| match value.as_str() {
            Some(text) => format!("{field}={text}"),
            None => format!("{field}={value}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl Noun for Profiles {
    const KIND: RuleKind = RuleKind::Profile;
    const PATH: &'static str = "profiles";
    type Request = ProfileRequest;
    type Words = ProfileWords;

    fn rule(request: ProfileRequest, author: Author) -> Result<NewRule, String> {
        let ProfileRequest { name, options, reason } = request;
        if ProfileOptions::built_in(&name).is_some() {
            return Err(format!("name: `{name}` is built in; choose another"));
        }
        options.check()?;
        let options = serde_json::to_string(&options).expect("options have only strings and numbers that are finite");
        Ok(NewRule { name, rule: Rule::Profile(ProfileRule { options }), reason, author })
    }

    fn words(rule: &Rule) -> Option<ProfileWords> {
        let Rule::Profile(profile) = rule else { return None };
        serde_json::from_str(&profile.options).ok().map(|options| ProfileWords { options })
    }

    fn built_in() -> Vec<(&'static str, &'static str, ProfileWords)> {
        let words = |(name, about): (&'static str, &'static str)| {
            ProfileOptions::built_in(name).map(|options| (name, about, ProfileWords { options }))
        };
        BUILT_IN.into_iter().filter_map(words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_kept_as_it_was_written_and_its_slips_are_named() {
        let json = r#"{"name":"web","options":{"ports":"80,443","timing":"polite","weaknesses":false}}"#;
        let rule = Profiles::rule(serde_json::from_str(json).unwrap(), Author::default()).unwrap();
        assert_eq!(rule.problem(), None);
        let options = Profiles::words(&rule.rule).unwrap().options;
        assert_eq!(options.line(), "ports=80,443 timing=polite weaknesses=false");
        for (json, part) in [
            (r#"{"name":"quick","options":{}}"#, "`quick` is built in"),
            (r#"{"name":"a","options":{"ports":"99999"}}"#, "ports:1"),
            (r#"{"name":"a","options":{"ports":"80","top_ports":5}}"#, "exclude each other"),
            (r#"{"name":"a","options":{"rate":0}}"#, "rate of 0"),
            (r#"{"name":"a","options":{"confidence":1.0}}"#, "confidence"),
            (r#"{"name":"a","options":{"intensity":12}}"#, "intensity"),
            (r#"{"name":"a","options":{"discovery_probes":"echo","discovery":false}}"#, "turned off"),
            (r#"{"name":"a","options":{"timing":"insane"}}"#, "insane"),
            (r#"{"name":"a","options":{"port":"80"}}"#, "unknown field `port`"),
        ] {
            let read = serde_json::from_str(json).map_err(|error| error.to_string());
            let error = read.and_then(|request| Profiles::rule(request, Author::default())).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn every_profile_that_is_built_in_is_sound_and_listed() {
        let listed = Profiles::built_in();
        assert_eq!(listed.len(), BUILT_IN.len());
        listed.iter().for_each(|(name, _, words)| words.options.check().unwrap_or_else(|why| panic!("{name}: {why}")));
    }
}
