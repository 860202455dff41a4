//! One exchange of a check: bytes to send, and what the answer must and must not be. Pure.

use std::collections::BTreeMap;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::answer;
use crate::echo::is_echo;
use crate::finding::plain_text;

/// A folder that no server has.
const NOWHERE: &str = "/pentora-not-there";
/// Most bytes that a regular expression may compile to.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// What is sent, and what is expected then.
#[derive(Debug, Clone)]
pub struct Exchange {
    send: Vec<u8>,
    /// The same question where nothing is, if the answer must be another one there.
    elsewhere: Option<Vec<u8>>,
    is_http: bool,
    /// Whether a server says the same, as the handshake of Java's debugger has it.
    is_symmetric: bool,
    expect: Option<Regex>,
    reject: Option<Regex>,
}

/// An exchange as it is written in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepText {
    #[serde(default)]
    send: String,
    /// A path: sends a whole HTTP request for it.
    get: Option<String>,
    /// Whether the same answer for a path that nobody has is no: a server may answer every path alike.
    #[serde(default)]
    only_there: bool,
    expect: Option<String>,
    reject: Option<String>,
}

impl Exchange {
    pub(super) fn of(text: StepText) -> Result<Self, String> {
        let send = match &text.get {
            Some(_) if !text.send.is_empty() => return Err("`send` and `get` exclude each other".to_owned()),
            Some(path) => get(path),
            None => unescape(&text.send)?,
        };
        let elsewhere = match &text.get {
            Some(path) if text.only_there => Some(get(&format!("{NOWHERE}{path}"))),
            None if text.only_there => return Err("`only_there` needs `get`".to_owned()),
            _ => None,
        };
        if send.is_empty() && text.expect.is_none() {
            return Err("a step sends or expects something".to_owned());
        }
        let regex = |text: Option<String>| {
            let built = text.map(|text| RegexBuilder::new(&text).unicode(false).size_limit(REGEX_BYTES_MAX).build());
            built.transpose().map_err(|error| error.to_string())
        };
        let is_http = text.get.is_some();
        Ok(Self {
            send,
            elsewhere,
            is_http,
            is_symmetric: false,
            expect: regex(text.expect)?,
            reject: regex(text.reject)?,
        })
    }

    /// The same exchange for a path that nobody has, where the answer must be another one.
    #[must_use]
    pub fn elsewhere(&self) -> Option<Self> {
        let send = self.elsewhere.clone()?;
        Some(Self { send, elsewhere: None, ..self.clone() })
    }

    /// The bytes to send to `host`.
    #[must_use]
    pub fn request(&self, host: &str) -> Vec<u8> {
        let mark = b"{host}";
        match self.send.windows(mark.len()).position(|window| window == mark) {
            None => self.send.clone(),
            Some(at) => {
                let (before, after) = self.send.split_at(at);
                [before, host.as_bytes(), after.get(mark.len()..).unwrap_or_default()].concat()
            }
        }
    }

    /// Takes note of what servers answer to it.
    pub(super) fn is_answered_by<'a>(&mut self, mut answers: impl Iterator<Item = &'a Vec<u8>>) {
        self.is_symmetric = answers.any(|answer| *answer == self.send);
    }

    /// Whether `answer` is only `request` that has come back.
    #[must_use]
    pub fn is_echo(&self, request: &[u8], answer: &[u8]) -> bool {
        !self.is_symmetric && is_echo(request, answer)
    }

    /// Whether an answer is waited for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.expect.is_some()
    }

    /// Whether `answer` is what is expected; what it captures by name goes into `captures`, printable.
    pub fn accepts(&self, answer: &[u8], captures: &mut BTreeMap<String, String>) -> bool {
        let Some(expect) = &self.expect else { return true };
        let answer = if self.is_http { answer::of_http(answer) } else { answer.into() };
        let Some(found) = expect.captures(&answer) else { return false };
        if self.reject.as_ref().is_some_and(|reject| reject.is_match(&answer)) {
            return false;
        }
        for name in expect.capture_names().flatten() {
            let text = found.name(name).map(|value| text_of(value.as_bytes()));
            captures.extend(text.filter(|text| !text.trim().is_empty()).map(|text| (name.to_owned(), text)));
        }
        true
    }
}

