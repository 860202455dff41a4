//! From flags to a [`ScanRequest`]. Targets and ports are parsed here first, with the node's own parsers, so that a
//! slip is shown with its position before anything is sent.

use std::io::Read;

use clap::Args;
use pentora_scanner::detect::INTENSITY_MAX;
use pentora_scanner::port::PortSet;
use pentora_scanner::report::Format;
use pentora_scanner::spec::{EngineChoice, Profile, RETRIES_MAX, Timing, parse_discovery};
use pentora_scanner::target::TargetSet;

use crate::cli::failure::{ExitCode, Failure};
use crate::document::{Priority, ScanRequest};

/// Most bytes of target files taken together: four million addresses, one per line.
const TARGET_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Flags that make up the request.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RequestArgs {
    /// Address, prefix (10.0.0.0/24), range (10.0.0.1-20, 10.0-3.1-254.*) or host name.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// File with targets (repeatable): one or more per line, # starts a comment; - reads standard input.
    #[arg(short, long, value_name = "FILE", help_heading = "Targets")]
    file: Vec<String>,
    /// Targets to leave out (repeatable).
    #[arg(long, value_name = "TARGET", help_heading = "Targets")]
    exclude: Vec<String>,
    /// File with targets to leave out (repeatable), written like a target file.
    #[arg(long, value_name = "FILE", help_heading = "Targets")]
    exclude_file: Vec<String>,
    /// Ports: 22,80,8000-8100,U:53,ssh; - for all.
    #[arg(short, long, value_name = "SPEC", allow_hyphen_values = true, help_heading = "Ports")]
    ports: Option<String>,
    /// The N most common TCP ports [default: 1000].
    #[arg(long, value_name = "N", conflicts_with = "ports", help_heading = "Ports", value_parser = clap::value_parser!(u32).range(1..=65535))]
    top_ports: Option<u32>,
    /// The N most common UDP ports, beside the TCP ports named; alone where none are.
    #[arg(long, value_name = "N", help_heading = "Ports", value_parser = clap::value_parser!(u32).range(1..=65535))]
    top_udp_ports: Option<u32>,
    /// Probes per second over all nodes together: begun with at once and never exceeded.
    #[arg(long, value_name = "PPS", help_heading = "Pace", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Most probes per second over all nodes together; below it, the measured loss decides.
    #[arg(long, value_name = "PPS", help_heading = "Pace", value_parser = clap::value_parser!(u64).range(1..))]
    max_rate: Option<u64>,
    /// Most probes per second into one network (an IPv4 /24, an IPv6 /64), over all nodes together.
    #[arg(long, value_name = "PPS", help_heading = "Pace", value_parser = clap::value_parser!(u64).range(1..))]
    network_rate: Option<u64>,
    /// Most probes per second to one host.
    #[arg(long, value_name = "PPS", help_heading = "Pace", value_parser = clap::value_parser!(u64).range(1..))]
    host_rate: Option<u64>,
    /// How hard to push where no rate is given: polite, normal, fast.
    #[arg(long, help_heading = "Pace", value_parser = word::<Timing>)]
    timing: Option<Timing>,
    /// Retransmissions of an unanswered probe [default: as many as the measured loss asks for].
    #[arg(long, value_name = "N", help_heading = "Pace", value_parser = clap::value_parser!(u8).range(0..=i64::from(RETRIES_MAX)))]
    retries: Option<u8>,
    /// Wanted share of answering ports that are found, 0.5 to less than 1 [default: 0.999].
    #[arg(long, value_name = "SHARE", help_heading = "Pace", value_parser = confidence)]
    confidence: Option<f64>,
    /// What to look for hosts with [default: arp,echo,syn443,syn80,ack80,timestamp].
    #[arg(long, value_name = "PROBES", conflicts_with = "no_discovery", help_heading = "Probes")]
    discovery: Option<String>,
    /// Probe every port without first looking which hosts are up.
    #[arg(long, help_heading = "Probes")]
    no_discovery: bool,
    /// Do not read what open ports say, and ask them nothing.
    #[arg(long, help_heading = "Services")]
    no_banners: bool,
    /// Ask open ports what they are [default: yes, but for -o list, which does not show it].
    #[arg(long, conflicts_with_all = ["no_services", "no_banners"], help_heading = "Services")]
    services: bool,
    /// Do not ask open ports what they are.
    #[arg(long, help_heading = "Services")]
    no_services: bool,
    /// How many probes to try for the service behind a port, 0 to 9 [default: 7].
    #[arg(long, value_name = "N", help_heading = "Services", value_parser = clap::value_parser!(u8).range(0..=i64::from(INTENSITY_MAX)))]
    intensity: Option<u8>,
    /// Do not look for weaknesses of the services that are found.
    #[arg(long, help_heading = "Services")]
    no_weaknesses: bool,
    /// How packets are sent: auto, connect, raw.
    #[arg(long, help_heading = "Probes", value_parser = word::<EngineChoice>)]
    engine: Option<EngineChoice>,
    /// Set of restrictions: default, ot-safe (single SYNs and nothing else; needs raw packets).
    #[arg(long, help_heading = "Probes", value_parser = word::<Profile>)]
    profile: Option<Profile>,
    /// Ask ports of controllers and medical devices like any other. Some halt at what they do not expect.
    #[arg(long, help_heading = "Probes")]
    allow_fragile: bool,
    /// Number that chooses the order of targets and ports [default: another one each time].
    #[arg(long, value_name = "N", help_heading = "Probes")]
    seed: Option<u64>,
    /// Who goes first: critical, high, normal, low.
    #[arg(long, default_value_t, help_heading = "Where", value_parser = word::<Priority>)]
    priority: Priority,
    /// Prefer nodes with this tag (repeatable).
    #[arg(long, value_name = "TAG", help_heading = "Where")]
    worker_tag: Vec<String>,
    /// Use only nodes with this tag (repeatable); exit 4 when there is none.
    #[arg(long, value_name = "TAG", help_heading = "Where")]
    require_worker_tag: Vec<String>,
    /// Use only nodes of this region.
    #[arg(long, help_heading = "Where")]
    region: Option<String>,
    /// Most nodes working on it at once.
    #[arg(long, value_name = "N", help_heading = "Where", value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,
}

