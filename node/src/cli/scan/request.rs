//! From flags to a [`ScanRequest`]. Targets and ports are parsed here first, with the node's own parsers, so that a
//! slip is shown with its position before anything is sent.

use clap::Args;
use pentora_raft::state::Priority;
use pentora_scanner::detect::INTENSITY_MAX;
use pentora_scanner::port::PortSet;
use pentora_scanner::report::Format;
use pentora_scanner::spec::{EngineChoice, RETRIES_MAX, ScanSpec, Timing, parse_discovery};

use super::texts::{Texts, Wanted};
use crate::document::{Resolve, SAMPLE_MAX, ScanRequest};
use crate::exclusions::Unresolved;
use crate::failure::{ExitCode, Failure};

/// Flags that make up the request.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct RequestArgs {
    /// Address, prefix (10.0.0.0/24), range (10.0.0.1-20, 10.0-3.1-254.*) or host name.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// File with targets (repeatable): one or more per line, # starts a comment; - reads standard input.
    #[arg(short, long, value_name = "FILE", help_heading = "Targets")]
    file: Vec<String>,
    /// Targets to leave out (repeatable).
    #[arg(long, value_name = "TARGET", help_heading = "Targets")]
    exclude: Vec<String>,
    /// File with targets to leave out (repeatable), written like a target file; masscan's lists are read as well.
    #[arg(long, value_name = "FILE", help_heading = "Targets")]
    exclude_file: Vec<String>,
    /// What becomes of the scan when a host name among the exclusions has no address [default: refuse].
    #[arg(long, value_name = "WHAT", help_heading = "Targets")]
    exclude_unresolved: Option<Unresolved>,
    /// Of each IPv6 network with more addresses, scan only N: the lowest, and others drawn by --seed.
    #[arg(long, value_name = "N", help_heading = "Targets", value_parser = clap::value_parser!(u32).range(1..=i64::from(SAMPLE_MAX)))]
    sample: Option<u32>,
    /// Which addresses of a host name to scan, all or the first [default: all].
    #[arg(long, value_name = "WHICH", hide_possible_values = true, help_heading = "Targets")]
    resolve: Option<Resolve>,
    /// Do not ask name servers what hosts that are up are called.
    #[arg(long, help_heading = "Targets")]
    no_dns: bool,
    /// File of nmap's, -oX or -oG (repeatable): the hosts that were up, and where no ports are named, those that were open.
    #[arg(long, value_name = "FILE", help_heading = "Targets")]
    from: Vec<String>,
    /// Ports: 22,80,8000-8100,ssh,U:53; - for all. T: and U: hold for what follows, as nmap's do: U:53,T:ssh.
    #[arg(short, long, value_name = "SPEC", allow_hyphen_values = true, help_heading = "Ports")]
    ports: Option<String>,
    /// Ports never to ask, written like --ports: neither by the scan nor by its discovery.
    #[arg(long, value_name = "SPEC", allow_hyphen_values = true, help_heading = "Ports")]
    exclude_ports: Option<String>,
    /// The N most common TCP ports [default: 1000].
    #[arg(long, value_name = "N", conflicts_with = "ports", help_heading = "Ports", value_parser = clap::value_parser!(u32).range(1..=65535))]
    top_ports: Option<u32>,
    /// The N most common UDP ports, beside the TCP ports named; alone where none are.
    #[arg(long, value_name = "N", help_heading = "Ports", value_parser = clap::value_parser!(u32).range(1..=65535))]
    top_udp_ports: Option<u32>,
    /// Take the most common ports by what is open here: in the cluster's results, or in the last scan from this machine.
    #[arg(long, conflicts_with = "ports", help_heading = "Ports")]
    pub(super) learned: bool,
    /// Packets per second over all nodes together, those that answers call for included: begun with at once and never exceeded.
    #[arg(long, value_name = "PPS", help_heading = "Pace", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Most packets per second over all nodes together, counted as with --rate; below it, the measured loss decides.
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
    /// Options under a name, which flags go before: quick, standard, deep, discovery, udp, ot-safe (single SYNs and nothing
    /// else; needs raw packets), or one that `pentora profile list` prints.
    #[arg(long, value_name = "NAME", help_heading = "Probes")]
    profile: Option<String>,
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
    /// The region that the results do not leave: its nodes alone scan, keep the results and show them.
    #[arg(long, value_name = "REGION", help_heading = "Where", conflicts_with = "carry")]
    residency: Option<String>,
    /// The site whose hosts are meant, where several have the same addresses.
    #[arg(long, value_name = "SITE", help_heading = "Where")]
    site: Option<String>,
    /// Most nodes working on it at once.
    #[arg(long, value_name = "N", help_heading = "Where", value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,
    /// Take the scan for workers without a network: its orders are carried to them on a medium, its results back. Prints the
    /// job's id and returns at once.
    #[arg(long, help_heading = "Where", conflicts_with = "wait_for_worker")]
    pub(super) carry: bool,
    /// Take the scan even where no node may scan a part of it now: that part waits for one that may.
    #[arg(long, help_heading = "Where")]
    wait_for_worker: bool,
    /// Take the scan even where a window is closed or a blackout holds: it waits until its targets may be scanned.
    #[arg(long, help_heading = "Where")]
    wait_for_window: bool,
}

