//! A farm of small TCP servers for the labs, the demo and the measurements: each accepts, says its banner if it has one,
//! and closes.
//!
//! It reads nothing: a server that waited for a word from a scanner would hold its connections open.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

const USAGE: &str = "usage: lab-farm serve --ports 80,8000-8099 [--bind ADDRESS]... [--banner PORT=TEXT]...
       lab-farm free COUNT        prints that many free TCP ports of the loopback, one per line";

/// Connections waiting to be accepted, per port: the kernel lowers it to its own limit. A scan opens thousands at once.
const BACKLOG: i32 = 65_535;

/// A listener's thread holds one socket and one text.
const STACK_BYTES: usize = 64 << 10;

/// What `serve` was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Farm {
    ports: Vec<u16>,
    addresses: Vec<IpAddr>,
    banners: Vec<(u16, String)>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["serve", options @ ..] => parse(options).and_then(|farm| serve(&farm)),
        ["free", count] => count.parse().context("COUNT").and_then(free),
        _ => Err(anyhow::anyhow!("{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-farm: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn parse(options: &[&str]) -> anyhow::Result<Farm> {
    let mut farm = Farm::default();
    let (pairs, rest) = options.as_chunks::<2>();
    ensure!(rest.is_empty(), "{rest:?} has no value\n{USAGE}");
    for [name, value] in pairs {
        match *name {
            "--ports" => farm.ports.extend(ports(value)?),
            "--bind" => farm.addresses.push(value.parse().with_context(|| format!("--bind {value}"))?),
            "--banner" => {
                let (port, text) = value.split_once('=').with_context(|| format!("--banner {value}: PORT=TEXT"))?;
                farm.banners.push((port.parse().with_context(|| format!("--banner {value}"))?, text.to_owned()));
            }
            _ => bail!("{name} is no option\n{USAGE}"),
        }
    }
    if farm.addresses.is_empty() {
        farm.addresses.push(Ipv4Addr::UNSPECIFIED.into());
    }
    ensure!(!farm.ports.is_empty(), "no --ports\n{USAGE}");
    Ok(farm)
}

fn ports(list: &str) -> anyhow::Result<Vec<u16>> {
    let mut ports = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parse = |text: &str| text.parse::<u16>().with_context(|| format!("--ports {list}: {text:?}"));
        ports.extend(parse(first)?..=parse(last)?);
    }
    Ok(ports)
}

/// Binds everything, says so on stdout, and serves until killed.
fn serve(farm: &Farm) -> anyhow::Result<()> {
    let mut listeners = Vec::new();
    for &address in &farm.addresses {
        for &port in &farm.ports {
            listeners.push((listen(SocketAddr::new(address, port))?, port));
        }
    }
    println!("listening on {} ports of {} addresses", farm.ports.len(), farm.addresses.len());
    let mut threads = Vec::new();
    for (listener, port) in listeners {
        let banner = farm.banners.iter().find(|(is, _)| *is == port).map(|(_, text)| format!("{text}\r\n"));
        let serve = move || greet_all(&listener, banner.as_deref().unwrap_or_default());
        threads.push(thread::Builder::new().stack_size(STACK_BYTES).spawn(serve).context("a listener's thread")?);
    }
    for thread in threads {
        thread.join().ok().context("a listener's thread panicked")?;
    }
    Ok(())
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().with_context(|| format!("listening on {address}"))
}

fn greet_all(listener: &TcpListener, banner: &str) {
    for stream in listener.incoming() {
        match stream {
            // A scanner that hangs up before it is greeted is what this program is for.
            Ok(mut stream) if !banner.is_empty() => drop(stream.write_all(banner.as_bytes())),
            Ok(_) => {}
            // Out of descriptors for a moment, or the connection is gone again: the next one counts.
            Err(_) => thread::yield_now(),
        }
    }
}

/// Prints free ports: bound all at once, so that they differ, and let go.
fn free(count: usize) -> anyhow::Result<()> {
    ensure!(count <= 1000, "{count} ports: at most 1000");
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = (0..count).map(bind).collect::<io::Result<Vec<_>>>().context("a free port")?;
    for listener in &listeners {
        println!("{}", listener.local_addr().context("a bound port")?.port());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_list_is_single_ports_and_ranges() {
        assert_eq!(ports("80,8000-8002").unwrap(), [80, 8000, 8001, 8002]);
        for wrong in ["", "80,", "x", "1-70000"] {
            ports(wrong).unwrap_err();
        }
    }

    #[test]
    fn options_may_repeat_and_all_addresses_are_the_default() {
        let farm = parse(&["--ports", "22", "--banner", "22=SSH-2.0-x=y", "--ports", "80"]).unwrap();
        assert_eq!(farm.ports, [22, 80]);
        assert_eq!(farm.addresses, [IpAddr::from([0, 0, 0, 0])]);
        assert_eq!(farm.banners, [(22, "SSH-2.0-x=y".to_owned())]);
    }

    #[test]
    fn a_wrong_option_is_refused() {
        for wrong in [&["--ports"][..], &[], &["--port", "80"], &["--ports", "80", "--bind", "here"]] {
            parse(wrong).unwrap_err();
        }
    }
}
