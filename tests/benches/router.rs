//! What a scan does to a router that has room for 4,096 flows: how many connections of somebody else get through it meanwhile.
//!
//! Four namespaces: scanner, router, targets, and a user who opens a connection through the same router twenty times a second. Of 256
//! targets 64 live; their ports from 101 on are filtered, and all other addresses are dark, so that three flows of four stay without an
//! answer. The router drops new flows while 4,096 are known (`ct count`), which is what a full table of its kernel's would do: that
//! one's size cannot be set per namespace.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use pentora_tests::binaries::binary;
use pentora_tests::lab::Namespace;
use pentora_tests::process::Process;
use pentora_tests::wait;

use crate::figures::{head, row};
use crate::{bounded, choices, pause};

/// Longest scan: one of nmap's does not end sooner.
const LIMIT: Duration = Duration::from_secs(150);
/// The same for connections, which cannot close what they leave open: they wait until the router has forgotten it.
const LIMIT_CONNECT: Duration = Duration::from_secs(600);
/// Open ports that there are.
const OPEN: usize = 64 * 3;
/// How often the user connects, and how long one waits.
const CONNECTS_EVERY: Duration = Duration::from_millis(50);
const CONNECT_WAIT: Duration = Duration::from_millis(900);
const TARGETS: &str = "10.82.0.0/24";
const PORTS: &str = "1-200";
/// Where the user's server is.
const SERVER: &str = "10.82.200.1:8080";

const ROUTER: &str = "table ip f {
  chain c { type filter hook forward priority 0; policy accept; ct state new ct count over 4096 drop; }
}";
const WORLD: &str = "table ip w {
  chain in {
    type filter hook input priority 0; policy accept;
    ip daddr { 10.82.200.1, 10.81.0.0/16 } accept
    ip daddr != 10.82.0.0/26 drop
    tcp dport > 100 drop
  }
}";

/// Scanner, router, targets and user.
struct Place {
    scanner: Namespace,
    user: Namespace,
    _farm: Process,
    /// The router and the targets.
    _others: [Namespace; 2],
}

impl Place {
    /// A place of which nobody remembers anything yet.
    fn make(log: &Path) -> anyhow::Result<Self> {
        let add = |what: &str| Namespace::add(&format!("pt{}x90-{what}", std::process::id()));
        let (scanner, router, targets, user) = (add("scan")?, add("router")?, add("targets")?, add("user")?);
        for (number, side) in [(1, &scanner), (2, &targets), (3, &user)] {
            router.ip(&format!("link add p{number} type veth peer name eth0 netns {}", side.name()))?;
            router.ip(&format!("addr add 10.81.{number}.1/24 dev p{number}"))?;
            router.ip(&format!("link set p{number} up"))?;
            side.ip(&format!("addr add 10.81.{number}.2/24 dev eth0"))?;
            side.ip("link set eth0 up")?;
            side.ip(&format!("route add default via 10.81.{number}.1"))?;
        }
        router.set("ipv4/ip_forward", 1)?;
        router.ip("route add 10.82.0.0/16 via 10.81.2.2")?;
        targets.ip("route add local 10.82.0.0/16 dev lo")?;
        router.nft(ROUTER)?;
        targets.nft(WORLD)?;
        let mut farm = targets.command(&binary("lab-farm")?);
        let farm = Process::start(farm.args(["serve", "--ports", "22,25,80,8080"]), log)?;
        wait::until("the farm", Duration::from_secs(10), || Ok(farm.log().contains("listening").then_some(())))?;
        // A new link carries nothing until the kernel has looked at it, up to a second later.
        for side in [&scanner, &targets, &user] {
            wait::until("a link", Duration::from_secs(10), || {
                let shown = side.command(Path::new("ip")).args(["link", "show", "eth0"]).output()?;
                Ok(String::from_utf8_lossy(&shown.stdout).contains("state UP").then_some(()))
            })?;
        }
        Ok(Self { scanner, user, _farm: farm, _others: [router, targets] })
    }