impl RequestArgs {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`Texts::read`].
    pub(super) fn texts(&self) -> Result<Texts, Failure> {
        Texts::read(&self.file, &self.exclude_file, &self.from)
    }

    /// Every target less every exclusion.
    ///
    /// # Errors
    /// See [`Texts::parse`].
    pub(super) fn wanted(&self, texts: &Texts) -> Result<Wanted, Failure> {
        texts.parse(&self.targets, &self.exclude, self.sample.map(|count| (count, self.seed.unwrap_or_default())))
    }

    /// The request, with everything but its targets checked that can be checked here. `format` is what the results will
    /// be printed in.
    ///
    /// # Errors
    /// Exit 2 with the position of the first slip.
    pub(super) fn request(&self, texts: &Texts, format: Format) -> Result<ScanRequest, Failure> {
        let request = self.with_texts(texts)?;
        // A list shows open ports and nothing else: without a word to the contrary they are asked nothing.
        let is_list = format == Format::List && !self.services;
        Ok(ScanRequest {
            services: request.services && !is_list,
            banners: request.banners && !is_list,
            reverse_dns: if format == Format::List { Some(false) } else { request.reverse_dns },
            ..request
        })
    }

    fn with_texts(&self, texts: &Texts) -> Result<ScanRequest, Failure> {
        if let Some(ports) = &self.ports {
            ports.parse::<PortSet>().map_err(|error| usage(error.to_string()).next("write --ports 22,80,8000-8100"))?;
        }
        if let Some(ports) = &self.exclude_ports {
            let refused = |error| usage(format!("--exclude-{error}")).next("write --exclude-ports 9100,U:161");
            let excluded = ports.parse::<PortSet>().map_err(refused)?;
            if self.asked(texts).is_some_and(|asked| asked.exclude(&excluded).is_empty()) {
                return Err(usage("--exclude-ports leaves no port to ask"));
            }
        }
        if let Some(probes) = &self.discovery {
            parse_discovery(probes).map_err(|error| usage(error.to_string()).next("write --discovery echo,syn443"))?;
        }
        // What nmap found open is the default, and any word about ports is instead of it.
        let no_ports_named =
            self.ports.is_none() && self.top_ports.is_none() && self.top_udp_ports.is_none() && !self.learned;
        Ok(ScanRequest {
            targets: self.targets.clone(),
            target_text: texts.target_text(),
            exclude: self.exclude.clone(),
            exclude_text: texts.exclude_text(),
            exclude_unresolved: self.exclude_unresolved,
            ports: if no_ports_named { texts.ports() } else { self.ports.clone() },
            top_ports: self.top_ports,
            top_udp_ports: self.top_udp_ports,
            learned: self.learned,
            exclude_ports: self.exclude_ports.clone(),
            priority: self.priority,
            worker_tags: self.worker_tag.clone(),
            require_worker_tags: self.require_worker_tag.clone(),
            region: self.region.clone(),
            residency: self.residency.clone(),
            site: self.site.clone(),
            workers: self.workers,
            wait_for_worker: self.wait_for_worker,
            carry: self.carry,
            wait_for_window: self.wait_for_window,
            rate: self.rate,
            max_rate: self.max_rate,
            network_rate: self.network_rate,
            host_rate: self.host_rate,
            timing: self.timing,
            discovery: !self.no_discovery,
            discovery_probes: self.discovery.clone(),
            engine: self.engine,
            profile: self.profile.clone(),
            allow_fragile: self.allow_fragile,
            banners: !self.no_banners,
            services: !self.no_services,
            intensity: self.intensity,
            weaknesses: !self.no_weaknesses,
            retries: self.retries,
            confidence: self.confidence,
            seed: self.seed,
            sample: self.sample,
            links: Vec::new(),
            resolve: self.resolve,
            reverse_dns: self.no_dns.then_some(false),
            order: None,
        })
    }
}

