//! `/audit`: what was asked of the API, and an export that can be verified without a node.

use std::io;

use super::paging::{Paging, rising};
use super::{ApiError, Node};
use crate::document::{AuditDocument, AuditLine, Page, end_statement};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pentora_p2p::Identity;
use pentora_raft::ClusterId;
use pentora_raft::state::AuditEnds;

pub(super) async fn list(State(node): State<Node>, paging: Paging) -> Result<Json<Page<AuditDocument>>, ApiError> {
    let after = paging.after_number("audit")?;
    node.raft.read(|state| {
        let entries = state.audit(after).map(|(number, record)| (rising(number), (number, record)));
        paging.part("audit", entries, |(number, record)| AuditDocument::of(number, record)).map(Json)
    })
}

/// Every entry that is kept, with the ends of the chain, signed by this node; in pieces, so that neither the log nor its text
/// is in memory as a whole. It breaks off where an entry went that was still to come, because its reader is slower than the log:
/// nobody takes a part for the whole.
pub(super) async fn export(State(node): State<Node>) -> Result<Response, ApiError> {
    let Some(signer) = node.signer.clone() else {
        return Err(ApiError::new(StatusCode::CONFLICT, "no_mesh", "an embedded node keeps no audit log"));
    };
    let raft = node.raft.clone();
    let export = raft.read(|state| {
        let before = state.cluster().former.clone();
        Export::of(state.audit_ends(), (node.cluster, before), signer)
    });
    let pieces = futures::stream::unfold((raft, export), |(raft, mut export)| async move {
        let piece = raft.read(|state| export.next(state))?;
        Some((piece, (raft, export)))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pieces)).into_response())
}

/// How many entries a piece of an export has: some hundred KiB of text at most, and a short look at the state.
const ENTRIES_PER_PIECE: usize = 256;

/// An export on its way.
struct Export {
    cluster: ClusterId,
    /// The clusters before it.
    before: Vec<ClusterId>,
    signer: Identity,
    ends: AuditEnds,
    /// The last entry that was written.
    at: u64,
    step: Step,
}

/// What of an export comes next.
enum Step {
    Begin,
    Entries,
    Done,
}

impl Export {
    fn of(ends: AuditEnds, (cluster, before): (ClusterId, Vec<ClusterId>), signer: Identity) -> Self {
        Self { cluster, before, signer, at: ends.gone, ends, step: Step::Begin }
    }

    /// The next lines; `None` after the last ones.
    fn next(&mut self, state: &pentora_raft::State) -> Option<io::Result<String>> {
        match self.step {
            Step::Done => None,
            Step::Begin => {
                self.step = Step::Entries;
                let (gone, gone_digest) = (self.ends.gone, hex::encode(self.ends.gone_digest.0));
                let before = self.before.iter().map(ToString::to_string).collect();
                let cluster = self.cluster.to_string();
                Some(Ok(line(&AuditLine::Begin { cluster, before, gone, gone_digest })))
            }
            Step::Entries if self.at >= self.ends.last => {
                self.step = Step::Done;
                Some(Ok(line(&self.end())))
            }
            Step::Entries => {
                let mut text = String::new();
                let due = state.audit(self.at).take_while(|(number, _)| *number <= self.ends.last);
                for (number, record) in due.take(ENTRIES_PER_PIECE) {
                    if number != self.at + 1 {
                        break;
                    }
                    self.at = number;
                    text.push_str(&line(&AuditLine::Entry(AuditDocument::of(number, record))));
                }
                if text.is_empty() {
                    self.step = Step::Done;
                    return Some(Err(io::Error::other(format!("audit entry {} is not kept any more", self.at + 1))));
                }
                Some(Ok(text))
            }
        }
    }

    fn end(&self) -> AuditLine {
        let AuditEnds { last, digest, gone, gone_digest } = &self.ends;
        let statement = end_statement((self.cluster, &self.before), (*gone, gone_digest), (*last, digest));
        AuditLine::End {
            last: *last,
            digest: hex::encode(digest.0),
            signer: self.signer.peer_id().to_string(),
            signature: hex::encode(self.signer.sign(&statement)),
        }
    }
}

fn line(line: &AuditLine) -> String {
    serde_json::to_string(line).expect("a document has only strings and numbers") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::State;
    use pentora_raft::command::{AuditEntry, Author, Command, Outcome, Proposal};
    use pentora_raft::state::AUDIT_AT_ONCE_MAX;

    fn note(state: &mut State, batches: std::ops::Range<u64>) {
        let entry = AuditEntry {
            author: Author::default(),
            action: "a".into(),
            object: String::new(),
            outcome: Outcome::Answered { asked: 1, status: 200 },
            times: 1,
        };
        for batch in batches {
            let command = Command::NoteAudit { batch, entries: vec![entry.clone(); AUDIT_AT_ONCE_MAX] };
            state.apply(batch, &Proposal { at_ms: 1, command });
        }
    }

    #[test]
    fn an_export_comes_in_pieces_to_the_end_that_it_began_with_and_breaks_off_where_an_entry_is_gone() {
        let mut state = State::default();
        note(&mut state, 1..11);
        let mut export = Export::of(state.audit_ends(), (ClusterId([7; 16]), Vec::new()), Identity::generate());
        let mut pieces = vec![export.next(&state).unwrap().unwrap(), export.next(&state).unwrap().unwrap()];
        assert_eq!(pieces[1].lines().count(), ENTRIES_PER_PIECE);
        note(&mut state, 11..12);
        while let Some(piece) = export.next(&state) {
            pieces.push(piece.unwrap());
        }
        let text = pieces.concat();
        assert_eq!(text.lines().count(), 10 * AUDIT_AT_ONCE_MAX + 2, "what came meanwhile is not in it");
        assert!(text.lines().last().unwrap().contains("signature"));

        let mut slow = Export::of(
            AuditEnds { last: 9_999, gone: 9_000, ..state.audit_ends() },
            (ClusterId([7; 16]), Vec::new()),
            Identity::generate(),
        );
        assert!(slow.next(&state).unwrap().is_ok());
        assert!(slow.next(&state).unwrap().unwrap_err().to_string().contains("audit entry 9001 is not kept any more"));
        assert!(slow.next(&state).is_none());
    }
}
