//! `pentora scan 127.0.0.1 --ports 1` from start to exit: what a script pays for each call, the embedded node included.

use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use pentora_tests::command_line::pentora;

use crate::figures::{Sample, summary};

const RUNS: usize = 20;

pub(crate) fn measure() -> anyhow::Result<()> {
    let lab = crate::lab(1)?;
    let home = tempfile::tempdir()?;
    let mut times = Sample::default();
    for _ in 0..RUNS {
        let began = Instant::now();
        pentora(lab.host(1), home.path(), &[], &["scan", "127.0.0.1", "--ports", "1"])?.ok()?;
        times.add_ms(began.elapsed());
    }
    // The largest of all children: the others (ip, nft) are far smaller than any node.
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    summary("wall, with the way into the namespace", "ms", &times, "300 ms");
    println!("\nLargest resident size: {:.1} MB (goal: 60 MB).", f64::from(u32::try_from(kilobytes)?) / 1e3);
    Ok(())
}
