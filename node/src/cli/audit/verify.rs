//! Verifies an export of the audit log, line by line, with nothing but the file.

use std::io::BufRead;

use pentora_p2p::PeerId;
use pentora_raft::state::chained;
use pentora_raft::{ClusterId, Digest};
use pentora_scanner::finding::plain_text;

use crate::document::{AuditDocument, AuditLine, end_statement};

/// The longest line of an export, in bytes: an entry's texts are bounded, and JSON writes a byte as six at most.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// An export that is whole and unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    /// Which cluster's.
    pub(super) cluster: ClusterId,
    /// The clusters of which that one is what was kept.
    before: Vec<ClusterId>,
    /// How many entries are not in it because the cluster did not keep them any more.
    pub(super) gone: u64,
    /// The digest of the last of those.
    pub(super) gone_digest: Digest,
    /// The number of its last entry.
    pub(super) last: u64,
    /// The digest of that.
    pub(super) digest: Digest,
    /// The key of the node that signed it.
    pub(super) signer: String,
    /// The digests of its entries, in their order.
    digests: Vec<Digest>,
}

/// Why an export cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("line {line}: {source}")]
    Unreadable { line: usize, source: std::io::Error },
    #[error("line {line} is no line of an audit export: {}", plain_text(&.source.to_string()))]
    NoLine { line: usize, source: serde_json::Error },
    #[error("line {line} is longer than any line of an export")]
    TooLong { line: usize },
    #[error("line {line}: {what}")]
    Odd { line: usize, what: &'static str },
    #[error(
        "line {line}: entry {found} stands where entry {wanted} should: entries are missing, doubled or out of order"
    )]
    Number { line: usize, found: u64, wanted: u64 },
    #[error("line {line}: entry {number} was changed, or one before it")]
    Changed { line: usize, number: u64 },
    #[error("it was cut short: the signed line at its end is missing")]
    Cut,
    #[error("its signature is not that of the node that it names")]
    Signature,
}

impl Verified {
    /// Whether this export goes on where `earlier` ended, or before that, with the same entries where both have them.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn goes_on_from(&self, earlier: &Self) -> Result<(), String> {
        if self.cluster != earlier.cluster && !self.before.contains(&earlier.cluster) {
            return Err("the two exports are of different clusters".into());
        }
        if self.gone > earlier.last {
            return Err(format!("entries {} to {} are in neither of the two", earlier.last + 1, self.gone));
        }
        if self.last < earlier.last {
            return Err(format!(
                "it ends at entry {}, before the earlier one, which ends at {}",
                self.last, earlier.last
            ));
        }
        if self.digest_of(earlier.last) == Some(earlier.digest) {
            Ok(())
        } else {
            Err(format!("up to entry {} it is not the same as the earlier one: the log was rewritten", earlier.last))
        }
    }

    fn digest_of(&self, number: u64) -> Option<Digest> {
        match number.checked_sub(self.gone)? {
            0 => Some(self.gone_digest),
            place => self.digests.get(usize::try_from(place - 1).ok()?).copied(),
        }
    }
}

/// Reads an export to its end.
///
/// # Errors
/// [`Broken`].
pub(super) fn verify(mut file: impl BufRead) -> Result<Verified, Broken> {
    let mut verified: Option<Verified> = None;
    let mut at = 0;
    loop {
        at += 1;
        let Some(line) = next_line(&mut file, at)? else { return Err(Broken::Cut) };
        let odd = |what| Broken::Odd { line: at, what };
        match (line, &mut verified) {
            (AuditLine::Begin { cluster, before, gone, gone_digest }, None) => {
                let gone_digest = digest(&gone_digest).ok_or(odd("it has no digest"))?;
                verified = Some(Verified {
                    cluster: id(&cluster).ok_or(odd(NO_ID))?,
                    before: before.iter().map(|text| id(text)).collect::<Option<_>>().ok_or(odd(NO_ID))?,
                    gone,
                    gone_digest,
                    last: gone,
                    digest: gone_digest,
                    signer: String::new(),
                    digests: Vec::new(),
                });
            }
            (AuditLine::Begin { .. }, Some(_)) => return Err(odd("the export begins twice")),
            (_, None) => return Err(odd("the line that an export begins with is missing")),
            (AuditLine::Entry(entry), Some(verified)) => verified.take(&entry, at)?,
            (AuditLine::End { last, digest: end, signer, signature }, Some(whole)) => {
                if last != whole.last || digest(&end) != Some(whole.digest) {
                    return Err(odd("the entries before it are not all of those that were signed"));
                }
                let statement = end_statement(
                    (whole.cluster, &whole.before),
                    (whole.gone, &whole.gone_digest),
                    (last, &whole.digest),
                );
                let signed = signer.parse::<PeerId>().ok().zip(hex::decode(signature).ok());
                if !signed.is_some_and(|(peer, signature)| peer.verify(&statement, &signature)) {
                    return Err(Broken::Signature);
                }
                if next_line(&mut file, at + 1)?.is_some() {
                    return Err(Broken::Odd { line: at + 1, what: "there is something behind the end" });
                }
                whole.signer = signer;
                return Ok(whole.clone());
            }
        }
    }
}

