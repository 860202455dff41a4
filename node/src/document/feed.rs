//! `/feeds`: what data the cluster matches with.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One feed of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeedDocument {
    /// `cve`, `osv`, `nvd`, `kev`, `epss`, `recog`, `probes` or `exposures`.
    pub kind: String,
    /// Where its records are from, in the importer's words.
    pub source: String,
    /// How many records it has.
    pub records: u64,
    /// Size of its bundle.
    pub bytes: u64,
    /// BLAKE3 digest of its bundle.
    pub digest: String,
    /// When it was taken in, RFC 3339.
    pub imported_at: String,
    /// Name of the node that took it in and signed it, or its mesh identity where that node is gone.
    pub signer: String,
    /// Whether the node that answers has it in use.
    pub in_use: bool,
}
