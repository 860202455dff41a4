//! What answers behind a port: `cargo run --release --example identify -- 127.0.0.1:22 [ADDRESS:PORT...]`.
//!
//! Prints one line of JSON per port. Without rules loaded it knows what protocols say of themselves.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use pentora_scanner::detect::{Detector, Options, RuleSet};
use pentora_scanner::port::Protocol;

/// Ports asked at once.
const ASKED: usize = 32;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let targets = std::env::args().skip(1).map(|target| target.parse()).collect::<Result<Vec<_>, _>>()?;
    let targets = if targets.is_empty() { vec!["127.0.0.1:22".parse()?] } else { targets };
    let detector = Detector::new(Arc::new(RuleSet::builtin()), 256);
    let (detector, options) = (&detector, &Options::default());
    let begun = Instant::now();
    let asked = futures::stream::iter(targets).map(|target| async move {
        let begun = Instant::now();
        let identified = detector.identify(target, Protocol::Tcp, None, options).await;
        (target, identified, begun.elapsed())
    });
    let mut told = std::pin::pin!(asked.buffer_unordered(ASKED));
    while let Some((target, identified, took)) = told.next().await {
        let line = serde_json::json!({
            "target": target.to_string(),
            "seconds": took.as_secs_f64(),
            "banner": identified.banner,
            "service": identified.service,
        });
        println!("{line}");
    }
    eprintln!("{:.2} s in all", begun.elapsed().as_secs_f64());
    Ok(())
}
