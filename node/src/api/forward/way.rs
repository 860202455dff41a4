//! Which member a request goes to, and which is next where that one is silent: one that is frozen, or whose machine is gone, does not
//! hang up.
//!
//! What was never taken is asked of the next one, whatever it is. What was taken is asked again where that changes nothing: what only
//! reads, and what carries a key of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pentora_p2p::{FrameStream, OpenError};
use pentora_raft::NodeId;

use super::super::ApiError;
use super::{ANSWER_WITHIN, unreachable};
use crate::rpc::calls::{ApiAnswer, ApiCall};

/// How long a member may take to open a stream that it is connected for: as long as a gateway may be silent.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// How long the next ones may take, while nobody is known to lead: they only tell what they have.
const OPEN_UNLED_WITHIN: Duration = Duration::from_millis(500);
/// How long the next member is looked for.
const NEXT_WITHIN: Duration = Duration::from_secs(4);
/// How long a member that was silent is passed over while there are others. Ours: connections that are dead are ended in about that.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// How long to wait before it is looked again whether a gateway is lost, whose loss is told sooner, and before the next member is asked
/// where no loss is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// How long what may not be asked twice waits for its answer behind the loss of its gateway, which may be slow and not gone.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(3);

/// Members that were silent lately, and since when. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::api) struct Silent(Arc<Mutex<BTreeMap<NodeId, Instant>>>);

impl Silent {
    fn note(&self, member: NodeId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(member, Instant::now());
    }

    fn has(&self, member: NodeId) -> bool {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|_, since| since.elapsed() < SILENT_FOR);
        silent.contains_key(&member)
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) call: ApiCall,
    pub(super) body: Bytes,
    pub(super) is_read: bool,
    /// Whether an answer will do that is not the newest.
    pub(super) is_stale: bool,
}

impl Asked {
    /// Whether it may be asked twice.
    fn may_repeat(&self) -> bool {
        self.is_read || self.call.headers.iter().any(|(name, _)| name == "idempotency-key")
    }

    /// Whether a member that is asked is left as soon as another is the one to ask, who is `now` while it is asked. A stale answer also
    /// comes from a member beside that one: it would be left before it can answer.
    fn is_of_the_way(&self, member: NodeId, now: Option<NodeId>) -> bool {
        !self.is_stale || now.is_none_or(|now| now == member)
    }
}

/// Whether a member that opened no stream is silent. One that has no place for more is well, and has one soon.
fn tells_silence(error: &OpenError) -> bool {
    !matches!(error, OpenError::Busy { .. })
}

/// A member that is asked, or why it is none that leads, or that knows who does.
type Way = (NodeId, Option<ApiError>);

impl super::Gateway {
    /// Which member is asked: one that knows a leader, and where a stale answer will do, the one that this node is shown the log by,
    /// or any that it is connected to. Where nobody leads, reads go on from what such a member has, as they do at that member.
    async fn member_for(&self, asked: &Asked) -> Result<Way, ApiError> {
        let node = &self.node;
        let alive =
            || node.raft.gateway().filter(|member| !self.silent.has(*member)).or_else(|| self.connected_member());
        if asked.is_stale
            && let Some(member) = alive()
        {
            return Ok((member, None));
        }
        match node.proposer.way().await {
            Ok(member) => Ok((member, None)),
            Err(refused) => {
                let refused = ApiError::from(refused);
                match asked.is_read.then(alive).flatten() {
                    Some(member) => Ok((member, Some(refused))),
                    None => Err(refused),
                }
            }
        }
    }

    fn connected_member(&self) -> Option<NodeId> {
        let mesh = self.node.mesh.as_ref()?;
        let is_connected = |peer: &str| peer.parse().is_ok_and(|peer| mesh.is_connected(peer));
        self.node.raft.read(|state| {
            let members = state.nodes().filter(|(_, node)| node.may_vote() && is_connected(&node.info.peer));
            members.map(|(id, _)| id).find(|id| !self.silent.has(*id))
        })
    }

