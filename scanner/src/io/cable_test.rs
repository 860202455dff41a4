//! Two machines joined by a cable, for the engines' tests: network namespaces, made by unsharing two threads and gone with
//! them. Where that is not allowed the tests say so.

use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::thread;

use nix::sched::{CloneFlags, unshare};

pub(crate) fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(done.success(), "ip {arguments}");
}

/// Runs a test on the one machine, 10.9.0.1 on `cable0`, while the other is there, 10.9.0.2 on `cable1`. `far` and `near`
/// set up more on either; what `far` returns stays until the test is over.
pub(crate) fn with_a_cable<T>(far: impl FnOnce() -> T + Send, near: impl FnOnce() + Send, test: impl FnOnce() + Send) {
    let ((thread_in, thread_out), (cable_in, cable_out)) = (sync_channel(1), sync_channel(1));
    let ((ready_in, ready_out), (end_in, end_out)) = (sync_channel(1), sync_channel::<()>(1));
    thread::scope(|scope| {
        scope.spawn(move || {
            let own = unshare(CloneFlags::CLONE_NEWNET).map(|()| nix::unistd::gettid().as_raw()).ok();
            thread_in.send(own).unwrap();
            if own.is_none() || cable_out.recv().is_err() {
                return;
            }
            ip("link set lo up");
            ip("addr add 10.9.0.2/24 dev cable1");
            ip("link set cable1 up");
            let _kept = far();
            ready_in.send(()).unwrap();
            let _ = end_out.recv();
        });
        let tester = scope.spawn(move || {
            let Some(other) = thread_out.recv().unwrap() else {
                eprintln!("skipped: this user may not make network namespaces");
                return;
            };
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            ip(&format!("link add cable0 type veth peer name cable1 netns {other}"));
            cable_in.send(()).unwrap();
            ip("addr add 10.9.0.1/24 dev cable0");
            ip("link set cable0 up");
            near();
            ready_out.recv().unwrap();
            test();
            drop(end_in);
        });
        if let Err(panic) = tester.join() {
            std::panic::resume_unwind(panic);
        }
    });
}
