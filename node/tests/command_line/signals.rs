//! What signals do to a node that is not up yet.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pentora_node::join::token::JoinToken;
use pentora_p2p::PreSharedKey;
use pentora_raft::ClusterId;

use super::program::{Program, ended};

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Whether a process receives a signal, as the system has it: one that does not is ended by it, or, as the first of a container, takes
/// no notice.
fn receives(child: &Child, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal as i32 - 1) & 1 == 1
}

#[test]
fn a_node_that_waits_for_its_token_on_standard_input_ends_where_it_is_asked_to() {
    let program = Program::new();
    let mut command = program.command("join --peer 127.0.0.1:1 --token-file -");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let open = child.stdin.take();
    let begun = Instant::now();
    while !receives(&child, Signal::SIGTERM) || !receives(&child, Signal::SIGHUP) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it receives no signal while it reads");
        std::thread::yield_now();
    }
    send(&child, Signal::SIGHUP);
    send(&child, Signal::SIGTERM);
    let done = ended(child);
    assert_eq!(done.code, 0, "{}", done.stderr);
    drop(open);
}

#[test]
fn a_node_that_waits_to_be_let_in_reads_its_configuration_again_where_it_is_asked_to() {
    let program = Program::new();
    let token = JoinToken::generate(ClusterId([1; 16]), &PreSharedKey::from_bytes([7; 32])).to_string();
    let token = program.file("token", &token);
    let configured = |excluded: &str| program.file("p.yaml", &format!("worker: {{exclude: [{excluded}]}}\n"));
    let (file, nobody) = (configured("10.0.0.1"), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let peer = nobody.local_addr().unwrap();
    drop(nobody);
    let line = format!(
        "join --config {file} --peer {peer} --token-file {token} --name n2 --mesh-listen 127.0.0.1:0 --api-listen 127.0.0.1:0"
    );
    let mut child = program.command(&line).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line.contains("trying on")), "it waits");
    configured("10.0.0.2");
    send(&child, Signal::SIGHUP);
    let read = told.find(|line| line.contains("the configuration was read again"));
    assert!(read.as_ref().is_some_and(|line| line.contains("worker.exclude")), "{read:?}");
    send(&child, Signal::SIGTERM);
    assert_eq!(ended(child).code, 0);
}