    /// Asks a member, and the next one where that is silent.
    pub(super) async fn ask(&self, asked: &Asked) -> Result<(ApiAnswer, FrameStream), ApiError> {
        let end = Instant::now() + NEXT_WITHIN;
        loop {
            let (way, unled) = self.member_for(asked).await?;
            let is_unled = unled.is_some() || self.node.raft.way().is_none();
            let why = match self.ask_one(way, asked, is_unled).await? {
                Ok(answered) => return Ok(answered),
                Err(why) => why,
            };
            if Instant::now() >= end {
                return Err(unled.unwrap_or_else(|| unreachable(&why)));
            }
            if unled.is_none() && !asked.is_stale {
                // It may be silent and not known to be lost yet.
                let raft = &self.node.raft;
                let lost = async {
                    while raft.way() == Some(way) {
                        raft.status_changed(LOOK_AGAIN).await;
                    }
                };
                let left = end.saturating_duration_since(Instant::now());
                let _ = tokio::time::timeout(left.min(OPEN_WITHIN), lost).await;
            } else {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// What a member answers; or why it is silent, where another may be asked.
    async fn ask_one(
        &self,
        way: NodeId,
        asked: &Asked,
        is_unled: bool,
    ) -> Result<Result<(ApiAnswer, FrameStream), String>, ApiError> {
        let proposer = &self.node.proposer;
        let is_of_the_way = asked.is_of_the_way(way, self.node.raft.way());
        let (calls, peer) = proposer.reach(way).map_err(|why| unreachable(&why))?;
        let is_connected = self.node.mesh.as_ref().is_some_and(|mesh| mesh.is_connected(peer));
        let within = match (is_unled, is_connected) {
            (true, _) => OPEN_UNLED_WITHIN,
            (false, true) => OPEN_WITHIN,
            // It is dialed first, which has its own limit.
            (false, false) => ANSWER_WITHIN,
        };
        let stream = match tokio::time::timeout(within, calls.open_api(peer)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if !error.is_retryable() => return Err(unreachable(&error.to_string())),
            Ok(Err(error)) => {
                if tells_silence(&error) {
                    self.silent.note(way);
                }
                return Ok(Err(error.to_string()));
            }
            Err(_elapsed) => {
                self.silent.note(way);
                return Ok(Err(format!("node {way} is silent")));
            }
        };
        let answering = calls.api_stream(stream, asked.call.clone(), &asked.body, ANSWER_WITHIN);
        tokio::pin!(answering);
        let lost = async {
            if !is_of_the_way {
                std::future::pending::<()>().await;
            }
            proposer.succeeded(way).await;
            // What is large takes its time, also where its gateway is left for a nearer one.
            if !asked.may_repeat() && asked.body.len() as u64 > super::UNASKED_BYTES_MAX {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            answered = &mut answering => match answered {
                Ok(answered) => Ok(Ok(answered)),
                Err(error) => Err(unreachable(&error.to_string())),
            },
            () = lost => {
                if asked.may_repeat() {
                    return Ok(Err(format!("node {way} is silent")));
                }
                match tokio::time::timeout(LAST_WORD_WITHIN, answering).await {
                    Ok(Ok(answered)) => Ok(Ok(answered)),
                    Ok(Err(error)) => Err(unreachable(&error.to_string())),
                    Err(_elapsed) => Err(unreachable(&format!("node {way} fell silent; it may be done all the same"))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pentora_p2p::{Class, PeerId};

    use super::*;

    #[test]
    fn what_reads_and_what_has_a_key_may_be_asked_twice_and_other_orders_may_not() {
        let asked = |is_read, headers: &[&str]| {
            let headers = headers.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
            let call = ApiCall { method: "POST".into(), path: "/".into(), headers };
            Asked { call, body: Bytes::new(), is_read, is_stale: false }
        };
        assert!(asked(true, &[]).may_repeat() && asked(false, &["idempotency-key"]).may_repeat());
        assert!(!asked(false, &["authorization"]).may_repeat());
    }

    #[test]
    fn a_stale_answer_is_waited_for_from_a_member_that_is_asked_beside_the_gateway() {
        let asked = |is_stale| {
            let call = ApiCall { method: "GET".into(), path: "/".into(), headers: Vec::new() };
            Asked { call, body: Bytes::new(), is_read: true, is_stale }
        };
        assert!(!asked(true).is_of_the_way(4, Some(3)), "another is the one to ask all the while");
        assert!(asked(true).is_of_the_way(3, Some(3)), "it may be lost");
        assert!(asked(true).is_of_the_way(4, None), "somebody may lead again");
        assert!(asked(false).is_of_the_way(4, Some(3)), "what is not stale is asked of that one again");
    }

    #[test]
    fn a_member_that_has_no_place_for_more_is_not_taken_for_silent() {
        let (peer, class) = (PeerId::from_bytes([7; 32]), Class::Admin);
        assert!(!tells_silence(&OpenError::Busy { peer, class }));
        assert!(tells_silence(&OpenError::TimedOut { peer, class, after: OPEN_WITHIN }));
    }

    #[test]
    fn a_member_that_was_silent_is_passed_over_for_a_while() {
        let silent = Silent::default();
        silent.note(3);
        assert!(silent.has(3) && !silent.has(4));
        let long_ago = Instant::now().checked_sub(SILENT_FOR).unwrap();
        silent.0.lock().unwrap().insert(3, long_ago);
        assert!(!silent.has(3));
    }
}
