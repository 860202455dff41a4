//! `pentora segment check`: whether zones reach of each other what a policy lets them, and nothing else, seen from each of them.
//!
//! The policy is a file. For every zone that workers stand in, each other zone is scanned from there alone, and what is found
//! open is held against the rules. A way that was not looked at is told as that, never as closed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use pentora_scanner::finding::{HostRecord, PortState};
use pentora_scanner::port::{Port, PortSet, Protocol};
use serde::{Deserialize, Serialize};

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::follow::{Ended, follow, verdict};
use super::interrupt::Interrupts;
use super::output::{clean, counted};
use super::progress::Progress;
use super::shown::ShownArgs;
use super::table::{Column, Tabular, table};
use crate::client::parse_host_line;
use crate::document::ScanRequest;
use crate::durable_file;
use crate::failure::{ExitCode, Failure};

/// The largest policy that is read, in bytes. Ours: one for a hundred zones with a rule for each pair stays far below it.
const POLICY_BYTES_MAX: u64 = 4 << 20;
/// Zones of a policy: each pair of them is a job.
const ZONES_MAX: usize = 100;
/// Ways that are listed of a pair; more are counted.
const LISTED_MAX: usize = 1_000;
/// What stands for every zone in a rule.
const EVERY: &str = "*";

/// What can be done with a segmentation.
#[derive(Debug, Subcommand)]
pub(super) enum SegmentCommand {
    /// Scan each zone from each other one, and say which open ways no rule of the policy allows.
    #[command(before_help = "Examples:\n  pentora segment check zones.yaml\n  \
                             pentora segment check zones.yaml --from dmz --rate 500 --json")]
    Check(Box<CheckArgs>),
}

/// Which policy, and how it is looked at.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The policy: zones with their networks and workers, and what each may reach of another.
    #[arg(value_name = "POLICY.yaml")]
    policy: PathBuf,
    /// Look from these zones alone [default: from all that have workers].
    #[arg(long, value_name = "ZONE")]
    from: Vec<String>,
    /// Packets per second of each pair of zones.
    #[arg(long, value_name = "PPS")]
    rate: Option<u64>,
    /// Look first which hosts are up. Quicker, and blind for hosts that answer nothing but the port that is open.
    #[arg(long)]
    discovery: bool,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    zones: BTreeMap<String, Zone>,
    #[serde(default)]
    allow: Vec<Rule>,
    /// The ports that are tried, such as `1-1024,U:53`; none means the thousand most common ones and all that a rule names.
    #[serde(default)]
    ports: Option<String>,
}

/// Addresses, and whoever stands among them.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Zone {
    networks: Vec<String>,
    /// Tags that all of its workers have.
    tags: Vec<String>,
    /// The region of its workers.
    region: Option<String>,
    /// The site that its addresses are at.
    site: Option<String>,
}

impl Zone {
    fn has_workers(&self) -> bool {
        !self.tags.is_empty() || self.region.is_some()
    }
}

/// What one zone may reach of another.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    from: String,
    to: String,
    /// None means every port.
    #[serde(default)]
    ports: Option<String>,
}

/// A policy that was held against itself.
#[derive(Debug)]
struct Checked {
    zones: BTreeMap<String, Zone>,
    /// From where, to where, and which ports; none means all.
    rules: Vec<(String, String, Option<PortSet>)>,
    /// What is tried.
    ports: String,
}

