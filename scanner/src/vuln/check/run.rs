//! Runs checks against one service. The edge: sockets and timeouts, no decision but when to stop reading.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Check, Exchange};
use crate::authority;
use crate::finding::{Service, Weakness};
use crate::gate::{self, Gate, Stage, Verdict};
use crate::port::{Port, Protocol};
use crate::vuln::exposure::{Answers, Exposures, Seen};

/// Room for the bytes of an answer that are waited for.
const READ_ROOM: usize = 1024;

/// A service whose weaknesses are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Where it answers.
    pub target: SocketAddr,
    /// The host name that the target was given as: it is asked by that.
    pub name: Option<&'a str>,
    /// What it is spoken to over.
    pub protocol: Protocol,
    /// What it is.
    pub service: &'a Service,
}

impl Known<'_> {
    fn is_inside_tls(&self) -> bool {
        self.service.tls.as_ref().is_some_and(|tls| tls.starttls.is_none())
    }

    /// The host as HTTP is told it.
    fn host(&self) -> String {
        authority::host_header(self.name, self.target, self.is_inside_tls())
    }
}

/// What may be asked of one service, and what that may cost.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether checks are sent at all; without, rules look at what the service told by itself.
    pub is_active: bool,
    /// Whether checks are sent that make a server ask third parties, such as recursion of DNS.
    pub has_opt_in: bool,
    /// How long one exchange may take.
    pub step_timeout: Duration,
    /// How long all checks of one service may take together, as long as they are answered.
    pub total_timeout: Duration,
    /// How long they may take together once one of them has waited in vain.
    pub patience: Duration,
    /// Most bytes that are read of one answer.
    pub answer_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            is_active: true,
            has_opt_in: false,
            step_timeout: Duration::from_secs(2),
            total_timeout: Duration::from_secs(15),
            patience: Duration::from_secs(8),
            answer_bytes_max: 64 << 10,
        }
    }
}

/// A connection, plain or within TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is being made.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream + 'a>>> + Send + 'a>>;

/// Whether a datagram may go, once it is its turn.
pub type Admitting<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Makes connections. Whoever can speak TLS brings one that does.
pub trait Connector: Send + Sync {
    /// Whether checks may be sent to a port at all.
    fn permits(&self, target: SocketAddr, protocol: Protocol) -> bool;

    /// Connects to `target`, within TLS where `is_tls`. Dropping it gives up.
    fn connect(&self, target: SocketAddr, is_tls: bool) -> Connecting<'_>;

    /// Waits until a datagram may be sent to `target`; false where it may not.
    fn datagram(&self, target: SocketAddr) -> Admitting<'_>;

    /// How long connections and datagrams have waited for their turn up to now, which no time-out counts.
    fn waited(&self) -> Duration {
        Duration::ZERO
    }
}

/// Connects in the clear; services within TLS cannot be asked with it, so their checks say nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainConnector;

impl Connector for PlainConnector {
    fn permits(&self, target: SocketAddr, protocol: Protocol) -> bool {
        Gate::default().ask(target.ip(), gate::port_of(target, protocol), Stage::Check) == Verdict::Allow
    }

