//! Patterns over bytes, found by their literals and compiled when first needed.
//!
//! A corpus of ten thousand patterns takes hundreds of megabytes compiled, and an inventory needs a few dozen of them.
//! So a [`PatternSet`] keeps sources and one automaton over required literals, and [`Compiled`] a bounded number of
//! compiled ones.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::dialect::{Dialect, refused, rewrite};
use super::literal::required;

/// Most bytes of a pattern's source; recog's longest is below 4 KiB.
pub(crate) const PATTERN_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of one compiled pattern: counted repetitions multiply.
const COMPILED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of the lazy automaton that matching one pattern builds on the way.
const AUTOMATON_BYTES_MAX: usize = 192 * 1024;
/// How deep parentheses may nest.
const NEST_MAX: u32 = 100;
/// What a pattern surely compiles with: for others that is tried at once, so that they are not left out in silence.
const WEIGHT_MAX: u64 = 10_000;

/// How a pattern is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Whose syntax it is.
    pub(crate) dialect: Dialect,
    /// Letters match regardless of case.
    pub(crate) is_caseless: bool,
    /// The dot matches a newline.
    pub(crate) is_dot_newline: bool,
    /// `^` and `$` match at lines.
    pub(crate) is_multi_line: bool,
}

impl Flags {
    /// The flags of our own rules: dialect and all as the `regex` crate has them by default.
    pub(crate) const NATIVE: Self =
        Self { dialect: Dialect::Native, is_caseless: false, is_dot_newline: false, is_multi_line: false };
}

/// A pattern's source, checked.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    source: Box<str>,
    flags: Flags,
    is_unicode: bool,
    literals: Option<Vec<Vec<u8>>>,
    groups: usize,
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    /// It is longer than any real one.
    #[error("pattern of {0} bytes, at most {PATTERN_BYTES_MAX} are read")]
    TooLong(usize),
    /// It is malformed, or needs look-around or references.
    #[error("{0}")]
    Syntax(String),
    /// Its counted repetitions multiply.
    #[error("its repetitions come to more than a pattern may take")]
    TooLarge,
}

impl Pattern {
    /// Checks a pattern. Bytes are matched as bytes; only where a class names characters above ASCII, as UTF-8.
    pub(crate) fn new(source: &[u8], flags: Flags) -> Result<Self, PatternError> {
        if source.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong(source.len()));
        }
        let original = source;
        let source = rewrite(source, flags.dialect);
        let parse = |is_unicode| {
            ParserBuilder::new()
                .nest_limit(NEST_MAX)
                .utf8(false)
                .unicode(is_unicode)
                .case_insensitive(flags.is_caseless)
                .dot_matches_new_line(flags.is_dot_newline)
                .multi_line(flags.is_multi_line)
                .build()
                .parse(&source)
                .map_err(|error| last_line(&error.to_string()))
        };
        let (hir, is_unicode) = match parse(false) {
            Ok(hir) => (hir, false),
            Err(error) => match parse(true) {
                Ok(hir) => (hir, true),
                Err(_) => return Err(PatternError::Syntax(refused(original, flags.dialect).unwrap_or(error))),
            },
        };
        let groups = hir.properties().explicit_captures_len();
        let is_heavy = weight(&hir) > WEIGHT_MAX;
        let pattern = Self { literals: required(&hir), source: source.into_boxed_str(), flags, is_unicode, groups };
        if is_heavy && pattern.compile().is_none() { Err(PatternError::TooLarge) } else { Ok(pattern) }
    }

    /// How many capture groups it has.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// Compiles it; `None` when it would be too large.
    pub(crate) fn compile(&self) -> Option<Regex> {
        RegexBuilder::new(&self.source)
            .unicode(self.is_unicode)
            .case_insensitive(self.flags.is_caseless)
            .dot_matches_new_line(self.flags.is_dot_newline)
            .multi_line(self.flags.is_multi_line)
            .nest_limit(NEST_MAX)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(AUTOMATON_BYTES_MAX)
            .build()
            .ok()
    }
}

/// How many states a pattern comes to at least, about.
fn weight(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(Class::Bytes(_)) => 1,
        // Of characters above ASCII each is a few bytes in many ways.
        HirKind::Class(Class::Unicode(class)) => class.ranges().len() as u64,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            weight(&repetition.sub).saturating_mul(times.into())
        }
        HirKind::Capture(capture) => weight(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(weight).fold(0, u64::saturating_add),
    }
}

/// The errors of the parser draw the pattern in several lines; the last one says what is wrong.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
}

/// Many patterns, asked together.
pub(crate) struct PatternSet {
    patterns: Vec<Pattern>,
    literals: Option<AhoCorasick>,
    /// Pattern of each literal, by the automaton's number.
    owners: Vec<u32>,
    /// Patterns without literals: always asked.
    always: Vec<u32>,
    compiled: Arc<Compiled>,
    /// This set's number among those that share `compiled`.
    number: u32,
}

/// Compiled patterns, bounded in number, shared by the sets of one corpus.
#[derive(Debug)]
pub(crate) struct Compiled {
    kept_max: usize,
    sets: AtomicU32,
    recent: Mutex<Recent>,
}

/// What is compiled, by set and pattern, and when it was last used.
#[derive(Debug, Default)]
struct Recent {
    kept: HashMap<(u32, u32), Kept>,
    uses: u64,
}

