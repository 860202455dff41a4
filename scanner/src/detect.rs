//! What answers behind an open port: probes, answers, and what rules make of them.

mod matcher;

pub use self::matcher::{ANSWER_BYTES_MAX, Answer, Match, Matcher, ProbeId, ProbeRef};
