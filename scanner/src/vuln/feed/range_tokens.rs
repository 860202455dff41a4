//! The words of a stated range as signs, versions and what joins them.

/// A piece of a stated range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A version or a branch.
    Version(String),
    /// What goes before a version.
    Sign(Sign),
    /// `and earlier`, behind a version.
    AndEarlier,
    /// `and later`, behind a version.
    AndLater,
    /// All versions.
    All,
    /// What joins the conditions of one range, or the items of a list.
    Comma,
    /// What parts one range from another.
    Or,
}

/// Which versions a version stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Below,
    Through,
    Above,
    From,
    Is,
}

/// Signs, the longest first.
const SIGNS: [(&str, Sign); 12] = [
    ("<=", Sign::Through),
    ("=<", Sign::Through),
    (">=", Sign::From),
    ("=>", Sign::From),
    ("==", Sign::Is),
    ("<", Sign::Below),
    (">", Sign::Above),
    ("=", Sign::Is),
    ("\u{2264}", Sign::Through),
    ("\u{2a7d}", Sign::Through),
    ("\u{2265}", Sign::From),
    ("\u{2a7e}", Sign::From),
];
/// Phrases before a version, the longest first.
const BEFORE_VERSION: [(&[&str], Sign); 50] = [
    (&["greater", "than", "or", "equal", "to"], Sign::From),
    (&["less", "than", "or", "equal", "to"], Sign::Through),
    (&["up", "to", "but", "not", "including"], Sign::Below),
    (&["up", "to", "and", "including"], Sign::Through),
    (&["prior", "to", "and", "including"], Sign::Through),
    (&["before", "and", "including"], Sign::Through),
    (&["up", "to", ",", "and", "including"], Sign::Through),
    (&["up", "to", ",", "but", "not", "including", ","], Sign::Below),
    (&["up", "to", ",", "but", "not", "including"], Sign::Below),
    (&["up", "to", "but", "excluding"], Sign::Below),
    (&["up", "to", ",", "but", "excluding"], Sign::Below),
    (&["up", "to", "excluding"], Sign::Below),
    (&["up", "to", "(excluding)"], Sign::Below),
    (&["up", "to", "(exclusive)"], Sign::Below),
    (&["up", "to", "including"], Sign::Through),
    (&["from", "and", "including"], Sign::From),
    (&["earlier", "than", "or", "equal", "to"], Sign::Through),
    (&["lower", "than", "or", "equal", "to"], Sign::Through),
    (&["later", "than", "or", "equal", "to"], Sign::From),
    (&["no", "later", "than"], Sign::Through),
    (&["to", "before"], Sign::Below),
    (&["at", "least"], Sign::From),
    (&["at", "most"], Sign::Through),
    (&["starting", "from"], Sign::From),
    (&["starting", "with"], Sign::From),
    (&["starting", "at"], Sign::From),
    (&["beginning", "with"], Sign::From),
    (&["prior", "to"], Sign::Below),
    (&["earlier", "than"], Sign::Below),
    (&["older", "than"], Sign::Below),
    (&["lower", "than"], Sign::Below),
    (&["less", "than"], Sign::Below),
    (&["later", "than"], Sign::Above),
    (&["newer", "than"], Sign::Above),
    (&["greater", "than"], Sign::Above),
    (&["higher", "than"], Sign::Above),
    (&["next", "of"], Sign::Above),
    (&["up", "to"], Sign::Through),
    (&["before"], Sign::Below),
    (&["below"], Sign::Below),
    (&["until"], Sign::Below),
    (&["till"], Sign::Below),
    (&["after"], Sign::Above),
    (&["above"], Sign::Above),
    (&["through"], Sign::Through),
    (&["thru"], Sign::Through),
    (&["upto"], Sign::Through),
    (&["to"], Sign::Through),
    (&["from"], Sign::From),
    (&["since"], Sign::From),
];
/// Words behind a version that speak of what is older, or newer.
const EARLIER: [&str; 7] = ["earlier", "prior", "below", "older", "lower", "previous", "before"];
const LATER: [&str; 11] =
    ["later", "above", "newer", "up", "upwards", "upward", "onwards", "onward", "higher", "greater", "after"];
