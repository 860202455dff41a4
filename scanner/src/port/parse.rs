//! Reads port lists: `22,80,8000-8100`, `T:22,U:53`, `-`, service names.

use super::service::ports_of;
use super::{PortSet, Protocol};
use crate::target::range::Span;

/// Longest token looked at; service names are at most 15 characters (RFC 6335 section 5.1) or one of our own.
const TOKEN_CHARS_MAX: usize = 64;

/// Why a port list was refused.
///
/// A list holds, separated by commas or spaces: a port (`22`), a range (`8000-8100`, `-100`, `60000-`, `-` for all),
/// or the name of a service (`ssh`). `T:` and `U:` choose the protocol of what follows; a list begins with TCP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ports:{column}: {token:?}: {problem}")]
pub struct PortError {
    /// Column of the token's first character, from 1, counted in characters.
    pub column: usize,
    /// The token, cut to 64 characters.
    pub token: String,
    /// What is wrong with it.
    pub problem: PortProblem,
}

/// What is wrong with a port or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortProblem {
    /// A number that is no port.
    #[error("{number} is not a port: ports are 1 to 65535")]
    Number {
        /// The number as written.
        number: String,
    },
    /// A range that ends before it begins.
    #[error("the range ends before it begins")]
    Backwards,
    /// A word that is no known service.
    #[error("not a port, a range or the name of a service with a {protocol} port that is known here")]
    Name {
        /// The protocol asked for.
        protocol: Protocol,
    },
    /// `X:1`.
    #[error("only T: and U: may stand before a port")]
    Prefix,
    /// `T:` alone.
    #[error("no port stands behind it: write {prefix}53, or {prefix}- for all")]
    NothingBehind {
        /// The protocol's letter with its colon.
        prefix: &'static str,
    },
    /// Nothing at all.
    #[error("no port in the list")]
    Empty,
    /// A serialised set that no program wrote.
    #[error("the encoded port set is damaged")]
    BadEncoding,
}

pub(super) fn bad_encoding() -> PortError {
    PortError { column: 0, token: String::new(), problem: PortProblem::BadEncoding }
}

pub(super) fn parse_ports(text: &str) -> Result<PortSet, PortError> {
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    let mut protocol = Protocol::Tcp;
    for token in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|token| !token.is_empty()) {
        let error = |problem| PortError {
            column: text
                .get(..token.as_ptr() as usize - text.as_ptr() as usize)
                .map_or(1, |before| before.chars().count() + 1),
            token: token.chars().take(TOKEN_CHARS_MAX).collect(),
            problem,
        };
        let mut rest = token;
        if let Some((prefix, ports)) = token.split_once(':') {
            protocol = match prefix.to_ascii_lowercase().as_str() {
                "t" | "tcp" => Protocol::Tcp,
                "u" | "udp" => Protocol::Udp,
                _ => return Err(error(PortProblem::Prefix)),
            };
            if ports.is_empty() {
                let prefix = if protocol == Protocol::Tcp { "T:" } else { "U:" };
                return Err(error(PortProblem::NothingBehind { prefix }));
            }
            rest = ports;
        }
        let spans = if protocol == Protocol::Tcp { &mut tcp } else { &mut udp };
        spans.extend(parse_token(rest, protocol).map_err(error)?);
    }
    if tcp.is_empty() && udp.is_empty() {
        return Err(PortError {
            column: 1,
            token: text.chars().take(TOKEN_CHARS_MAX).collect(),
            problem: PortProblem::Empty,
        });
    }
    Ok(PortSet::from_spans(tcp, udp))
}

fn parse_token(token: &str, protocol: Protocol) -> Result<Vec<Span<u16>>, PortProblem> {
    if token.chars().all(|c| c.is_ascii_digit() || c == '-') {
        let span = match token.split_once('-') {
            None => Span::single(number(token)?),
            Some((first, last)) => {
                let first = if first.is_empty() { 1 } else { number(first)? };
                let last = if last.is_empty() { u16::MAX } else { number(last)? };
                Span::new(first, last).ok_or(PortProblem::Backwards)?
            }
        };
        return Ok(vec![span]);
    }
    if token.len() > TOKEN_CHARS_MAX {
        return Err(PortProblem::Name { protocol });
    }
    let spans: Vec<_> = ports_of(&token.to_ascii_lowercase(), protocol).map(Span::single).collect();
    if spans.is_empty() { Err(PortProblem::Name { protocol }) } else { Ok(spans) }
}

fn number(digits: &str) -> Result<u16, PortProblem> {
    let number = digits.parse().ok().filter(|number| *number != 0);
    number.ok_or_else(|| PortProblem::Number { number: digits.chars().take(TOKEN_CHARS_MAX).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, PortProblem) {
        let error = parse_ports(text).unwrap_err();
        (error.column, error.problem)
    }

    #[test]
    fn each_slip_is_refused_at_its_column() {
        assert!(matches!(refused("22, 70000"), (5, PortProblem::Number { .. })));
        assert!(matches!(refused("0"), (1, PortProblem::Number { .. })));
        assert!(matches!(refused("1-2-3"), (1, PortProblem::Number { .. })));
        assert_eq!(refused("22,90-80"), (4, PortProblem::Backwards));
        assert_eq!(refused("22,nosuch"), (4, PortProblem::Name { protocol: Protocol::Tcp }));
        assert_eq!(refused("U:ftp"), (1, PortProblem::Name { protocol: Protocol::Udp }));
        assert_eq!(refused("é,X:1"), (1, PortProblem::Name { protocol: Protocol::Tcp }));
        assert_eq!(refused("1,X:1"), (3, PortProblem::Prefix));
        assert_eq!(refused("T:"), (1, PortProblem::NothingBehind { prefix: "T:" }));
        assert_eq!(refused("22,udp:"), (4, PortProblem::NothingBehind { prefix: "U:" }));
        assert_eq!(refused("U: 53"), (1, PortProblem::NothingBehind { prefix: "U:" }));
        assert!(parse_ports("22, U:").unwrap_err().to_string().ends_with("write U:53, or U:- for all"));
        assert_eq!(refused(" , "), (1, PortProblem::Empty));
    }

    #[test]
    fn errors_read_as_one_line() {
        assert_eq!(
            parse_ports("22,70000").unwrap_err().to_string(),
            "ports:4: \"70000\": 70000 is not a port: ports are 1 to 65535"
        );
    }
}
