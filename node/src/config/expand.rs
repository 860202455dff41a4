//! `${VAR}`, `${VAR:-default}` and `${VAR:?message}` inside scalar values of the file.
//!
//! Expansion happens after the YAML is parsed, so a variable's value can never add keys or change the structure, and
//! its result is not expanded again. `$$` is a literal dollar sign; a dollar sign before anything else stands for
//! itself.

/// Expands `text`, asking `lookup` for variables. A variable set to nothing counts as not set, as `:-` and `:?` do in
/// a shell.
///
/// # Errors
/// A sentence fragment: variable not set (with the file's own message, if any), bad name, or missing brace.
pub(super) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, at) = rest.split_at(dollar);
        out.push_str(before);
        if let Some(tail) = at.strip_prefix("$$") {
            out.push('$');
            rest = tail;
        } else if let Some(tail) = at.strip_prefix("${") {
            let (inside, tail) = tail.split_once('}').ok_or_else(|| format!("`{at}` has no closing brace"))?;
            out.push_str(&variable(inside, &lookup)?);
            rest = tail;
        } else {
            out.push('$');
            rest = at.strip_prefix('$').unwrap_or_default();
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The value of what stands between the braces.
fn variable(inside: &str, lookup: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, otherwise) = match inside.split_once(':') {
        Some((name, otherwise)) => (name, Some(otherwise)),
        None => (inside, None),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`${{{inside}}}` names no variable: use letters, digits and underscores"));
    }
    let value = lookup(name).filter(|value| !value.is_empty());
    match otherwise.map(|otherwise| (otherwise.strip_prefix('-'), otherwise.strip_prefix('?'))) {
        None => value
            .ok_or_else(|| format!("environment variable {name} is not set: set it, or write ${{{name}:-default}}")),
        Some((Some(default), _)) => Ok(value.unwrap_or_else(|| default.to_owned())),
        Some((_, Some(message))) => value.ok_or_else(|| {
            let colon = if message.is_empty() { "" } else { ": " };
            format!("environment variable {name} is not set{colon}{message}")
        }),
        Some(_) => Err(format!("`${{{inside}}}` is not understood: after the colon comes -default or ?message")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<String, String> {
        expand(text, |name| match name {
            "A" => Some("alpha".to_owned()),
            "BRACES" => Some("${A}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_defaults_and_dollar_signs_expand_once() {
        for (text, expected) in [
            ("${A}", "alpha"),
            ("x-${A}-${A}", "x-alpha-alpha"),
            ("${NO:-beta}", "beta"),
            ("${EMPTY:-beta}", "beta"),
            ("${NO:-}", ""),
            ("${A:?needed}", "alpha"),
            ("${BRACES}", "${A}"),
            ("$$ $${A} $5 a$", "$ ${A} $5 a$"),
        ] {
            assert_eq!(with(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_says_why() {
        for (text, part) in [
            ("${NO}", "NO is not set"),
            ("${NO:?get one from the operator}", "get one from the operator"),
            ("${A", "no closing brace"),
            ("${}", "names no variable"),
            ("${1A}", "names no variable"),
            ("${A:+b}", "is not understood"),
            ("${NO:+b}", "is not understood"),
        ] {
            let error = with(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
