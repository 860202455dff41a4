//! What answers behind an open port: probes, answers, and what rules make of them.

mod matcher;
mod nmap_probes;
mod recog;
mod rules;

pub use self::matcher::{ANSWER_BYTES_MAX, Answer, Match, Matcher, ProbeId, ProbeRef};
pub use self::nmap_probes::{ServiceProbes, ServiceProbesError};
pub use self::recog::{Checked, Recog, RecogError, Skipped, check_examples};
pub use self::rules::{RuleFileError, RuleSet};
