//! The documents of the HTTP API: what a client sends and what a node answers, as JSON.
//!
//! The server and the typed client share these types, so the two cannot drift apart. Field names are a promise to
//! scripts: fields may be added, none is renamed or removed within `/api/v1`. Requests refuse unknown fields, so that a
//! misspelt option is an error instead of a silently different scan; answers tolerate them, so that an older client
//! can talk to a newer node.
//!
//! Not in here: how a document is shown to a person (`cli`), and the hosts of a result stream, which are the lines of the
//! scanner's `jsonl` report.

mod access;
mod airgap;
mod audit;
mod capacity;
mod cluster;
mod drill;
mod event;
mod feed;
mod foreign;
mod job;
mod keep;
mod learned;
mod member;
mod page;
mod plan;
mod problem;
mod register;
mod rule;
mod scan;
mod schedule;
mod settings;
mod token;
mod unreadable;
mod words;

pub use crate::clock::duration_words;
pub use access::*;
pub use airgap::*;
pub use audit::*;
pub use capacity::*;
pub use cluster::*;
pub use drill::*;
pub use event::*;
pub use feed::*;
pub use job::*;
pub use keep::*;
pub use member::*;
pub use page::*;
pub use plan::*;
pub use problem::*;
pub use register::*;
pub use rule::*;
pub use scan::*;
pub use schedule::*;
pub use settings::*;
pub use token::*;
pub use unreadable::*;
