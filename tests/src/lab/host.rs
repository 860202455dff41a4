//! One host of a lab: its address, the programs run on it, and the faults set at it.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::Namespace;
use crate::http::{self, Answer, Request};

/// The table of the faults, and what is never part of one: a host always hears itself.
const NO_FAULT: &str = "table inet fault
delete table inet fault
table inet fault {
  chain in { type filter hook input priority 0; policy accept; iif lo accept; }
  chain out { type filter hook output priority 0; policy accept; oif lo accept; }
}
";

/// A namespace with an address on the lab's bridge.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    address: Ipv4Addr,
}

impl Host {
    pub(super) fn new(namespace: Namespace, address: Ipv4Addr) -> anyhow::Result<Self> {
        let host = Self { namespace, address };
        host.heal()?;
        Ok(host)
    }

    /// A host that no fault can be set at: every packet filter costs the packets it looks at.
    pub(super) fn without_faults(namespace: Namespace, address: Ipv4Addr) -> Self {
        Self { namespace, address }
    }

    /// Its address on the bridge or the cable.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A command that runs `program` on the host.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        self.namespace.command(program)
    }

    /// A command that runs `program` here with the file `names` in place of /etc/hosts, seen by nobody else.
    #[must_use]
    pub fn command_with_names(&self, names: &Path, program: &Path) -> Command {
        const WITH_NAMES: &str = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
        let mut command = self.command(Path::new("unshare"));
        command.args(["--mount", "sh", "-c", WITH_NAMES, "sh"]).arg(names).arg(program);
        command
    }

    /// Calls `work` from within the host's network, as [`Namespace::within`].
    ///
    /// # Errors
    /// Where the network cannot be entered, `work` fails, or it panics.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        self.namespace.within(work)
    }

    /// Runs `work`, and `watch` from within the host's network until `work` has ended, which the flag then says.
    ///
    /// # Errors
    /// Where either fails, or `watch` panics.
    pub fn watched<T, W: Send>(
        &self,
        watch: impl FnOnce(&AtomicBool) -> anyhow::Result<W> + Send,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, W)> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let watching = scope.spawn(|| self.within(|| watch(&is_over)));
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            let seen = watching.join().unwrap_or_else(|_| Err(anyhow!("watching a host panicked")))?;
            Ok((done?, seen))
        })
    }

    /// Sends an HTTP request from the host to a server that the host reaches, its own loopback included.
    ///
    /// # Errors
    /// Where there is no whole answer within `limit` for each step.
    pub fn request(&self, server: SocketAddr, request: &Request<'_>, limit: Duration) -> anyhow::Result<Answer> {
        self.within(|| http::send(server, request, limit))
    }

    /// A connection from this host to `server`, for what is read as it comes.
    ///
    /// # Errors
    /// Where nobody takes it within five seconds.
    pub fn connect(&self, server: SocketAddr) -> anyhow::Result<TcpStream> {
        self.within(|| TcpStream::connect_timeout(&server, Duration::from_secs(5)).context("a connection"))
    }

    /// Drops what comes in and matches.
    pub(super) fn refuse(&self, what: &str) -> anyhow::Result<()> {
        self.namespace.nft(&format!("add rule inet fault in {what} drop\n"))
    }

    pub(super) fn isolate(&self) -> anyhow::Result<()> {
        self.namespace.nft("add rule inet fault in drop\nadd rule inet fault out drop\n")
    }

    pub(super) fn outbound_only(&self) -> anyhow::Result<()> {
        self.namespace.nft("add rule inet fault in ct state established,related accept\nadd rule inet fault in drop\n")
    }

    pub(super) fn heal(&self) -> anyhow::Result<()> {
        self.namespace.nft(NO_FAULT)
    }
}
