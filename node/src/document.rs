//! The documents of the HTTP API: what a client sends and what a node answers, as JSON.
//!
//! The server and the typed client share these types, so the two cannot drift apart. Field names are a promise to
//! scripts: fields may be added, none is renamed or removed within `/api/v1`. Requests refuse unknown fields, so that a
//! misspelt option is an error instead of a silently different scan; answers tolerate them, so that an older client
//! can talk to a newer node.
//!
//! Not in here: how a document is shown to a person (`cli`), and the lines of a result stream, which are the host
//! records of the scanner's `jsonl` report.

mod cluster;
mod feed;
mod job;
mod page;
mod problem;
mod scan;
mod text;
mod token;
mod words;

pub use cluster::*;
pub use feed::*;
pub use job::*;
pub use page::*;
pub use problem::*;
pub use scan::*;
pub use text::*;
pub use token::*;
