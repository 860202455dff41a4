//! The rules by which this node knows services and what is weak about them: the program's own, and those of feeds or of a user's
//! files: recog fingerprints, service probes, rules of exposure.

use std::path::Path;
use std::sync::Arc;

use pentora_scanner::detect::{Recog, RuleSet, ServiceProbes, SkippedMatch};
use pentora_scanner::vuln::exposure::Exposures;
use pentora_scanner::vuln::store::Row;

use super::{FeedKind, FeedStore, compile};
use crate::policy::own::OwnRules;

/// Whose questions are sent to what is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Questions {
    /// The program's own, and those of feeds.
    All,
    /// The program's own alone. Feeds tell only what an answer means.
    BuiltIn,
}

impl Questions {
    /// What the node's own file lets be sent: where it asks for signed orders, nobody has signed what a feed brings, and
    /// whoever leads can bring one.
    #[must_use]
    pub fn of(own: &OwnRules) -> Self {
        if own.signers().is_some() { Self::BuiltIn } else { Self::All }
    }
}

/// The program's rules with the feeds of `store` that are rules: recog fingerprints, service probes, rules of exposure.
///
/// # Errors
/// A feed that cannot be read or is no longer understood, in a sentence.
pub fn with_feed(store: Option<&FeedStore>, questions: Questions) -> Result<RuleSet, String> {
    let mut rules = RuleSet::builtin();
    let Some(store) = store else { return Ok(rules) };
    let rows = |kind| {
        let mut rows: Vec<Row> = Vec::new();
        let read = store.for_each(kind, |key, value| {
            rows.push(Row { key: key.to_vec(), value: value.to_vec() });
            Ok(())
        });
        read.map_err(|error| error.to_string()).map(|_| rows)
    };
    let recog = rows(FeedKind::Recog)?;
    if !recog.is_empty() {
        let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
        let files: Vec<(String, String)> =
            recog.iter().map(|row| Ok((utf8(&row.key)?, utf8(&row.value)?))).collect::<Result<_, String>>()?;
        let recog = Recog::of_files(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        rules = rules.with_recog(Arc::new(recog.map_err(|error| error.to_string())?));
    }
    if let Some(Row { key, value }) = rows(FeedKind::Probes)?.first() {
        let name = String::from_utf8_lossy(key).into_owned();
        let probes = ServiceProbes::of_bytes(Path::new(&name), value).map_err(|error| error.to_string())?;
        rules = rules.with_service_probes(Arc::new(match questions {
            Questions::All => probes,
            Questions::BuiltIn => probes.silent(),
        }));
    }
    let exposures = rows(FeedKind::Exposures)?;
    if !exposures.is_empty() {
        let exposures = compile::exposures_of(&exposures)?;
        rules = rules.with_exposures(Arc::new(match questions {
            Questions::All => exposures,
            Questions::BuiltIn => exposures.asking_for_built_in_alone(),
        }));
    }
    Ok(rules)
}

/// How many lines that are left out are named of each reason, and how many reasons.
const LINES_NAMED_MAX: usize = 5;
const REASONS_NAMED_MAX: usize = 5;

/// Rules with files of the user's.
#[derive(Debug)]
pub struct WithFiles {
    /// The rules.
    pub rules: RuleSet,
    /// What the user should know of the files.
    pub note: Option<String>,
}

/// A user's files of rules, each where it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    /// A folder of recog fingerprints.
    pub recog: Option<&'a Path>,
    /// A file of service probes.
    pub probes: Option<&'a Path>,
    /// A folder of rules of exposure, which take the place of a feed of such.
    pub exposures: Option<&'a Path>,
}

/// Rules with a user's files added.
///
/// # Errors
/// Files that cannot be used, in a sentence with file and line.
pub fn with_files(mut rules: RuleSet, Files { recog, probes, exposures }: Files<'_>) -> Result<WithFiles, String> {
    let mut note = None;
    if let Some(folder) = recog {
        let recog = Recog::load(folder).map_err(|error| error.to_string())?;
        rules = rules.with_recog(Arc::new(recog));
    }
    if let Some(file) = probes {
        let probes = ServiceProbes::read(file).map_err(|error| error.to_string())?;
        note = note_of(file, probes.skipped());
        rules = rules.with_service_probes(Arc::new(probes));
    }
    if let Some(folder) = exposures {
        let texts =
            compile::texts(folder, "toml", compile::FINGERPRINTS_BYTES_MAX).map_err(|error| error.to_string())?;
        if texts.is_empty() {
            return Err(format!("{}: there is no rule of exposure (*.toml) in it", folder.display()));
        }
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let exposures = Exposures::with_files(&texts).map_err(|error| format!("{}: {error}", folder.display()))?;
        rules = rules.with_exposures(Arc::new(exposures));
    }
    Ok(WithFiles { rules, note })
}

