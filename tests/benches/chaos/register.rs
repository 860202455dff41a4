//! Registers that clients write and read through many nodes while things go wrong, and the history of their calls.
//!
//! A register is what a profile of the cluster is for (`reason`): written by `POST /profiles`, read by
//! `?consistency=linearizable`. A write that is not acknowledged is unknown, whatever was answered, unless the connection
//! was refused; a read without an answer says nothing. Unknown writes are carried into the rounds behind, where they may
//! still come.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use pentora_tests::cluster::{API, Cluster};
use pentora_tests::dice::Dice;
use pentora_tests::http::{self, Request};
use pentora_tests::lab::WayIn;
use pentora_tests::linearizable::{Act, Call, check};
use pentora_tests::wait;

use crate::pause;

/// Two, so that calls that do not meet are in it as well.
const REGISTERS: usize = 2;
/// The contract is an answer within two seconds where there is no majority; a frozen node gives none.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// A read at the end of a round, when nothing is wrong any more, comes about within this.
const LAST_READ_MAX: Duration = Duration::from_secs(60);
/// Pause of a client between two calls, at least and at most.
const PAUSE_MS: (u64, u64) = (50, 250);

/// The registers and what is known of them.
#[derive(Debug)]
pub(crate) struct Registers {
    clients: Vec<Client>,
    token: String,
    began: Instant,
    /// No value is written twice, also not to different registers.
    next_value: AtomicU64,
    /// What each holds at the end of the round before, with the writes that may still come.
    known: [(Option<u64>, Vec<Call>); REGISTERS],
}

/// A client: the node that it asks, and the way there.
#[derive(Debug)]
struct Client {
    node: usize,
    way: WayIn,
}

/// What a client did in a round.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By register.
    calls: [Vec<Call>; REGISTERS],
    /// Reads without an answer, and writes that were refused a connection.
    pub(crate) failed: usize,
}

/// A round's calls in figures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calls {
    pub(crate) acknowledged: usize,
    pub(crate) unknown: usize,
    pub(crate) failed: usize,
    /// Longest time without an acknowledged write, through whatever node.
    pub(crate) longest_without_write: Duration,
}

impl Registers {
    /// Registers that clients ask these nodes for.
    pub(crate) fn new(cluster: &Cluster, nodes: impl IntoIterator<Item = usize>) -> anyhow::Result<Self> {
        let token = std::fs::read_to_string(cluster.data_dir(1).join("admin.token")).context("the admin's token")?;
        let client = |node| cluster.lab().host(node).namespace().way_in().map(|way| Client { node, way });
        let clients = nodes.into_iter().map(client).collect::<anyhow::Result<_>>()?;
        let (token, next_value) = (token.trim().to_owned(), AtomicU64::new(1));
        Ok(Self { clients, token, began: Instant::now(), next_value, known: Default::default() })
    }