/// Words that say nothing.
const FILLERS: [&str; 13] = [
    "version",
    "versions",
    "release",
    "releases",
    "ver",
    "ver.",
    "v",
    "v.",
    "the",
    "inclusive",
    "(inclusive)",
    "(including)",
    "(incl.)",
];
/// Words behind a version that take it out of the range that it ends.
const EXCLUDING: [&str; 4] = ["(excluding)", "(exclusive)", "(excl.)", "exclusive"];
/// Words that go on a version: `2.0 SP1`, `12.1 Update 3`.
const PARTS: [&str; 10] = ["sp", "update", "patch", "build", "rc", "beta", "alpha", "hotfix", "p", "r"];
/// Words for all versions.
const ALL: [&str; 4] = ["all", "any", "*", "every"];

/// A word as it stands, and in lower case.
struct Word<'a> {
    text: &'a str,
    lower: String,
}

/// The tokens of `text`; `None` where a word is not understood. Words of `names` before a version are the product's.
pub(super) fn tokens(text: &str, names: &[&str]) -> Option<Vec<Token>> {
    // As records have it that were copied from a page.
    let spaced = space_signs(&text.replace("&lt;", "<").replace("&gt;", ">"));
    let words: Vec<Word<'_>> =
        spaced.split_whitespace().map(|text| Word { text, lower: text.to_lowercase() }).collect();
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = words.as_slice();
    while let Some((word, after)) = rest.split_first() {
        let is_behind_version = matches!(tokens.last(), Some(Token::Version(_)));
        if is_behind_version && let Some((token, left)) = behind_version(rest) {
            tokens.push(token);
            rest = left;
            continue;
        }
        if let Some((sign, left)) = before_version(rest, &tokens) {
            tokens.push(sign);
            rest = left;
            continue;
        }
        rest = after;
        match word.lower.as_str() {
            "," | "and" | "&" | "&&" => tokens.push(Token::Comma),
            "||" | "|" | "or" | ";" | "/" => tokens.push(Token::Or),
            lower if is_version(lower) => {
                let (version, left) = whole_version(word.text, after);
                rest = left;
                push_version(&mut tokens, version);
            }
            lower if ALL.contains(&lower) => tokens.push(Token::All),
            lower if EXCLUDING.contains(&lower) => exclude_last(&mut tokens)?,
            lower if FILLERS.contains(&lower) => {}
            // The product's own name says nothing before its version.
            lower
                if matches!(tokens.last(), None | Some(Token::Comma | Token::Or))
                    && names.iter().any(|name| name.split_whitespace().any(|part| part == lower)) => {}
            _ => return None,
        }
    }
    Some(without_all(tokens))
}

/// `up to 1.5 (excluding)` is before 1.5.
fn exclude_last(tokens: &mut [Token]) -> Option<()> {
    let [.., Token::Sign(sign), Token::Version(_)] = tokens else { return None };
    *sign = match sign {
        Sign::Through | Sign::Below => Sign::Below,
        Sign::From | Sign::Above => Sign::Above,
        Sign::Is => return None,
    };
    Some(())
}

/// `all versions before 1.5` are those before 1.5.
fn without_all(tokens: Vec<Token>) -> Vec<Token> {
    if tokens.iter().all(|token| *token == Token::All) {
        return tokens.into_iter().take(1).collect();
    }
    tokens.into_iter().filter(|token| *token != Token::All).collect()
}

/// `1.5+` is 1.5 and later.
fn push_version(tokens: &mut Vec<Token>, version: String) {
    match version.strip_suffix('+') {
        Some(version) => tokens.extend([Token::Version(version.to_owned()), Token::AndLater]),
        None => tokens.push(Token::Version(version)),
    }
}

