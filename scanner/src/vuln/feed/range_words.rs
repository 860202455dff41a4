//! Ranges of versions in people's words: `>= 1.0, < 1.5 || 2.0`, `before 1.6`, `1.0 through 1.5`, `1.5.2, 1.5.3`.
//!
//! A text is split into versions, signs and words; words become signs (`before` is `<`), and signs with versions become
//! ranges. What is not wholly understood is kept as one range that no version is in or out of, so that it is a finding of
//! nobody and is not taken for "not affected" either.

use std::cmp::Ordering;

use super::range_end::{End, is_nothing};
use super::range_tokens::{Sign, Token, tokens};
use crate::vuln::advisory::bounded;
use crate::vuln::version::{Bound, Range, Scheme, compare, unread};

/// Longest text that is looked into; longer ones are prose.
const TEXT_BYTES_MAX: usize = 2_000;

/// The ranges that `text` states of a product that goes by `names` (in lower case); none where it says nothing.
pub(super) fn ranges_of(text: &str, scheme: Scheme, names: &[&str]) -> Vec<Range> {
    let text = text.trim();
    if is_nothing(text) {
        return Vec::new();
    }
    if let Some(ranges) = intervals(text, scheme).or_else(|| behind_the_fix(text, scheme)) {
        return ranges;
    }
    let read = || {
        let tokens = tokens(text, names)?;
        let alternatives =
            tokens.split(|token| matches!(token, Token::Or | Token::Else)).filter(|tokens| !tokens.is_empty());
        let ranges: Option<Vec<Vec<Range>>> = alternatives.map(|tokens| alternative(tokens, scheme)).collect();
        ranges.map(|ranges| ranges.concat()).filter(|ranges| !ranges.is_empty())
    };
    let is_short = text.len() <= TEXT_BYTES_MAX;
    is_short.then(read).flatten().unwrap_or_else(|| vec![Range::unread(scheme, &bounded(text))])
}

/// `Fixed in OpenSSL 3.0.5 (Affected 3.0.0-3.0.4)`, as OpenSSL's own records have it; `None` for anything else.
fn behind_the_fix(text: &str, scheme: Scheme) -> Option<Vec<Range>> {
    let lower = text.to_ascii_lowercase();
    let at = lower.strip_prefix("fixed in ").and_then(|_| lower.find("(affected "))? + "(affected ".len();
    let affected = text.get(at..)?.strip_suffix(')')?;
    let is_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.');
    let one = |part: &str| {
        let part = part.trim();
        match part.split_once('-').filter(|(from, to)| is_version(from) && is_version(to)) {
            Some((from, to)) => {
                let order = compare(scheme, from, to)?;
                order.is_le().then(|| Range::all(scheme).since(from).through(to))
            }
            None => is_version(part).then(|| read(part).map(|end| end.exactly(scheme)))?,
        }
    };
    affected.split(',').map(one).collect()
}

/// Ranges as Maven's tools write them: `[1.0,1.6)`, `(,2.0]`, `[1.5.3]`, one behind the other; `None` for anything else.
fn intervals(text: &str, scheme: Scheme) -> Option<Vec<Range>> {
    let mut ranges = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let inner = rest.strip_prefix(['[', '('])?;
        let (inside, behind) = inner.split_at_checked(inner.find([']', ')'])?)?;
        let (is_from_in, is_to_in) = (rest.starts_with('['), behind.starts_with(']'));
        ranges.push(match inside.split_once(',') {
            Some((from, to)) => {
                let range = read(from)?.limit_from(Range::all(scheme), is_from_in);
                read(to)?.limit_to(range, is_to_in)
            }
            None if is_from_in && is_to_in && !inside.contains(" - ") => read(inside)?.exactly(scheme),
            None => return None,
        });
        rest = behind.get(1..)?.trim_start_matches([',', ';', '|', ' ']);
    }
    let is_backwards = |range: &Range| match (&range.from, &range.to) {
        (Some(from), Some(to)) => compare(scheme, &from.version, &to.version).is_none_or(Ordering::is_gt),
        _ => false,
    };
    Some(ranges).filter(|ranges| !ranges.is_empty() && !ranges.iter().any(is_backwards))
}

