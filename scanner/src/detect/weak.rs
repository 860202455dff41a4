//! Weaknesses of a service that was identified: rules over what it told, and the read-only checks that they wait for.
//!
//! Checks open connections as every other question does: at the job's pace, bounded in time, inside TLS where the
//! service is.

use std::net::SocketAddr;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connection::Endpoint;
use super::{Detector, Options};
use crate::finding::{Service, Weakness};
use crate::port::Protocol;
use crate::vuln::check::{self, Connecting, Connector, Stream};

impl Detector {
    /// What is weak about a service, the rules' order. `now_s` is the time, seconds since 1970-01-01T00:00:00Z.
    ///
    /// `deadline` is when the port's time is up: a check that is not answered then is the last one.
    /// Read-only, and bounded by [`check::Options`]. Dropping the future ends it and closes its connections.
    pub async fn weaknesses(
        &self,
        target: SocketAddr,
        protocol: Protocol,
        service: &Service,
        options: &Options,
        deadline: Instant,
        now_s: i64,
    ) -> Vec<Weakness> {
        // Checks of one service come one after the other: one connection at a time.
        let Ok(_permit) = self.connections.acquire().await else { return Vec::new() };
        let asking = Asking { detector: self, options, connections: Semaphore::new(1) };
        let patience = deadline.saturating_duration_since(Instant::now());
        let bounds = check::Options { patience, ..check::Options::default() };
        check::run(target, protocol, service, &bounds, &asking, now_s).await
    }
}

/// Opens the connections of one service's checks.
struct Asking<'a> {
    detector: &'a Detector,
    options: &'a Options,
    connections: Semaphore,
}

impl Connector for Asking<'_> {
    fn connect(&self, target: SocketAddr, is_tls: bool) -> Connecting<'_> {
        let endpoint = Endpoint {
            address: target,
            name: None,
            tls: is_tls.then_some(&self.detector.connector.0),
            connections: &self.connections,
            pacing: self.options.pacing.as_deref(),
            deadline: Instant::now() + self.options.budget,
        };
        Box::pin(async move {
            let connection = endpoint.connect().await?;
            Ok(Box::new(connection.stream) as Box<dyn Stream>)
        })
    }
}
