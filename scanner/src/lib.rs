//! How to look at a network: targets, ports, probes, states, findings, reports.
//!
//! The way through: [`target::parse_targets`] and [`port::PortSet`] make a [`spec::ScanSpec`]; [`plan::Plan`] turns an
//! index of one of its partitions into a target; [`engine::Engine::scan`] takes a range of indexes and streams
//! [`finding::Finding`]s; [`report::Fold`] makes [`finding::HostRecord`]s of them, and a [`report::Writer`] renders those.
//!
//! Decisions are made in pure code: [`connect_scan`] is a scan without sockets or clock, and so are `syn_scan`,
//! its counterpart for the raw engine, and `udp_scan`. What may be sent at all, [`gate`] says. Only `io` touches the network.
//! Nothing here knows of jobs, leases or nodes.

mod authority;
pub mod connect_scan;
pub mod detect;
mod echo;
pub mod engine;
pub mod finding;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
mod identity;
pub mod io;
pub mod loss;
pub mod neighbours;
mod network;
pub mod nmap;
mod occupancy;
pub mod pace;
mod packed;
pub mod packet;
pub mod permute;
pub mod plan;
pub mod port;
pub mod recall;
mod recapture;
pub mod report;
pub mod rtt;
#[cfg(test)]
#[path = "sample_test.rs"]
mod sample;
pub mod scan;
pub mod scope;
pub mod slot_map;
pub mod spec;
mod syn_scan;
pub mod tally;
pub mod target;
mod udp_scan;
pub mod unit;
pub mod vendors;
pub mod vuln;
mod watermark;
