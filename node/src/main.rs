//! The program as `pentora-node`, the name under which it runs as a service.

fn main() -> std::process::ExitCode {
    pentora_node::dispatch::main("pentora-node")
}
