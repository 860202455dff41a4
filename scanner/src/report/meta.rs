//! What is known of a scan before its first host: what the head of a report says.

use crate::finding::TcpScan;
use crate::port::PortSet;

/// The head of a report. Every part may be left as it is by default; the report is valid then too.
///
/// ```
/// use pentora_scanner::report::ReportMeta;
/// let meta = ReportMeta { command: "pentora scan 10.0.0.0/24".to_owned(), ..ReportMeta::default() };
/// assert_eq!(meta.version, env!("CARGO_PKG_VERSION"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportMeta {
    /// Version of the program that scanned.
    pub version: String,
    /// Id of the job, where there is one.
    pub job: Option<String>,
    /// The command line, as typed; empty where it is not known. It is shown to every reader of the report.
    pub command: String,
    /// When the scan began: milliseconds since 1970-01-01T00:00:00Z.
    pub started_at_ms: Option<u64>,
    /// The ports asked; empty where they are not known.
    pub ports: PortSet,
    /// How TCP ports were asked.
    pub tcp: TcpScan,
}

impl Default for ReportMeta {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            job: None,
            command: String::new(),
            started_at_ms: None,
            ports: PortSet::default(),
            tcp: TcpScan::default(),
        }
    }
}
