//! The program, under its two names: `pentora-node`, by which it runs as a service, and `pentora`, the one people type.
//!
//! There is one file. The second name is a link to it that `make build` and `make install` make, because a program of
//! this size is not linked, stored and shipped twice for a name.

use std::path::Path;

fn main() -> std::process::ExitCode {
    let called = std::env::args_os().next();
    let is_service = called.as_deref().and_then(|path| Path::new(path).file_name()).is_some_and(|name| name == NODE);
    pentora_node::dispatch::main(if is_service { NODE } else { "pentora" })
}

/// The name of the file. Whatever else the program is called by, help and completions say `pentora`.
const NODE: &str = "pentora-node";
