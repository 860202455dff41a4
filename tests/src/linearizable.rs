//! Whether a history of calls on one register is linearizable: some order of them, each within its own time, explains every
//! answer.
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993), with Lowe's memory of what was
//! tried ("Testing for linearizability", 2017). Two facts about registers keep it short: a read that fits may go first at
//! once, because it changes nothing; and a write of unknown outcome that nobody read need not have happened. Who makes the
//! calls, and what became of those that failed for certain (they are no part of a history), is not its business.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

/// Steps of a search before it gives up: some memory, and far more than a history takes in which few calls overlap.
const STEPS_MAX: usize = 200_000;
/// Calls that are shown of a history that nothing explains.
const SHOWN_MAX: usize = 8;

/// What a call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Wrote a value.
    Write(u64),
    /// Read one; nothing where none was there.
    Read(Option<u64>),
}

/// A call, in the time of one clock for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Who made it, for messages.
    pub client: usize,
    /// What it did.
    pub act: Act,
    /// When it was sent.
    pub began_ns: u64,
    /// When it was acknowledged; nothing where it never was: then it may have happened at any time since, or never.
    pub ended_ns: Option<u64>,
}

/// Why a history is not known to be linearizable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No order explains it.
    Broken {
        /// Calls in the longest order that was found.
        placed: usize,
        /// The register's value after them.
        value: Option<u64>,
        /// The first of the acknowledged calls that found no place behind them.
        stuck: Vec<Call>,
    },
    /// The search took too long.
    Undecided,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ns: u64| std::time::Duration::from_nanos(ns).as_secs_f64();
        match self.act {
            Act::Write(value) => write!(f, "client {} writes {value}", self.client)?,
            Act::Read(Some(value)) => write!(f, "client {} reads {value}", self.client)?,
            Act::Read(None) => write!(f, "client {} reads nothing", self.client)?,
        }
        match self.ended_ns {
            Some(ended) => write!(f, " ({:.6} to {:.6} s)", seconds(self.began_ns), seconds(ended)),
            None => write!(f, " (from {:.6} s, unknown)", seconds(self.began_ns)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Broken { placed, value, stuck } = self else {
            return write!(f, "undecided after {STEPS_MAX} steps");
        };
        write!(f, "{placed} calls fit; then the register holds {value:?}, and nothing explains:")?;
        stuck.iter().try_for_each(|call| write!(f, "\n  {call}"))
    }
}

/// Whether `calls` are linearizable on a register that held `initial`.
///
/// # Errors
/// Where they are not, or the search for an order takes too long.
pub fn check(initial: Option<u64>, calls: &[Call]) -> Result<(), Fault> {
    Search::new(initial, calls).run()
}

/// The order so far, and what was tried.
struct Search {
    /// By their beginning.
    calls: Vec<Call>,
    /// Which are in the order, as bits.
    placed: Vec<u64>,
    value: Option<u64>,
    seen: HashSet<(Vec<u64>, Option<u64>)>,
    /// The longest order without a way on: how long, what is in it, the value after it.
    deepest: (usize, Vec<u64>, Option<u64>),
}

/// A place in the order: what else could be there, and how to take back what is.
struct Place {
    /// What could come here and was not tried.
    others: Vec<usize>,
    call: usize,
    value_before: Option<u64>,
}

impl Search {
    fn new(initial: Option<u64>, calls: &[Call]) -> Self {
        let reads = calls.iter().filter_map(|call| match call.act {
            Act::Read(value) => value,
            Act::Write(_) => None,
        });
        let read: BTreeSet<u64> = reads.collect();
        let counts = |call: &&Call| match call.act {
            Act::Write(value) => call.ended_ns.is_some() || read.contains(&value),
            Act::Read(_) => call.ended_ns.is_some(),
        };
        let mut calls: Vec<Call> = calls.iter().filter(counts).copied().collect();
        calls.sort_by_key(|call| call.began_ns);
        let placed = vec![0; calls.len().div_ceil(64)];
        let deepest = (0, placed.clone(), initial);
        Self { calls, placed, value: initial, seen: HashSet::new(), deepest }
    }

    fn run(&mut self) -> Result<(), Fault> {
        let mut left = self.calls.iter().filter(|call| call.ended_ns.is_some()).count();
        let mut order: Vec<Place> = Vec::new();
        let mut candidates = self.candidates();
        while left > 0 {
            if let Some(call) = candidates.pop() {
                let value_before = self.value;
                if !self.place(call) {
                    continue;
                }
                if self.seen.len() > STEPS_MAX {
                    return Err(Fault::Undecided);
                }
                left -= usize::from(self.is_acknowledged(call));
                order.push(Place { others: candidates, call, value_before });
                candidates = self.candidates();
                continue;
            }
            if order.len() >= self.deepest.0 {
                self.deepest = (order.len(), self.placed.clone(), self.value);
            }
            let Some(Place { others, call, value_before }) = order.pop() else { return Err(self.broken()) };
            self.flip(call);
            self.value = value_before;
            left += usize::from(self.is_acknowledged(call));
            candidates = others;
        }
        Ok(())
    }

    fn is_acknowledged(&self, call: usize) -> bool {
        self.calls.get(call).is_some_and(|call| call.ended_ns.is_some())
    }

    fn is_placed(&self, call: usize) -> bool {
        self.placed.get(call / 64).is_some_and(|word| word >> (call % 64) & 1 == 1)
    }

    fn flip(&mut self, call: usize) {
        if let Some(word) = self.placed.get_mut(call / 64) {
            *word ^= 1 << (call % 64);
        }
    }

    /// Puts a call next; not where the same calls in another order came to the same value before.
    fn place(&mut self, call: usize) -> bool {
        let before = self.value;
        if let Some(Act::Write(value)) = self.calls.get(call).map(|call| call.act) {
            self.value = Some(value);
        }
        self.flip(call);
        let is_new = self.seen.insert((self.placed.clone(), self.value));
        if !is_new {
            self.flip(call);
            self.value = before;
        }
        is_new
    }

    /// What may come next, the likeliest last: a read that fits, alone; else the writes, those that were acknowledged first last.
    fn candidates(&self) -> Vec<usize> {
        let mut first_end = u64::MAX;
        let mut open = Vec::new();
        for (at, call) in self.calls.iter().enumerate().filter(|(at, _)| !self.is_placed(*at)) {
            if call.began_ns > first_end {
                break;
            }
            first_end = first_end.min(call.ended_ns.unwrap_or(u64::MAX));
            open.push((at, call));
        }
        open.retain(|(_, call)| call.began_ns <= first_end);
        if let Some((read, _)) = open.iter().find(|(_, call)| call.act == Act::Read(self.value)) {
            return vec![*read];
        }
        open.retain(|(_, call)| matches!(call.act, Act::Write(_)));
        open.sort_by_key(|(_, call)| std::cmp::Reverse(call.ended_ns.unwrap_or(u64::MAX)));
        open.into_iter().map(|(at, _)| at).collect()
    }

    fn broken(&self) -> Fault {
        let (placed, bits, value) = &self.deepest;
        let is_in = |at: usize| bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1);
        let out = self.calls.iter().enumerate().filter(|(at, call)| !is_in(*at) && call.ended_ns.is_some());
        let mut stuck: Vec<Call> = out.map(|(_, call)| *call).collect();
        stuck.sort_by_key(|call| call.ended_ns);
        stuck.truncate(SHOWN_MAX);
        Fault::Broken { placed: *placed, value: *value, stuck }
    }
}

#[cfg(test)]
#[path = "linearizable/linearizable_test.rs"]
mod tests;
