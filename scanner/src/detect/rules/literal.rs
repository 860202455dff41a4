//! Which literals an answer must contain for a pattern to match it at all.
//!
//! A set of rules asks one Aho-Corasick automaton over everybody's literals before it asks any regular expression. All
//! literals are lower case and searched without regard to case, so that `(?i)` costs nothing.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Most alternatives that are followed; beyond, a part counts as unknown.
const ALTERNATIVES_MAX: usize = 24;
/// Longer literals filter no better.
const LITERAL_BYTES_MAX: usize = 24;
/// Shorter ones are in nearly every answer, so that they would filter nothing.
const LITERAL_BYTES_MIN: usize = 2;

type Literals = Vec<Vec<u8>>;

/// Literals of which every match contains at least one, in lower case; `None` when there is no such set.
pub(crate) fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => None,
        HirKind::Literal(_) | HirKind::Class(_) => exact(hir).and_then(useful),
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            better(exact(hir).and_then(useful), required(&repetition.sub))
        }
        HirKind::Repetition(_) => None,
        HirKind::Alternation(branches) => {
            let mut all = Literals::new();
            for branch in branches {
                all.extend(required(branch)?);
                if all.len() > ALTERNATIVES_MAX {
                    return None;
                }
            }
            tidy(&mut all);
            Some(all)
        }
        HirKind::Concat(parts) => concat(parts),
    }
}

fn concat(parts: &[Hir]) -> Option<Literals> {
    let mut best: Option<Literals> = None;
    let mut run: Literals = vec![Vec::new()];
    for part in parts {
        let words = exact(part);
        match words.as_ref().and_then(|words| cross(&run, words)) {
            Some(longer) => run = longer,
            None => {
                best = better(best, useful(run));
                run = words.unwrap_or_else(|| vec![Vec::new()]);
                best = better(best, required(part));
            }
        }
    }
    better(best, useful(run))
}

/// All texts that a part can match, in lower case, when they are few and short.
fn exact(hir: &Hir) -> Option<Literals> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(vec![Vec::new()]),
        HirKind::Literal(literal) if literal.0.len() <= LITERAL_BYTES_MAX => Some(vec![literal.0.to_ascii_lowercase()]),
        HirKind::Literal(_) => None,
        HirKind::Class(class) => letters(class),
        HirKind::Capture(capture) => exact(&capture.sub),
        HirKind::Repetition(repetition) => {
            if repetition.max != Some(repetition.min) || repetition.min > 4 {
                return None;
            }
            let words = exact(&repetition.sub)?;
            (0..repetition.min).try_fold(vec![Vec::new()], |run, _| cross(&run, &words))
        }
        HirKind::Concat(parts) => parts.iter().try_fold(vec![Vec::new()], |run, part| cross(&run, &exact(part)?)),
        HirKind::Alternation(branches) => {
            let mut all = Literals::new();
            for branch in branches {
                all.extend(exact(branch)?);
                if all.len() > ALTERNATIVES_MAX {
                    return None;
                }
            }
            tidy(&mut all);
            Some(all)
        }
    }
}

fn letters(class: &Class) -> Option<Literals> {
    let mut all = Literals::new();
    match class {
        Class::Bytes(bytes) => {
            for range in bytes.ranges() {
                for byte in range.start()..=range.end() {
                    all.push(vec![byte.to_ascii_lowercase()]);
                    if all.len() > 2 * ALTERNATIVES_MAX {
                        return None;
                    }
                }
            }
        }
        Class::Unicode(chars) => {
            for range in chars.ranges() {
                for c in range.start()..=range.end() {
                    all.push(c.to_ascii_lowercase().to_string().into_bytes());
                    if all.len() > 2 * ALTERNATIVES_MAX {
                        return None;
                    }
                }
            }
        }
    }
    tidy(&mut all);
    (all.len() <= ALTERNATIVES_MAX).then_some(all)
}

fn cross(left: &Literals, right: &Literals) -> Option<Literals> {
    if left.len() * right.len() > ALTERNATIVES_MAX {
        return None;
    }
    let mut all = Literals::with_capacity(left.len() * right.len());
    for head in left {
        for tail in right {
            if head.len() + tail.len() > LITERAL_BYTES_MAX {
                return None;
            }
            all.push([head.as_slice(), tail.as_slice()].concat());
        }
    }
    tidy(&mut all);
    Some(all)
}

fn tidy(all: &mut Literals) {
    all.sort_unstable();
    all.dedup();
}

fn useful(words: Literals) -> Option<Literals> {
    (shortest(&words) >= LITERAL_BYTES_MIN).then_some(words)
}

fn shortest(words: &Literals) -> usize {
    words.iter().map(Vec::len).min().unwrap_or(0)
}

fn better(a: Option<Literals>, b: Option<Literals>) -> Option<Literals> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let rank = |words: &Literals| (shortest(words).min(8), usize::MAX - words.len());
            Some(if rank(&b) > rank(&a) { b } else { a })
        }
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Option<Vec<String>> {
        let hir = regex_syntax::ParserBuilder::new().utf8(false).unicode(false).build().parse(pattern).unwrap();
        required(&hir).map(|words| words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect())
    }

    #[test]
    fn every_match_contains_one_of_the_literals() {
        let some = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(of("^SSH-([0-9.]+)-OpenSSH_"), some(&["-openssh_"]));
        assert_eq!(of("(?i)^nginx/?"), some(&["nginx"]));
        assert_eq!(of("^(?:apache|nginx)/"), some(&["apache/", "nginx/"]));
        assert_eq!(of("a(?:bcd)?e"), None);
        assert_eq!(of("(?:lighttpd|x)"), None, "one branch has nothing long enough");
        assert_eq!(of("[0-9]+"), None);
        assert_eq!(of("(?:ab){2}"), some(&["abab"]));
    }
}