/// What was captured as text for people: UTF-8, of which the last character may be cut, or else one character per byte.
fn text_of(bytes: &[u8]) -> String {
    let is_utf_8 = match str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    let text = match is_utf_8 {
        true => String::from_utf8_lossy(bytes).trim_end_matches('\u{fffd}').to_owned(),
        false => bytes.iter().copied().map(char::from).collect(),
    };
    plain_text(text.trim()).into_owned()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {{host}}\r\nUser-Agent: Pentora\r\nAccept: */*\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// Bytes from text with `\r`, `\n`, `\t`, `\0`, `\\` and `\xNN`.
///
/// # Errors
/// Says which escape is none.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let escaped = match rest.next() {
            Some(b'r') => Some(b'\r'),
            Some(b'n') => Some(b'\n'),
            Some(b't') => Some(b'\t'),
            Some(b'0') => Some(0),
            Some(b'\\') => Some(b'\\'),
            Some(b'x') => {
                let digits = [rest.next(), rest.next()].into_iter().flatten().map(char::from).collect::<String>();
                u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2)
            }
            _ => None,
        };
        bytes.push(escaped.ok_or_else(|| format!("`{text}` has an escape that is none"))?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes_and_anything_else_is_refused() {
        assert_eq!(unescape(r"a\r\n\0\\\xff\t").unwrap(), b"a\r\n\0\\\xff\t");
        for text in [r"\q", r"\x1", r"\xzz", "\\"] {
            unescape(text).unwrap_err();
        }
    }

    #[test]
    fn a_request_names_the_host_and_an_answer_gives_its_captures() {
        let step = |get: Option<&str>, expect: &str, reject: Option<&str>| {
            Exchange::of(StepText {
                send: String::new(),
                get: get.map(str::to_owned),
                only_there: false,
                expect: Some(expect.to_owned()),
                reject: reject.map(str::to_owned),
            })
            .unwrap()
        };
        let get = step(Some("/x"), r"version: (?P<version>.+)\r", Some("denied"));
        assert!(get.request("10.0.0.1").starts_with(b"GET /x HTTP/1.1\r\nHost: 10.0.0.1\r\n"));
        let mut captures = BTreeMap::new();
        assert!(get.accepts(b"version: 1\x1b\r", &mut captures));
        assert_eq!(captures["version"], "1\u{fffd}");
        assert!(!get.accepts(b"version: 1\rdenied", &mut captures) && !get.accepts(b"", &mut captures));
    }

    #[test]
    fn what_is_captured_stays_text_beyond_ascii() {
        for (bytes, text) in [
            ("Ger\u{e4}t 7".as_bytes(), "Ger\u{e4}t 7"),
            (&b"Ger\xe4t 7"[..], "Ger\u{e4}t 7"),
            (&b"Ger\xc3"[..], "Ger"),
            (&b"Ger\xc3\xa4t \xc3"[..], "Ger\u{e4}t"),
            (&b" a\x07b "[..], "a\u{fffd}b"),
        ] {
            assert_eq!(text_of(bytes), text);
        }
    }

    #[test]
    fn a_server_that_answers_every_path_alike_is_asked_where_nothing_is() {
        let text = |send: &str, get: Option<&str>| StepText {
            send: send.to_owned(),
            get: get.map(str::to_owned),
            only_there: true,
            expect: Some("x".to_owned()),
            reject: None,
        };
        let step = Exchange::of(text("", Some("/.env"))).unwrap();
        let elsewhere = step.elsewhere().unwrap();
        assert!(
            elsewhere.request("a.lab:81").starts_with(b"GET /pentora-not-there/.env HTTP/1.1\r\nHost: a.lab:81\r\n")
        );
        assert!(elsewhere.elsewhere().is_none());
        assert_eq!(Exchange::of(text("INFO\\r\\n", None)).unwrap_err(), "`only_there` needs `get`");
    }
}
