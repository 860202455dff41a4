//! One fingerprint: what its parameters become once its pattern has matched.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::bytes::Captures;

/// The name that a file's `protocol` gets where a fingerprint does not set it.
const PROTOCOL: &str = "service.protocol";
/// Parameters whose names begin so are for interpolation only.
const TEMPORARY: &str = "_tmp.";

/// Longest value that parameters are put together to; recog's longest has about 100 bytes. Each may name those before it
/// twice, so that without a bound thirty of them make a gigabyte of one byte.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// What a fingerprint says.
#[derive(Debug, Clone)]
pub(super) struct Fingerprint {
    pub(super) params: Box<[Param]>,
    /// The file's protocol.
    pub(super) protocol: Option<Arc<str>>,
}

/// A parameter: a capture (`pos` above 0) or a fixed value (`pos` 0).
#[derive(Debug, Clone)]
pub(super) enum Param {
    /// The capture of that number.
    Capture(Arc<str>, usize),
    /// A value, which may name other parameters in braces.
    Value(Arc<str>, Arc<str>),
}

impl Fingerprint {
    /// The parameters for a match.
    ///
    /// `{name}` in a fixed value becomes that parameter's value. In a CPE, a parameter that has none becomes `-`: a
    /// version may be optional in a pattern. Elsewhere a value that cannot be completed is left out, and so is one that
    /// comes out longer than any real one.
    pub(super) fn fill(&self, captures: &Captures<'_>) -> BTreeMap<String, String> {
        let mut filled = BTreeMap::new();
        for param in &self.params {
            match param {
                Param::Capture(name, group) => {
                    if let Some(captured) = captures.get(*group) {
                        filled.insert(name.to_string(), String::from_utf8_lossy(captured.as_bytes()).into_owned());
                    }
                }
                Param::Value(name, value) => {
                    filled.insert(name.to_string(), value.to_string());
                }
            }
        }
        if let Some(protocol) = &self.protocol {
            filled.entry(PROTOCOL.to_owned()).or_insert_with(|| protocol.to_string());
        }
        let values = self.params.iter().filter_map(|param| match param {
            Param::Value(name, value) if value.contains('{') => Some((name, value)),
            _ => None,
        });
        for (name, value) in values {
            match interpolate(name, value, &filled) {
                Some(value) => filled.insert(name.to_string(), value),
                None => filled.remove(&**name),
            };
        }
        filled.retain(|name, _| !name.starts_with(TEMPORARY));
        filled
    }
}

fn interpolate(name: &str, value: &str, known: &BTreeMap<String, String>) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, from)) = rest.split_once('{') {
        if out.len() > VALUE_BYTES_MAX {
            return None;
        }
        out.push_str(before);
        let Some((inner, after)) = from.split_once('}') else {
            out.push('{');
            rest = from;
            continue;
        };
        if inner.is_empty() || inner.contains(|c: char| c.is_whitespace() || c == '{') {
            out.push('{');
            rest = from;
            continue;
        }
        match known.get(inner) {
            Some(word) => out.push_str(word),
            None if name.ends_with(".cpe23") => out.push('-'),
            None => return None,
        }
        rest = after;
    }
    out.push_str(rest);
    (out.len() <= VALUE_BYTES_MAX).then_some(out)
}
