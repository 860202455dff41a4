//! What is in memory stays there: no core dump of this process, and no look into it by others of its user.
//!
//! A node's memory has its keys and tokens. The superuser can look all the same (prctl(2), "PR_SET_DUMPABLE"; core(5)).

/// Has the kernel write no core dump of this process, and keep debuggers of anybody but the superuser away from it. Called
/// before anything secret is read, command line included.
pub(crate) fn forbid() {
    // Both only ever take away; where a sandbox forbids even that, the process runs on as any other would.
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    // A handler of core dumps that the kernel pipes them to is not held up by the limit.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use nix::sys::resource::{Resource, getrlimit};

    use super::*;

    const IS_CHILD: &str = "PENTORA_TEST_DUMPS_CHILD";

    /// In a process of its own: the others' tests stay as they were started.
    #[test]
    fn a_process_that_forbids_dumps_leaves_none_and_cannot_be_looked_into() {
        if std::env::var_os(IS_CHILD).is_some() {
            forbid();
            assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
            assert_eq!(nix::sys::prctl::get_dumpable(), Ok(false));
            return;
        }
        let name = "dumps::tests::a_process_that_forbids_dumps_leaves_none_and_cannot_be_looked_into";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let ran = child.args([name, "--exact"]).env(IS_CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }
}
