//! What answers behind a port: `cargo run --release --example identify -- 127.0.0.1:22 [ADDRESS:PORT...]`.
//!
//! Prints one line of JSON per port: what it is, what is weak about it, and how long it took to find out.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use pentora_scanner::detect::{Detector, Options, RuleSet};
use pentora_scanner::port::Protocol;
use pentora_scanner::vuln::check::Known;

/// Ports asked at once.
const ASKED: usize = 32;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let targets = std::env::args().skip(1).map(|target| target.parse()).collect::<Result<Vec<_>, _>>()?;
    let targets = if targets.is_empty() { vec!["127.0.0.1:22".parse()?] } else { targets };
    let detector = Detector::new(Arc::new(RuleSet::builtin()), 256);
    let (detector, options) = (&detector, &Options::default());
    let begun = Instant::now();
    let now_s = jiff::Timestamp::now().as_second();
    let asked = futures::stream::iter(targets).map(|target| async move {
        let begun = Instant::now();
        let identified = detector.identify(target, Protocol::Tcp, None, options).await;
        let weaknesses = match &identified.service {
            Some(service) => {
                let left = options.budget.saturating_sub(begun.elapsed());
                let known = Known { target, name: None, protocol: Protocol::Tcp, service };
                detector.weaknesses(known, options, left, now_s).await
            }
            None => Vec::new(),
        };
        (target, identified, weaknesses, begun.elapsed())
    });
    let mut told = std::pin::pin!(asked.buffer_unordered(ASKED));
    while let Some((target, identified, weaknesses, took)) = told.next().await {
        let line = serde_json::json!({
            "target": target.to_string(),
            "seconds": took.as_secs_f64(),
            "banner": identified.banner,
            "service": identified.service,
            "weaknesses": weaknesses,
        });
        println!("{line}");
    }
    eprintln!("{:.2} s in all", begun.elapsed().as_secs_f64());
    Ok(())
}
