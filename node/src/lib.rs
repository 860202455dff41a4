//! A Pentora node: joins scanner, raft and p2p; API, workers, results, command line.

pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod data_dir;
pub mod dispatch;
pub mod document;
pub mod durable_file;
pub mod embedded;
pub mod exclusions;
pub mod failure;
pub mod feeds;
pub mod jobs;
pub mod join;
mod malloc;
pub mod member_address;
pub mod raft_transport;
pub mod results;
pub mod rpc;
pub mod spec;
pub mod work_protocol;
pub mod worker;