/// The ranges between two `||`.
fn alternative(tokens: &[Token], scheme: Scheme) -> Option<Vec<Range>> {
    if let [Token::All] = tokens {
        return Some(vec![Range::all(scheme)]);
    }
    let mut ranges = Ranges { scheme, done: Vec::new(), open: None, is_doubtful: false, must_begin: false, list: None };
    let mut rest = tokens;
    loop {
        if let Some((from, to, behind)) = both_ends(rest) {
            ranges.lower(from.0, from.1)?;
            ranges.upper(to.0, to.1)?;
            rest = behind;
            continue;
        }
        rest = match rest {
            [] => break,
            [Token::Comma, rest @ ..] => rest,
            // `1.6.0 and prior to 1.7.0`: from the one to the other, and perhaps what is older.
            [
                Token::Version(from),
                Token::Comma,
                Token::Sign(sign @ (Sign::Below | Sign::Through)),
                Token::Version(to),
                rest @ ..,
            ] if ranges.is_older(from, to) => {
                ranges.one_up_to(from, to, *sign == Sign::Through)?;
                rest
            }
            // `1.4.8, 1.5.2 and 1.6.1 and earlier`: each is the end of its branch.
            [Token::Version(version), rest @ ..] if is_before_earlier(rest) => {
                ranges.upper(version, true)?;
                rest
            }
            // `from 1.6.0 onwards`, `<= 1.6.0 and earlier` say it twice.
            [Token::Sign(Sign::From), version @ Token::Version(_), more @ Token::AndLater, rest @ ..]
            | [Token::Sign(Sign::Through), version @ Token::Version(_), more @ Token::AndEarlier, rest @ ..] => {
                let Token::Version(version) = version else { return None };
                if *more == Token::AndLater {
                    ranges.lower(version, true)?
                } else {
                    ranges.upper(version, true)?
                }
                rest
            }
            [Token::Sign(sign), Token::Version(version), rest @ ..] => {
                match sign {
                    Sign::Below => ranges.upper(version, false)?,
                    Sign::Through => ranges.upper(version, true)?,
                    Sign::Above => ranges.lower(version, false)?,
                    Sign::From => ranges.lower(version, true)?,
                    Sign::Is => ranges.one(version)?,
                }
                rest
            }
            // `1.6.0 and earlier`, `1.6.0 and later`.
            [Token::Version(version), Token::AndEarlier, rest @ ..] => {
                ranges.upper(version, true)?;
                rest
            }
            [Token::Version(version), Token::AndLater, rest @ ..] => {
                ranges.lower(version, true)?;
                rest
            }
            [Token::Version(version), rest @ ..] => {
                ranges.item(version)?;
                rest
            }
            _ => return None,
        };
    }
    ranges.close()?;
    Some(ranges.done)
}

/// A version that a range begins or ends with, and whether it belongs to it.
type Told<'t> = (&'t str, bool);

/// Both ends of a range that is told from the one to the other, and what follows: `1.0 - 1.6`, `1.0 before 1.6`, `1.0 <= x < 1.6`.
fn both_ends(tokens: &[Token]) -> Option<(Told<'_>, Told<'_>, &[Token])> {
    let is_up = |sign: &Sign| matches!(sign, Sign::Below | Sign::Through);
    match tokens {
        [Token::Version(from), Token::Sign(sign), Token::Version(to), rest @ ..] if is_up(sign) => {
            Some(((from, true), (to, *sign == Sign::Through), rest))
        }
        [Token::Version(from), Token::Sign(first), Token::Sign(sign), Token::Version(to), rest @ ..]
            if is_up(first) && is_up(sign) =>
        {
            Some(((from, *first == Sign::Through), (to, *sign == Sign::Through), rest))
        }
        _ => None,
    }
}

/// Whether what follows a version is others in a list, and then `and earlier`.
fn is_before_earlier(tokens: &[Token]) -> bool {
    let mut rest = tokens;
    while let [Token::Comma, Token::Version(_), after @ ..] = rest {
        if let [Token::AndEarlier, ..] = after {
            return true;
        }
        rest = after;
    }
    false
}

/// The ranges of one alternative while it is read.
struct Ranges {
    scheme: Scheme,
    done: Vec<Range>,
    open: Option<Range>,
    /// Several upper ends were stated, so that a lower one may be of each.
    is_doubtful: bool,
    /// An upper end followed a whole range, so that it is one of the next, which must have a lower end.
    must_begin: bool,
    /// Where the range begins whose end was stated last, and whether that end is in it: versions behind it go on with it.
    list: Option<(Option<Bound>, bool)>,
}