/// The files that a request names, read: each with the name for messages.
#[derive(Debug, Default)]
struct Texts {
    targets: Vec<(String, String)>,
    exclude: Vec<(String, String)>,
}

impl RequestArgs {
    /// Reads the files and checks everything that can be checked here. `format` is what the results will be printed in.
    ///
    /// # Errors
    /// Exit 2 with the position of the first slip; 1 for an unreadable file.
    pub(super) fn request(&self, format: Format) -> Result<ScanRequest, Failure> {
        if self.file.iter().chain(&self.exclude_file).filter(|name| *name == "-").count() > 1 {
            return Err(usage("standard input can be read once: give - to one of --file and --exclude-file"));
        }
        let mut left = TARGET_FILE_BYTES_MAX;
        let mut read = |names: &[String]| {
            let text = |name: &String| {
                let text = target_file(name, left)?;
                left -= text.len() as u64;
                let shown = if name == "-" { "standard input" } else { name };
                Ok::<_, Failure>((shown.to_owned(), text))
            };
            names.iter().map(text).collect::<Result<Vec<_>, _>>()
        };
        let request = self.with_texts(&Texts { targets: read(&self.file)?, exclude: read(&self.exclude_file)? })?;
        // A list shows open ports and nothing else: without a word to the contrary they are asked nothing.
        let is_list = format == Format::List && !self.services;
        Ok(ScanRequest { services: request.services && !is_list, banners: request.banners && !is_list, ..request })
    }

