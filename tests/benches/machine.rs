//! What a figure was measured on: a figure without it is not one.

use std::fs;
use std::process::Command;

use pentora_tests::binaries::repository;

use crate::figures::{head, row};

pub(crate) fn print() -> anyhow::Result<()> {
    head(&["what", "value"]);
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let named = |line: &&str| line.starts_with("model name");
    let model =
        processors.lines().find(named).and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name);
    let threads = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or_default().trim_start_matches("MemTotal:").trim().to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    row(&["processor".into(), format!("{model}, {threads} threads")]);
    row(&["memory".into(), memory]);
    row(&["kernel".into(), kernel]);
    row(&[
        "commit".into(),
        said(Command::new("git").arg("-C").arg(repository()).args(["describe", "--always", "--dirty"])),
    ]);
    row(&["date".into(), said(Command::new("date").args(["-u", "+%F"]))]);
    row(&["rustc".into(), said(Command::new("rustc").arg("--version"))]);
    Ok(())
}

/// What a command says in its first line; `unknown` where it is not there or fails.
fn said(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
