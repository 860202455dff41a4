//! Looks up host names with the system's resolver, on threads of its own.
//!
//! `getaddrinfo` blocks and cannot be stopped, so a lookup that takes too long is answered for and its thread left
//! behind; another takes its place as long as there are not too many of those.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::clock;
use crate::slot_map::Key;
use crate::target::ends_in_number;

/// Lookups at once: what a name server takes from one client without complaint.
const THREADS: usize = 16;
/// Threads left behind in lookups that do not end; from there on, the rest wait.
const STUCK_MAX: usize = 48;
/// Most addresses of one name: more than any host has. A name with more is refused, since part of it would be left out unseen.
const ADDRESSES_MAX: usize = 1024;

/// What a lookup was for: the unit and the host in it.
pub(crate) type Asker = (Key, Key);
/// Addresses in the resolver's order, or why there are none.
pub(crate) type Found = Result<Vec<IpAddr>, String>;

/// A lookup function, so that tests need no name server.
type Lookup = fn(&str) -> Found;

/// The lookups of an engine.
#[derive(Debug)]
pub(crate) struct Resolver {
    shared: Arc<Shared>,
    timeout: Duration,
    threads: usize,
    stuck: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    lookup: Lookup,
    /// Called after each answer.
    wake: Arc<dyn WakeUp>,
}

/// Tells the engine's thread that there is something to take.
pub(crate) trait WakeUp: Send + Sync + std::fmt::Debug {
    /// Ends its wait.
    fn wake(&self);
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Asker, Arc<str>)>,
    /// When each lookup in work was begun.
    running: HashMap<Asker, Duration>,
    answers: Vec<(Asker, Found)>,
    stopped: bool,
}

impl Resolver {
    /// Lookups that take no longer than `timeout` each, and wake whoever waits for one.
    pub(crate) fn new(timeout: Duration, wake: Arc<dyn WakeUp>) -> Self {
        Self::with_lookup(timeout, wake, system_lookup)
    }

    fn with_lookup(timeout: Duration, wake: Arc<dyn WakeUp>, lookup: Lookup) -> Self {
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), lookup, wake };
        Self { shared: Arc::new(shared), timeout, threads: 0, stuck: 0 }
    }

    /// Queues a lookup. Callers bound how many they ask for at once: one per active host.
    pub(crate) fn ask(&mut self, asker: Asker, name: Arc<str>) {
        let mut state = self.shared.state();
        state.queue.push_back((asker, name));
        let wanted = (state.queue.len() + state.running.len()).min(THREADS + self.stuck.min(STUCK_MAX));
        drop(state);
        while self.threads < wanted && self.spawn() {}
        self.shared.work.notify_one();
    }

    /// The lookups that ended since the last call, those that took too long included.
    pub(crate) fn take(&mut self, now: Duration) -> Vec<(Asker, Found)> {
        let mut state = self.shared.state();
        let mut answers = std::mem::take(&mut state.answers);
        let timeout = self.timeout;
        let late: Vec<Asker> =
            state.running.iter().filter(|(_, begun)| now > **begun + timeout).map(|(asker, _)| *asker).collect();
        let waiting = state.queue.len();
        for asker in &late {
            state.running.remove(asker);
            answers.push((*asker, Err(format!("no answer from the name server within {timeout:?}"))));
        }
        drop(state);
        self.stuck += late.len();
        for _ in 0..late.len().min(waiting) {
            if self.threads < THREADS + STUCK_MAX {
                self.spawn();
            }
        }
        answers
    }

    /// Forgets the lookups of a unit that has ended.
    pub(crate) fn forget(&mut self, unit: Key) {
        let mut state = self.shared.state();
        state.queue.retain(|((asker, _), _)| *asker != unit);
        state.answers.retain(|((asker, _), _)| *asker != unit);
    }

    /// Whether any lookup is queued or in work.
    #[cfg(test)]
    fn is_busy(&self) -> bool {
        let state = self.shared.state();
        !(state.queue.is_empty() && state.running.is_empty() && state.answers.is_empty())
    }

    fn spawn(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("pentora-resolve".to_owned());
        let spawned = thread.stack_size(256 * 1024).spawn(move || shared.work()).is_ok();
        self.threads += usize::from(spawned);
        spawned
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that died between two moves of a list left a list.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.state();
        while !state.stopped {
            let Some((asker, name)) = state.queue.pop_front() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running.insert(asker, clock::now());
            drop(state);
            let found = (self.lookup)(&name);
            state = self.state();
            // Answered for already: the answer is of no use, and another thread may have taken this one's place.
            if state.running.remove(&asker).is_some() {
                state.answers.push((asker, found));
                self.wake.wake();
            }
        }
    }
}

