//! A Pentora node: joins scanner, raft and p2p; API, workers, results, command line.

pub mod config;
pub mod document;
