//! A first program for the harness: two hosts beside a world, a cable cut and repaired, and the truth at the end.
//!
//! `tests/with-namespaces cargo run --release -p pentora-tests --example lab` needs no root where user namespaces are
//! allowed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Context;
use pentora_tests::lab::{Host, Lab, WorldOptions};

fn connects(from: &Host, to: SocketAddr) -> anyhow::Result<bool> {
    from.within(|| Ok(TcpStream::connect_timeout(&to, Duration::from_millis(300)).is_ok()))
}

fn main() -> anyhow::Result<()> {
    // Two namespaces on a bridge in a third. All of it is gone when `lab` is dropped.
    let Some(mut lab) = Lab::start(2)? else { return Ok(()) };
    let (one, two) = (lab.host(1), lab.host(2));
    println!("hosts at {} and {}", one.address(), two.address());

    // Whatever is done within a host uses its network.
    let listener = two.within(|| Ok(TcpListener::bind((two.address(), 0))?))?;
    let server = listener.local_addr()?;
    println!("a connection from one to the other: {}", connects(one, server)?);
    lab.cut(1, 2)?;
    println!("with the cable cut: {}", connects(one, server)?);
    lab.heal()?;
    println!("repaired: {}", connects(one, server)?);

    // A world answers for 65,536 addresses and knows what a scan should find.
    lab.add_world(&WorldOptions { addresses: 256, ..WorldOptions::default() })?;
    let truth = lab.world().truth();
    println!("a world with {} hosts that answer and {} open ports", truth.alive.len(), truth.open.len());
    let (address, port): (Ipv4Addr, u16) = *truth.open.first().context("256 addresses have an open port")?;
    println!("{address} port {port} is open: {}", connects(lab.host(1), (address, port).into())?);
    println!(
        "a scan that finds only that one: {}",
        truth.score(&format!("{address} {port}\n"))?.missed.len() + 1 == truth.open.len()
    );
    Ok(())
}