impl Verified {
    fn take(&mut self, entry: &AuditDocument, line: usize) -> Result<(), Broken> {
        let wanted = self.last.saturating_add(1);
        if entry.number != wanted {
            return Err(Broken::Number { line, found: entry.number, wanted });
        }
        let changed = Broken::Changed { line, number: entry.number };
        let Some(content) = entry.entry() else { return Err(changed) };
        let made = chained(&self.digest, entry.number, entry.at_ms, &content);
        // The time in words is not in the digest, so it is held to the number that is.
        if digest(&entry.digest) != Some(made) || entry.at != crate::clock::rfc3339(entry.at_ms) {
            return Err(changed);
        }
        (self.last, self.digest) = (entry.number, made);
        self.digests.push(made);
        Ok(())
    }
}

fn next_line(file: &mut impl BufRead, line: usize) -> Result<Option<AuditLine>, Broken> {
    let mut text = Vec::new();
    let read = std::io::Read::take(&mut *file, LINE_BYTES_MAX).read_until(b'\n', &mut text);
    if read.map_err(|source| Broken::Unreadable { line, source })? == 0 {
        return Ok(None);
    }
    if !text.ends_with(b"\n") {
        return Err(if text.len() as u64 == LINE_BYTES_MAX { Broken::TooLong { line } } else { Broken::Cut });
    }
    let odd = |source| Broken::NoLine { line, source };
    let read: AuditLine = serde_json::from_slice(&text).map_err(odd)?;
    // What is not read is in no digest either, and anybody could have put it there.
    let whole: serde_json::Value = serde_json::from_slice(&text).map_err(odd)?;
    if serde_json::to_value(&read).map_err(odd)? != whole {
        return Err(Broken::Odd {
            line,
            what: "it has something in it that no line of an export has, and no digest is of",
        });
    }
    Ok(Some(read))
}

/// Why a text is no id.
const NO_ID: &str = "it names a cluster by what is no cluster's id";

fn id(text: &str) -> Option<ClusterId> {
    text.parse().ok()
}

