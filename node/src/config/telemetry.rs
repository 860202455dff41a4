//! `telemetry.*`: who is told what a node does. Nobody is, unless somebody says so.

use std::path::PathBuf;

use super::build::Values;
use super::{Secret, keys};
use crate::traces::{Collector, read_headers};

/// `telemetry.*`.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// Where spans are sent.
    pub(crate) otlp: Option<String>,
    /// File with the authorities to trust there.
    pub(crate) ca_file: Option<PathBuf>,
    /// Headers that are wanted there.
    pub(crate) headers: Option<Secret>,
    /// File with more of them.
    pub(crate) headers_file: Option<PathBuf>,
}

impl TelemetrySettings {
    pub(super) fn read(values: &Values<'_>) -> Self {
        Self {
            otlp: values.get(keys::TELEMETRY_OTLP),
            ca_file: values.get(keys::TELEMETRY_CA_FILE),
            headers: values.get(keys::TELEMETRY_HEADERS),
            headers_file: values.get(keys::TELEMETRY_HEADERS_FILE),
        }
    }

    /// The collector, if there is one.
    pub(crate) fn collector(&self) -> Option<Collector> {
        // What is wrong with them was told when the configuration was read.
        let headers = self.headers.as_ref().and_then(|text| read_headers(text.expose()).ok()).unwrap_or_default();
        self.otlp.clone().map(|url| Collector { url, ca_file: self.ca_file.clone(), headers })
    }
}
