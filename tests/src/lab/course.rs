//! A course on which scanners are measured: the scanner's host and the scanned one, joined by one cable of their own.
//!
//! A bridge and the rules for faults would be part of every figure, so there are none. The scanner is at 10.76.0.1, what
//! it scans at 10.76.0.2; a world behind that one is reached through it.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::ensure;

use super::cable::{Cable, finish_frames};
use super::world::{World, WorldOptions};
use super::{Host, Namespace};

/// Two hosts and the cable between them.
#[derive(Debug)]
pub struct Course {
    // The order is that of removal: what runs in a namespace ends before the namespace does.
    world: Option<World>,
    _cable: Option<(Cable, Namespace)>,
    scanner: Host,
    far: Host,
}

impl Course {
    /// Where the scanner is.
    pub const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 76, 0, 1);
    /// What it scans, or its way to what it scans.
    pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 76, 0, 2);

    /// Makes the two hosts, with a cable that is `delay` long each way. Nothing where labs cannot be made here and the
    /// developer chose to skip them.
    ///
    /// # Errors
    /// Where labs cannot be made (see [`crate::privileges`]), or a step of making one fails.
    pub fn start(delay: Duration) -> anyhow::Result<Option<Self>> {
        let Some(name) = super::new_name()? else { return Ok(None) };
        let scanner = Namespace::add(&format!("{name}-scanner"))?;
        let far = Namespace::add(&format!("{name}-far"))?;
        let cable = if delay.is_zero() {
            scanner.ip(&format!("link add eth0 type veth peer name eth0 netns {}", far.name()))?;
            None
        } else {
            let wire = Namespace::add(&format!("{name}-wire"))?;
            for (end, host) in [("left", &scanner), ("right", &far)] {
                wire.ip(&format!("link add {end} type veth peer name eth0 netns {}", host.name()))?;
                wire.ip(&format!("link set {end} up"))?;
                finish_frames(&wire, end)?;
                finish_frames(host, "eth0")?;
            }
            Some((Cable::carry(&wire, ["left", "right"], delay)?, wire))
        };
        for (namespace, address) in [(&scanner, Self::SCANNER), (&far, Self::FAR)] {
            namespace.ip(&format!("addr add {address}/24 dev eth0"))?;
            namespace.ip("link set eth0 up")?;
        }
        scanner.ip(&format!("route add {} via {}", World::NETWORK, Self::FAR))?;
        // Connect scans need as many local ports as there are.
        let range = "1024 65535";
        scanner.set_text("ipv4/ip_local_port_range", range)?;
        let scanner = Host::without_faults(scanner, Self::SCANNER);
        let far = Host::without_faults(far, Self::FAR);
        Ok(Some(Self { world: None, _cable: cable, scanner, far }))
    }

    /// Makes the far host a world.
    ///
    /// # Errors
    /// Where a step fails.
    pub fn become_world(&mut self, options: &WorldOptions) -> anyhow::Result<&World> {
        ensure!(self.world.is_none(), "a course has one world");
        let world = World::start(&self.far, options)?;
        Ok(self.world.insert(world))
    }

    /// The host to scan from.
    #[must_use]
    pub fn scanner(&self) -> &Host {
        &self.scanner
    }

    /// The host at the other end.
    #[must_use]
    pub fn far(&self) -> &Host {
        &self.far
    }
}