    fn connect(&self, target: SocketAddr, is_tls: bool) -> Connecting<'_> {
        Box::pin(async move {
            if is_tls {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let stream = TcpStream::connect(target).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn datagram(&self, target: SocketAddr) -> Admitting<'_> {
        Box::pin(async move { self.permits(target, Protocol::Udp) })
    }
}

/// The weaknesses that the built-in rules find in a known service, after the checks that they wait for.
///
/// `now_s` is the time in seconds since 1970-01-01T00:00:00Z. Cancel-safe: dropping it closes what is open.
pub async fn run(known: Known<'_>, options: &Options, connector: &dyn Connector, now_s: i64) -> Vec<Weakness> {
    run_of(Exposures::built_in(), known, options, connector, now_s).await
}

/// The same with other rules.
pub async fn run_of(
    exposures: &Exposures,
    known: Known<'_>,
    options: &Options,
    connector: &dyn Connector,
    now_s: i64,
) -> Vec<Weakness> {
    let Known { target, protocol, service, .. } = known;
    let port = Port { number: target.port(), protocol };
    let mut answers = Answers::new();
    let seen = Seen { port, service, answers: &answers, now_s };
    let may_ask = options.is_active && connector.permits(target, protocol);
    let wanted = if may_ask { exposures.checks_wanted(&seen) } else { Vec::new() };
    let applies = |check: &&Check| {
        check.protocol == protocol && (options.has_opt_in || !check.is_opt_in) && check.applies.to(&seen)
    };
    let wanted: Vec<&Check> = wanted.into_iter().filter(applies).collect();
    let begun = Instant::now();
    let spent = || begun.elapsed().saturating_sub(connector.waited());
    let mut end = options.total_timeout;
    for check in wanted {
        let asked_at = spent();
        if asked_at >= end {
            break;
        }
        let asked = within(end - asked_at, connector, ask(check, known, options, connector)).await;
        if let Some(Some(captures)) = asked {
            answers.insert(check.id.clone(), captures);
        } else if spent().saturating_sub(asked_at) >= options.step_timeout {
            // It was silent. It may be to this question only, but it is no longer waited for beyond its time.
            end = end.min(options.patience);
        }
    }
    exposures.evaluate(&Seen { port, service, answers: &answers, now_s })
}

/// What the check captured where it says yes; `None` where it says no or cannot be told.
pub(in crate::vuln) async fn ask(
    check: &Check,
    known: Known<'_>,
    options: &Options,
    connector: &dyn Connector,
) -> Option<BTreeMap<String, String>> {
    match check.protocol {
        Protocol::Udp => ask_udp(check, known, options, connector).await,
        Protocol::Tcp => {
            let mut stream = connect(known, options, connector).await?;
            let captures = ask_stream(&check.steps, &mut *stream, &known.host(), options).await?;
            drop(stream);
            let elsewhere: Vec<Exchange> = check.steps.iter().filter_map(Exchange::elsewhere).collect();
            if !elsewhere.is_empty() {
                let mut stream = connect(known, options, connector).await?;
                // The same where nothing is: it says that of every path.
                if ask_stream(&elsewhere, &mut *stream, &known.host(), options).await.is_some() {
                    return None;
                }
            }
            Some(captures)
        }
    }
}

async fn connect<'a>(
    known: Known<'_>,
    options: &Options,
    connector: &'a dyn Connector,
) -> Option<Box<dyn Stream + 'a>> {
    let connecting = connector.connect(known.target, known.is_inside_tls());
    within(options.step_timeout, connector, connecting).await?.ok()
}

/// What comes of `future` in so much time, apart from what it waits for its turn meanwhile.
async fn within<F: Future>(limit: Duration, connector: &dyn Connector, future: F) -> Option<F::Output> {
    let (begun, before) = (Instant::now(), connector.waited());
    let mut future = pin!(future);
    loop {
        let until = begun + limit + connector.waited().saturating_sub(before);
        match timeout_at(until, &mut future).await {
            Ok(done) => return Some(done),
            Err(_) if Instant::now() < begun + limit + connector.waited().saturating_sub(before) => {}
            Err(_) => return None,
        }
    }
}

async fn ask_stream(
    steps: &[Exchange],
    stream: &mut dyn Stream,
    host: &str,
    options: &Options,
) -> Option<BTreeMap<String, String>> {
    let mut captures = BTreeMap::new();
    for step in steps {
        let is_accepted = timeout(options.step_timeout, exchange(step, stream, host, options, &mut captures)).await;
        // A server that is silent has not said what was expected.
        if !is_accepted.is_ok_and(|result| result.unwrap_or(false)) {
            return None;
        }
    }
    Some(captures)
}

async fn exchange(
    step: &Exchange,
    stream: &mut dyn Stream,
    host: &str,
    options: &Options,
    captures: &mut BTreeMap<String, String>,
) -> io::Result<bool> {
    let request = step.request(host);
    stream.write_all(&request).await?;
    stream.flush().await?;
    if !step.is_asking() {
        return Ok(true);
    }
    let mut answer = Vec::new();
    loop {
        answer.reserve(READ_ROOM);
        // A server that resets after its answer has still given it.
        let count = stream.read_buf(&mut answer).await.unwrap_or(0);
        if !step.is_echo(&request, &answer) && step.accepts(&answer, captures) {
            return Ok(true);
        }
        if count == 0 || answer.len() >= options.answer_bytes_max {
            return Ok(false);
        }
    }
}

async fn ask_udp(
    check: &Check,
    known: Known<'_>,
    options: &Options,
    connector: &dyn Connector,
) -> Option<BTreeMap<String, String>> {
    let target = known.target;
    let any = if target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(target).await.ok()?;
    let mut captures = BTreeMap::new();
    let mut buffer = vec![0; options.answer_bytes_max];
    for step in &check.steps {
        connector.datagram(target).await.then_some(())?;
        let request = step.request(&known.host());
        socket.send(&request).await.ok()?;
        if step.is_asking() {
            let count = timeout(options.step_timeout, socket.recv(&mut buffer)).await.ok()?.ok()?;
            let answer = buffer.get(..count).unwrap_or_default();
            if step.is_echo(&request, answer) || !step.accepts(answer, &mut captures) {
                return None;
            }
        }
    }
    Some(captures)
}

#[cfg(test)]
#[path = "run/run_test.rs"]
mod tests;
