//! Records held against the feeds that are in use now: a new feed needs no new scan.
//!
//! What a scan saw by itself (exposures) stays as it was seen. What follows from advisories is worked out anew, when a
//! unit is done and whenever its records are read.

use pentora_scanner::finding::{HostRecord, ServiceMethod, Weakness};
use pentora_scanner::vuln::exposure::{METHOD_CHECKED, METHOD_ENDED, METHOD_SEEN};
use pentora_scanner::vuln::matching::Matcher;

use super::FeedStore;
use crate::results::report::Revise;

/// Matches records against the feeds of this node, as they are when it is made.
#[derive(Debug)]
pub struct Rematch {
    matcher: Option<Matcher<FeedStore>>,
}

impl Rematch {
    /// Over the feeds in `store`, or over none: then records keep what they have.
    #[must_use]
    pub fn new(store: Option<FeedStore>) -> Self {
        Self { matcher: store.map(Matcher::new) }
    }

    /// Replaces what follows from advisories in a record. A store that cannot be read leaves the rest as it is.
    pub fn record(&mut self, record: &mut HostRecord) {
        let Some(matcher) = &mut self.matcher else { return };
        for port in &mut record.ports {
            let Some(service) = port.service.as_ref().filter(|service| service.method == ServiceMethod::Probed) else {
                continue;
            };
            match matcher.weaknesses(service) {
                Ok(found) => {
                    port.weaknesses.retain(is_seen);
                    port.weaknesses.extend(found);
                    port.weaknesses.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a service is not matched with the feeds");
                    self.matcher = None;
                    return;
                }
            }
        }
    }

    /// The same, to hand on to whoever reads records.
    #[must_use]
    pub fn into_revise(mut self) -> Revise {
        Box::new(move |record| self.record(record))
    }
}

/// Whether a scan saw it, so that no feed changes it.
pub(super) fn is_seen(weakness: &Weakness) -> bool {
    [METHOD_SEEN, METHOD_CHECKED, METHOD_ENDED].contains(&weakness.method.as_str())
}
