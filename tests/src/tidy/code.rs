//! Rust text down to the code of the program: what is said in comments and strings, and what is there for tests alone.
//!
//! No parser: what is left out is overwritten with blanks, so that whatever is found stands in the line where the file
//! has it. That is enough for text that rustfmt has written and rustc accepts.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Tree;

/// What puts an item into tests alone.
const FOR_TESTS: &str = "#[cfg(test)]";

/// The files of the program under `folder` by their path from there, as code.
pub(super) fn files_under<'a>(tree: &'a Tree, folder: &str) -> Vec<(&'a str, String)> {
    let within = |path: &'a str| path.strip_prefix(folder)?.strip_prefix('/');
    let all = tree.ending(".rs").filter_map(|(path, text)| Some((within(path)?, text)));
    let mut files = Vec::new();
    let mut of_tests = BTreeSet::new();
    for (path, text) in all.filter(|(path, _)| !path.ends_with("_test.rs")) {
        let mut code = without_words(text);
        for name in blank_tests(&mut code) {
            of_tests.insert(format!("{}{name}", module_folder(path)));
        }
        files.push((path, code));
    }
    let is_of_tests = |path: &str| {
        of_tests
            .iter()
            .any(|module| path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
    };
    files.retain(|(path, _)| !is_of_tests(path));
    files
}

/// Where the modules that a file declares have their files.
fn module_folder(path: &str) -> String {
    match path.trim_end_matches(".rs") {
        "lib" | "main" => String::new(),
        module => format!("{module}/"),
    }
}

/// The text with comments, strings and characters blank.
fn without_words(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_words(text, at);
        match end {
            Some(end) => {
                blank(&mut bytes, at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where the comment, string or character that begins at `at` ends.
fn end_of_words(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let length = match rest.as_bytes().first()? {
        b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
        b'/' if rest.starts_with("/*") => end_of_block(rest),
        b'"' => end_of_string(rest),
        b'r' if !is_in_word(text, at) => end_of_raw_string(rest)?,
        b'\'' => end_of_character(rest)?,
        _ => return None,
    };
    Some(at + length)
}

/// Block comments nest.
fn end_of_block(rest: &str) -> usize {
    let mut depth = 0_usize;
    for (at, pair) in rest.as_bytes().windows(2).enumerate() {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at + 2;
        }
    }
    rest.len()
}

fn end_of_string(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn end_of_raw_string(rest: &str) -> Option<usize> {
    let fences = rest.bytes().skip(1).take_while(|byte| *byte == b'#').count();
    let within = rest.get(1 + fences..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(fences));
    Some(2 + fences + within.find(&end).map_or(within.len(), |at| at + end.len()))
}

/// A character, not a lifetime: what ends in a second quote.
fn end_of_character(rest: &str) -> Option<usize> {
    let mut within = rest.char_indices().skip(1);
    match within.next()?.1 {
        // The character behind the backslash may be a quote itself.
        '\\' => within.skip(1).find(|(_, letter)| *letter == '\'').map(|(at, _)| at + 1),
        _ => within.next().filter(|(_, letter)| *letter == '\'').map(|(at, _)| at + 1),
    }
}

/// Whether the letter at `at` goes on with a word: `r` in `for`, but not in `br"..."`.
fn is_in_word(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let before = before.strip_suffix(['b', 'c']).unwrap_or(before);
    before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

/// Blanks the items that are there for tests alone, and gives the names of those that are modules in files of their own.
fn blank_tests(code: &mut String) -> Vec<String> {
    let mut modules = Vec::new();
    while let Some(begin) = code.find(FOR_TESTS) {
        let item = begin + FOR_TESTS.len();
        let end = item + end_of_item(code.get(item..).unwrap_or_default());
        modules.extend(module_in_file(code.get(item..end).unwrap_or_default()));
        let mut bytes = std::mem::take(code).into_bytes();
        blank(&mut bytes, begin..end);
        *code = String::from_utf8_lossy(&bytes).into_owned();
    }
    modules
}

/// Where an item ends: at its semicolon, or behind its braces.
fn end_of_item(rest: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                // The brackets of a further attribute or of arguments end nothing.
                if depth == 0 && byte == b'}' {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The name in `mod name;`.
fn module_in_file(item: &str) -> Option<String> {
    let name = item.trim_end().strip_suffix(';')?.rsplit_once("mod ")?.1;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then(|| name.to_owned())
}

fn blank(bytes: &mut [u8], range: Range<usize>) {
    for byte in bytes.get_mut(range).unwrap_or_default() {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        without_words(text).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn comments_strings_and_characters_are_blank_and_lifetimes_are_not() {
        let text = "a // b\n/* c /* d */ e */ f \"g \\\" h\" i r#\"j \" k\"# l br\"m\" n '\"' o '\\'' p &'q r 'é' s\nfor \"t\"";
        assert_eq!(words(text), ["a", "f", "i", "l", "b", "n", "o", "p", "&'q", "r", "s", "for"]);
        assert_eq!(without_words(text).lines().count(), text.lines().count());
    }

    #[test]
    fn an_item_for_tests_is_blank_and_what_follows_is_not() {
        let mut code = "#[cfg(test)]\n#[path = \"x\"]\nuse a::{b, c};\nd\n#[cfg(test)]\nfn e(f: [u8; 2]) { g {} }\nh\n#[cfg(test)]\nmod i {\n  j;\n}\nk\n".to_owned();
        assert_eq!(blank_tests(&mut code), Vec::<String>::new());
        // Of an import in braces its semicolon stays, which is nothing.
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), [";", "d", "h", "k"]);
    }

    #[test]
    fn files_for_tests_alone_are_left_out_wherever_they_are_declared() {
        let tree = Tree::of(&[
            ("raft/src/lib.rs", "mod state;\n#[cfg(test)]\nmod fake;\n"),
            ("raft/src/fake.rs", "x"),
            ("raft/src/state.rs", "#[cfg(test)]\npub(crate) mod laws;\nmod table;\n"),
            ("raft/src/state/laws.rs", "x"),
            ("raft/src/state/laws/one.rs", "x"),
            ("raft/src/state/laws_of_land.rs", "x"),
            ("raft/src/state/table.rs", "x"),
            ("raft/src/state/table_test.rs", "x"),
            ("p2p/src/lib.rs", "x"),
        ]);
        let paths: Vec<&str> = files_under(&tree, "raft/src").into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["lib.rs", "state.rs", "state/laws_of_land.rs", "state/table.rs"]);
    }
}