    /// Has all clients make calls while `work` goes on; what they did is given back also where that fails.
    pub(crate) fn during<T>(
        &self,
        seed: u64,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> (anyhow::Result<T>, anyhow::Result<History>) {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let clients: Vec<_> = self
                .clients
                .iter()
                .map(|client| {
                    let (is_over, dice) = (&is_over, Dice::new(seed.wrapping_add(client.node as u64)));
                    scope.spawn(move || client.way.within(|| Ok(self.calls_of(client.node, dice, is_over))))
                })
                .collect();
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            let mut all = History::default();
            for client in clients {
                match client.join().unwrap_or_else(|_panic| Err(anyhow!("a client panicked"))) {
                    Ok(history) => all.take(history),
                    Err(error) => return (done, Err(error)),
                }
            }
            (done, Ok(all))
        })
    }

    /// One client's calls until the round is over.
    fn calls_of(&self, node: usize, mut dice: Dice, is_over: &AtomicBool) -> History {
        let mut history = History::default();
        while !is_over.load(Ordering::Relaxed) {
            let register = usize::try_from(dice.below(REGISTERS as u64)).unwrap_or_default();
            let call = match dice.below(2) {
                0 => self.write(node, register),
                _ => self.read(node, register),
            };
            match (call, history.calls.get_mut(register)) {
                (Some(call), Some(calls)) => calls.push(call),
                _ => history.failed += 1,
            }
            pause(Duration::from_millis(PAUSE_MS.0 + dice.below(PAUSE_MS.1 - PAUSE_MS.0)));
        }
        history
    }

    fn write(&self, client: usize, register: usize) -> Option<Call> {
        let value = self.next_value.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"name": "chaos-{register}", "options": {{"ports": "1"}}, "reason": "{value}"}}"#);
        let request = Request { method: "POST", path: "/api/v1/profiles", body: Some(&body), ..self.request() };
        let began_ns = self.now_ns();
        let answer = http::send(API, &request, ANSWER_MAX);
        let ended_ns = self.now_ns();
        let ended_ns = match answer {
            Ok(answer) if (200..300).contains(&answer.status) => Some(ended_ns),
            Err(error) if was_refused(&error) => return None,
            _ => None,
        };
        Some(Call { client, act: Act::Write(value), began_ns, ended_ns })
    }

    fn read(&self, client: usize, register: usize) -> Option<Call> {
        let path = format!("/api/v1/profiles/chaos-{register}?consistency=linearizable");
        let request = Request { method: "GET", path: &path, ..self.request() };
        let began_ns = self.now_ns();
        let answer = http::send(API, &request, ANSWER_MAX).ok()?;
        let ended_ns = Some(self.now_ns());
        let value = match answer.status {
            200 => Some(answer.json().ok()?.get("reason")?.as_str()?.parse().ok()?),
            404 => None,
            _ => return None,
        };
        Some(Call { client, act: Act::Read(value), began_ns, ended_ns })
    }

    fn request(&self) -> Request<'_> {
        Request { token: Some(&self.token), ..Request::default() }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Reads each register once more, through a node, when nothing is wrong any more; holds each history against what was
    /// known before, and keeps what is known then. The text of a history that nothing explains is in the error.
    pub(crate) fn judge(&mut self, reader: usize, mut history: History) -> anyhow::Result<Calls> {
        let client = self.clients.iter().find(|client| client.node == reader).or(self.clients.first());
        let client = client.context("a client")?;
        for (register, calls) in history.calls.iter_mut().enumerate() {
            let last = wait::until("a last read of a register", LAST_READ_MAX, || {
                client.way.within(|| Ok(self.read(client.node, register)))
            })?;
            calls.push(last);
        }
        let figures = history.figures();
        for (register, (calls, known)) in history.calls.into_iter().zip(&mut self.known).enumerate() {
            let all = [known.1.as_slice(), &calls].concat();
            if let Err(fault) = check(known.0, &all) {
                let mut text = format!("register chaos-{register}, which held {:?}: {fault}\nall calls:", known.0);
                all.iter().try_for_each(|call| write!(text, "\n  {call}"))?;
                return Err(anyhow!(text));
            }
            let value = match calls.last().map(|call| call.act) {
                Some(Act::Read(value)) => value,
                _ => None,
            };
            let was_read = |call: &Call| match call.act {
                Act::Write(value) => all.iter().any(|other| other.act == Act::Read(Some(value))),
                Act::Read(_) => true,
            };
            let pending = all.iter().filter(|call| call.ended_ns.is_none() && !was_read(call)).copied().collect();
            *known = (value, pending);
        }
        Ok(figures)
    }
}

impl History {
    fn take(&mut self, other: Self) {
        self.failed += other.failed;
        for (all, calls) in self.calls.iter_mut().zip(other.calls) {
            all.extend(calls);
        }
    }

    fn figures(&self) -> Calls {
        let all = || self.calls.iter().flatten();
        let is_write = |call: &&Call| matches!(call.act, Act::Write(_));
        let mut writes: Vec<u64> = all().filter(is_write).filter_map(|call| call.ended_ns).collect();
        writes.extend(all().map(|call| call.began_ns).min());
        writes.extend(all().filter_map(|call| call.ended_ns).max());
        writes.sort_unstable();
        let gaps = writes.iter().zip(writes.iter().skip(1)).map(|(one, next)| next - one);
        Calls {
            acknowledged: all().filter(|call| call.ended_ns.is_some()).count(),
            unknown: all().filter(|call| call.ended_ns.is_none()).count(),
            failed: self.failed,
            longest_without_write: Duration::from_nanos(gaps.max().unwrap_or_default()),
        }
    }
}

/// Whether nobody took the connection: then nothing was asked.
fn was_refused(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_was_refused_is_known_to_have_asked_nothing() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(was_refused(&anyhow::Error::from(refused).context("connecting")));
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        assert!(!was_refused(&anyhow::Error::from(late).context("connecting")));
    }

    #[test]
    fn the_longest_time_without_a_write_counts_from_the_first_call_to_the_last() {
        let call = |act, began_ns, ended_ns| Call { client: 1, act, began_ns, ended_ns };
        let calls = [
            vec![call(Act::Write(1), 0, Some(10)), call(Act::Write(2), 20, None)],
            vec![call(Act::Write(3), 20, Some(50)), call(Act::Read(None), 100, Some(115))],
        ];
        let figures = History { calls, failed: 3 }.figures();
        assert_eq!((figures.acknowledged, figures.unknown, figures.failed), (3, 1, 3));
        assert_eq!(figures.longest_without_write, Duration::from_nanos(65));
    }
}
