//! Standard output: data only, and quiet when its reader has gone.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use pentora_scanner::finding::Printable;

use crate::failure::{ExitCode, Failure};

/// Where data goes, and what its terminal can show.
pub(super) struct Output {
    writer: Box<dyn Write + Send>,
    /// Whether tables may draw boxes with characters beyond ASCII.
    pub(super) unicode: bool,
    /// Whether a person looks at it as it comes.
    pub(super) terminal: bool,
}

impl Output {
    /// Standard output, buffered; characters as the locale of `env` allows.
    pub(super) fn stdout(env: &BTreeMap<String, String>) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self { writer: Box::new(io::BufWriter::new(stdout)), unicode: is_utf8(env), terminal }
    }

    /// Output into `writer`, for tests.
    #[cfg(test)]
    pub(super) fn to(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Box::new(writer), unicode: true, terminal: false }
    }

    /// Writes `text` and flushes.
    ///
    /// # Errors
    /// [`output_failure`].
    pub(super) fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.writer
            .write_all(text.as_bytes())
            .and_then(|()| self.writer.flush())
            .map_err(|error| output_failure(&error))
    }

    /// How many columns a line may have: the terminal's, or what a pager and a printed page show.
    pub(super) fn columns(&self) -> usize {
        const ELSEWHERE: usize = 100;
        let of_terminal = self.terminal.then(terminal_size::terminal_size).flatten();
        of_terminal.map_or(ELSEWHERE, |(terminal_size::Width(columns), _)| columns.into())
    }

    /// How many lines the terminal has; none where output goes elsewhere.
    pub(super) fn lines(&self) -> Option<usize> {
        let of_terminal = self.terminal.then(terminal_size::terminal_size).flatten();
        of_terminal.map(|(_, terminal_size::Height(lines))| lines.into())
    }

    /// The writer itself, for report writers.
    pub(super) fn writer(&mut self) -> &mut (dyn Write + Send) {
        &mut self.writer
    }
}

/// A failed write: quiet success where the reader has gone (`| head`), else a failure.
pub(super) fn output_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::quiet(ExitCode::Ok),
        _ => Failure::new(ExitCode::Failure, format!("standard output cannot be written: {error}")),
    }
}

/// The same of results, and of whatever else is wanted whole: a reader that has gone lacks a part of them, which a script may know,
/// and whoever closed the pipe need not be told.
pub(super) fn unread_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::quiet(ExitCode::Failure),
        _ => output_failure(error),
    }
}

/// Whether the locale is UTF-8: the first of these that is set decides (POSIX, "Environment Variables").
fn is_utf8(env: &BTreeMap<String, String>) -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| env.get(*name).filter(|value| !value.is_empty()));
    let locale = locale.map(|locale| locale.to_ascii_lowercase().replace('-', "")).unwrap_or_default();
    locale.contains("utf8")
}

/// Text from a node, harmless on a terminal.
pub(super) fn clean(text: &str) -> String {
    Printable(text).to_string()
}

/// A number with commas between groups of three: `2,456`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with what it counts: `1 open port`, `2,456 open ports`.
pub(super) fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `part` of `whole` in percent, with two digits: `24.56`. Nothing of nothing is all of it.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_in_threes() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (2456, "2,456"), (10_000, "10,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn the_first_locale_variable_decides_about_boxes() {
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert!(is_utf8(&env(&[("LANG", "en_US.UTF-8")])) && is_utf8(&env(&[("LC_ALL", "C.utf8"), ("LANG", "C")])));
        assert!(!is_utf8(&env(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")])) && !is_utf8(&env(&[])));
    }

    #[test]
    fn a_reader_that_has_gone_ends_the_command_quietly_and_a_full_disk_does_not() {
        let quiet = output_failure(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(quiet.is_quiet() && quiet.exit == ExitCode::Ok);
        let unread = unread_failure(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(unread.is_quiet() && unread.exit == ExitCode::Failure);
        let full = output_failure(&io::Error::from(io::ErrorKind::StorageFull));
        assert!(!full.is_quiet() && full.exit == ExitCode::Failure);
    }
}
