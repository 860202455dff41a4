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
    /// What parts one range from another, or the items of a list.
    Or,
    /// What parts one range from another and nothing else: `||`.
    Else,
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
const EARLIER: [&str; 9] =
    ["earlier", "prior", "below", "older", "lower", "previous", "before", "\u{4ee5}\u{524d}", "\u{4ee5}\u{4e0b}"];
const LATER: [&str; 13] = [
    "later",
    "above",
    "newer",
    "up",
    "upwards",
    "upward",
    "onwards",
    "onward",
    "higher",
    "greater",
    "after",
    "\u{4ee5}\u{964d}",
    "\u{4ee5}\u{4e0a}",
];
/// What Japan's records put behind a version without a blank: from it on down (twice) or up (twice), and "of versions".
const BEHIND_WITHOUT_BLANK: [&str; 5] = [
    "\u{4ee5}\u{524d}",
    "\u{4ee5}\u{4e0b}",
    "\u{4ee5}\u{964d}",
    "\u{4ee5}\u{4e0a}",
    "\u{306e}\u{30d0}\u{30fc}\u{30b8}\u{30e7}\u{30f3}",
];
/// Words that stand before a version without a blank, beside the letter v, which a version may keep.
const BEFORE_WITHOUT_BLANK: [&str; 4] = ["version", "ver.", "ver", "v."];
/// Words that say nothing.
const FILLERS: [&str; 20] = [
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
    "firmware",
    "only",
    "lts",
    "(lts)",
    // `1.0 <= x < 1.5`.
    "x",
    "vers",
    "\u{306e}\u{30d0}\u{30fc}\u{30b8}\u{30e7}\u{30f3}",
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
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    // RubyGems' sign, which is no `>`.
    let spaced = space_signs(&text.replace("~> ", "~").replace("~>", "~"));
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
        if let Some(left) = behind_branches(rest) {
            rest = left;
            continue;
        }
        rest = after;
        if let Some(pieces) = pinned(&word.lower).or_else(|| joined(&word.lower)) {
            // `1.0.0 ~1.5.2` may be from the one to the other.
            (!is_behind_version).then_some(())?;
            tokens.extend(pieces);
            continue;
        }
        match word.lower.as_str() {
            "," | "and" | "&" | "&&" => tokens.push(Token::Comma),
            "||" | "|" => tokens.push(Token::Else),
            "or" | ";" | "/" => tokens.push(Token::Or),
            lower if is_version(lower) => {
                let (version, left) = whole_version(own_of(word.text), after);
                rest = left;
                push_version(&mut tokens, version);
            }
            lower if ALL.contains(&lower) => tokens.push(Token::All),
            lower if EXCLUDING.contains(&lower) => exclude_last(&mut tokens)?,
            lower if FILLERS.contains(&lower) => {}
            // The product's own name says nothing before its version.
            lower
                if matches!(tokens.last(), None | Some(Token::Comma | Token::Or | Token::Else))
                    && names.iter().any(|name| name.split_whitespace().any(|part| part == lower)) => {}
            _ => return None,
        }
    }
    Some(with_lists_joined(without_all(tokens)))
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

