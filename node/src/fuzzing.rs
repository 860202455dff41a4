//! What nodes say to each other, private to this crate in part, for the fuzz targets, which are crates of their own.
//!
//! Compiled only with `--cfg fuzzing`, which cargo-fuzz sets: nobody else sees more of the crate than it shows.

use pentora_raft::codec::{self, Kind, VERSION};
use pentora_raft::view::ViewFrame;
use pentora_scanner::finding::HostRecord;
use pentora_scanner::spec::ScanSpec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data_dir::NodeIdentity;
use crate::gateway::{Down, Up, ViewHello};
use crate::join::{Question, Reply};
use crate::results::Heading;
use crate::rpc::calls::{Answer, Request};
use crate::sign_in::{Fault, KeySet, Person, Provider, look};
use crate::work_protocol::{LeaderFrame, WorkerFrame};

/// Reads fields as one kind of message, and writes it again; `None` where it is refused.
pub type WrittenAgain = fn(&[u8]) -> Option<Vec<u8>>;

/// Every kind of message between two nodes, and what they keep in the same form, by its name. The fields stand behind the version
/// byte and the kind byte.
pub const MESSAGES: [(&str, WrittenAgain); 14] = [
    ("request", |fields| again::<Request>(Kind::CallFrame, fields)),
    ("answer", |fields| again::<Answer>(Kind::CallFrame, fields)),
    ("question", |fields| again::<Question>(Kind::CallFrame, fields)),
    ("reply", |fields| again::<Reply>(Kind::CallFrame, fields)),
    ("view-hello", |fields| again::<ViewHello>(Kind::CallFrame, fields)),
    ("view", |fields| again::<ViewFrame>(Kind::CallFrame, fields)),
    ("worker", |fields| again::<WorkerFrame>(Kind::WorkFrame, fields)),
    ("leader", |fields| again::<LeaderFrame>(Kind::WorkFrame, fields)),
    ("up", |fields| again::<Vec<(u64, Up)>>(Kind::WorkFrame, fields)),
    ("down", |fields| again::<Vec<(u64, Down)>>(Kind::WorkFrame, fields)),
    ("identity", |fields| again::<NodeIdentity>(Kind::Identity, fields)),
    ("spec", |fields| again::<ScanSpec>(Kind::Spec, fields)),
    ("heading", |fields| again::<Heading>(Kind::Chunk, fields)),
    ("host", |fields| again::<HostRecord>(Kind::Host, fields)),
];

fn again<T: Serialize + DeserializeOwned>(kind: Kind, fields: &[u8]) -> Option<Vec<u8>> {
    let bytes = [&[VERSION, kind as u8], fields].concat();
    let value: T = codec::decode(kind, &bytes).ok()?;
    Some(codec::encode(kind, &value).split_off(2))
}

/// Whom a JWT lets in, by a provider with these keys.
///
/// # Errors
/// Why it lets nobody in.
pub fn person(provider: &Provider, keys: &KeySet, jwt: &str, now_ms: u64) -> Result<Person, Fault> {
    provider.read(keys, &look(jwt)?, now_ms)
}