impl Checked {
    fn read(path: &Path) -> Result<Self, Failure> {
        use std::io::Read;
        let wrong = |why: String| {
            Failure::new(ExitCode::Usage, "the policy cannot be used")
                .because(format!("{}: {why}", path.display()))
                .next("docs/how-to/segmentation.md shows one")
        };
        let file = durable_file::given(path).map_err(|error| wrong(error.to_string()))?;
        let mut text = String::new();
        file.take(POLICY_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
        if text.len() as u64 > POLICY_BYTES_MAX {
            return Err(wrong("is larger than 4 MiB".to_owned()));
        }
        serde_saphyr::from_str::<Policy>(&text).map_err(|error| error.to_string()).and_then(Self::of).map_err(wrong)
    }

    fn of(policy: Policy) -> Result<Self, String> {
        let Policy { zones, allow, ports } = policy;
        if zones.len() < 2 {
            return Err("has fewer than two zones".to_owned());
        }
        if zones.len() > ZONES_MAX {
            return Err(format!("has more than {ZONES_MAX} zones"));
        }
        if let Some((name, _)) = zones.iter().find(|(name, zone)| zone.networks.is_empty() || name.as_str() == EVERY) {
            return Err(format!("zone `{name}` has no networks, or a name that means every zone"));
        }
        if !zones.values().any(Zone::has_workers) {
            return Err("no zone says by tags or region which workers stand in it".to_owned());
        }
        let mut rules = Vec::new();
        for (number, Rule { from, to, ports }) in (1..).zip(allow) {
            for zone in [&from, &to] {
                if zone != EVERY && !zones.contains_key(zone) {
                    return Err(format!("rule {number} names the zone `{zone}`, which is not there"));
                }
            }
            let ports = ports.map(|ports| ports.parse::<PortSet>()).transpose();
            rules.push((from, to, ports.map_err(|error| format!("rule {number}: ports: {error}"))?));
        }
        let tried = match ports {
            Some(ports) => ports.parse::<PortSet>().map_err(|error| format!("ports: {error}"))?,
            None => {
                let named = rules.iter().filter_map(|(_, _, ports)| ports.as_ref());
                named.flat_map(|ports| ports.iter()).chain(PortSet::top_ports(1000).iter()).collect()
            }
        };
        Ok(Self { zones, rules, ports: tried.to_string() })
    }

    /// Whether a rule lets one zone reach a port of another.
    fn allows(&self, from: &str, to: &str, port: Port) -> bool {
        self.rules.iter().any(|(rule_from, rule_to, ports)| {
            (rule_from == from || rule_from == EVERY)
                && (rule_to == to || rule_to == EVERY)
                && ports.as_ref().is_none_or(|ports| ports.contains(port))
        })
    }

    /// What is looked at: each zone from each other one that workers stand in.
    fn pairs(&self, from: &[String]) -> Result<Vec<(String, String)>, Failure> {
        for name in from {
            if !self.zones.get(name).is_some_and(Zone::has_workers) {
                let what = format!("the policy has no zone `{}` with workers to look from", clean(name));
                return Err(Failure::new(ExitCode::Usage, what).next("give the zone tags or a region"));
            }
        }
        let chosen = |name: &String, zone: &Zone| zone.has_workers() && (from.is_empty() || from.contains(name));
        let sources = self.zones.iter().filter(|(name, zone)| chosen(name, zone)).map(|(name, _)| name);
        let pairs = sources.flat_map(|from| self.zones.keys().filter(move |to| *to != from).map(move |to| (from, to)));
        Ok(pairs.map(|(from, to)| (from.clone(), to.clone())).collect())
    }

    fn request(&self, from: &str, to: &str, args: &CheckArgs) -> Option<ScanRequest> {
        let (source, target) = (self.zones.get(from)?, self.zones.get(to)?);
        Some(ScanRequest {
            targets: target.networks.clone(),
            ports: Some(self.ports.clone()),
            require_worker_tags: source.tags.clone(),
            region: source.region.clone(),
            site: target.site.clone(),
            rate: args.rate,
            discovery: args.discovery,
            banners: false,
            services: false,
            weaknesses: false,
            ..ScanRequest::default()
        })
    }
}

/// An open way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Way {
    address: IpAddr,
    port: u16,
    protocol: Protocol,
}

/// What was seen of one zone from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Seen {
    from: String,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    /// Why not all of it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_looked_at: Option<String>,
    /// Open ways that a rule allows.
    allowed: u64,
    /// Open ways that none does.
    forbidden: u64,
    /// The first of those.
    ways: Vec<Way>,
    /// Ports at which nobody listens and that said so: packets pass, or a firewall answers for the host.
    refusals: u64,
    /// Hosts at which every port answers, as proxies do: nothing follows from that.
    unclear_hosts: u64,
}

impl Seen {
    fn take(&mut self, host: &HostRecord, policy: &Checked) {
        if host.is_middlebox {
            self.unclear_hosts += 1;
            return;
        }
        let not_shown = host.not_shown.iter().filter(|not_shown| not_shown.state == PortState::Closed);
        self.refusals += not_shown.map(|not_shown| u64::from(not_shown.count)).sum::<u64>();
        for port in &host.ports {
            let allowed = policy.allows(&self.from, &self.to, port.to_port());
            match port.state {
                PortState::Open if allowed => self.allowed += 1,
                PortState::Open => {
                    self.forbidden += 1;
                    if self.ways.len() < LISTED_MAX {
                        self.ways.push(Way { address: host.address, port: port.port, protocol: port.protocol });
                    }
                }
                PortState::Closed => self.refusals += 1,
                _ => {}
            }
        }
    }
}

impl Tabular for Seen {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("From", |seen| seen.from.clone()),
            Column::new("To", |seen| seen.to.clone()),
            Column::new("Open, allowed", |seen| seen.allowed.to_string()),
            Column::new("Open, forbidden", |seen| seen.forbidden.to_string()),
            Column::new("Looked at", |seen| match &seen.not_looked_at {
                None => "all".to_owned(),
                Some(why) => format!("not all: {why}"),
            }),
        ]
    }
}

