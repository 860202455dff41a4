//! Reads the lines of a target text: comments, what stands between targets, and masscan's `key = value`.
//!
//! masscan's lists of exclusions are such texts as they are. Of its configuration (masscan(8), "CONFIGURATION FILE
//! FORMAT") two keys name targets, and only those are read: any other would be silently without effect, and one that
//! names a file of exclusions must not be.

use super::parse::{TOKEN_CHARS_MAX, is_mask, is_of_address, parse_token};
use super::text::lines;
use super::{TargetError, TargetProblem, TargetSetBuilder};

/// What the targets of a text are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be scanned; lines `exclude = ...` say what not.
    Targets,
    /// To be left out.
    Exclusions,
}

/// Adds every target of `text` to `builder`.
pub(super) fn parse_text(
    text: &str,
    origin: &str,
    purpose: Purpose,
    builder: &mut TargetSetBuilder,
) -> Result<(), TargetError> {
    let alone = builder.alone.take();
    for (row, line) in lines(text).enumerate() {
        parse_line(line, purpose, builder).map_err(|(token, problem)| TargetError::Token {
            origin: origin.to_owned(),
            line: row + 1,
            column: column_of(line, token),
            token: token.chars().take(TOKEN_CHARS_MAX).collect(),
            problem,
        })?;
    }
    // Lists of a command line or a configuration may have been cut at the blank.
    let mut tokens = text.split(is_separator).filter(|token| !token.is_empty());
    if let (Some(token), None) = (tokens.next(), tokens.next()) {
        if alone.is_some_and(|address| is_mask(token, &address)) {
            let problem = TargetProblem::Mask;
            let (line, column, token) = (1, column_of(text, token), token.to_owned());
            return Err(TargetError::Token { origin: origin.to_owned(), line, column, token, problem });
        }
        builder.alone = is_of_address(token).then(|| token.to_owned());
    }
    Ok(())
}

/// A line without its end. An error names the part of the line that it is about.
fn parse_line<'a>(
    line: &'a str,
    purpose: Purpose,
    builder: &mut TargetSetBuilder,
) -> Result<(), (&'a str, TargetProblem)> {
    let content = line.split('#').next().unwrap_or_default();
    let assigned = content.split_once('=').map(|(key, value)| (key.trim_matches(is_separator), value));
    let Some((key, value)) = assigned.filter(|(key, _)| is_key(key)) else {
        return parse_tokens(content, purpose, builder);
    };
    // masscan compares keys without regard to case and dashes.
    match key.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
        "range" | "ranges" if purpose == Purpose::Targets => parse_tokens(value, purpose, builder),
        "range" | "ranges" => Err((key, TargetProblem::RangeExcluded)),
        "exclude" | "excludes" if purpose == Purpose::Targets => {
            parse_tokens(value, Purpose::Exclusions, builder.excluded.get_or_insert_default())
        }
        "exclude" | "excludes" => parse_tokens(value, purpose, builder),
        "excludefile" | "includefile" => Err((key, TargetProblem::KeyOfFile)),
        _ => Err((key, TargetProblem::Key)),
    }
}

/// Whether this can be a key: one word.
fn is_key(text: &str) -> bool {
    let is_of_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'[' | b']');
    !text.is_empty() && text.bytes().all(is_of_key)
}

fn parse_tokens<'a>(
    text: &'a str,
    purpose: Purpose,
    builder: &mut TargetSetBuilder,
) -> Result<(), (&'a str, TargetProblem)> {
    // What is left out without a zone is left out on every link.
    let needs_zone = purpose == Purpose::Targets;
    let mut before: [Option<&str>; 2] = [None, None];
    for token in text.split(is_separator).filter(|token| !token.is_empty()) {
        refuse_joined(before, token)?;
        let [_, last] = before;
        before = [last, Some(token)];
        parse_token(token, needs_zone, builder).and_then(|()| builder.compact()).map_err(|problem| (token, problem))?;
    }
    Ok(())
}

/// Words that join two addresses to one range or network, in whatever language the list is written.
const JOINING: [&str; 12] =
    ["to", "thru", "through", "till", "until", "upto", "bis", "mask", "netmask", "wildcard", "subnet", "subnetmask"];

/// Refuses what is one network or range in the eyes of its writer and would be read as several targets: what it leaves out would
/// be scanned. `before` are the two tokens before `token` on its line.
fn refuse_joined<'a>(before: [Option<&'a str>; 2], token: &'a str) -> Result<(), (&'a str, TargetProblem)> {
    let is_joining = |word: &str| JOINING.iter().any(|known| word.eq_ignore_ascii_case(known));
    match before {
        [Some(address), Some(word)] if is_joining(word) && is_of_address(address) && is_of_address(token) => {
            Err((word, TargetProblem::Joined { word: word.to_owned() }))
        }
        [_, Some(before)] if is_mask(token, before) => Err((token, TargetProblem::Mask)),
        _ => Ok(()),
    }
}

/// What stands between targets: white space, commas, and the byte order mark of a file that was appended to another.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || c == ',' || c == '\u{feff}'
}

/// Column (from 1, in characters) of a part that was cut out of `line`.
fn column_of(line: &str, part: &str) -> usize {
    let bytes_before = part.as_ptr() as usize - line.as_ptr() as usize;
    line.get(..bytes_before).map_or(1, |before| before.chars().count() + 1)
}
