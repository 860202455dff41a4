//! The program under test, run in an empty home.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// How a process ended.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A home with nothing in it, and the program to run there.
pub(crate) struct Program {
    pub(crate) home: tempfile::TempDir,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// The program with an environment of its own: no setting of the machine gets in.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pentora-node"));
        command
            .arg0("pentora")
            .args(line.split_whitespace())
            .env_clear()
            .env("HOME", self.home.path())
            .env("LANG", "C.UTF-8");
        command.env("PENTORA_DATA_DIR", self.home.path().join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Done {
        ended(self.command(line).spawn().unwrap())
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

pub(crate) fn ended(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().expect("no signal ended it"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
