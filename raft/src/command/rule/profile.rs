//! Profiles: options of a scan under a name. What the options are is opaque here, as a job's spec is.

use serde::{Deserialize, Serialize};

/// Options of a scan under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRule {
    /// As a document of the API, in JSON.
    pub options: String,
}

/// The longest options, in bytes. Ours: a list of thousands of ports.
const OPTIONS_BYTES_MAX: usize = 32 << 10;

impl ProfileRule {
    /// What is wrong with it, or `None`.
    pub(super) fn problem(&self) -> Option<String> {
        (self.options.is_empty() || self.options.len() > OPTIONS_BYTES_MAX)
            .then(|| format!("a profile's options have 1 to {OPTIONS_BYTES_MAX} bytes"))
    }
}
