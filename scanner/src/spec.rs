//! What a job asks for, in full: the bytes that travel in the log and that a scanning node works from.
//!
//! A [`ScanSpec`] holds no addresses one by one and no state. It is serialised by position as well as by name, so
//! fields are never skipped, reordered or inserted; its version is the business of whoever encodes it.

mod discovery;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::discovery::{DiscoveryError, DiscoveryProbe, UnknownProbe, parse_discovery};
use crate::port::PortSet;
use crate::target::TargetSet;

/// Most partitions of one job: each is a set of targets with the same placement, and sites are few.
pub const PARTITIONS_MAX: usize = 4096;
/// Most retransmissions that may be asked for; at 30 % loss each way, ten leave one probe in a thousand unanswered.
pub const RETRIES_MAX: u8 = 10;
/// What profile `ot-safe` sends per second at most: controllers with the smallest stacks answer as many beside their own work.
const OT_SAFE_PPS: u64 = 20;
/// Most discovery probes of one scan.
pub const DISCOVERY_MAX: usize = 16;

/// What to scan and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanSpec {
    /// Targets by placement; each partition is an index space of its own, exclusions already taken out.
    pub partitions: Vec<TargetSet>,
    /// Ports asked of every target.
    pub ports: PortSet,
    /// What was excluded, kept for the check before each send and for the addresses of host names.
    pub exclude: TargetSet,
    /// The probes by which hosts are looked for before all their ports are asked; none to ask every port of every
    /// target.
    pub discovery: Vec<DiscoveryProbe>,
    /// Packets per second of the whole job, over all nodes, probes and those that answers call for: begun with at once and never
    /// exceeded; `None` for as many as the networks take.
    pub rate_pps: Option<u64>,
    /// How hard to push where no rate is given.
    pub timing: Timing,
    /// Share of the answering ports that the scan aims to find, from 0.5 up to less than 1.
    pub confidence: f64,
    /// Retransmissions of an unanswered probe; `None` for as many as the measured loss asks for.
    pub retries: Option<u8>,
    /// Whether to read what an open port says first.
    pub banners: bool,
    /// Which engine must do it.
    pub engine: EngineChoice,
    /// Chooses the order of targets and ports; any number, but the same for the whole job.
    pub seed: u64,
    /// A named set of restrictions.
    pub profile: Profile,
    /// Most packets per second of the whole job, over all nodes, whatever the measured loss would allow.
    pub max_rate_pps: Option<u64>,
    /// Most probes per second into one destination network (an IPv4 /24, an IPv6 /64), over all nodes.
    pub network_rate_pps: Option<u64>,
    /// Most probes per second to one host.
    pub host_rate_pps: Option<u64>,
    /// How many probes for the service behind an open port may be tried, 0 to 9; `None` to ask for no service.
    pub services: Option<u8>,
    /// Whether weaknesses of what was found are looked for.
    pub weaknesses: bool,
    /// Whether ports of controllers and medical devices are asked like any other; specs from before this was a choice end
    /// without it, and do not.
    #[serde(default, deserialize_with = "if_there")]
    pub allow_fragile: bool,
    /// Ports that nothing is sent to, at any stage.
    #[serde(default, deserialize_with = "if_there")]
    pub exclude_ports: PortSet,
    /// Whether of a name that has several addresses only the first is scanned that may be.
    #[serde(default, deserialize_with = "if_there")]
    pub first_address: bool,
    /// Whether the names of hosts that are up are asked of the name servers.
    #[serde(default, deserialize_with = "if_there")]
    pub reverse_dns: bool,
    /// What readers of the results have to know that was decided when the job was made, a line each.
    #[serde(default, deserialize_with = "if_there")]
    pub notes: Vec<String>,
    /// The order that somebody signed for this, with the signature; opaque here.
    #[serde(default, deserialize_with = "if_there")]
    pub order: Option<String>,
}

/// A field that older specs end without: by name it is missing, by position the bytes are over.
fn if_there<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(T::deserialize(from).unwrap_or_default())
}

