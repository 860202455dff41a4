//! A host that answers for 65,536 addresses, and the truth about them.
//!
//! 10.77.0.0/16 is local to it as a whole. A packet filter gives each address its character: dark ones drop everything,
//! live ones accept their open ports, drop their filtered ones and answer all others with a reset. One farm process
//! listens on [`WORLD_PORTS`] for all of them. What is where comes from a seed, so a failed test can be repeated.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};

use anyhow::{Context, ensure};

use super::Host;
use crate::binaries::binary;
use crate::dice::Dice;

/// The ports that can be open in a world.
pub const WORLD_PORTS: [u16; 20] =
    [21, 22, 23, 25, 53, 80, 110, 143, 443, 445, 1883, 3306, 3389, 5432, 6379, 8080, 8443, 9200, 11211, 27017];

/// How a world is made.
#[derive(Debug, Clone, Copy)]
pub struct WorldOptions {
    /// What is where follows from it.
    pub seed: u64,
    /// How many addresses, from 10.77.0.0 on, may be alive: at most 65,536. All others are dark.
    pub addresses: u32,
    /// How many of a hundred of those are alive.
    pub alive_percent: u8,
    /// How many of a hundred packets are lost, each way.
    pub loss_percent: u8,
    /// A firewall drops what comes in above so many packets per second; 0 for none.
    pub police_pps: u32,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self { seed: 7, addresses: 512, alive_percent: 30, loss_percent: 0, police_pps: 0 }
    }
}

/// What a scan of the world should find.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    /// Addresses that answer.
    pub alive: BTreeSet<Ipv4Addr>,
    /// Open ports.
    pub open: BTreeSet<(Ipv4Addr, u16)>,
    /// Ports of live addresses that never answer.
    pub filtered: BTreeSet<(Ipv4Addr, u16)>,
}

/// A scan's open ports held against the truth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Score {
    /// Open in truth and found.
    pub found: usize,
    /// Open in truth and not found.
    pub missed: Vec<(Ipv4Addr, u16)>,
    /// Reported and not open.
    pub phantom: Vec<(Ipv4Addr, u16)>,
    /// Reported more than once.
    pub repeated: Vec<(Ipv4Addr, u16)>,
}

impl Score {
    /// Whether the scan equals the truth.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.missed.is_empty() && self.phantom.is_empty() && self.repeated.is_empty()
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, missed, phantom, repeated } = self;
        write!(f, "found {found}, missed {missed:?}, phantom {phantom:?}, repeated {repeated:?}")
    }
}

impl Truth {
    /// The truth that `options` make.
    #[must_use]
    pub fn of(options: &WorldOptions) -> Self {
        let mut dice = Dice::new(options.seed);
        let mut truth = Self::default();
        for number in 0..options.addresses.min(1 << 16) {
            if dice.below(100) >= u64::from(options.alive_percent) {
                continue;
            }
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 0, 0)) + number);
            truth.alive.insert(address);
            for port in WORLD_PORTS {
                match dice.below(100) {
                    0..12 => truth.open.insert((address, port)),
                    12..17 => truth.filtered.insert((address, port)),
                    _ => false,
                };
            }
        }
        truth
    }

    /// The truth as a scan of only these ports sees it.
    #[must_use]
    pub fn of_ports(&self, ports: &[u16]) -> Self {
        let only =
            |from: &BTreeSet<(Ipv4Addr, u16)>| from.iter().filter(|(_, port)| ports.contains(port)).copied().collect();
        Self { alive: self.alive.clone(), open: only(&self.open), filtered: only(&self.filtered) }
    }

    /// Holds the lines of a scan (`ADDRESS PORT ...`, one open port each, and comments) against the truth.
    ///
    /// # Errors
    /// Where a line is not of that form.
    pub fn score(&self, list: &str) -> anyhow::Result<Score> {
        let mut seen = BTreeSet::new();
        let mut score = Score::default();
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let address = words.next().and_then(|word| word.parse::<Ipv4Addr>().ok());
            let port = words.next().and_then(|word| word.parse::<u16>().ok());
            let open = address.zip(port).with_context(|| format!("not `ADDRESS PORT ...`: {line:?}"))?;
            if !seen.insert(open) {
                score.repeated.push(open);
            } else if self.open.contains(&open) {
                score.found += 1;
            } else {
                score.phantom.push(open);
            }
        }
        score.missed = self.open.difference(&seen).copied().collect();
        Ok(score)
    }
}

/// What makes a host play the world; it ends with its drop, and before the host does.
#[derive(Debug)]
pub struct World {
    farm: Child,
    truth: Truth,
}

impl World {
    /// What it answers for.
    pub const NETWORK: &str = "10.77.0.0/16";

    pub(super) fn start(host: &Host, options: &WorldOptions) -> anyhow::Result<Self> {
        let truth = Truth::of(options);
        host.namespace().ip(&format!("route add local {} dev lo", Self::NETWORK))?;
        host.namespace().set("ipv4/tcp_max_syn_backlog", 65_535)?;
        host.namespace().set("core/somaxconn", 65_535)?;
        // A lost SYN-ACK is repeated once: connections that a scanner gave up on do not fill the backlog.
        host.namespace().set("ipv4/tcp_synack_retries", 1)?;
        // Every address of the world is a host of its own: no limit of one machine's ICMP holds for all of them.
        host.namespace().set("ipv4/icmp_ratelimit", 0)?;
        host.namespace().nft(&rules(&truth, options))?;
        let ports = WORLD_PORTS.map(|port| port.to_string()).join(",");
        let mut farm = host
            .command(&binary("lab-farm")?)
            .args(["serve", "--ports", &ports])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the world's farm")?;
        let mut ready = String::new();
        let output = farm.stdout.take().context("the pipe that was asked for")?;
        BufReader::new(output).read_line(&mut ready).context("waiting for the farm")?;
        let world = Self { farm, truth };
        ensure!(ready.starts_with("listening"), "the world's farm did not start: {ready:?}");
        Ok(world)
    }

