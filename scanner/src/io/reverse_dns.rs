//! Asks the system what addresses are called, on threads of its own: hosts file, name servers, whatever it is set up to use.
//!
//! `getnameinfo` blocks and cannot be stopped, so answers are waited for elsewhere. Answers are remembered for a while. Name
//! servers that do not answer are left alone for a minute, so that they cost a scan seconds once and not for each host.
#![expect(unsafe_code, reason = "getnameinfo has no safe form; the block says why it is sound")]

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::SockAddr;
use tokio::sync::oneshot;

use super::clock;

/// Questions at once: what a name server takes from one client without complaint.
const THREADS: usize = 16;
/// Questions that may wait; hosts beyond are not asked about.
const WAITING_MAX: usize = 4096;
/// Answers that are remembered, and for how long.
const REMEMBERED_MAX: usize = 65_536;
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// So many questions in a row that no name server answered, and they are taken for silent.
const UNANSWERED_MAX: u32 = 16;
/// For how long they are left alone then.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// Room for a name (netdb.h, `NI_MAXHOST`).
const NAME_BYTES: usize = 1025;

/// What an address is called.
pub(crate) type Name = Option<Arc<str>>;
/// A look-up, so that tests need no name server.
pub(crate) type Lookup = fn(IpAddr) -> Result<Option<String>, NoAnswer>;

/// No name server answered, or none could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoAnswer;

/// The system's resolver, asked backwards.
#[derive(Debug)]
pub(crate) struct ReverseDns {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    lookup: Lookup,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(IpAddr, oneshot::Sender<Name>)>,
    threads: usize,
    idle: usize,
    known: HashMap<IpAddr, (Duration, Name)>,
    unanswered: u32,
    silent_until: Duration,
    stopped: bool,
}

impl Default for ReverseDns {
    fn default() -> Self {
        Self::with_lookup(system_lookup)
    }
}

impl ReverseDns {
    /// One that asks this function.
    pub(crate) fn with_lookup(lookup: Lookup) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), lookup }) }
    }

    /// Asks what an address is called. `None` where nobody is asked: name servers know nothing of this machine and of links,
    /// were silent lately, or have more questions than they may have. An answer that never comes is dropped.
    pub(crate) fn ask(&self, address: IpAddr) -> Option<oneshot::Receiver<Name>> {
        if !is_asked(address) {
            return None;
        }
        let mut state = self.shared.state();
        let now = clock::now();
        let (answer, answered) = oneshot::channel();
        if let Some((_, name)) = state.known.get(&address).filter(|(at, _)| now < *at + REMEMBERED_FOR) {
            // The receiver is here.
            let _ = answer.send(name.clone());
            return Some(answered);
        }
        if now < state.silent_until || state.queue.len() >= WAITING_MAX {
            return None;
        }
        state.queue.push_back((address, answer));
        let is_short = state.idle < state.queue.len() && state.threads < THREADS;
        if is_short {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("pentora-reverse".to_owned()).stack_size(256 * 1024);
            state.threads += usize::from(thread.spawn(move || shared.work()).is_ok());
        }
        drop(state);
        self.shared.work.notify_one();
        Some(answered)
    }

    /// Whoever waited for answers has had none for a while: the name servers are left alone.
    pub(crate) fn was_silent(&self) {
        let mut state = self.shared.state();
        state.leave_alone();
    }
}

impl Drop for ReverseDns {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.work.notify_all();
    }
}

impl State {
    fn leave_alone(&mut self) {
        self.silent_until = clock::now() + SILENT_FOR;
        self.unanswered = 0;
        self.queue.clear();
    }

    fn remember(&mut self, address: IpAddr, name: &Name) {
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(address, (clock::now(), name.clone()));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that died between two moves left lists.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.state();
        while !state.stopped {
            let Some((address, answer)) = state.queue.pop_front() else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            if answer.is_closed() {
                continue;
            }
            drop(state);
            let found = (self.lookup)(address);
            state = self.state();
            let name: Name = match found {
                Ok(name) => {
                    let name = name.map(Arc::from);
                    state.unanswered = 0;
                    state.remember(address, &name);
                    name
                }
                Err(NoAnswer) => {
                    state.unanswered += 1;
                    if state.unanswered >= UNANSWERED_MAX {
                        state.leave_alone();
                    }
                    None
                }
            };
            // Nobody may be waiting any more.
            let _ = answer.send(name);
        }
    }
}

