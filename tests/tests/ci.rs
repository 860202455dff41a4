//! The line that `.ci/run` ends with tells the truth about what the test runners printed.

use std::io::Write;
use std::process::{Command, Stdio};

use pentora_tests::binaries::repository;

/// What `.ci/summary` prints for an output, and whether it is content.
fn summary(output: &str) -> (String, bool) {
    let mut child = Command::new(repository().join(".ci/summary"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the script is there and executable");
    child.stdin.take().expect("a pipe").write_all(output.as_bytes()).expect("it reads all its input");
    let done = child.wait_with_output().expect("it ends");
    (String::from_utf8(done.stdout).expect("text"), done.status.success())
}

#[test]
fn both_runners_are_counted_and_added() {
    let output = "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                  \u{1b}[32;1m     Summary\u{1b}[0m [   1.052s] \u{1b}[1m30\u{1b}[0m tests run: \u{1b}[1m30\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m (2 slow), 0 skipped\n";
    assert_eq!(summary(output), ("34 passed, 0 failed\n".to_owned(), true));
}

#[test]
fn failures_timeouts_and_tests_that_did_not_start_are_failures() {
    let output = "     Summary [  9.0s] 9 tests run: 4 passed (1 leaky), 2 failed, 1 exec failed, 2 timed out, 3 skipped\n\
                  test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";
    assert_eq!(summary(output), ("5 passed, 6 failed\n".to_owned(), false));
}

#[test]
fn an_output_without_a_test_is_not_a_success() {
    assert_eq!(summary("error: could not compile\n"), ("0 passed, 0 failed\n".to_owned(), false));
}