    /// What a scan of it should find.
    #[must_use]
    pub fn truth(&self) -> &Truth {
        &self.truth
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.farm.kill();
        let _ = self.farm.wait();
    }
}

/// The packet filter that gives every address its character.
fn rules(truth: &Truth, options: &WorldOptions) -> String {
    let mut rules = String::from("table ip world {\n");
    let alive: Vec<String> = truth.alive.iter().map(Ipv4Addr::to_string).collect();
    set(&mut rules, "alive", "ipv4_addr", &alive);
    for (name, ports) in [("opened", &truth.open), ("filtered", &truth.filtered)] {
        let elements: Vec<String> = ports.iter().map(|(address, port)| format!("{address} . {port}")).collect();
        set(&mut rules, name, "ipv4_addr . inet_service", &elements);
    }
    let loss = match options.loss_percent {
        0 => String::new(),
        percent => format!("    numgen random mod 100 < {percent} drop\n"),
    };
    let police = match options.police_pps {
        0 => String::new(),
        pps => format!("    limit rate over {pps}/second burst {} packets drop\n    counter name passed\n", burst(pps)),
    };
    rules += "  counter passed { }\n";
    // What is not for the world itself (neighbours on the bridge) passes untouched.
    rules += "  chain in { type filter hook input priority 0; policy accept;\n    ip daddr != 10.77.0.0/16 accept\n";
    rules += &police;
    rules += &loss;
    rules += "    ip daddr != @alive drop\n    ip daddr . tcp dport @filtered drop\n";
    rules += "    tcp flags & (syn|ack) == syn ip daddr . tcp dport @opened accept\n";
    rules += "    tcp flags & (syn|ack) == syn reject with tcp reset\n  }\n";
    if !loss.is_empty() {
        rules +=
            "  chain out { type filter hook output priority 0; policy accept;\n    ip saddr != 10.77.0.0/16 accept\n";
        rules += &loss;
        rules += "  }\n";
    }
    rules + "}\n"
}

/// What a policer lets through at once: ten milliseconds of its rate, as small buffers do.
fn burst(pps: u32) -> u32 {
    (pps / 100).max(5)
}

/// Writes one set. An empty list of elements is not nft's grammar, so an empty set has no list.
fn set(rules: &mut String, name: &str, kind: &str, elements: &[String]) {
    let list = if elements.is_empty() { String::new() } else { format!(" elements = {{ {} }};", elements.join(", ")) };
    writeln!(rules, "  set {name} {{ type {kind};{list} }}").expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_truth_each_time_and_another_seed_another() {
        let options = WorldOptions::default();
        assert_eq!(Truth::of(&options), Truth::of(&options));
        assert_ne!(Truth::of(&options), Truth::of(&WorldOptions { seed: 8, ..options }));
    }

    #[test]
    fn a_truth_has_about_the_share_of_live_hosts_asked_for_and_no_port_in_two_states() {
        let truth = Truth::of(&WorldOptions { addresses: 4096, ..WorldOptions::default() });
        assert!((1000..1500).contains(&truth.alive.len()), "{}", truth.alive.len());
        assert!(truth.open.is_disjoint(&truth.filtered));
        assert!(truth.open.iter().chain(&truth.filtered).all(|(address, _)| truth.alive.contains(address)));
        assert!(!truth.open.is_empty() && !truth.filtered.is_empty());
    }

    #[test]
    fn a_score_names_what_is_missed_made_up_and_repeated() {
        let [one, two, three] = [1, 2, 3].map(|last| Ipv4Addr::new(10, 77, 0, last));
        let truth = Truth { open: BTreeSet::from([(one, 80), (two, 22)]), ..Truth::default() };
        assert!(truth.score("10.77.0.1 80 tcp\n10.77.0.2 22 tcp\n").unwrap().is_exact());
        let score = truth.score("10.77.0.1 80 tcp\n10.77.0.1 80 tcp\n10.77.0.3 80 tcp\n").unwrap();
        assert_eq!(
            score,
            Score { found: 1, missed: vec![(two, 22)], phantom: vec![(three, 80)], repeated: vec![(one, 80)] }
        );
        truth.score("no address\n").unwrap_err();
    }

    #[test]
    fn a_world_without_a_live_host_still_has_valid_rules() {
        let rules = rules(&Truth::default(), &WorldOptions::default());
        assert!(rules.contains("set alive { type ipv4_addr; }"), "{rules}");
    }

    #[test]
    fn a_policer_stands_before_everything_that_tells_addresses_apart() {
        let options = WorldOptions { police_pps: 20_000, loss_percent: 5, ..WorldOptions::default() };
        let rules = rules(&Truth::default(), &options);
        let at = |what: &str| rules.find(what).unwrap();
        assert!(at("limit rate over 20000/second burst 200 packets drop") < at("numgen"), "{rules}");
        assert!(at("numgen") < at("ip daddr != @alive drop"), "{rules}");
    }
}