/// `before 1.6.2 or 1.5.3` is a list as `before 1.6.2, 1.5.3` is: what stands behind the end of a range alone is one of its items.
fn with_lists_joined(mut tokens: Vec<Token>) -> Vec<Token> {
    // `, and` joins once, and `, or` parts.
    tokens.dedup_by(|next, known| match (&*next, &*known) {
        (Token::Comma, Token::Comma | Token::Or) => true,
        (Token::Or, Token::Comma) => {
            *known = Token::Or;
            true
        }
        _ => false,
    });
    let is_list = |around: &[Token]| {
        matches!(
            around,
            [Token::Sign(Sign::Below | Sign::Through), Token::Version(_), Token::Or, Token::Version(_)]
                | [Token::Comma, Token::Version(_), Token::Or, Token::Version(_)]
                | [Token::Version(_), Token::Or, Token::Version(_), Token::AndEarlier]
        )
    };
    for at in 0..tokens.len() {
        let from_at = |start: Option<usize>| start.and_then(|start| tokens.get(start..)).unwrap_or_default();
        let front = from_at(at.checked_sub(2));
        let front = front.get(..front.len().min(4)).unwrap_or_default();
        let behind = from_at(at.checked_sub(1));
        let behind = behind.get(..behind.len().min(4)).unwrap_or_default();
        let ends_alone = !matches!(tokens.get(at + 2), Some(Token::Sign(_) | Token::AndLater));
        let is_alone = ends_alone && (is_list(front) || is_list(behind));
        if let Some(token) = tokens.get_mut(at).filter(|token| **token == Token::Or && is_alone) {
            *token = Token::Comma;
        }
    }
    tokens
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
        let joins = ["||", "&&", ",", ";"].into_iter().chain(BEHIND_WITHOUT_BLANK);
        let sign = sign.or_else(|| joins.into_iter().find(|sign| rest.starts_with(sign)));
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
    let word = own_of(word);
    let word = word.strip_prefix('v').unwrap_or(word);
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// A version without the word that stands before it: `Ver.1.5` is 1.5.
fn own_of(word: &str) -> &str {
    let behind = |front: &&str| {
        let (own, version) = word.split_at_checked(front.len())?;
        (own.eq_ignore_ascii_case(front) && version.starts_with(|c: char| c.is_ascii_digit())).then_some(version)
    };
    BEFORE_WITHOUT_BLANK.iter().rev().find_map(behind).unwrap_or(word)
}

/// What is left behind the name of BIND's branches, which its makers put before the versions: `Open Source Branches 9.5 though 9.11
/// 9.5.0 through versions before 9.11.31`. Without versions behind it, it is nothing's name.
fn behind_branches<'a, 'b>(words: &'a [Word<'b>]) -> Option<&'a [Word<'b>]> {
    let is = |word: &Word<'_>, known: &[&str]| known.contains(&word.lower.as_str());
    let [open, source, branch, first, rest @ ..] = words else { return None };
    let is_name = is(open, &["open"]) && is(source, &["source"]) && is(branch, &["branch", "branches"]);
    let rest = match rest {
        [joint, last, rest @ ..] if is(joint, &["though", "through", "to"]) && is_version(&last.lower) => rest,
        rest => rest,
    };
    let is_followed = rest.first().is_some_and(|next| is_version(&next.lower));
    (is_name && is_version(&first.lower) && is_followed).then_some(rest)
}

/// Versions in one word: `1.5.2/1.5.3` are two, `1.5.2..1.5.9` is from the one to the other.
fn joined(word: &str) -> Option<Vec<Token>> {
    let is_whole = |text: &str| is_version(text) && text.contains('.') && !text.ends_with('.');
    let version = |text: &str| Token::Version(own_of(text).to_owned());
    if let Some((from, to)) = word.split_once("..").filter(|(from, to)| is_whole(from) && is_whole(to)) {
        return Some(vec![version(from), Token::Sign(Sign::Through), version(to)]);
    }
    let is_list = word.contains('/') && word.split('/').all(is_whole);
    is_list.then(|| word.split('/').flat_map(|one| [Token::Or, version(one)]).skip(1).collect())
}

/// A version behind a sign of package managers: `^1.5.2` is from there to before 2, `~1.5.2` to before 1.6, and so is `~>1.5.2`,
/// of which the last number may go up (npm's semver, Composer and RubyGems are at one in these). Of two numbers they are not, and
/// nothing is said of those.
fn pinned(word: &str) -> Option<Vec<Token>> {
    let (version, is_caret) = match word.strip_prefix('^') {
        Some(version) => (version, true),
        None => (word.strip_prefix('~')?, false),
    };
    let numbers: Vec<u64> = version.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let behind = match *numbers.as_slice() {
        [0, minor, _] if is_caret && minor > 0 => format!("0.{}", minor.checked_add(1)?),
        [0, ..] if is_caret => return None,
        [major, _, _] if is_caret => major.checked_add(1)?.to_string(),
        [major, minor, _] => format!("{major}.{}", minor.checked_add(1)?),
        _ => return None,
    };
    let limits = [Token::Sign(Sign::From), Token::Version(version.to_owned()), Token::Comma];
    Some(limits.into_iter().chain([Token::Sign(Sign::Below), Token::Version(behind)]).collect())
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
    // The tilde is how East Asia writes a span.
    if is_range && ["-", "~", "\u{ff5e}"].contains(&first.text) {
        return Some((Token::Sign(Sign::Through), words.get(1..)?));
    }
    let is_phrase = |phrase: &[&str]| phrase.iter().zip(words).filter(|(a, b)| **a == b.lower).count() == phrase.len();
    let (phrase, sign) = BEFORE_VERSION.iter().find(|(phrase, _)| is_phrase(phrase))?;
    Some((Token::Sign(*sign), words.get(phrase.len()..)?))
}