    /// The same with the files' texts given.
    fn with_texts(&self, texts: &Texts) -> Result<ScanRequest, Failure> {
        let targets = self.parsed(texts)?;
        if targets.is_empty() {
            return Err(
                usage("no targets").next("name some (`pentora scan 192.168.1.0/24`), or a file of them (--file F)")
            );
        }
        if let Some(ports) = &self.ports {
            ports.parse::<PortSet>().map_err(|error| usage(error.to_string()).next("write --ports 22,80,8000-8100"))?;
        }
        if let Some(probes) = &self.discovery {
            parse_discovery(probes).map_err(|error| usage(error.to_string()).next("write --discovery echo,syn443"))?;
        }
        let joined = |texts: &[(String, String)]| {
            let texts: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        };
        Ok(ScanRequest {
            targets: self.targets.clone(),
            target_text: joined(&texts.targets),
            exclude: self.exclude.clone(),
            exclude_text: joined(&texts.exclude),
            ports: self.ports.clone(),
            top_ports: self.top_ports,
            top_udp_ports: self.top_udp_ports,
            priority: self.priority,
            worker_tags: self.worker_tag.clone(),
            require_worker_tags: self.require_worker_tag.clone(),
            region: self.region.clone(),
            workers: self.workers,
            rate: self.rate,
            max_rate: self.max_rate,
            network_rate: self.network_rate,
            host_rate: self.host_rate,
            timing: self.timing.map(|timing| timing.to_string()),
            discovery: !self.no_discovery,
            discovery_probes: self.discovery.clone(),
            engine: self.engine.map(|engine| engine.to_string()),
            profile: self.profile.map(|profile| profile.to_string()),
            allow_fragile: self.allow_fragile,
            banners: !self.no_banners,
            services: !self.no_services,
            intensity: self.intensity,
            weaknesses: !self.no_weaknesses,
            retries: self.retries,
            confidence: self.confidence,
            seed: self.seed,
        })
    }

    /// Every target less every exclusion, parsed.
    fn parsed(&self, texts: &Texts) -> Result<TargetSet, Failure> {
        let refused = |error: pentora_scanner::target::TargetError| {
            usage(error.to_string()).next("write an address, 10.0.0.0/24, 10.0.0.1-20 or a host name")
        };
        let mut targets = TargetSet::builder();
        for (number, text) in (1..).zip(&self.targets) {
            targets.add_text(text, &format!("target {number}")).map_err(refused)?;
        }
        for (name, text) in &texts.targets {
            targets.add_text(text, name).map_err(refused)?;
        }
        let mut excluded = TargetSet::builder();
        for text in &self.exclude {
            excluded.add_text(text, "--exclude").map_err(refused)?;
        }
        for (name, text) in &texts.exclude {
            excluded.add_text(text, name).map_err(refused)?;
        }
        let (targets, excluded) = (targets.build().map_err(refused)?, excluded.build().map_err(refused)?);
        let left = targets.exclude(&excluded);
        if left.is_empty() && !targets.is_empty() {
            return Err(usage("the exclusions leave no target"));
        }
        Ok(left)
    }
}

/// The text of a target file of at most `limit_bytes`, or of standard input for `-`.
fn target_file(name: &str, limit_bytes: u64) -> Result<String, Failure> {
    let failure =
        |reason: String| Failure::new(ExitCode::Failure, format!("the target file {name} cannot be read: {reason}"));
    let source: Box<dyn Read> = if name == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(name).map_err(|error| failure(error.to_string()))?)
    };
    let mut bytes = Vec::new();
    source.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|error| failure(error.to_string()))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(failure("with the other files it is larger than 64 MiB: split it into several jobs".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| failure(format!("it is not UTF-8 text: {}", error.utf8_error())))
}

fn usage(what: impl Into<String>) -> Failure {
    Failure::new(ExitCode::Usage, what)
}

