//! The program as the next release would be: built with the feature `next-version` for the test that upgrades a cluster, and
//! never shipped. Only what `raft` reads of the log differs.

fn main() -> std::process::ExitCode {
    pentora_node::dispatch::main("pentora-node")
}
