//! The edges: everything that touches sockets, names or the clock.
//!
//! `connect` drives connect scans over ordinary sockets, `raw` drives SYN scans over packet sockets, `udp` drives UDP
//! scans over datagram sockets. `start` is what they are started with, `engine_thread` how units come to their threads,
//! `reactor` the loop of those that use epoll, `delivery` how each hands over what it finds, `bell` how threads wake each
//! other, `resolve` looks up host names, `limits` knows how many sockets this process may open, `links` which hosts are
//! neighbours, `fake` is a network in virtual time for tests of the connect scan.

mod bell;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "io/cable_test.rs"]
mod cable;
pub(crate) mod clock;
pub(crate) mod connect;
pub(crate) mod delivery;
mod engine_thread;
pub mod fake;
pub(crate) mod limits;
mod links;
#[cfg(target_os = "linux")]
pub(crate) mod raw;
#[cfg(target_os = "linux")]
mod reach;
mod reactor;
mod resolve;
mod start;
#[cfg(target_os = "linux")]
pub(crate) mod udp;

pub use self::start::{EngineConfig, EngineError};
