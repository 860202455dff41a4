//! Runs the exposure rules and their read-only checks against one port.
//!
//! `cargo run -p pentora-scanner --example exposures -- 127.0.0.1:6379 redis [PRODUCT [VERSION]]`: the service is what
//! detection would say of the port. Without arguments it lists the rules.

use std::net::SocketAddr;

use pentora_scanner::finding::{Service, ServiceMethod};
use pentora_scanner::port::Protocol;
use pentora_scanner::vuln::check::{Known, Options, PlainConnector, run};
use pentora_scanner::vuln::exposure::Exposures;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(target), Some(name)) = (args.next(), args.next()) else {
        for rule in Exposures::built_in().rules() {
            println!("{:<28} {:<8} {}", rule.id, rule.severity, rule.title);
        }
        return Ok(());
    };
    let target: SocketAddr = target.parse()?;
    let service = Service {
        name,
        method: ServiceMethod::Probed,
        product: args.next(),
        version: args.next(),
        ..Service::default()
    };
    let now_s = jiff::Timestamp::now().as_second();
    let known = Known { target, name: None, protocol: Protocol::Tcp, service: &service };
    for weakness in run(known, &Options::default(), &PlainConnector, now_s).await {
        println!(
            "{} {} ({}, {})\n  {}\n  {}",
            weakness.severity, weakness.id, weakness.confidence, weakness.method, weakness.evidence, weakness.remedy
        );
    }
    Ok(())
}
