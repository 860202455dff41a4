//! A host's cable with some length, for wide-area timing.
//!
//! The host's end is taken off the bridge, a second pair of interfaces put on it instead, and `lab-wire` carries frames
//! between the two. The kernels that tests run on do not all have netem.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::Namespace;
use crate::binaries::binary;

/// A running wire between a host and the bridge. It ends with its drop, and the host is cut off then.
#[derive(Debug)]
pub struct Cable {
    wire: Child,
}

impl Cable {
    /// Replaces the plain cable `p<label>` of `host` on `bridge` by one that is `delay` long each way.
    pub(super) fn lay(bridge: &Namespace, label: &str, host: &Namespace, delay: Duration) -> anyhow::Result<Self> {
        let [near, inner, outer] = ["p", "r", "q"].map(|letter| format!("{letter}{label}"));
        bridge.ip(&format!("link set {near} nomaster"))?;
        bridge.ip(&format!("link add {outer} type veth peer name {inner}"))?;
        bridge.ip(&format!("link set {inner} up"))?;
        bridge.ip(&format!("link set {outer} master br0 up"))?;
        for (namespace, interface) in [(host, "eth0"), (bridge, &near), (bridge, &inner), (bridge, &outer)] {
            finish_frames(namespace, interface)?;
        }
        Self::carry(bridge, [near.as_str(), inner.as_str()], delay)
    }

    /// Carries frames between two interfaces of a namespace, each way after `delay`.
    pub(super) fn carry(namespace: &Namespace, [one, other]: [&str; 2], delay: Duration) -> anyhow::Result<Self> {
        let mut wire = namespace
            .command(&binary("lab-wire")?)
            .args([one, other, &(delay.as_secs_f64() * 1e3).to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the wire")?;
        let mut ready = String::new();
        let output = wire.stdout.take().context("the pipe that was asked for")?;
        BufReader::new(output).read_line(&mut ready).context("waiting for the wire")?;
        let cable = Self { wire };
        ensure!(ready.starts_with("carrying"), "the wire did not start: {ready:?}");
        Ok(cable)
    }
}

/// Makes an interface send finished frames: sums and segments left to hardware that is not there would be carried
/// unfinished.
pub(super) fn finish_frames(namespace: &Namespace, interface: &str) -> anyhow::Result<()> {
    let output = namespace
        .command(Path::new("ethtool"))
        .args(["-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])
        .output()
        .context("starting ethtool (deploy/prepare.sh installs it)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ethtool -K {interface}: {said} (deploy/prepare.sh installs it)");
    Ok(())
}

impl Drop for Cable {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.wire.kill();
        let _ = self.wire.wait();
    }
}