/// Carries the command out.
///
/// # Errors
/// Exit 2 for a policy that is wrong, 3 where a way is open that no rule allows, 6 where not all was looked at.
pub(super) async fn run(command: SegmentCommand, context: &mut Context) -> Result<(), Failure> {
    let SegmentCommand::Check(args) = command;
    let policy = Checked::read(&args.policy)?;
    let pairs = policy.pairs(&args.from)?;
    let session = ApiSession::open(&args.node, context)?;
    let mut interrupts = Interrupts::listen()?;
    let mut seen = Vec::new();
    for (from, to) in pairs {
        let Some(request) = policy.request(&from, &to, &args) else { continue };
        let mut one = Seen { from, to, ..Seen::default() };
        match session.client.scan(&request).await {
            Ok(accepted) => {
                // What was left out of it, by an exclusion say, is not looked at.
                one.not_looked_at = (!accepted.notes.is_empty()).then(|| accepted.notes.join("; "));
                one.job_id = Some(accepted.job_id);
            }
            Err(error) if error.is_passing() => {
                let begun = seen.iter().filter_map(|one: &Seen| one.job_id.as_ref());
                for job_id in begun {
                    drop(session.client.cancel(job_id).await);
                }
                return Err(session.failure(&error));
            }
            // No worker there, outside of the scope: a way that nobody looks at.
            Err(error) => one.not_looked_at = Some(session.failure(&error).to_string()),
        }
        seen.push(one);
    }
    for one in &mut seen {
        let Some(job_id) = one.job_id.clone() else { continue };
        let progress = Progress::new(context);
        let ended = follow(&session, &job_id, &progress, &mut interrupts).await;
        progress.finish();
        match ended? {
            Ended::Job(job) => {
                let failed = verdict(&job).err().map(|failure| failure.to_string());
                one.not_looked_at = failed.or(one.not_looked_at.take());
            }
            Ended::Interrupted => {
                return Err(Failure::new(
                    ExitCode::Cancelled,
                    "interrupted: the scans go on, and nothing was compared",
                )
                .next("`pentora job list` shows them, `pentora job cancel ID` stops one"));
            }
        }
        let mut lines = session.client.results(&job_id).await.map_err(|error| session.failure(&error))?;
        while let Some(line) = lines.next().await.map_err(|error| session.failure(&error))? {
            one.take(&parse_host_line(&line).map_err(|error| session.failure(&error))?, &policy);
        }
        if !lines.unreadable().is_empty() {
            one.not_looked_at =
                Some(format!("results of {} cannot be read", counted(lines.unreadable().len() as u64, "unit")));
        }
    }
    context.output.print(&args.form.text(&seen, || text(context.output.unicode, &seen)))?;
    judged(&seen)
}

fn judged(seen: &[Seen]) -> Result<(), Failure> {
    let forbidden: u64 = seen.iter().map(|one| one.forbidden).sum();
    if forbidden > 0 {
        let verb = if forbidden == 1 { "is" } else { "are" };
        let what = format!("{} {verb} open that no rule allows", counted(forbidden, "way"));
        return Err(Failure::new(ExitCode::Findings, what));
    }
    let missing = seen.iter().filter(|one| one.not_looked_at.is_some() || one.unclear_hosts > 0).count();
    if missing > 0 {
        let pairs =
            if missing == 1 { "1 pair of zones is".to_owned() } else { format!("{missing} pairs of zones are") };
        let what = format!("{pairs} not looked at as a whole");
        return Err(Failure::new(ExitCode::JobIncomplete, what));
    }
    Ok(())
}

