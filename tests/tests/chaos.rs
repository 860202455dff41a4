//! The program behind `make chaos` does what it says: two rounds with faults that are known, as it prints them.

use std::process::Command;

use anyhow::Context;
use pentora_tests::binaries::binary;
use pentora_tests::privileges::labs_can_be_made;

#[test]
fn rounds_of_chaos_end_right_and_say_what_happened_in_them() -> anyhow::Result<()> {
    if !labs_can_be_made()? {
        return Ok(());
    }
    let output = Command::new(binary("pentora-bench")?)
        .arg("chaos")
        .envs([("CHAOS_SEED", "10"), ("CHAOS_ROUNDS", "2"), ("CHAOS_VOTERS", "3"), ("CHAOS_FAULTS", "kill,rejoin")])
        .output()
        .context("starting pentora-bench")?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for part in ["3 vote", "round 2", "is over", "right: job", "| all rounds | 2 |", "2 rounds, 2 right"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    Ok(())
}