/// One of a type's words, its error as a sentence for the usage message.
fn word<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn confidence(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.5..1.0).contains(&share) => Ok(share),
        _ => Err("write a number from 0.5 up to less than 1, such as 0.999".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(targets: &[&str]) -> RequestArgs {
        RequestArgs { targets: targets.iter().map(ToString::to_string).collect(), ..RequestArgs::default() }
    }

    #[test]
    fn flags_become_a_request_with_the_users_own_words() {
        let request = RequestArgs {
            ports: Some("22,80".into()),
            no_discovery: true,
            timing: Some(Timing::Fast),
            priority: Priority::High,
            exclude: vec!["10.0.0.1".into()],
            ..args(&["10.0.0.0/24", "h.example"])
        };
        let request = request.with_texts(&Texts::default()).unwrap();
        assert_eq!(request.targets, ["10.0.0.0/24", "h.example"]);
        assert_eq!((request.ports.as_deref(), request.timing.as_deref()), (Some("22,80"), Some("fast")));
        assert!(!request.discovery && request.banners && request.priority == Priority::High);
        assert_eq!(request.exclude, ["10.0.0.1"]);
    }

    fn texts(targets: &[(&str, &str)], exclude: &[(&str, &str)]) -> Texts {
        let owned =
            |texts: &[(&str, &str)]| texts.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        Texts { targets: owned(targets), exclude: owned(exclude) }
    }

    #[test]
    fn a_slip_is_a_usage_error_with_its_position() {
        for (args, texts, expected) in [
            (args(&["10.0.0.1", "10.0.0.300"]), texts(&[], &[]), "target 2:1:1: \"10.0.0.300\""),
            (args(&[]), texts(&[("s.txt", "::1"), ("t.txt", "10.0.0.1\n x 10.0.0.0/99")], &[]), "t.txt:2:4"),
            (args(&[]), texts(&[("standard input", "10.0.0.1-0")], &[]), "standard input:1:1"),
            (args(&["10.0.0.1"]), texts(&[], &[("not.txt", "# none\n10.0.0.1/33")]), "not.txt:2:1"),
            (
                RequestArgs { ports: Some("22,99999".into()), ..args(&["10.0.0.1"]) },
                texts(&[], &[]),
                "ports:4: \"99999\"",
            ),
            (RequestArgs { discovery: Some("echo,ping".into()), ..args(&["::1"]) }, texts(&[], &[]), "discovery:6: "),
            (
                RequestArgs { exclude: vec!["10.0.0.1/33".into()], ..args(&["10.0.0.1"]) },
                texts(&[], &[]),
                "--exclude:1:1",
            ),
            (
                RequestArgs { exclude: vec!["10.0.0.0/8".into()], ..args(&["10.0.0.1"]) },
                texts(&[], &[]),
                "leave no target",
            ),
            (args(&["10.0.0.1"]), texts(&[], &[("all.txt", "0.0.0.0/0")]), "leave no target"),
            (args(&[]), texts(&[], &[]), "no targets"),
            (args(&[]), texts(&[("t.txt", "# nothing\n")], &[]), "no targets"),
        ] {
            let failure = args.with_texts(&texts).unwrap_err();
            assert!(failure.exit == ExitCode::Usage && failure.what.contains(expected), "{failure}");
        }
    }

    #[test]
    fn several_files_are_one_text_and_standard_input_is_read_once() {
        let given = texts(&[("a", "10.0.0.1 # first"), ("b", "10.0.0.2")], &[("c", "10.0.0.2"), ("d", "10.0.0.3")]);
        let request = args(&[]).with_texts(&given).unwrap();
        assert_eq!(request.target_text.as_deref(), Some("10.0.0.1 # first\n10.0.0.2"));
        assert_eq!(request.exclude_text.as_deref(), Some("10.0.0.2\n10.0.0.3"));
        let twice = RequestArgs { file: vec!["-".into()], exclude_file: vec!["-".into()], ..args(&[]) };
        assert_eq!(twice.request(Format::Table).unwrap_err().exit, ExitCode::Usage);
    }

    #[test]
    fn a_target_file_that_cannot_be_read_is_named() {
        let failure = target_file("/nonexistent/targets", 9).unwrap_err();
        assert!(failure.what.contains("/nonexistent/targets") && failure.exit == ExitCode::Failure);
    }
}
