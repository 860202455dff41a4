//! `telemetry.*`: who is told what a node does. Nobody is, unless somebody says so.

use std::path::PathBuf;

use super::build::Values;
use super::keys;
use crate::traces::Collector;

/// `telemetry.*`.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// Where spans are sent.
    pub(crate) otlp: Option<String>,
    /// File with the authorities to trust there.
    pub(crate) ca_file: Option<PathBuf>,
}

impl TelemetrySettings {
    pub(super) fn read(values: &Values<'_>) -> Self {
        Self { otlp: values.get(keys::TELEMETRY_OTLP), ca_file: values.get(keys::TELEMETRY_CA_FILE) }
    }

    /// The collector, if there is one.
    pub(crate) fn collector(&self) -> Option<Collector> {
        self.otlp.clone().map(|url| Collector { url, ca_file: self.ca_file.clone() })
    }
}
