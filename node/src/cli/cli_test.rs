//! The command line as a whole: every command of the contract parses, and what does not exist is not offered.

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    tree().try_get_matches_from(line.split_whitespace()).and_then(|matches| Cli::from_arg_matches(&matches))
}

#[test]
fn the_command_tree_is_consistent() {
    tree().debug_assert();
}

#[test]
fn the_ports_that_the_help_of_a_scan_shows_are_those_that_a_reader_expects() {
    let tree = tree();
    let scan = tree.find_subcommand("scan").unwrap();
    let ports = scan.get_arguments().find(|argument| argument.get_id() == "ports").unwrap();
    let help = ports.get_help().unwrap().to_string();
    let read = |from: &str, until: &str| {
        let (_, shown) = help.split_once(from).unwrap();
        let shown = shown.split(until).next().unwrap().trim();
        shown.parse::<pentora_scanner::port::PortSet>().unwrap().to_string()
    };
    assert_eq!(read("Ports: ", ";"), "T:22,80,8000-8100,U:53", "the service by its name is TCP's");
    assert_eq!(read("nmap's do: ", "."), "T:22,U:53", "and has to be called so behind U:");
}

#[expect(clippy::too_many_lines, reason = "one command a line")]
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
        "pentora job cancel job-abc123 --yes",
        "pentora job list -o csv",
        "pentora nodes list -o jsonl",
        "pentora findings list -o csv",
        "pentora token rotate ci --yes",
        "pentora context remove prod --yes",
        "pentora cluster demote n3 --yes",
        "pentora cluster transfer-leadership --yes",
        "pentora coordinator workers list --watch",
        "pentora nodes list --json",
        "pentora plan capacity --targets 50000 --seconds-per-target 2 --window 1h --concurrency 10",
        "pentora plan capacity --targets 50000 --window 1h30m --measured --json",
        "pentora plan capacity --targets 1 --window 1h --job job-abc123",
        "pentora plan capacity --for keep --json",
        "pentora keep 10.0.0.0/8 --fresh 7d --ports 22,80 --rate 5000",
        "pentora keep status",
        "pentora keep status office --watch",
        "pentora keep list --json",
        "pentora keep pause office",
        "pentora keep resume office",
        "pentora keep remove office --yes",
        "pentora schedule list --json",
        "pentora schedule show nightly",
        "pentora schedule next nightly --count 10 --json",
        "pentora schedule pause nightly",
        "pentora schedule resume nightly",
        "pentora schedule remove nightly --yes",
        "pentora schedule add nightly 10.0.0.0/8 --schedule @daily --timezone Europe/Berlin --missed run-once --overlap queue",
        "pentora scan 10.0.0.0/8 --priority low --schedule @daily --schedule-name n --timezone Europe/Berlin",
        "pentora coordinator worker-token create --name us-east-worker --ttl 24h --uses 1 --role scanner --region R --networks 10.0.0.0/8",
        "pentora coordinator worker-token list --watch",
        "pentora coordinator worker-token revoke tok-1 --yes",
        "pentora cluster status --json",
        "pentora-node cluster status --watch",
        "pentora cluster transfer-leadership --to n2",
        "pentora worker export --output /mnt/usb/results-2025-07-10.tar.gz",
        "pentora coordinator import --file /mnt/usb/results-2025-07-10.tar.gz",
        "pentora coordinator import --file F --dry-run --json",
        "pentora coordinator export --output F --no-feeds",
        "pentora coordinator offline list --json",
        "pentora coordinator offline remove plant-7 --yes",
        "pentora worker import --file F --data-dir D",
        "pentora worker export --all --output F",
        "pentora worker orders --json",
        "pentora scan 10.9.0.0/16 --carry --region plant-7",
        "pentora server start --mode coordinator",
        "pentora worker start --config worker-us-east-1.yaml",
        "pentora worker start",
        "pentora-node start --init --name n1 --data-dir D --mesh-listen 10.88.0.1:7400 --api-listen 127.0.0.1:8080",
        "pentora-node start --data-dir D2 -vv --log-format json",
        "pentora-node join --peer 10.88.0.1:7400 --token T --name n2 --data-dir D2",
        "pentora-node join --peer 10.88.0.1:7400 --token -",
        "pentora-node join --peer 10.88.0.1:7400 --token-file F --region eu --tag a --tag b --network-access auto",
        "pentora-node recover --data-dir D --yes",
        "pentora-node start --init --restore F --name n1",
        "pentora cluster snapshot save F",
        "pentora cluster snapshot inspect F --json",
        "pentora job delete job-1 job-2 --yes",
        "pentora config check --config deploy/pentora.yaml",
        "pentora config check deploy/pentora.yaml",
        "pentora config show --origin",
        "pentora config schema",
        "pentora completions bash",
        "pentora man",
        "pentora man coordinator worker-token",
        "pentora man --dir D",
        "pentora version --json",
        "pentora nodes set n3 --tags a,b --region eu --networks 10.0.0.0/8 --role scanner --site s --ephemeral true",
        "pentora scope add 203.0.113.0/24 2001:db8::/32 --reason contract --name lab --token ci --only",
        "pentora scope list --json --watch",
        "pentora scope show lab --json",
        "pentora scope remove lab --yes",
        "pentora exclude add plc1.plant 10.9.0.0/16 --name plant --reason controllers",
        "pentora exclude add 10.3.0.5 --hours 08:00-18:00 --days mon-fri --zone Europe/Berlin",
        "pentora exclude add 10.3.0.5 --from 2026-12-24T00:00 --until 2027-01-02T00:00 --zone UTC",
        "pentora profile add web ports=80,443 timing=polite --reason r",
        "pentora profile list",
        "pentora profile show quick --json",
        "pentora profile remove web --yes",
        "pentora scan 10.0.0.1 --profile web",
        "pentora window add nights 10.1.0.0/16 --hours 22:00-06:00 --days mon-fri --zone Europe/Berlin",
        "pentora window add freeze --blackout --from 2026-12-20T00:00 --until 2027-01-05T00:00 --zone Europe/Berlin",
        "pentora window list",
        "pentora window show nights",
        "pentora window remove nights --yes",
        "pentora scan 10.0.0.1 --wait-for-window",
        "pentora budget add 10.1.0.0/16 --rate 2000 --name plant --reason r",
        "pentora budget list",
        "pentora budget show plant",
        "pentora budget remove plant --yes",
        "pentora site add berlin 10.77.0.0/16 10.78.0.0/16 --reason r",
        "pentora site list",
        "pentora site show berlin",
        "pentora site remove berlin --yes",
        "pentora scan 10.77.0.1 --site berlin",
        "pentora exclude list --json",
        "pentora exclude show plant",
        "pentora exclude remove plant --yes",
        "pentora cluster remove n3 --plan",
        "pentora cluster remove n3 --yes --json",
        "pentora cluster promote n3",
        "pentora cluster demote n3",
        "pentora cluster transfer-leadership n3",
        "pentora key create --name alice --output alice.key",
        "pentora key show --key alice",
        "pentora key list --json",
        "pentora scan 10.0.0.1 --sign --key alice --sign-for 8h",
        "pentora job export job-abc123 --output job.tar.gz",
        "pentora job verify job-abc123 --bundle job.tar.gz --key ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w",
        "pentora job verify job-abc123 --unsigned --json",
        "pentora-node leave --deadline 2m --yes",
        "pentora-node drain n3 --deadline 1h",
        "pentora-node resume",
        "pentora coordinator worker-token create --name n --site s --tags a,b --ephemeral --keeps-results false",
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
        "pentora plan capacity --targets 50000 --window 1h",
        "pentora plan capacity --for keep --targets 5",
        "pentora plan capacity --targets 5 --seconds-per-target 0 --window 1h",
        "pentora plan capacity --targets 5 --seconds-per-target 2 --window 1h --measured",
        "pentora keep 10.0.0.0/8 --rate 5000",
        "pentora keep remove",
        "pentora schedule show ../cluster",
        "pentora schedule add nightly 10.0.0.0/8",
        "pentora schedule add nightly 10.0.0.0/8 --schedule @daily --missed twice",
        "pentora scan 10.0.0.1 --schedule @daily --detach",
        "pentora scan 10.0.0.1 --schedule @daily --local",
        "pentora scan 10.0.0.1 --schedule-name n",
        "pentora job status",
        "pentora scan 10.0.0.1 --key alice",
        "pentora scan 10.0.0.1 --list-targets --sign",
        "pentora scan --resume f --sign",
        "pentora job verify job-abc123 --key alice",
        "pentora key create --name a/b",
        "pentora coordinator worker-token create --name n --ttl 24",
        "pentora coordinator worker-token create",
        "pentora cluster remove",
        "pentora nodes set n3 --role king",
        "pentora scope add 203.0.113.0/24",
        "pentora scope add --reason r",
        "pentora exclude add",
        "pentora exclude add 10.3.0.5 --hours 08:00-18:00",
        "pentora exclude add 10.3.0.5 --from 2026-12-24T00:00Z",
        "pentora cluster transfer-leadership n1 --to n2",
        "pentora-node join --token T --token-file F",
        "pentora server start --mode emperor",
        "pentora -q -v version",
        "pentora man scan --dir D",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), i32::from(ExitCode::Usage as u8), "{line}");
    }
}