fn digest(text: &str) -> Option<Digest> {
    let bytes = hex::decode(text).ok()?;
    Some(Digest(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_p2p::Identity;
    use pentora_raft::State;
    use pentora_raft::command::{AuditEntry, Author, Command, Outcome, Proposal};

    fn of(cluster: u8) -> ClusterId {
        ClusterId([cluster; 16])
    }

    /// An export of `count` entries, the first `gone` of them not kept any more.
    fn exported(count: u64, gone: u64) -> Vec<String> {
        exported_of(1, &[], count, gone)
    }

    /// The same of a cluster that was others before.
    fn exported_of(cluster: u8, clusters_before: &[u8], count: u64, gone: u64) -> Vec<String> {
        let (cluster, clusters_before) = (of(cluster), clusters_before.iter().map(|id| of(*id)).collect::<Vec<_>>());
        let mut state = State::default();
        for number in 1..=count {
            let author = Author { who: "ci".into(), from: "10.0.0.9".into() };
            let action = format!("POST /api/v1/scans/{number}");
            let outcome = match number % 3 {
                0 => Outcome::Refused { status: 403 },
                1 => Outcome::Asked,
                _ => Outcome::Answered { asked: number - 1, status: 202 },
            };
            let entry = AuditEntry { author, action, object: format!("name=n{number}"), outcome, times: 1 };
            let command = Command::NoteAudit { batch: number, entries: vec![entry] };
            state.apply(number, &Proposal { at_ms: 1_700_000_000_000 + number, command });
        }
        let signer = Identity::from_secret([3; 32]);
        let ends = state.audit_ends();
        let before =
            state.audit(0).filter(|(number, _)| *number <= gone).last().map_or(Digest([0; 32]), |(_, it)| it.digest);
        let statement = end_statement((cluster, &clusters_before), (gone, &before), (ends.last, &ends.digest));
        let begin = AuditLine::Begin {
            cluster: cluster.to_string(),
            before: clusters_before.iter().map(ToString::to_string).collect(),
            gone,
            gone_digest: hex::encode(before.0),
        };
        let end = AuditLine::End {
            last: ends.last,
            digest: hex::encode(ends.digest.0),
            signer: signer.peer_id().to_string(),
            signature: hex::encode(signer.sign(&statement)),
        };
        let entries = state.audit(gone).map(|(number, record)| AuditLine::Entry(AuditDocument::of(number, record)));
        let lines = std::iter::once(begin).chain(entries).chain([end]);
        lines.map(|line| serde_json::to_string(&line).unwrap()).collect()
    }

    fn check(lines: &[String]) -> Result<Verified, Broken> {
        verify(lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes())
    }

    #[test]
    fn an_export_is_whole_or_the_line_that_is_not_is_named() {
        let lines = exported(7, 0);
        assert_eq!(check(&lines).unwrap().last, 7);
        assert_eq!(check(&exported(7, 4)).unwrap().gone, 4);
        assert_eq!(check(&exported(0, 0)).unwrap().last, 0);
        let without = |place: usize| [&lines[..place], &lines[place + 1..]].concat();
        let swapped = |one: usize, other: usize| {
            let mut lines = lines.clone();
            lines.swap(one, other);
            lines
        };
        let changed = |place: usize, from: &str, to: &str| {
            let mut lines = lines.clone();
            assert!(lines[place].contains(from), "{}", lines[place]);
            lines[place] = lines[place].replace(from, to);
            lines
        };
        for (bad, part) in [
            (without(0), "begins with is missing"),
            (without(3), "entry 4 stands where entry 3"),
            (without(7), "are not all of those"),
            (without(8), "cut short"),
            (lines[..4].to_vec(), "cut short"),
            (swapped(2, 3), "entry 3 stands where entry 2"),
            (changed(0, "{\"begin\":{", "{\"begin\":{\"note\":1,"), "no digest is of"),
            (changed(4, "{\"entry\":{", "{\"entry\":{\"approved_by\":\"root\","), "no digest is of"),
            (changed(8, "{\"end\":{", "{\"end\":{\"note\":null,"), "no digest is of"),
            (changed(4, "POST", "GET"), "entry 4 was changed"),
            (changed(4, "\"ci\"", "\"cj\""), "entry 4 was changed"),
            (changed(3, "403", "404"), "entry 3 was changed"),
            (changed(2, "name=n2", "name=n3"), "entry 2 was changed"),
            (changed(0, "\"gone\"", &format!("\"before\":[\"{}\"],\"gone\"", of(9))), "signature"),
            (changed(2, "answered", "asked"), "entry 2 was changed"),
            (changed(5, "2023-", "2024-"), "entry 5 was changed"),
            (changed(0, &of(1).to_string(), &of(2).to_string()), "signature"),
            (changed(0, &of(1).to_string(), "c1"), "no cluster's id"),
            (changed(0, &of(1).to_string(), &format!("{},{}", of(1), of(2))), "no cluster's id"),
            ([lines.clone(), vec![lines[1].clone()]].concat(), "behind the end"),
            ([vec![lines[0].clone()], lines.clone()].concat(), "begins twice"),
            (vec!["{}".into()], "no line of an audit export"),
            (vec!["x".repeat(20_000)], "longer than any"),
        ] {
            let error = check(&bad).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
        let mut half = lines.join("\n");
        half.truncate(half.len() - 9);
        assert!(matches!(verify(half.as_bytes()), Err(Broken::Cut)));
    }

    #[test]
    fn a_cluster_before_cannot_be_shifted_into_the_name_of_the_one_that_signed() {
        let lines = exported_of(3, &[2], 5, 0);
        check(&lines).unwrap();
        let shifted =
            lines[0].replace(&format!("\"{}\",\"before\":[\"{}\"]", of(3), of(2)), &format!("\"{},{}\"", of(3), of(2)));
        assert_ne!(shifted, lines[0]);
        let error = check(&[vec![shifted], lines[1..].to_vec()].concat()).unwrap_err().to_string();
        assert!(error.contains("no cluster's id"), "{error}");
    }

    #[test]
    fn an_export_goes_on_from_an_earlier_one_of_the_same_log_and_from_no_other() {
        let all = check(&exported(9, 0)).unwrap();
        let earlier = check(&exported(5, 0)).unwrap();
        all.goes_on_from(&earlier).unwrap();
        check(&exported(9, 5)).unwrap().goes_on_from(&earlier).unwrap();
        check(&exported(9, 3)).unwrap().goes_on_from(&earlier).unwrap();
        let lost = check(&exported(9, 6)).unwrap().goes_on_from(&earlier).unwrap_err();
        assert!(lost.contains("entries 6 to 6 are in neither"), "{lost}");
        assert!(earlier.goes_on_from(&all).unwrap_err().contains("before the earlier one"));
        let other = Verified { digest: Digest([1; 32]), ..earlier.clone() };
        assert!(all.goes_on_from(&other).unwrap_err().contains("rewritten"));
        let restored = check(&exported_of(3, &[2, 1], 9, 0)).unwrap();
        restored.goes_on_from(&earlier).unwrap();
        assert!(all.goes_on_from(&restored).unwrap_err().contains("different clusters"), "not the other way");
        let foreign = Verified { cluster: of(2), ..earlier };
        assert!(all.goes_on_from(&foreign).unwrap_err().contains("different clusters"));
    }
}
