//! The command line as a whole: every command of the contract parses, and what does not exist is not offered.

use clap::Parser;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_tree_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_commands_of_the_original_description_and_the_contract_parse() {
    for line in [
        "pentora scan 192.168.1.0/24 --priority high --worker-tag production",
        "pentora scan prod-network.example.com --require-worker-tag production",
        "pentora scan 10.0.0.0/8 --distributed --workers 5",
        "pentora scan 127.0.0.1 --ports 22,80,8000-8100",
        "pentora scan 127.0.0.1 --ports -",
        "pentora scan --file - -o list",
        "pentora scan --from scan.xml --exclude-ports 9100,U:161 --list-targets --json",
        "pentora scan 10.89.0.0/22 --ports 80,81 --rate 150 --no-discovery --detach --json",
        "pentora job status job-abc123",
        "pentora job status job-abc123 --json --watch",
        "pentora job results job-abc123 -o jsonl",
        "pentora job events job-abc123",
        "pentora job list --json",
        "pentora job watch job-abc123",
        "pentora job cancel job-abc123",
        "pentora coordinator workers list --watch",
        "pentora nodes list --json",
        "pentora coordinator worker-token create --name us-east-worker --ttl 24h --uses 1 --role scanner --region R --networks 10.0.0.0/8",
        "pentora coordinator worker-token list --watch",
        "pentora coordinator worker-token revoke tok-1",
        "pentora cluster status --json",
        "pentora-node cluster status --watch",
        "pentora cluster transfer-leadership --to n2",
        "pentora server start --mode coordinator",
        "pentora worker start --config worker-us-east-1.yaml",
        "pentora worker start",
        "pentora-node start --init --name n1 --data-dir D --mesh-listen 10.88.0.1:7400 --api-listen 127.0.0.1:8080",
        "pentora-node start --data-dir D2 -vv --log-format json",
        "pentora-node join --peer 10.88.0.1:7400 --token T --name n2 --data-dir D2",
        "pentora-node join --peer 10.88.0.1:7400 --token -",
        "pentora-node join --peer 10.88.0.1:7400 --token-file F --region eu --tag a --tag b --network-access auto",
        "pentora config check --config deploy/pentora.yaml",
        "pentora config check deploy/pentora.yaml",
        "pentora config show --origin",
        "pentora config schema",
        "pentora completions bash",
        "pentora man",
        "pentora man coordinator worker-token",
        "pentora man --dir D",
        "pentora version --json",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn malformed_command_lines_are_usage_errors() {
    for line in [
        "pentora scna 10.0.0.1",
        "pentora scan 10.0.0.1 --priority urgent",
        "pentora scan 10.0.0.1 --rate 0",
        "pentora scan 10.0.0.1 --retries 11",
        "pentora scan 10.0.0.1 --confidence 1",
        "pentora scan 10.0.0.1 --timing insane",
        "pentora scan 10.0.0.1 -o yaml",
        "pentora scan 10.0.0.1 -o json --json",
        "pentora scan 10.0.0.1 --local --distributed",
        "pentora scan 10.0.0.1 --local --detach",
        "pentora scan 10.0.0.1 --ports 22 --top-ports 5",
        "pentora scan 10.0.0.1 --list-targets --detach",
        "pentora job status ../cluster",
        "pentora job status",
        "pentora coordinator worker-token create --name n --ttl 24",
        "pentora coordinator worker-token create",
        "pentora-node join --token T --token-file F",
        "pentora server start --mode emperor",
        "pentora -q -v version",
        "pentora man scan --dir D",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), i32::from(ExitCode::Usage as u8), "{line}");
    }
}

#[test]
fn help_opens_with_examples() {
    for line in ["pentora --help", "pentora scan --help", "pentora-node start --help", "pentora-node join --help"] {
        let help = parse(line).expect_err("help ends parsing").to_string();
        assert!(help.starts_with("Examples:\n"), "{line}:\n{help}");
    }
}

#[test]
fn what_does_not_exist_yet_is_not_offered() {
    for line in [
        "pentora schedule list",
        "pentora top",
        "pentora job pause job-1",
        "pentora scan 10.0.0.1 --schedule x",
        "pentora cluster drill",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}
