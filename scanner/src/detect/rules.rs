//! Which probes to send and what answers mean: our own rules, the user's recog directory, the user's service probes.
//!
//! [`RuleSet`] is the one [`Matcher`](super::Matcher) of the three. Our own rules are text files in
//! `scanner/fingerprints`, part of the program and read when first used. Precedence: what our own rules are certain of,
//! then what the user's service probes are, then recog, then whatever knows the service's name alone.

mod catalog;
mod cpe;
mod dialect;
mod dissect;
mod escape;
mod index;
mod kinds;
mod literal;
mod pattern;
mod set;
mod template;
mod text;

pub(crate) use self::cpe::cpe_2_3;
pub(crate) use self::dialect::Dialect;
pub(crate) use self::dissect::challenge;
#[cfg(fuzzing)]
pub use self::dissect::each_dissected;
pub(crate) use self::index::add;
pub(crate) use self::pattern::{Compiled, Flags, Pattern, PatternError, PatternSet};
pub use self::set::RuleSet;
pub(crate) use self::template::printable;
pub use self::text::RuleFileError;
