//! Runs the examples that a directory's fingerprints carry: the corpus checks the reader, and the reader the corpus.

use std::io::Read;
use std::path::{Component, Path};

use data_encoding::BASE64;

use super::read::{Entry, Example, Fingerprints};
use super::{FILE_BYTES_MAX, Recog, RecogError, read, read_file, xml_files};

/// What running a directory's examples gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Fingerprint files.
    pub files: usize,
    /// Fingerprints.
    pub fingerprints: usize,
    /// Examples.
    pub examples: usize,
    /// Examples that their own fingerprint matches with all their attributes.
    pub examples_right: usize,
    /// Attributes of all examples.
    pub attributes: usize,
    /// Attributes that came out as the example says.
    pub attributes_right: usize,
    /// Examples for which the whole file's search gives the same parameters: no earlier fingerprint takes them away.
    pub first: usize,
    /// What went wrong, a line each with file and line number.
    pub problems: Vec<String>,
}

/// Runs every example of every file of a directory: its own fingerprint must match it, with every attribute it names.
///
/// # Errors
///
/// As [`Recog::load`]. An example that does not match is no error but a line in [`Checked::problems`].
pub fn check_examples(directory: &Path) -> Result<Checked, RecogError> {
    let recog = Recog::load(directory)?;
    let mut checked = Checked::default();
    for path in xml_files(directory)? {
        let text = read_file(&path)?;
        let Some(file) = read::read(&path, &text, true)? else { continue };
        checked.files += 1;
        checked.fingerprints += file.entries.len();
        for entry in &file.entries {
            check(&path, &file, entry, &recog, &mut checked);
        }
    }
    Ok(checked)
}

fn check(path: &Path, file: &Fingerprints, entry: &Entry, recog: &Recog, checked: &mut Checked) {
    let regex = match &entry.pattern {
        Ok(pattern) => pattern.compile().ok_or_else(|| "the pattern is too large".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    for example in &entry.examples {
        checked.examples += 1;
        checked.attributes += example.expected.len();
        let problem = |what: String| format!("{}:{}: {what}", file.name, example.line);
        let text = match (text_of(path, example), &regex) {
            (Ok(text), Ok(_)) => text,
            (Err(what), _) => {
                checked.problems.push(problem(what));
                continue;
            }
            (_, Err(what)) => {
                checked.problems.push(problem(what.clone()));
                continue;
            }
        };
        let captures = regex.as_ref().ok().and_then(|regex| regex.captures(&text));
        let Some(captures) = captures else {
            checked.problems.push(problem("the fingerprint does not match its example".to_owned()));
            continue;
        };
        let filled = entry.fingerprint.fill(&captures);
        let mut is_right = true;
        for (name, expected) in &example.expected {
            let got = filled.get(name);
            if got == Some(expected) {
                checked.attributes_right += 1;
            } else {
                is_right = false;
                checked.problems.push(problem(format!("{name} is {got:?}, the example says {expected:?}")));
            }
        }
        checked.examples_right += usize::from(is_right);
        checked.first += usize::from(recog.matches(&file.kind, &text).is_some_and(|first| first == filled));
    }
}

/// An example's text: in place or in a file of its own, and decoded when it is base64.
fn text_of(path: &Path, example: &Example) -> Result<Vec<u8>, String> {
    let bytes = match &example.file_name {
        None => example.text.clone().into_bytes(),
        Some(name) => {
            let is_plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            if !is_plain {
                return Err(format!("{name:?} leads out of the directory of examples"));
            }
            let file = path.with_extension("").join(name);
            let mut bytes = Vec::new();
            let read = std::fs::File::open(&file).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
            read.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            bytes
        }
    };
    if !example.is_base64 {
        return Ok(bytes);
    }
    let letters: Vec<u8> = bytes.into_iter().filter(|b| !b.is_ascii_whitespace()).collect();
    BASE64.decode(&letters).map_err(|error| format!("not base64: {error}"))
}
