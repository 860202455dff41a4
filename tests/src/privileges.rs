//! Whether this process may make network namespaces, and what a test does where it may not.
//!
//! A lab test that cannot run must not look as if it had passed: it fails, and says why. Only outside CI, and only where
//! the developer asked for it (`PENTORA_SKIP_LAB=1`), it prints SKIPPED instead.

use std::env;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::bail;

/// What a lab test does on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Namespaces can be made: run.
    Run,
    /// They cannot, and the developer said that this is fine here.
    Skip,
    /// They cannot, and nobody said so.
    Fail,
}

/// The rule, without the machine: `able` to make namespaces, running in `ci`, asked to `skip`.
#[must_use]
pub fn decide(able: bool, ci: bool, skip: bool) -> Decision {
    match (able, ci, skip) {
        (true, _, _) => Decision::Run,
        (false, false, true) => Decision::Skip,
        (false, _, _) => Decision::Fail,
    }
}

/// Whether a lab can be made here: `Ok(false)` is a test that was skipped, which has been printed.
///
/// # Errors
/// Where it cannot, with the reason and the ways out.
pub fn labs_can_be_made() -> anyhow::Result<bool> {
    static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
    let refusal = REFUSAL.get_or_init(refusal).as_deref();
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|is| is == value);
    match decide(refusal.is_none(), is("CI", "true"), is("PENTORA_SKIP_LAB", "1")) {
        Decision::Run => Ok(true),
        Decision::Skip => {
            println!("SKIPPED: {}", refusal.unwrap_or_default());
            Ok(false)
        }
        Decision::Fail => bail!(
            "this test needs network namespaces: {}. Run it by `make test`, or as root; outside CI, PENTORA_SKIP_LAB=1 skips such tests",
            refusal.unwrap_or_default()
        ),
    }
}

/// Why no namespace can be made here, found by making one; nothing where it can.
fn refusal() -> Option<String> {
    let name = format!("pt{}xprobe", std::process::id());
    let made = Command::new("ip").args(["netns", "add", &name]).output();
    let refusal = match made {
        Err(error) => Some(format!("ip (package iproute2) does not start: {error}")),
        Ok(output) if !output.status.success() => {
            Some(format!("ip netns add: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Ok(_) => None,
    };
    if refusal.is_none() {
        // What is left behind here is removed by a later lab.
        let _ = Command::new("ip").args(["netns", "del", &name]).output();
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_test_is_never_skipped_in_ci() {
        assert_eq!(decide(false, true, true), Decision::Fail);
        assert_eq!(decide(false, true, false), Decision::Fail);
    }

    #[test]
    fn outside_ci_it_is_skipped_only_when_asked() {
        assert_eq!(decide(false, false, true), Decision::Skip);
        assert_eq!(decide(false, false, false), Decision::Fail);
    }

    #[test]
    fn where_namespaces_can_be_made_it_runs_whatever_was_asked() {
        for (ci, skip) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(decide(true, ci, skip), Decision::Run);
        }
    }
}