impl Compiled {
    /// Room for so many compiled patterns: 50 to 100 KiB each once they have been used.
    pub(crate) fn new(kept_max: usize) -> Arc<Self> {
        Arc::new(Self { kept_max, sets: AtomicU32::new(0), recent: Mutex::default() })
    }

    fn get(&self, key: (u32, u32), compile: impl FnOnce() -> Option<Regex>) -> Option<Arc<Regex>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let Recent { kept, uses } = &mut *recent;
        *uses += 1;
        if let Some(known) = kept.get_mut(&key) {
            known.used = *uses;
            return known.regex.clone();
        }
        if kept.len() >= self.kept_max {
            let mut times: Vec<u64> = kept.values().map(|known| known.used).collect();
            times.sort_unstable();
            let oldest = times.get(self.kept_max / 4).copied().unwrap_or(0);
            kept.retain(|_, known| known.used > oldest);
        }
        let regex = compile().map(Arc::new);
        kept.insert(key, Kept { regex: regex.clone(), used: *uses });
        regex
    }
}

#[derive(Debug)]
struct Kept {
    /// `None` for a pattern that is too large to compile.
    regex: Option<Arc<Regex>>,
    used: u64,
}

impl PatternSet {
    /// Takes patterns in; their numbers are their positions.
    pub(crate) fn new(mut patterns: Vec<Pattern>, compiled: &Arc<Compiled>) -> Self {
        let (mut words, mut owners, mut always) = (Vec::new(), Vec::new(), Vec::new());
        for (number, pattern) in (0u32..).zip(&mut patterns) {
            match pattern.literals.take() {
                Some(literals) => {
                    owners.extend(literals.iter().map(|_| number));
                    words.extend(literals);
                }
                None => always.push(number),
            }
        }
        let literals = (!words.is_empty()).then(|| {
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(&words)
                .expect("literals are few and short")
        });
        let number_of_set = compiled.sets.fetch_add(1, Ordering::Relaxed);
        Self { patterns, literals, owners, always, compiled: compiled.clone(), number: number_of_set }
    }

    /// How many patterns there are.
    pub(crate) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Numbers of the patterns that may match, ascending.
    pub(crate) fn candidates(&self, text: &[u8]) -> Vec<u32> {
        let mut found = self.always.clone();
        if let Some(literals) = &self.literals {
            let mut seen = vec![false; self.patterns.len()];
            for hit in literals.find_overlapping_iter(text) {
                let Some(owner) = self.owners.get(hit.pattern().as_usize()) else { continue };
                if let Some(seen) = seen.get_mut(*owner as usize)
                    && !std::mem::replace(seen, true)
                {
                    found.push(*owner);
                }
            }
            found.sort_unstable();
        }
        found
    }

    /// A pattern, compiled; `None` when it is too large.
    pub(crate) fn regex(&self, number: u32) -> Option<Arc<Regex>> {
        let pattern = self.patterns.get(number as usize)?;
        self.compiled.get((self.number, number), || pattern.compile())
    }
}

impl fmt::Debug for PatternSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatternSet")
            .field("patterns", &self.len())
            .field("always", &self.always.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(sources: &[&str], compiled: &Arc<Compiled>) -> PatternSet {
        let pattern = |source: &&str| Pattern::new(source.as_bytes(), Flags::NATIVE).unwrap();
        PatternSet::new(sources.iter().map(pattern).collect(), compiled)
    }

    #[test]
    fn candidates_are_those_whose_literals_are_there_and_those_without() {
        let set = set(&["^nginx/", "(?i)apache", "^[0-9]+$", "lighttpd"], &Compiled::new(8));
        assert_eq!(set.candidates(b"Server: APACHE and nginx/1"), [0, 1, 2]);
        assert_eq!(set.candidates(b""), [2]);
    }

    #[test]
    fn no_more_patterns_stay_compiled_than_there_is_room_for() {
        let compiled = Compiled::new(4);
        let sets = [set(&["aa", "bb", "cc"], &compiled), set(&["dd", "ee", "ff"], &compiled)];
        for _ in 0..3 {
            for set in &sets {
                for number in 0..3 {
                    assert!(set.regex(number).is_some());
                    assert!(compiled.recent.lock().unwrap().kept.len() <= 4);
                }
            }
        }
        assert!(sets[0].regex(0).unwrap().is_match(b"aa") && sets[1].regex(0).unwrap().is_match(b"dd"));
    }

    #[test]
    fn a_pattern_that_would_take_too_much_is_refused_or_left_out() {
        assert!(matches!(Pattern::new(&[b'a'; PATTERN_BYTES_MAX + 1], Flags::NATIVE), Err(PatternError::TooLong(_))));
        assert!(matches!(Pattern::new("(".repeat(200).as_bytes(), Flags::NATIVE), Err(PatternError::Syntax(_))));
        let heavy = |source: &str| Pattern::new(source.as_bytes(), Flags::NATIVE).map(|_| ());
        assert_eq!(heavy("(?:(?:a{1000}){1000}){1000}"), Err(PatternError::TooLarge));
        assert_eq!(heavy("(?:a{1000}){1000}b{9999}"), Err(PatternError::TooLarge));
        assert_eq!(heavy("^a{1,1000}(?:bc){500,}"), Ok(()));
    }

    #[test]
    fn bytes_are_matched_as_bytes() {
        let set = set(&[r"^\x00\xff(.)$"], &Compiled::new(1));
        assert!(set.regex(0).unwrap().is_match(b"\x00\xff\x80"));
    }
}