/// Each command of the tree with the words that lead to it.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    let (mut found, mut left) = (Vec::new(), vec![(Vec::new(), tree())]);
    while let Some((words, command)) = left.pop() {
        left.extend(command.get_subcommands().map(|below| {
            let words: Vec<String> = words.iter().cloned().chain([below.get_name().to_owned()]).collect();
            (words, below.clone())
        }));
        found.push((words, command));
    }
    found
}

#[test]
fn every_page_of_help_opens_with_examples_and_each_of_these_is_understood() {
    let pages = commands();
    assert!(pages.len() > 80, "{}", pages.len());
    for (words, command) in pages {
        let line: Vec<&str> = std::iter::once("pentora").chain(words.iter().map(String::as_str)).collect();
        let help =
            tree().try_get_matches_from(line.iter().chain(&["--help"])).expect_err("help ends parsing").to_string();
        let first = help.lines().next();
        assert!(first == Some("Example:") || first == Some("Examples:"), "{line:?}:\n{help}");
        let examples = command.get_before_help().unwrap().to_string();
        let examples = examples.lines().filter_map(hints::command_of);
        let parsed =
            examples.map(|example| hints::understood(&example).unwrap_or_else(|why| panic!("{example}: {why}")));
        assert!(parsed.count() > 0, "{line:?}: no example is a command:\n{help}");
    }
}

