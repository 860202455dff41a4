//! Labs: hosts in network namespaces of their own, joined by a bridge in another, and faults between them.
//!
//! Nothing in a lab reaches the machine's network: the bridge has no way out. Names begin with this process's id, so that
//! labs of tests that run at once do not meet; a lab is removed when it is dropped, a panic included, and what a killed
//! test left behind is removed by the next lab.
//!
//! [`Lab`] is the whole, [`Host`] one namespace and what runs in it, [`World`] a host that answers for 65,536 addresses
//! and knows the truth about them. A wire of some length (for wide-area timing) is [`Cable`]. A scanner is measured on a
//! [`Course`]: two hosts on one cable, without a bridge.

mod cable;
mod course;
mod host;
mod meter;
mod namespace;
mod probes;
mod world;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};

pub use self::cable::Cable;
pub use self::course::Course;
pub use self::host::Host;
pub use self::meter::{Arrivals, Meter};
pub use self::namespace::{Namespace, WayIn};
pub use self::probes::{Probe, most_within, probes_during, probes_within};
pub use self::world::{Score, Truth, WORLD_PORTS, World, WorldOptions};

use crate::privileges;

/// Hosts have the addresses 10.88.0.1 up to this one's last octet; 10.88.255.1 is the world's.
const HOSTS_MAX: u8 = 200;

/// A node that is given work sends its first probes within this: a grant, a word over the session, a rate that grows.
const PROBES_MAX: Duration = Duration::from_secs(30);

/// Hosts on a bridge, at 10.88.0.1, 10.88.0.2, ...
#[derive(Debug)]
pub struct Lab {
    // The order is that of removal: what runs in a namespace ends before the namespace does.
    world: Option<World>,
    cables: Vec<Cable>,
    hosts: Vec<Host>,
    world_host: Option<Host>,
    bridge: Namespace,
    name: String,
}

impl Lab {
    /// Makes a lab of `hosts` hosts. Nothing where labs cannot be made here and the developer chose to skip them.
    ///
    /// # Errors
    /// Where labs cannot be made (see [`privileges`]), or a step of making one fails.
    pub fn start(hosts: u8) -> anyhow::Result<Option<Self>> {
        ensure!(hosts <= HOSTS_MAX, "{hosts} hosts: a lab has at most {HOSTS_MAX}");
        let Some(name) = new_name()? else { return Ok(None) };
        let bridge = Namespace::add(&format!("{name}-br"))?;
        bridge.ip("link add br0 type bridge")?;
        bridge.ip("link set br0 up")?;
        let mut lab = Self { world: None, cables: Vec::new(), hosts: Vec::new(), world_host: None, bridge, name };
        for number in 1..=hosts {
            let host = lab.join(&number.to_string(), Ipv4Addr::new(10, 88, 0, number))?;
            lab.hosts.push(host);
        }
        Ok(Some(lab))
    }

    /// Makes a namespace and plugs it into the bridge.
    fn join(&self, label: &str, address: Ipv4Addr) -> anyhow::Result<Host> {
        let namespace = Namespace::add(&format!("{}-{label}", self.name))?;
        // Both ends are born in their namespaces: no interface of the lab is ever seen on the machine itself.
        self.bridge.ip(&format!("link add p{label} type veth peer name eth0 netns {}", namespace.name()))?;
        self.bridge.ip(&format!("link set p{label} master br0 up"))?;
        namespace.ip(&format!("addr add {address}/16 dev eth0"))?;
        namespace.ip("link set eth0 up")?;
        Host::new(namespace, address)
    }

    /// Adds a world: one more host, which answers for 10.77.0.0/16; every host gets a route to it.
    ///
    /// # Errors
    /// Where a step fails, or there is a world already.
    pub fn add_world(&mut self, options: &WorldOptions) -> anyhow::Result<&World> {
        ensure!(self.world.is_none(), "a lab has one world");
        let address = Ipv4Addr::new(10, 88, 255, 1);
        let host = self.join("world", address)?;
        let world = World::start(&host, options)?;
        self.world_host = Some(host);
        for host in &self.hosts {
            host.namespace().ip(&format!("route add {} via {address}", World::NETWORK))?;
        }
        Ok(self.world.insert(world))
    }

    /// Makes every host's cable `delay` long each way: a message from host to host and its answer take four times that.
    ///
    /// # Errors
    /// Where `ethtool` is missing or a step fails.
    pub fn lengthen_cables(&mut self, delay: Duration) -> anyhow::Result<()> {
        ensure!(self.cables.is_empty(), "the cables have a length already");
        for number in 1..=self.hosts.len() {
            let label = number.to_string();
            let host = self.host_numbered(number)?.namespace();
            let cable = Cable::lay(&self.bridge, &label, host, delay)?;
            self.cables.push(cable);
        }
        Ok(())
    }