/// Asks the system: hosts file, name servers, whatever it is set up to use. It would also read numbers as addresses, which
/// nobody means by a name.
fn system_lookup(name: &str) -> Found {
    if ends_in_number(name) {
        return Err("it ends in a number and is no host name".to_owned());
    }
    let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    distinct(found.map(|address| address.ip()))
}

/// Each address once, in the order in which they came.
fn distinct(found: impl Iterator<Item = IpAddr>) -> Found {
    let mut known = HashSet::new();
    let addresses: Vec<IpAddr> = found.filter(|address| known.insert(*address)).take(ADDRESSES_MAX + 1).collect();
    match addresses.len() > ADDRESSES_MAX {
        true => Err(format!("it has more than {ADDRESSES_MAX} addresses: name those that are meant")),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;
    use crate::slot_map::SlotMap;

    #[derive(Debug)]
    struct Bell(SyncSender<()>);

    impl WakeUp for Bell {
        fn wake(&self) {
            let _ = self.0.try_send(());
        }
    }

    fn askers(count: usize) -> Vec<Asker> {
        let mut slot_map = SlotMap::default();
        let unit = slot_map.insert(());
        (0..count).map(|_| (unit, slot_map.insert(()))).collect()
    }

    fn resolver(timeout: Duration, lookup: Lookup) -> (Resolver, Receiver<()>) {
        let (bell, rung) = sync_channel(64);
        (Resolver::with_lookup(timeout, Arc::new(Bell(bell)), lookup), rung)
    }

    #[test]
    fn every_name_is_answered_for() {
        let (mut resolver, rung) = resolver(Duration::from_secs(60), |name| {
            if name == "none.example" { Err("no such name".to_owned()) } else { Ok(vec!["10.0.0.1".parse().unwrap()]) }
        });
        for (at, asker) in askers(50).into_iter().enumerate() {
            resolver.ask(asker, Arc::from(if at == 7 { "none.example" } else { "a.example" }));
        }
        let mut answers = Vec::new();
        while answers.len() < 50 {
            rung.recv_timeout(Duration::from_secs(10)).unwrap();
            answers.extend(resolver.take(clock::now()));
        }
        assert_eq!(answers.iter().filter(|(_, found)| found.is_err()).count(), 1);
        assert!(!resolver.is_busy());
    }

    #[test]
    fn a_lookup_that_never_ends_is_given_up_and_its_thread_replaced() {
        let (mut resolver, rung) = resolver(Duration::from_millis(10), |name| {
            if name == "stuck.example" {
                thread::park_timeout(Duration::from_secs(20));
            }
            Ok(Vec::new())
        });
        let askers = askers(THREADS + 1);
        for asker in &askers[..THREADS] {
            resolver.ask(*asker, Arc::from("stuck.example"));
        }
        resolver.ask(askers[THREADS], Arc::from("quick.example"));
        let mut answers: Vec<(Asker, Found)> = Vec::new();
        while answers.len() < THREADS + 1 {
            let _ = rung.recv_timeout(Duration::from_millis(20));
            answers.extend(resolver.take(clock::now()));
        }
        let (quick, stuck): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(asker, _)| *asker == askers[THREADS]);
        assert_eq!(quick[0].1, Ok(Vec::new()));
        assert!(stuck.iter().all(|(_, found)| found.is_err()));
    }

    #[test]
    fn the_system_knows_this_machine() {
        let found = system_lookup("localhost").unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty());
    }

    #[test]
    fn no_address_of_a_name_is_passed_over_unseen() {
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
        let of = |count| distinct((0..count).flat_map(|number| [address(number), address(0)]));
        assert_eq!(of(40).unwrap(), (0..40).map(address).collect::<Vec<_>>());
        assert!(of(1024).is_ok() && of(1025).unwrap_err().contains("more than 1024"));
    }

    #[test]
    fn a_number_is_not_handed_to_the_system_which_would_make_an_address_of_it() {
        for number in ["0x7f000001", "0X7F.1", "127.0.0.0x1", "2130706433", "0x7f000001."] {
            assert!(system_lookup(number).is_err(), "{number}");
        }
    }
}