/// Whether name servers can know an address: they do not know this machine's own, nor those of one link.
fn is_asked(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_loopback() || address.is_link_local() || address.is_unspecified() || address.is_broadcast())
        }
        IpAddr::V6(address) => !(address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified()),
    }
}

/// The name that the system has for an address, if it is one.
fn system_lookup(address: IpAddr) -> Result<Option<String>, NoAnswer> {
    let of = SockAddr::from(SocketAddr::new(address, 0));
    let mut name = [0_u8; NAME_BYTES];
    let room = libc::socklen_t::try_from(NAME_BYTES).map_err(|_too_long| NoAnswer)?;
    // SAFETY: the address is a valid socket address of the length given with it; the name's buffer is as long as is said and
    // outlives the call, which writes nothing beyond it; no service is asked for.
    let code = unsafe {
        libc::getnameinfo(
            of.as_ptr().cast(),
            of.len(),
            name.as_mut_ptr().cast(),
            room,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    match code {
        0 => {}
        libc::EAI_NONAME => return Ok(None),
        _ => return Err(NoAnswer),
    }
    let name = CStr::from_bytes_until_nul(&name).ok().and_then(|name| name.to_str().ok()).unwrap_or_default();
    let name = name.trim_end_matches('.');
    let is_name = !name.is_empty() && name.len() <= 253 && name.bytes().all(|byte| byte.is_ascii_graphic());
    Ok((is_name && name.parse::<IpAddr>().is_err()).then(|| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 9, 9, last])
    }

    #[test]
    fn an_answer_is_remembered_with_or_without_a_name() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let dns = ReverseDns::with_lookup(|address| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Ok((address == IpAddr::from([10, 9, 9, 1])).then(|| "a.example".to_owned()))
        });
        for _ in 0..3 {
            let named = dns.ask(address(1)).unwrap().blocking_recv().unwrap();
            let unnamed = dns.ask(address(2)).unwrap().blocking_recv().unwrap();
            assert_eq!((named.as_deref(), unnamed), (Some("a.example"), None));
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn nobody_is_asked_about_this_machine_or_its_links() {
        let dns = ReverseDns::with_lookup(|_| Ok(Some("a.example".to_owned())));
        for text in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0", "255.255.255.255"] {
            assert!(dns.ask(text.parse().unwrap()).is_none(), "{text}");
        }
        assert!(dns.ask("fd00::1".parse().unwrap()).is_some());
    }

    #[test]
    fn silent_name_servers_are_left_alone_and_who_waits_is_told() {
        let dns = ReverseDns::with_lookup(|_| {
            thread::park_timeout(Duration::from_secs(5));
            Err(NoAnswer)
        });
        let waiting: Vec<_> = (0..40).filter_map(|last| dns.ask(address(last))).collect();
        assert_eq!(waiting.len(), 40);
        dns.was_silent();
        assert!(dns.ask(address(99)).is_none());
        let told = waiting.into_iter().filter_map(|mut answer| answer.try_recv().err());
        let told = told.filter(|error| *error == oneshot::error::TryRecvError::Closed).count();
        assert!(told >= 40 - THREADS, "{told} of those that were not asked yet are told at once");
    }

    #[test]
    fn name_servers_that_cannot_be_asked_cost_a_handful_of_questions() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let dns = ReverseDns::with_lookup(|_| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Err(NoAnswer)
        });
        let told =
            (0..200).filter_map(|last| dns.ask(address(last))).map(|answer| answer.blocking_recv().ok().flatten());
        assert!(told.flatten().next().is_none());
        assert!(ASKED.load(Ordering::Relaxed) <= UNANSWERED_MAX, "{ASKED:?}");
    }

    #[test]
    fn more_questions_than_may_wait_are_not_asked() {
        let dns = ReverseDns::with_lookup(|_| {
            thread::park_timeout(Duration::from_secs(5));
            Err(NoAnswer)
        });
        let addresses = (0..u32::try_from(WAITING_MAX + 2 * THREADS).unwrap())
            .map(|number| std::net::Ipv4Addr::from_bits(0x0a09_0000 + number).into());
        let asked: Vec<_> = addresses.filter_map(|address| dns.ask(address)).collect();
        assert!((WAITING_MAX..=WAITING_MAX + THREADS).contains(&asked.len()), "{}", asked.len());
    }
}
