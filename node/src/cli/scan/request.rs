//! From flags to a [`ScanRequest`]. Targets and ports are parsed here first, with the node's own parsers, so that a
//! slip is shown with its position before anything is sent.

use std::io::Read;

use clap::Args;
use pentora_scanner::port::PortSet;
use pentora_scanner::spec::{EngineChoice, Profile, RETRIES_MAX, Timing};
use pentora_scanner::target::TargetSet;

use crate::cli::failure::{ExitCode, Failure};
use crate::document::{Priority, ScanRequest};

/// Largest target file taken: four million addresses, one per line.
const TARGET_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Flags that make up the request.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RequestArgs {
    /// Address, prefix (10.0.0.0/24), range (10.0.0.1-20, 10.0-3.1-254.*) or host name.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// File with targets: one or more per line, # starts a comment; - reads standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Targets to leave out.
    #[arg(long, value_name = "TARGET")]
    exclude: Vec<String>,
    /// Ports: 22,80,8000-8100,U:53,ssh; - for all.
    #[arg(short, long, value_name = "SPEC", allow_hyphen_values = true)]
    ports: Option<String>,
    /// The N most common TCP ports [default: 1000].
    #[arg(long, value_name = "N", conflicts_with = "ports", value_parser = clap::value_parser!(u32).range(1..=65535))]
    top_ports: Option<u32>,
    /// Most probes per second, over all nodes together.
    #[arg(long, value_name = "PPS", help_heading = "How", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// How hard to push where no rate is given: polite, normal, fast.
    #[arg(long, help_heading = "How", value_parser = word::<Timing>)]
    timing: Option<Timing>,
    /// Probe every port without first looking which hosts are up.
    #[arg(long, help_heading = "How")]
    no_discovery: bool,
    /// Do not read what open ports say.
    #[arg(long, help_heading = "How")]
    no_banners: bool,
    /// How packets are sent: auto, connect, raw.
    #[arg(long, help_heading = "How", value_parser = word::<EngineChoice>)]
    engine: Option<EngineChoice>,
    /// Set of restrictions: default, ot-safe.
    #[arg(long, help_heading = "How", value_parser = word::<Profile>)]
    profile: Option<Profile>,
    /// Retransmissions of an unanswered probe [default: as many as the measured loss asks for].
    #[arg(long, value_name = "N", help_heading = "How", value_parser = clap::value_parser!(u8).range(0..=i64::from(RETRIES_MAX)))]
    retries: Option<u8>,
    /// Wanted share of answering ports that are found, 0.5 to less than 1 [default: 0.999].
    #[arg(long, value_name = "SHARE", help_heading = "How", value_parser = confidence)]
    confidence: Option<f64>,
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

impl RequestArgs {
    /// Reads the target file and checks everything that can be checked here.
    ///
    /// # Errors
    /// Exit 2 with the position of the first slip; 1 for an unreadable file.
    pub(super) fn request(&self) -> Result<ScanRequest, Failure> {
        let text = self.file.as_deref().map(target_file).transpose()?;
        self.with_text(text)
    }

    /// The same with the file's text given.
    fn with_text(&self, target_text: Option<String>) -> Result<ScanRequest, Failure> {
        let targets = self.parsed(target_text.as_deref())?;
        if targets.is_empty() {
            return Err(
                usage("no targets").next("name some (`pentora scan 192.168.1.0/24`), or a file of them (--file F)")
            );
        }
        if let Some(ports) = &self.ports {
            ports.parse::<PortSet>().map_err(|error| usage(error.to_string()).next("write --ports 22,80,8000-8100"))?;
        }
        Ok(ScanRequest {
            targets: self.targets.clone(),
            target_text,
            exclude: self.exclude.clone(),
            ports: self.ports.clone(),
            top_ports: self.top_ports,
            priority: self.priority,
            worker_tags: self.worker_tag.clone(),
            require_worker_tags: self.require_worker_tag.clone(),
            region: self.region.clone(),
            workers: self.workers,
            rate: self.rate,
            timing: self.timing.map(|timing| timing.to_string()),
            discovery: !self.no_discovery,
            engine: self.engine.map(|engine| engine.to_string()),
            profile: self.profile.map(|profile| profile.to_string()),
            banners: !self.no_banners,
            retries: self.retries,
            confidence: self.confidence,
        })
    }

    /// Every target less every exclusion, parsed.
    fn parsed(&self, target_text: Option<&str>) -> Result<TargetSet, Failure> {
        let refused = |error: pentora_scanner::target::TargetError| {
            usage(error.to_string()).next("write an address, 10.0.0.0/24, 10.0.0.1-20 or a host name")
        };
        let mut targets = TargetSet::builder();
        for (number, text) in (1..).zip(&self.targets) {
            targets.add_text(text, &format!("target {number}")).map_err(refused)?;
        }
        if let Some(text) = target_text {
            let name = self.file.as_deref().filter(|name| *name != "-").unwrap_or("standard input");
            targets.add_text(text, name).map_err(refused)?;
        }
        let mut excluded = TargetSet::builder();
        for text in &self.exclude {
            excluded.add_text(text, "--exclude").map_err(refused)?;
        }
        let (targets, excluded) = (targets.build().map_err(refused)?, excluded.build().map_err(refused)?);
        let left = targets.exclude(&excluded);
        if left.is_empty() && !targets.is_empty() {
            return Err(usage("--exclude leaves no target"));
        }
        Ok(left)
    }
}

/// The text of a target file, or of standard input for `-`.
fn target_file(name: &str) -> Result<String, Failure> {
    let failure =
        |reason: String| Failure::new(ExitCode::Failure, format!("the target file {name} cannot be read: {reason}"));
    let source: Box<dyn Read> = if name == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(name).map_err(|error| failure(error.to_string()))?)
    };
    let mut bytes = Vec::new();
    source.take(TARGET_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failure(error.to_string()))?;
    if bytes.len() as u64 > TARGET_FILE_BYTES_MAX {
        return Err(failure("it is larger than 64 MiB: split it into several jobs".to_owned()));
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
        let request = request.with_text(None).unwrap();
        assert_eq!(request.targets, ["10.0.0.0/24", "h.example"]);
        assert_eq!((request.ports.as_deref(), request.timing.as_deref()), (Some("22,80"), Some("fast")));
        assert!(!request.discovery && request.banners && request.priority == Priority::High);
        assert_eq!(request.exclude, ["10.0.0.1"]);
    }

    #[test]
    fn a_slip_is_a_usage_error_with_its_position() {
        for (args, text, expected) in [
            (args(&["10.0.0.1", "10.0.0.300"]), None, "target 2:1:1: \"10.0.0.300\""),
            (RequestArgs { file: Some("t.txt".into()), ..args(&[]) }, Some("10.0.0.1\n x 10.0.0.0/99"), "t.txt:2:4"),
            (RequestArgs { file: Some("-".into()), ..args(&[]) }, Some("10.0.0.1-0"), "standard input:1:1"),
            (RequestArgs { ports: Some("22,99999".into()), ..args(&["10.0.0.1"]) }, None, "ports:4: \"99999\""),
            (RequestArgs { exclude: vec!["10.0.0.1/33".into()], ..args(&["10.0.0.1"]) }, None, "--exclude:1:1"),
            (RequestArgs { exclude: vec!["10.0.0.0/8".into()], ..args(&["10.0.0.1"]) }, None, "leaves no target"),
            (args(&[]), None, "no targets"),
            (args(&[]), Some("# nothing\n"), "no targets"),
        ] {
            let failure = args.with_text(text.map(str::to_owned)).unwrap_err();
            assert!(failure.exit == ExitCode::Usage && failure.what.contains(expected), "{failure}");
        }
    }

    #[test]
    fn a_target_file_that_cannot_be_read_is_named() {
        let failure = target_file("/nonexistent/targets").unwrap_err();
        assert!(failure.what.contains("/nonexistent/targets") && failure.exit == ExitCode::Failure);
    }
}