impl Ranges {
    /// A version that stands alone: `before 1.4.9, 1.5.3` goes on with the ends of branches, `1.0 to 1.4.9, 1.5.3` with what is
    /// affected.
    fn item(&mut self, version: &str) -> Option<()> {
        let end = read(version)?;
        let Some((from, is_in)) = self.list.clone().filter(|_| matches!(end, End::Version(_))) else {
            return self.one(version);
        };
        self.close()?;
        let range = end.limit_to(Range { from, ..Range::all(self.scheme) }, is_in);
        if self.is_empty(&range)? {
            return None;
        }
        self.done.push(range);
        self.is_doubtful = true;
        Some(())
    }

    /// One version, and the end behind it of a range that begins with it or before it.
    fn one_up_to(&mut self, from: &str, to: &str, is_in: bool) -> Option<()> {
        self.close()?;
        self.list = None;
        let (from, to) = (read(from)?, read(to)?);
        let range = to.limit_to(from.limit_from(Range::all(self.scheme), true), is_in);
        if let Some(from) = range.from.clone() {
            // Nobody knows of what is older.
            let older = Range::all(self.scheme).since(unread(&from.version)).before(from.version);
            self.done.push(older);
        }
        self.done.push(range);
        Some(())
    }

    /// Whether one is before the other; not where either is a branch.
    fn is_older(&self, version: &str, other: &str) -> bool {
        match (read(version), read(other)) {
            (Some(End::Version(version)), Some(End::Version(other))) => {
                compare(self.scheme, &version, &other).is_some_and(Ordering::is_lt)
            }
            _ => false,
        }
    }

    fn one(&mut self, version: &str) -> Option<()> {
        self.close()?;
        self.list = None;
        self.done.push(read(version)?.exactly(self.scheme));
        Some(())
    }

    fn lower(&mut self, version: &str, is_in: bool) -> Option<()> {
        let end = read(version)?;
        self.list = None;
        let open = match self.open.take() {
            // A second lower end: nobody knows which of them is meant.
            Some(Range { from: Some(_), to: None, .. }) => return None,
            // `< 1.6, >= 1.0` is one range, `< 1.5, >= 1.6, < 1.7` are two.
            Some(open @ Range { from: None, .. }) => {
                let both = end.clone().limit_from(open.clone(), is_in);
                if self.is_empty(&both)? {
                    if self.must_begin {
                        return None;
                    }
                    self.done.push(open);
                    end.limit_from(Range::all(self.scheme), is_in)
                } else if self.is_doubtful {
                    return None;
                } else {
                    self.must_begin = false;
                    both
                }
            }
            whole => {
                if self.must_begin {
                    return None;
                }
                self.done.extend(whole);
                end.limit_from(Range::all(self.scheme), is_in)
            }
        };
        // `>= 0` is no end, but was said.
        self.open = Some(open);
        Some(())
    }

    fn upper(&mut self, version: &str, is_in: bool) -> Option<()> {
        let end = read(version)?;
        let open = self.open.take().unwrap_or_else(|| Range::all(self.scheme));
        let Some(known) = &open.to else {
            let open = self.open.insert(end.limit_to(open, is_in));
            // `1.0 to 1.4.9, 1.5.3` and `1.4.9, 1.5.3` list what is affected alike; `1.0 before 1.4.9, 1.5.3` does not.
            self.list = (open.from.is_none() || !is_in).then(|| (open.from.clone(), is_in));
            return Some(());
        };
        let next = end.limit_to(Range::all(self.scheme), is_in);
        if open.from.is_some() {
            let is_behind = compare(self.scheme, &known.version, &next.to.as_ref()?.version)?.is_le();
            self.done.push(open);
            (self.open, self.must_begin, self.list) = (Some(next), true, None);
            return is_behind.then_some(());
        }
        // `< 1.5.2, < 1.6.1`: one for each branch.
        self.done.push(open);
        (self.open, self.is_doubtful, self.list) = (Some(next), true, Some((None, is_in)));
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        if let Some(open) = self.open.take() {
            if self.must_begin || self.is_empty(&open)? {
                return None;
            }
            self.done.push(open);
        }
        Some(())
    }

    /// Whether no version is in it; `None` where its ends have no order.
    fn is_empty(&self, range: &Range) -> Option<bool> {
        let (Some(from), Some(to)) = (&range.from, &range.to) else { return Some(false) };
        let order = compare(self.scheme, &from.version, &to.version)
            .or_else(|| compare(Scheme::Dotted, &from.version, &to.version))?;
        Some(order.is_gt() || (order.is_eq() && !(from.is_inclusive && to.is_inclusive)))
    }
}

fn read(version: &str) -> Option<End> {
    Some(End::of(version)).filter(|end| !matches!(end, End::Unread(_)))
}

#[cfg(test)]
#[path = "range_words_test.rs"]
mod tests;