fn text(unicode: bool, seen: &[Seen]) -> String {
    let mut text = table(unicode, seen);
    for one in seen {
        let (from, to) = (clean(&one.from), clean(&one.to));
        for way in &one.ways {
            text.push_str(&format!("{from} reaches {} {}/{} in {to}\n", way.address, way.port, way.protocol));
        }
        let more = one.forbidden - one.ways.len() as u64;
        if more > 0 {
            text.push_str(&format!("{from} reaches {} in {to}\n", counted(more, "more port")));
        }
        if one.refusals > 0 {
            text.push_str(&format!(
                "{from} is refused by {} in {to}, allowed ones among them: packets pass, or a firewall answers\n",
                counted(one.refusals, "port"),
            ));
        }
        if one.unclear_hosts > 0 {
            text.push_str(&format!(
                "{from} finds every port open at {} in {to}: a device answers for them\n",
                counted(one.unclear_hosts, "address"),
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "\
zones:
  office: {networks: [10.1.0.0/24], tags: [zone-office]}
  dmz: {networks: [10.2.0.0/24], region: dmz}
  plant: {networks: [10.3.0.0/24]}
allow:
  - {from: office, to: dmz, ports: \"443\"}
  - {from: '*', to: dmz, ports: U:53}
";

    fn policy(text: &str) -> Result<Checked, String> {
        serde_saphyr::from_str::<Policy>(text).map_err(|error| error.to_string()).and_then(Checked::of)
    }

    #[test]
    fn a_policy_says_who_may_reach_what_and_everything_else_is_denied() {
        let policy = policy(POLICY).unwrap();
        let allows = |from: &str, to: &str, port| policy.allows(from, to, port);
        assert!(allows("office", "dmz", Port::tcp(443)) && !allows("office", "dmz", Port::tcp(22)));
        assert!(!allows("dmz", "office", Port::tcp(443)), "rules have a direction");
        assert!(allows("plant", "dmz", Port::udp(53)) && !allows("office", "plant", Port::udp(53)));
        let pairs = policy.pairs(&[]).unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        assert_eq!(pairs, [("dmz", "office"), ("dmz", "plant"), ("office", "dmz"), ("office", "plant")]);
        assert_eq!(policy.pairs(&["plant".into()]).unwrap_err().exit, ExitCode::Usage, "nobody stands there");
        assert!(policy.ports.contains("U:53") && policy.ports.contains("443"), "{}", policy.ports);
    }

    #[test]
    fn a_policy_that_means_nothing_is_refused_with_what_is_wrong() {
        for (from, to, part) in [
            ("zones:", "zone:", "unknown field"),
            ("tags: [zone-office]", "tag: zone-office", "unknown field"),
            ("to: dmz, ports: \"443\"", "to: dmzz, ports: \"443\"", "rule 1 names the zone `dmzz`"),
            ("\"443\"", "\"70000\"", "rule 1: ports: "),
            ("  plant: {networks: [10.3.0.0/24]}\n", "  plant: {networks: []}\n", "zone `plant` has no networks"),
            (", tags: [zone-office]}", "}", ""),
        ] {
            let text = POLICY.replace(from, to);
            let refused = policy(&text);
            match part {
                "" => assert!(refused.is_ok(), "the dmz still has workers"),
                part => assert!(refused.as_ref().is_err_and(|why| why.contains(part)), "{part}: {refused:?}"),
            }
        }
        assert!(policy("zones: {a: {networks: [10.0.0.1], tags: [x]}}").unwrap_err().contains("fewer than two"));
        let nobody = POLICY.replace(", tags: [zone-office]", "").replace(", region: dmz", "");
        assert!(policy(&nobody).unwrap_err().contains("no zone says"));
    }

    #[test]
    fn an_open_way_counts_by_the_rules_and_a_device_that_answers_for_every_port_for_nothing() {
        let policy = policy(POLICY).unwrap();
        let port = |port: u16, protocol: &str, state: &str| {
            format!(
                r#"{{"port":{port},"protocol":"{protocol}","state":"{state}","reason":"syn-ack","banner":null,"service":null}}"#
            )
        };
        let ports = [
            port(22, "tcp", "open"),
            port(80, "tcp", "closed"),
            port(443, "tcp", "open"),
            port(123, "udp", "open|filtered"),
        ];
        let line = format!(
            r#"{{"address":"10.2.0.7","name":null,"state":"up","reason":"syn-ack","ports":[{}],"not_shown":[],"#,
            ports.join(",")
        ) + r#""started_at":"2023-11-14T22:13:20.123Z","worker":"wrk_a"}"#;
        let host = parse_host_line(line.as_bytes()).unwrap();
        let mut seen = Seen { from: "office".into(), to: "dmz".into(), ..Seen::default() };
        seen.take(&host, &policy);
        assert_eq!((seen.allowed, seen.forbidden, seen.refusals), (1, 1, 1));
        seen.take(&HostRecord { is_middlebox: true, ..host }, &policy);
        assert_eq!((seen.forbidden, seen.unclear_hosts), (1, 1));
        let text = text(false, std::slice::from_ref(&seen));
        assert!(text.contains("office reaches 10.2.0.7 22/tcp in dmz\n"), "{text}");
        assert_eq!(judged(std::slice::from_ref(&seen)).unwrap_err().exit, ExitCode::Findings);
        let unclear = Seen { unclear_hosts: 1, ..Seen::default() };
        assert_eq!(judged(&[unclear]).unwrap_err().exit, ExitCode::JobIncomplete, "a device answered for the host");
        let unseen = Seen { not_looked_at: Some("no worker".into()), ..Seen::default() };
        assert_eq!(judged(&[unseen]).unwrap_err().exit, ExitCode::JobIncomplete);
        assert_eq!(judged(&[Seen::default()]), Ok(()));
    }
}
