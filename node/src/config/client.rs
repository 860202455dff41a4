//! `client.*`: where the command line finds a cluster, and whom it believes there.

use std::path::PathBuf;

use super::build::Values;
use super::keys;
use crate::tls::Fingerprint;

/// `client.*`: read by the command line, not by a node.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// API addresses, separated by commas, tried in order.
    pub(crate) api: Option<String>,
    /// File with the API token.
    pub(crate) token_file: Option<PathBuf>,
    /// File with the authorities to trust.
    pub(crate) ca_file: Option<PathBuf>,
    /// The authority to trust.
    pub(crate) ca_fingerprint: Option<Fingerprint>,
}

impl ClientSettings {
    pub(super) fn read(values: &Values<'_>) -> Self {
        Self {
            api: values.get(keys::CLIENT_API),
            token_file: values.get(keys::CLIENT_TOKEN_FILE),
            ca_file: values.get(keys::CLIENT_CA_FILE),
            ca_fingerprint: values.get(keys::CLIENT_CA_FINGERPRINT),
        }
    }
}