    /// The host at 10.88.0.`number`, counted from 1.
    ///
    /// # Panics
    /// Where the lab has fewer hosts: a mistake in the test.
    #[must_use]
    pub fn host(&self, number: usize) -> &Host {
        self.host_numbered(number).expect("the test asks for a host that it made")
    }

    fn host_numbered(&self, number: usize) -> anyhow::Result<&Host> {
        self.hosts
            .get(number.wrapping_sub(1))
            .with_context(|| format!("no host {number} in a lab of {}", self.hosts.len()))
    }

    /// The world.
    ///
    /// # Panics
    /// Where none was added: a mistake in the test.
    #[must_use]
    pub fn world(&self) -> &World {
        self.world.as_ref().expect("the test asks for a world that it added")
    }

    /// The host that is the world.
    ///
    /// # Panics
    /// Where none was added: a mistake in the test.
    #[must_use]
    pub fn world_host(&self) -> &Host {
        self.world_host.as_ref().expect("the test asks for a world that it added")
    }

    /// Waits until the world has heard `count` more probes from the host at 10.88.0.`number`, so that what is done next
    /// comes in the middle of its scan.
    ///
    /// # Errors
    /// Where that does not come about: the host has nothing to scan, or not as much.
    pub fn wait_for_probes(&self, number: usize, count: usize) -> anyhow::Result<()> {
        probes::probes_from(self.world_host(), self.host_numbered(number)?.address(), count, PROBES_MAX)
    }

    /// Counts the bytes that leave some hosts for others, from now on.
    ///
    /// # Errors
    /// Where the counters cannot be set.
    pub fn bytes_from(&self, from: &[usize], to: &[usize]) -> anyhow::Result<Meter<'_>> {
        Meter::set(self, from, to)
    }

    /// Counts the packets that arrive at host `at` for a network, by the host that they come from, from now on.
    ///
    /// # Errors
    /// Where the counters cannot be set.
    pub fn arrivals(&self, at: usize, network: &str) -> anyhow::Result<Arrivals<'_>> {
        Arrivals::set(self, at, network)
    }

    /// How many hosts there are, the world not counted.
    #[must_use]
    pub fn size(&self) -> usize {
        self.hosts.len()
    }

    /// No packet passes between two hosts, either way, until [`Lab::heal`].
    ///
    /// # Errors
    /// Where the rule cannot be set.
    pub fn cut(&self, one: usize, other: usize) -> anyhow::Result<()> {
        self.oneway(one, other)?;
        self.oneway(other, one)
    }

    /// Packets from one host to another are lost; those the other way still pass.
    ///
    /// # Errors
    /// Where the rule cannot be set.
    pub fn oneway(&self, from: usize, to: usize) -> anyhow::Result<()> {
        let source = self.host_numbered(from)?.address();
        self.host_numbered(to)?.refuse(&format!("ip saddr {source}"))
    }

    /// A host hears nobody and nobody hears it; its own loopback still works.
    ///
    /// # Errors
    /// Where the rule cannot be set.
    pub fn isolate(&self, number: usize) -> anyhow::Result<()> {
        self.host_numbered(number)?.isolate()
    }

    /// A host can open connections; nobody can open one to it, as behind a firewall that only lets out.
    ///
    /// # Errors
    /// Where the rule cannot be set.
    pub fn outbound_only(&self, number: usize) -> anyhow::Result<()> {
        self.host_numbered(number)?.outbound_only()
    }

    /// A host loses `percent` of what it receives.
    ///
    /// # Errors
    /// Where the rule cannot be set.
    pub fn lossy(&self, number: usize, percent: u8) -> anyhow::Result<()> {
        self.host_numbered(number)?.refuse(&format!("numgen random mod 100 < {percent}"))
    }

    /// All faults end.
    ///
    /// # Errors
    /// Where a rule cannot be removed.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.hosts.iter().try_for_each(Host::heal)
    }
}

/// The name that a new lab's namespaces begin with; nothing where labs cannot be made here and that is to be skipped.
fn new_name() -> anyhow::Result<Option<String>> {
    static LABS: AtomicU32 = AtomicU32::new(0);
    if !privileges::labs_can_be_made()? {
        return Ok(None);
    }
    namespace::remove_those_of_ended_processes()?;
    Ok(Some(format!("pt{}x{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed))))
}

/// A command that runs `program` in `namespace`, keeps its process id, and dies with the thread that starts it.
fn command_in(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).args(crate::process::DIES_WITH_PARENT).arg(program);
    command
}

#[cfg(test)]
#[path = "lab/lab_test.rs"]
mod tests;