    /// Runs a scan beside the user; the share of whose connections got through.
    fn beside_the_user(
        &self,
        scan: &mut Command,
        folder: &Path,
        limit: Duration,
    ) -> anyhow::Result<(bounded::Ran, f64)> {
        let is_over = AtomicBool::new(false);
        let (made, tried) = (AtomicU32::new(0), AtomicU32::new(0));
        let server: SocketAddr = SERVER.parse()?;
        std::thread::scope(|scope| {
            let user = scope.spawn(|| {
                self.user.within(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        tried.fetch_add(1, Ordering::Relaxed);
                        let connection = TcpStream::connect_timeout(&server, CONNECT_WAIT);
                        made.fetch_add(u32::from(connection.is_ok()), Ordering::Relaxed);
                        pause(CONNECTS_EVERY);
                    }
                    Ok(())
                })
            });
            let ran = bounded::run(scan, folder, limit);
            is_over.store(true, Ordering::Relaxed);
            user.join().map_err(|_panicked| anyhow::anyhow!("the user has panicked"))??;
            let share = f64::from(made.load(Ordering::Relaxed)) / f64::from(tried.load(Ordering::Relaxed).max(1));
            Ok((ran?, share))
        })
    }
}

/// A scan of ours with these options, or another program.
fn scans() -> anyhow::Result<Vec<(PathBuf, Vec<&'static str>)>> {
    let pentora = binary("pentora")?;
    let ours = |words: &[&'static str]| {
        let mut all = vec!["scan", TARGETS, "--ports", PORTS, "--no-services", "-o", "list"];
        all.extend(words);
        (pentora.clone(), all)
    };
    Ok(vec![
        ours(&["--timing", "polite"]),
        ours(&["--timing", "normal"]),
        ours(&["--timing", "fast"]),
        ours(&["--timing", "polite", "--engine", "connect"]),
        ours(&["--timing", "normal", "--engine", "connect"]),
        ("nmap".into(), vec!["-n", "-sS", "-T4", TARGETS, "-p", PORTS]),
        ("masscan".into(), vec![TARGETS, "-p", PORTS, "--wait", "2"]),
    ])
}

/// Lines that name an address and a port.
fn ports_of(list: &str) -> usize {
    list.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).count()
}

pub(crate) fn measure() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    head(&["program", "wall", "the user's connections that got through", "open ports found"]);
    for (number, (program, words)) in scans()?.into_iter().enumerate() {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{name} {}", words.join(" "));
        if !choices::takes_part(&name) {
            continue;
        }
        let place = Place::make(&folder.path().join(format!("farm{number}.log")))?;
        let mut command = place.scanner.command(&program);
        command.env("HOME", folder.path()).args(&words);
        let is_normal_connect = words.ends_with(&["normal", "--engine", "connect"]);
        let limit = if is_normal_connect { LIMIT_CONNECT } else { LIMIT };
        match place.beside_the_user(&mut command, folder.path(), limit) {
            Ok((ran, share)) => {
                anyhow::ensure!(
                    ran.is_stopped || ran.code == Some(0),
                    "{name} ends with {:?}: {}",
                    ran.code,
                    ran.stderr
                );
                let stopped = if ran.is_stopped { "> " } else { "" };
                // Of ours, which prints a line for each.
                let printed = std::fs::read_to_string(&ran.stdout).unwrap_or_default();
                let is_told = name.starts_with("pentora") && !ran.is_stopped;
                let found = if is_told { format!("{} of {OPEN}", ports_of(&printed)) } else { String::new() };
                let wall = format!("{stopped}{:.1} s", ran.wall.as_secs_f64());
                row(&[name, wall, format!("{:.1} %", 100.0 * share), found]);
            }
            Err(error) => println!("| {name} | not measured: {error:#} | | |"),
        }
    }
    Ok(())
}
