//! A Pentora node: joins scanner, raft and p2p; API, workers, results, command line.

pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod document;