impl Default for ScanSpec {
    /// The most popular ports of nothing, with discovery and banners.
    fn default() -> Self {
        Self {
            partitions: Vec::new(),
            ports: PortSet::top_ports(crate::port::DEFAULT_TOP_PORTS),
            exclude: TargetSet::default(),
            discovery: DiscoveryProbe::DEFAULT.to_vec(),
            rate_pps: None,
            timing: Timing::Normal,
            confidence: 0.999,
            retries: None,
            banners: true,
            engine: EngineChoice::Auto,
            seed: 0,
            profile: Profile::Default,
            max_rate_pps: None,
            network_rate_pps: None,
            host_rate_pps: None,
            services: None,
            weaknesses: false,
            allow_fragile: false,
            exclude_ports: PortSet::default(),
            first_address: false,
            reverse_dns: false,
            notes: Vec::new(),
            order: None,
        }
    }
}

impl ScanSpec {
    /// Holds the fields against each other.
    ///
    /// # Errors
    /// The first relation that does not hold, in a sentence for the person who asked for the scan.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.partitions.iter().all(TargetSet::is_empty) {
            return Err(SpecError::NoTargets);
        }
        if !self.partitions.iter().all(TargetSet::is_countable) {
            return Err(SpecError::TooManyTargets);
        }
        if self.partitions.len() > PARTITIONS_MAX {
            return Err(SpecError::TooManyPartitions { partitions: self.partitions.len() });
        }
        if self.ports.is_empty() && (self.discovery.is_empty() || self.profile == Profile::OtSafe) {
            return Err(SpecError::NoPorts);
        }
        if [self.rate_pps, self.max_rate_pps, self.network_rate_pps, self.host_rate_pps].contains(&Some(0)) {
            return Err(SpecError::NoRate);
        }
        if self.discovery.len() > DISCOVERY_MAX {
            return Err(SpecError::Discovery { probes: self.discovery.len() });
        }
        if self.profile == Profile::OtSafe {
            self.validate_ot_safe()?;
        }
        if !(0.5..1.0).contains(&self.confidence) {
            return Err(SpecError::Confidence { confidence: self.confidence });
        }
        match self.retries {
            Some(retries) if retries > RETRIES_MAX => Err(SpecError::Retries { retries }),
            _ => Ok(()),
        }
    }

    /// What sends nothing but single SYNs needs raw packets, for all of its targets.
    fn validate_ot_safe(&self) -> Result<(), SpecError> {
        if self.ports.udp_count() > 0 {
            return Err(SpecError::OtSafeUdp);
        }
        if self.engine == EngineChoice::Connect {
            return Err(SpecError::OtSafeConnect);
        }
        match self.partitions.iter().find_map(|targets| targets.names().next()) {
            Some(name) => Err(SpecError::OtSafeName { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// Most packets per second of the whole job, over all nodes together: the lowest of `rate_pps`, `max_rate_pps` and what the
    /// profile lets be sent.
    #[must_use]
    pub fn budget_pps(&self) -> Option<u64> {
        let of_profile = (self.profile == Profile::OtSafe).then_some(OT_SAFE_PPS);
        [self.rate_pps, self.max_rate_pps, of_profile].into_iter().flatten().min()
    }

    /// How many targets all partitions have together, `u64::MAX` when there are more.
    #[must_use]
    pub fn target_count(&self) -> u64 {
        self.partitions.iter().fold(0, |sum, targets| sum.saturating_add(targets.count()))
    }
}

/// Why a spec cannot be carried out; nothing was sent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// No target at all, perhaps because all were excluded.
    #[error("no target left to scan: give at least one that is not excluded")]
    NoTargets,
    /// A partition that is no index space.
    #[error("more than {} targets in one job: give smaller IPv6 networks, or have a sample scanned", u64::MAX)]
    TooManyTargets,
    /// More partitions than any mesh has placements.
    #[error("{partitions} partitions, at most {PARTITIONS_MAX} fit in one job")]
    TooManyPartitions {
        /// How many there are.
        partitions: usize,
    },
    /// No port at all, and no discovery either.
    #[error("no port to ask and no discovery: give at least one")]
    NoPorts,
    /// A rate at which nothing would ever be sent.
    #[error("a rate of 0 probes per second sends nothing: give at least 1, or no rate")]
    NoRate,
    /// A confidence that cannot be aimed at.
    #[error("confidence {confidence} is not from 0.5 up to less than 1")]
    Confidence {
        /// The number given.
        confidence: f64,
    },
    /// UDP ports under a profile that sends nothing but single SYNs.
    #[error("profile ot-safe sends nothing but single SYNs: leave the UDP ports out")]
    OtSafeUdp,
    /// Connections under that profile.
    #[error(
        "profile ot-safe sends nothing but single SYNs, and engine connect makes whole connections: leave the engine out"
    )]
    OtSafeConnect,
    /// A host name under that profile: names are scanned with connections.
    #[error(
        "profile ot-safe sends nothing but single SYNs, and {name} would be scanned with connections: give its address"
    )]
    OtSafeName {
        /// The first name.
        name: String,
    },
    /// More discovery probes than tell anything new.
    #[error("{probes} discovery probes, at most {DISCOVERY_MAX} are of use")]
    Discovery {
        /// How many were given.
        probes: usize,
    },
    /// More retransmissions than ever help.
    #[error("{retries} retries, at most {RETRIES_MAX} are of use")]
    Retries {
        /// The number given.
        retries: u8,
    },
}

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident, $what:literal, $($(#[$choice_doc:meta])* $choice:ident = $text:literal),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$choice_doc])* #[serde(rename = $text)] $choice),+
        }

        impl $name {
            /// Every choice, by the name that is typed for it.
            pub const NAMES: &'static [&'static str] = &[$($text),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$choice => $text),+ })
            }
        }

        impl FromStr for $name {
            type Err = UnknownChoice;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text.to_ascii_lowercase().as_str() {
                    $($text => Ok(Self::$choice),)+
                    _ => Err(UnknownChoice { what: $what, given: text.to_owned(), known: Self::NAMES }),
                }
            }
        }
    };
}

