//! Whom a node tells of its part in each job's way, where its configuration names somebody.

use std::io::Read;
use std::path::Path;

use reqwest::header::HeaderMap;
use zeroize::Zeroizing;

use crate::config::TelemetrySettings;
use crate::data_dir::{NodeIdentity, is_secret};
use crate::durable_file;
use crate::failure::{ExitCode, Failure};
use crate::traces::{Exporter, Line, Teller, Traces, read_headers};

/// The largest file of headers, in bytes: what servers take of a request's head is less.
const HEADERS_BYTES_MAX: u64 = 16 << 10;

/// The way to the collector; made before anything is opened, so that a file which cannot be read ends the start.
pub(super) fn line(telemetry: &TelemetrySettings) -> Result<Option<Line>, Failure> {
    let unusable =
        |why: String| Failure::new(ExitCode::Config, "the collector of telemetry.otlp cannot be used").because(why);
    let Some(mut collector) = telemetry.collector() else { return Ok(None) };
    if let Some(path) = &telemetry.headers_file {
        let headers = headers_of(path).map_err(|why| unusable(why).next("correct telemetry.headers_file"))?;
        collector.headers.extend(headers);
    }
    Line::to(&collector).map(Some).map_err(|error| {
        unusable(error.to_string()).next(
            "telemetry.ca_file names the authorities to trust there; without telemetry.otlp nobody is told anything",
        )
    })
}

/// The headers of a file, which only its owner and group may read.
fn headers_of(path: &Path) -> Result<HeaderMap, String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    is_secret(path).map_err(|error| error.to_string())?;
    let file = durable_file::regular(path).map_err(|error| failed(error.to_string()))?;
    let mut text = Zeroizing::new(String::new());
    let read = file.take(HEADERS_BYTES_MAX + 1).read_to_string(&mut text);
    match read.map_err(|error| failed(error.to_string()))? as u64 {
        0..=HEADERS_BYTES_MAX => read_headers(&text).map_err(|why| failed(format!("its headers {why}"))),
        _ => Err(failed(format!("is larger than {HEADERS_BYTES_MAX} bytes"))),
    }
}

/// Where this node's spans are told, and what sends them.
pub(super) fn begin(line: Option<Line>, identity: &NodeIdentity) -> (Traces, Option<Exporter>) {
    let Some(line) = line else { return (Traces::default(), None) };
    let teller = Teller { cluster: identity.cluster, node: identity.node, name: identity.name.clone() };
    let (exporter, traces) = line.exporter(teller);
    (traces, Some(exporter))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_of_headers_is_read_where_others_may_not_and_its_values_are_told_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        let chmod = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        std::fs::write(&path, "authorization=Bearer%20s3cret\nx-tenant=7\n").unwrap();
        for (mode, is_taken) in [(0o600, true), (0o640, true), (0o644, false)] {
            chmod(mode);
            assert_eq!(headers_of(&path).is_ok_and(|headers| headers.len() == 2), is_taken, "{mode:o}");
        }
        chmod(0o600);
        for bad in ["s3cret".to_owned(), "x=s3cret%4".to_owned(), "x=s3cret".repeat(3_000)] {
            std::fs::write(&path, bad).unwrap();
            let why = headers_of(&path).unwrap_err();
            assert!(why.contains("headers") && !why.contains("s3cret"), "{why}");
        }
    }
}