#[test]
fn whatever_prints_json_takes_its_form_by_name_too() {
    let mut shown = 0;
    for (words, command) in commands() {
        if !command.get_arguments().any(|arg| arg.get_long() == Some("json")) {
            continue;
        }
        let form = command.get_arguments().find(|arg| arg.get_short() == Some('o'));
        let form = form.unwrap_or_else(|| panic!("{words:?} has --json and no -o"));
        let names: Vec<String> = form.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        // Reports of scans have formats of their own.
        let is_report = words == ["scan"] || words == ["job", "results"];
        assert!(is_report || ["json", "yaml"].iter().all(|form| names.iter().any(|name| name == form)), "{words:?}");
        shown += 1;
    }
    assert!(shown > 40, "{shown}");
}

#[test]
fn what_cannot_be_taken_back_asks_first() {
    let dangerous = ["remove", "delete", "revoke", "leave", "recover"];
    let asks = |command: &clap::Command| command.get_arguments().any(|arg| arg.get_id() == "yes");
    for (words, command) in commands() {
        let is_drill = words.iter().any(|word| word == "drill") && !command.has_subcommands();
        // A context is a line in a file of the own user.
        let is_local = words.first().is_some_and(|word| word == "context");
        let is_named_so = words.last().is_some_and(|word| dangerous.contains(&word.as_str()));
        let is_dangerous = is_drill || (is_named_so && !is_local);
        // They take `--yes`, and ask at most on a terminal, or where the cluster would survive less.
        let may_ask = [["job", "cancel"], ["token", "rotate"], ["cluster", "demote"], ["context", "remove"]];
        let may_ask = may_ask.iter().chain(&[["cluster", "transfer-leadership"]]).any(|may| words == *may);
        assert!(asks(&command) == is_dangerous || (asks(&command) && may_ask), "{words:?}");
    }
}

#[test]
fn what_does_not_exist_yet_is_not_offered() {
    for line in ["pentora console", "pentora assets"] {
        assert!(parse(line).is_err(), "{line}");
    }
}