/// Which matches of a file of service probes are not used, and why; those of one reason together, in the order of their lines.
pub(super) fn note_of(file: &Path, skipped: &[SkippedMatch]) -> Option<String> {
    let mut reasons: Vec<(&str, Vec<usize>)> = Vec::new();
    for SkippedMatch { line, problem } in skipped {
        let is_full = reasons.len() >= REASONS_NAMED_MAX;
        match reasons.iter_mut().find(|(known, _)| known == problem) {
            Some((_, lines)) => lines.push(*line),
            None if is_full => {}
            None => reasons.push((problem.as_str(), vec![*line])),
        }
    }
    let named = reasons.iter().map(|(problem, lines)| {
        let shown: Vec<String> = lines.iter().take(LINES_NAMED_MAX).map(ToString::to_string).collect();
        let more = if lines.len() > shown.len() { ", ..." } else { "" };
        format!("line {}{more}: {problem}", shown.join(", "))
    });
    let told: usize = reasons.iter().map(|(_, lines)| lines.len()).sum();
    let rest = (told < skipped.len()).then(|| format!("and {} for other reasons", skipped.len() - told));
    let named: Vec<String> = named.chain(rest).collect();
    (!skipped.is_empty()).then(|| {
        let what = if skipped.len() == 1 { "match is" } else { "matches are" };
        format!("{}: {} {what} left out: {}", file.display(), skipped.len(), named.join("; "))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pentora_scanner::detect::{Detector, Options};
    use pentora_scanner::port::Protocol;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What a port is sent by a node with a feed of probes and these `questions`.
    async fn sent_with(store: &FeedStore, questions: Questions) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
        let target = listener.local_addr().expect("it is bound");
        let rules = with_feed(Some(store), questions).expect("a feed that can be used");
        let detector = Detector::new(Arc::new(rules), 8);
        let options = Options { budget: Duration::from_secs(2), ..Options::default() };
        let mut got = Vec::new();
        let listening = async {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read_to_end(&mut got).await;
            }
        };
        tokio::select! {
            _ = detector.identify(target, Protocol::Tcp, None, &options) => {}
            () = listening => {}
        }
        got
    }

    #[tokio::test]
    async fn a_node_that_asks_for_signed_orders_sends_no_question_of_a_feed() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let file = folder.path().join("theirs.probes");
        let text = "Probe TCP Theirs q|OVERWRITE|\nports 1-65535\nrarity 1\nmatch a m|^b| p/B/\n";
        std::fs::write(&file, text).expect("a file for the test");
        let bundle = compile::compile(FeedKind::Probes, &[file], 1).expect("a feed").bundle;
        let store = FeedStore::open(&folder.path().join("feeds")).expect("a store");
        store.replace(FeedKind::Probes, &bundle).expect("it is taken");
        let has_it = |sent: &[u8]| sent.windows(9).any(|window| window == b"OVERWRITE");
        assert_eq!(Questions::of(&OwnRules::default()), Questions::All);
        assert_eq!(Questions::of(&OwnRules::default().signed_by(Vec::new())), Questions::BuiltIn);
        assert!(has_it(&sent_with(&store, Questions::All).await), "else this test shows nothing");
        let own = sent_with(&store, Questions::BuiltIn).await;
        assert!(!own.is_empty() && !has_it(&own), "the program's own questions are sent: {}", own.escape_ascii());
    }

    #[test]
    fn matches_that_cannot_be_used_are_told_by_their_lines() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let file = folder.path().join("own.probes");
        let text = "\u{feff}# mine\r\nProbe TCP NULL q||\r\nmatch a m|^(.)\\1| p/A/\r\nmatch b m|^b| p/B/\r\nmatch c m|^c(?=d)| p/C/\r\n\
            match d m|^d\\x{20ac}| p/D/\r\nmatch e m|^e(?!f)| p/E/\r\nmatch f m|^f(| p/F/\r\n";
        std::fs::write(&file, text).expect("a file for the test");
        let found = with_files(RuleSet::builtin(), Files { probes: Some(&file), ..Files::default() })
            .expect("a file that can be used");
        let note = found.note.expect("five lines are not used");
        for words in [
            "own.probes: 5 matches are left out: line 3: a reference",
            "; line 5, 7: look-around",
            "; line 6: \\x{20ac} is a character of more than a byte",
            "; line 8: unclosed group",
        ] {
            assert!(note.contains(words), "{words} in {note}");
        }
    }
}
