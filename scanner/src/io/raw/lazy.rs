//! A raw engine that starts with its first unit.
//!
//! Its rings take 12 MB, and closing its packet sockets makes the kernel wait for all processors, some 20 ms each: a node
//! that has no unit for it, and a command that asks three ports of this machine, should pay neither. Whether this process
//! may use it is known at once: a raw IP socket needs the same right (`CAP_NET_RAW` over the network namespace), and costs
//! nothing to close.

use std::io;
use std::sync::{Arc, OnceLock};

use socket2::{Domain, Protocol, Socket, Type};

use super::Handle;
use crate::io::EngineError;
use crate::occupancy::Occupancy;

/// A raw engine, running or not yet.
#[derive(Debug)]
pub(crate) struct Lazy {
    /// What its connections to open ports count in.
    occupancy: Arc<Occupancy>,
    handle: OnceLock<Result<Handle, String>>,
}

impl Lazy {
    /// One that starts when it is first used.
    ///
    /// # Errors
    /// Where this process may not send raw packets.
    pub(crate) fn new(occupancy: Arc<Occupancy>) -> Result<Self, EngineError> {
        let look = || -> io::Result<Socket> { Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)) };
        look().map_err(|source| EngineError::System { what: "a raw socket", source })?;
        Ok(Self { occupancy, handle: OnceLock::new() })
    }

    /// One that runs.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn started(occupancy: Arc<Occupancy>) -> Result<Self, EngineError> {
        let handle = OnceLock::from(Ok(super::start(Arc::clone(&occupancy))?));
        Ok(Self { occupancy, handle })
    }

    /// Whether it runs, so that another unit costs no start.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.handle.get(), Some(Ok(_)))
    }

    /// The running engine, started by the first caller.
    ///
    /// # Errors
    /// What the kernel refused, of the one attempt that was made.
    pub(crate) fn handle(&self) -> Result<&Handle, &str> {
        let started = self.handle.get_or_init(|| {
            super::start(Arc::clone(&self.occupancy)).map_err(|error| {
                let why = error.to_string();
                tracing::warn!(why, "no raw packets from this node: it scans with connections");
                why
            })
        });
        started.as_ref().map_err(String::as_str)
    }
}