/// Signs and separators with blanks around them.
fn space_signs(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let sign = SIGNS.iter().map(|(sign, _)| *sign).find(|sign| rest.starts_with(sign));
        let sign = sign.or_else(|| ["||", "&&", ",", ";"].into_iter().find(|sign| rest.starts_with(sign)));
        let piece = sign.unwrap_or_else(|| rest.get(..first.len_utf8()).unwrap_or(rest));
        if sign.is_some() {
            spaced.extend([" ", piece, " "]);
        } else if ['\u{2013}', '\u{2014}'].contains(&first) {
            spaced.push_str(" - ");
        } else {
            spaced.push_str(piece);
        }
        rest = rest.get(piece.len()..).unwrap_or_default();
    }
    spaced
}

fn is_version(word: &str) -> bool {
    let word = word.strip_prefix('v').unwrap_or(word);
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// A version with the words that go on it, and what is left.
fn whole_version<'a, 'b>(first: &str, rest: &'a [Word<'b>]) -> (String, &'a [Word<'b>]) {
    let mut version = first.to_owned();
    let mut rest = rest;
    while let Some((word, after)) = rest.split_first() {
        let (part, digits) =
            word.lower.split_at(word.lower.find(|c: char| c.is_ascii_digit()).unwrap_or(word.lower.len()));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_part = PARTS.contains(&part);
        if is_part && is_number(digits) {
            (version, rest) = (format!("{version} {}", word.text), after);
            continue;
        }
        match after.split_first() {
            Some((number, left)) if is_part && digits.is_empty() && is_number(&number.lower) => {
                (version, rest) = (format!("{version} {} {}", word.text, number.text), left);
            }
            _ => break,
        }
    }
    (version, rest)
}

/// `and earlier`, `or all later versions`: what stands behind a version, and what is left.
fn behind_version<'a, 'b>(words: &'a [Word<'b>]) -> Option<(Token, &'a [Word<'b>])> {
    let skipped = ["and", "or", "&", ",", "all", "any", "the", "(and"];
    let at = words.iter().position(|word| !skipped.contains(&word.lower.as_str()))?;
    let word = words.get(at)?.lower.trim_end_matches([')', '.']);
    let word = word.trim_start_matches('(');
    let left = words.get(at + 1..)?;
    // `before` with a version behind it belongs to that one: `1.0 before 1.6`; `up` may be `up to`.
    let next = left.iter().find(|next| !FILLERS.contains(&next.lower.as_str())).map(|next| next.lower.as_str());
    if next.is_some_and(|next| is_version(next) || ["to", "than"].contains(&next)) {
        return None;
    }
    if EARLIER.contains(&word) {
        Some((Token::AndEarlier, left))
    } else if LATER.contains(&word) {
        Some((Token::AndLater, left))
    } else {
        None
    }
}

/// The sign or the phrase that stands before a version, and what is left.
fn before_version<'a, 'b>(words: &'a [Word<'b>], before: &[Token]) -> Option<(Token, &'a [Word<'b>])> {
    let first = words.first()?;
    if let Some((_, sign)) = SIGNS.iter().find(|(sign, _)| *sign == first.text) {
        return Some((Token::Sign(*sign), words.get(1..)?));
    }
    let is_range = matches!(before.last(), Some(Token::Version(_)));
    if is_range && first.lower == "-" {
        return Some((Token::Sign(Sign::Through), words.get(1..)?));
    }
    let is_phrase = |phrase: &[&str]| phrase.iter().zip(words).filter(|(a, b)| **a == b.lower).count() == phrase.len();
    let (phrase, sign) = BEFORE_VERSION.iter().find(|(phrase, _)| is_phrase(phrase))?;
    Some((Token::Sign(*sign), words.get(phrase.len()..)?))
}
