//! A reader's first scan: `cargo run --release --example scan -- 127.0.0.1 22,80,8000-8100`.
//!
//! Targets and ports become a spec, the spec one unit, the unit's findings host records, and those a table.

use std::sync::Arc;
use std::time::Instant;

use pentora_scanner::engine::{Engine, EngineConfig};
use pentora_scanner::pace::RateCap;
use pentora_scanner::report::{Fold, Format, Origin, Screen, Summary};
use pentora_scanner::spec::ScanSpec;
use pentora_scanner::target::parse_targets;
use pentora_scanner::unit::{UnitProgress, UnitTask};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // usage: scan [TARGETS PORTS [FORMAT]]; without any, a look at this machine.
    let (targets, ports, format) = match arguments.as_slice() {
        [] => ("127.0.0.1", "22,80", &[][..]),
        [targets, ports, format @ ..] => (targets.as_str(), ports.as_str(), format),
        _ => return Err("usage: scan [TARGETS PORTS [FORMAT]]".into()),
    };
    let targets = parse_targets(targets, "targets")?;
    let count = targets.count();
    let spec = ScanSpec { partitions: vec![targets], ports: ports.parse()?, seed: 1, ..ScanSpec::default() };

    let engine = Engine::start(EngineConfig::default())?;
    let begun = Instant::now();
    let mut unit = engine.scan(UnitTask {
        spec: Arc::new(spec),
        partition: 0,
        range: 0..count,
        permit: Arc::default(),
        pace: Arc::new(RateCap::new(None)),
        cancel: CancellationToken::new(),
    })?;

    let mut fold = Fold::new();
    while let Some(findings) = unit.findings.blocking_recv() {
        findings.into_iter().for_each(|finding| fold.add(finding));
    }
    let outcome = unit.outcome.blocking_recv()??;
    let UnitProgress { tally, estimates, .. } = outcome.progress;

    let format: Format = format.first().map_or(Ok(Format::Table), |name| name.parse())?;
    let mut writer = format.writer(std::io::stdout().lock(), Screen::default());
    let mut summary = Summary {
        targets_scanned: tally.targets_done,
        targets_total: count,
        probes_sent: tally.probes_sent,
        duration: begun.elapsed(),
        notes: outcome.left_out.unresolved.iter().map(|left| format!("{}: {}", left.name, left.why)).collect(),
        ..Summary::default()
    };
    // A real caller passes the wall time at which it began.
    for host in fold.finish(Origin { worker: "wrk_example", ..Origin::default() }) {
        summary.count(&host);
        writer.host(&host)?;
    }
    writer.finish(&summary)?;
    eprintln!(
        "{} probes, {} again, loss {:.2} %, recall {:.5} estimated, {:.0} targets/s",
        tally.probes_sent,
        tally.retransmitted,
        estimates.loss * 100.0,
        estimates.recall,
        outcome.targets_per_second
    );
    Ok(())
}