choices! {
    /// How hard to push where no rate is given. The numbers behind it are in `scan/limits.rs`.
    Timing, "timing",
    /// For links and devices that are in use: slow growth, at most 500 probes per second.
    Polite = "polite",
    /// Grows as far as answers allow.
    Normal = "normal",
    /// Begins wide and waits less for slow answers.
    Fast = "fast"
}

choices! {
    /// Which engine does the scan.
    EngineChoice, "engine",
    /// Raw packets where the node may send them, connections otherwise.
    Auto = "auto",
    /// Ordinary connections, which any user may open.
    Connect = "connect",
    /// Raw packets; refused where the node may not send them.
    Raw = "raw"
}

choices! {
    /// A named set of restrictions.
    Profile, "profile",
    /// No restriction beside the scope.
    Default = "default",
    /// For industrial and other fragile devices: single SYNs and nothing else, one at a time per unit, at most 20 per
    /// second over all nodes; refused where only connections would do.
    OtSafe = "ot-safe"
}

/// A word that is none of the choices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {given:?}: it is one of {}", known.join(", "))]
pub struct UnknownChoice {
    /// What was to be chosen.
    pub what: &'static str,
    /// The word given.
    pub given: String,
    /// The words that would do.
    pub known: &'static [&'static str],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> ScanSpec {
        ScanSpec { partitions: vec!["10.0.0.0/24".parse().unwrap()], ..ScanSpec::default() }
    }

    #[test]
    fn each_relation_between_fields_is_held() {
        assert_eq!(valid().validate(), Ok(()));
        assert_eq!(ScanSpec::default().validate(), Err(SpecError::NoTargets));
        let silent = ScanSpec { ports: PortSet::default(), discovery: Vec::new(), ..valid() };
        assert_eq!(silent.validate(), Err(SpecError::NoPorts));
        assert_eq!(ScanSpec { ports: PortSet::default(), ..valid() }.validate(), Ok(()), "discovery alone");
        assert_eq!(ScanSpec { rate_pps: Some(0), ..valid() }.validate(), Err(SpecError::NoRate));
        assert_eq!(ScanSpec { retries: Some(11), ..valid() }.validate(), Err(SpecError::Retries { retries: 11 }));
        let fragile = ScanSpec { profile: Profile::OtSafe, ports: "22,U:161".parse().unwrap(), ..valid() };
        assert_eq!(fragile.validate(), Err(SpecError::OtSafeUdp));
        let fragile = |engine, targets: &str| {
            let partitions = vec!["10.0.0.0/24".parse().unwrap(), targets.parse().unwrap()];
            ScanSpec { profile: Profile::OtSafe, engine, partitions, ..valid() }.validate()
        };
        assert_eq!(fragile(EngineChoice::Auto, "10.1.0.0/24"), Ok(()));
        assert_eq!(fragile(EngineChoice::Connect, "10.1.0.0/24"), Err(SpecError::OtSafeConnect));
        let named = fragile(EngineChoice::Raw, "10.1.0.1,plc.example").unwrap_err();
        assert!(named.to_string().contains("plc.example"), "{named}");
        for confidence in [0.0, 1.0, f64::NAN, -1.0, f64::INFINITY] {
            assert!(ScanSpec { confidence, ..valid() }.validate().is_err(), "{confidence}");
        }
        let mut endless = TargetSet::builder();
        endless.add_text("2001:db8::/32", "test").unwrap();
        let endless = ScanSpec { partitions: vec![endless.build_uncounted().unwrap()], ..valid() };
        assert_eq!(endless.validate(), Err(SpecError::TooManyTargets));
        let many = vec![valid().partitions.remove(0); PARTITIONS_MAX + 1];
        assert!(ScanSpec { partitions: many, ..valid() }.validate().is_err());
    }

    #[test]
    fn a_spec_survives_its_encoding() {
        let spec = ScanSpec { rate_pps: Some(100), retries: Some(2), timing: Timing::Polite, ..valid() };
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ScanSpec>(&json).unwrap(), spec);
        let names = "10.0.0.0/8,2001:db8::/65,a.example".parse().unwrap();
        let spec = ScanSpec { partitions: vec![names, "10.0.0.1".parse().unwrap()], ..spec };
        let mut bytes = postcard::to_stdvec(&spec).unwrap();
        assert_eq!(postcard::from_bytes::<ScanSpec>(&bytes).unwrap(), spec, "by position as well");
        let lifted = ScanSpec { allow_fragile: true, ..spec.clone() };
        assert_eq!(postcard::from_bytes::<ScanSpec>(&postcard::to_stdvec(&lifted).unwrap()).unwrap(), lifted);
        let without = ScanSpec { exclude_ports: "9100,U:161".parse().unwrap(), ..spec.clone() };
        assert_eq!(postcard::from_bytes::<ScanSpec>(&postcard::to_stdvec(&without).unwrap()).unwrap(), without);
        let notes = vec!["a note".to_owned()];
        let asked = ScanSpec { first_address: true, reverse_dns: true, notes, ..spec.clone() };
        assert_eq!(postcard::from_bytes::<ScanSpec>(&postcard::to_stdvec(&asked).unwrap()).unwrap(), asked);
        bytes.truncate(bytes.len() - 4);
        assert_eq!(postcard::from_bytes::<ScanSpec>(&bytes).unwrap(), spec, "as specs ended before the last fields");
        let ordered = ScanSpec { order: Some("who".into()), ..spec.clone() };
        assert_eq!(postcard::from_bytes::<ScanSpec>(&postcard::to_stdvec(&ordered).unwrap()).unwrap(), ordered);
        bytes.truncate(bytes.len() - postcard::to_stdvec(&spec.exclude_ports).unwrap().len());
        assert_eq!(postcard::from_bytes::<ScanSpec>(&bytes).unwrap(), spec, "as specs ended before the last field");
        bytes.pop();
        assert_eq!(postcard::from_bytes::<ScanSpec>(&bytes).unwrap(), spec, "as specs ended before the last field");
        assert!(bytes.len() < 4096, "{} bytes for 2^63 targets and the thousand most popular ports", bytes.len());
    }

    #[test]
    fn choices_are_read_by_the_names_they_print() {
        assert_eq!("OT-safe".parse::<Profile>().unwrap().to_string(), "ot-safe");
        assert_eq!("fast".parse(), Ok(Timing::Fast));
        assert_eq!(
            "insane".parse::<Timing>().unwrap_err().to_string(),
            "unknown timing \"insane\": it is one of polite, normal, fast"
        );
    }
}
