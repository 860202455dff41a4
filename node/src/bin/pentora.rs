//! The program as `pentora`, the name people type.

fn main() -> std::process::ExitCode {
    pentora_node::dispatch::main("pentora")
}
