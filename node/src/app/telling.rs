//! Whom a node tells of its part in each job's way, where its configuration names somebody.

use crate::config::TelemetrySettings;
use crate::data_dir::NodeIdentity;
use crate::failure::{ExitCode, Failure};
use crate::traces::{Exporter, Line, Teller, Traces};

/// The way to the collector; made before anything is opened, so that a file which cannot be read ends the start.
pub(super) fn line(telemetry: &TelemetrySettings) -> Result<Option<Line>, Failure> {
    let line = telemetry.collector().map(|collector| Line::to(&collector)).transpose();
    line.map_err(|error| {
        Failure::new(ExitCode::Config, "the collector of telemetry.otlp cannot be used")
            .because(error.to_string())
            .next("telemetry.ca_file names the authorities to trust there; without telemetry.otlp nobody is told anything")
    })
}

/// Where this node's spans are told, and what sends them.
pub(super) fn begin(line: Option<Line>, identity: &NodeIdentity) -> (Traces, Option<Exporter>) {
    let Some(line) = line else { return (Traces::default(), None) };
    let teller = Teller { cluster: identity.cluster, node: identity.node, name: identity.name.clone() };
    let (exporter, traces) = line.exporter(teller);
    (traces, Some(exporter))
}