impl RequestArgs {
    /// The ports that are asked; `None` where a profile or what was learned names them.
    fn asked(&self, texts: &Texts) -> Option<PortSet> {
        if self.profile.is_some() || self.learned {
            return None;
        }
        let named = match (&self.ports, self.top_ports, self.top_udp_ports) {
            (Some(ports), ..) => ports.parse().ok()?,
            (None, Some(count), _) => PortSet::top_ports(count),
            (None, None, Some(_)) => PortSet::default(),
            (None, None, None) => {
                texts.ports().and_then(|ports| ports.parse().ok()).unwrap_or_else(|| ScanSpec::default().ports)
            }
        };
        let udp = self.top_udp_ports.map(PortSet::top_udp_ports).unwrap_or_default();
        Some(named.iter().chain(udp.iter()).collect())
    }
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
        assert_eq!((request.ports.as_deref(), request.timing), (Some("22,80"), Some(Timing::Fast)));
        assert!(!request.discovery && request.banners && request.priority == Priority::High);
        assert_eq!(request.exclude, ["10.0.0.1"]);
    }

    fn texts(targets: &[(&str, &str)], exclude: &[(&str, &str)]) -> Texts {
        let owned =
            |texts: &[(&str, &str)]| texts.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        Texts { targets: owned(targets), exclude: owned(exclude), ..Texts::default() }
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
            (
                RequestArgs { exclude_ports: Some("22,99999".into()), ..args(&["10.0.0.1"]) },
                texts(&[], &[]),
                "--exclude-ports:4: \"99999\"",
            ),
            (
                RequestArgs { exclude_ports: Some("-".into()), ..args(&["10.0.0.1"]) },
                texts(&[], &[]),
                "--exclude-ports leaves no port to ask",
            ),
            (
                RequestArgs { exclude_ports: Some("20-30".into()), ports: Some("22".into()), ..args(&["10.0.0.1"]) },
                texts(&[], &[]),
                "--exclude-ports leaves no port to ask",
            ),
            (
                RequestArgs { ports: Some("U:".into()), ..args(&["10.0.0.1"]) },
                texts(&[], &[]),
                "write U:53, or U:- for all",
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
            let failure = args.wanted(&texts).and_then(|_| args.with_texts(&texts)).unwrap_err();
            assert!(failure.exit == ExitCode::Usage && failure.what.contains(expected), "{failure}");
        }
    }

    #[test]
    fn several_files_are_one_text_and_standard_input_is_read_once() {
        let given = texts(&[("a", "10.0.0.1 # first"), ("b", "10.0.0.2")], &[("c", "10.0.0.2"), ("d", "10.0.0.3")]);
        let request = args(&[]).with_texts(&given).unwrap();
        assert_eq!(request.target_text.as_deref(), Some("10.0.0.1 # first\n10.0.0.2\n"));
        assert_eq!(request.exclude_text.as_deref(), Some("10.0.0.2\n10.0.0.3\n"));
        for twice in [
            RequestArgs { file: vec!["-".into()], exclude_file: vec!["-".into()], ..args(&[]) },
            RequestArgs { from: vec!["-".into()], file: vec!["-".into()], ..args(&[]) },
        ] {
            assert_eq!(twice.texts().unwrap_err().exit, ExitCode::Usage);
        }
    }

    #[test]
    fn the_ports_of_nmaps_file_are_those_of_the_scan_unless_ports_are_named() {
        let hosts = "Host: 10.0.0.2 ()\tPorts: 22/open/tcp//ssh///\n";
        let nmap = vec![pentora_scanner::nmap::read_nmap(hosts.as_bytes(), "x").unwrap()];
        let given = Texts { nmap, ..Texts::default() };
        let request = |args: RequestArgs| args.with_texts(&given).unwrap();
        let plain = request(args(&[]));
        assert_eq!((plain.ports.as_deref(), plain.target_text.as_deref()), (Some("22"), Some("10.0.0.2\n")));
        let named = request(RequestArgs { ports: Some("80".into()), ..args(&[]) });
        assert_eq!(named.ports.as_deref(), Some("80"));
        assert_eq!(request(RequestArgs { top_ports: Some(9), ..args(&[]) }).ports, None);
        assert_eq!(request(RequestArgs { top_udp_ports: Some(9), ..args(&[]) }).ports, None);
    }
}
