//! The program as a user meets it: real processes, asked for output and exit codes, against an API that plays its part
//! on loopback. What a real node answers is tested with real nodes elsewhere; here it is what the command makes of it.
#![expect(clippy::unwrap_used, reason = "a test's own helpers may panic, like its tests")]

#[path = "command_line/api.rs"]
mod api;
#[path = "command_line/program.rs"]
mod program;
#[path = "command_line/signals.rs"]
mod signals;
#[path = "command_line/targets.rs"]
mod targets;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::api::{Api, results};
use self::program::{Program, ended};

#[test]
fn a_scan_on_a_cluster_is_submitted_followed_and_printed() {
    let (program, api) = (Program::new(), Api::with_job("completed", 3));
    let token = program.file("token", "pna_1\n");
    let done = program.run(&format!("scan 10.0.0.1-2 --api {} --token-file {token} -o list", api.endpoint));
    assert_eq!((done.code, done.stdout.as_str()), (0, "10.0.0.1 22 tcp\n10.0.0.2 22 tcp\n"), "{}", done.stderr);
    assert!(done.stderr.contains("job-1: 1 target\n") && !done.stderr.contains('\u{1b}'), "{}", done.stderr);
    let seen = api.seen.lock().unwrap();
    assert!(seen.iter().all(|(_, token)| token == "Bearer pna_1"));
    assert!(seen.iter().skip(1).all(|(uri, _)| uri.ends_with("?min_index=7")), "a lagging node must wait: {seen:?}");
}

#[test]
fn every_format_of_the_results_can_be_had_later() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    let get = |format: &str| program.run(&format!("job results job-1 {format} --api {}", api.endpoint));
    assert_eq!(get("-o jsonl").stdout, results(), "lines come as the node wrote them");
    let document: Value = serde_json::from_str(&get("--json").stdout).unwrap();
    assert_eq!(document["hosts"].as_array().map(Vec::len), Some(2));
    assert_eq!((&document["summary"]["targets_scanned"], &document["summary"]["probes_sent"]), (&json!(2), &json!(9)));
    let table = get("").stdout;
    assert!(
        table.contains("22/tcp") && table.contains("2 targets scanned in 3.00s: 2 hosts up, 2 ports open"),
        "{table}"
    );
}

#[test]
fn detached_submissions_print_the_id_alone_or_as_json() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    let plain = program.run(&format!("scan 10.0.0.1 --detach --api {}", api.endpoint));
    assert_eq!((plain.code, plain.stdout.as_str()), (0, "job-1\n"));
    let json = program.run(&format!("scan 10.0.0.1 --detach --json --api {}", api.endpoint));
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["job_id"], "job-1");
    assert_eq!(api.requests(), ["/api/v1/scans", "/api/v1/scans"]);
}

#[test]
fn targets_come_from_a_file_and_from_standard_input() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    let file = program.file("targets", "10.0.0.1 # first\n10.0.0.2\n");
    let done = program.run(&format!("scan --file {file} --detach --json --api {}", api.endpoint));
    assert_eq!(serde_json::from_str::<Value>(&done.stdout).unwrap()["targets"], 2, "{}", done.stderr);
    let mut command = program.command(&format!("scan --file - --detach --json --api {}", api.endpoint));
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"10.0.0.1\n10.0.0.2\n10.0.0.3\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&ended(child).stdout).unwrap()["targets"], 3);
}

#[test]
fn the_end_of_a_job_is_the_exit_code_and_its_results_are_printed_all_the_same() {
    let program = Program::new();
    for (end, code, said) in
        [("partial", 6, "unit 0:1-2 failed 3 times"), ("failed", 6, "ended failed"), ("cancelled", 7, "was cancelled")]
    {
        let api = Api::with_job(end, 1);
        let done = program.run(&format!("scan 10.0.0.1 -o list --api {}", api.endpoint));
        let lines: Vec<&str> = done.stdout.lines().collect();
        assert_eq!(done.code, code, "{end}: {}", done.stderr);
        // Two ports, that there is less than there could be, and why where that is known.
        assert_eq!(lines[2], "# partial: 1 of 2 targets was scanned to the end", "{end}");
        let why: &[&str] = if end == "partial" { &["# unit 0:1-2 failed 3 times"] } else { &[] };
        assert_eq!(&lines[3..], why, "{end}");
        assert!(done.stderr.contains(said), "{end}: {}", done.stderr);
        let watched = program.run(&format!("job watch job-1 --api {}", api.endpoint));
        assert_eq!(watched.code, code, "{end}");
    }
}

#[test]
fn refusals_have_their_exit_codes_and_say_what_to_do() {
    let program = Program::new();
    for (status, code, exit) in [
        (403, "scope_denied", 4),
        (409, "no_eligible_node", 4),
        (503, "quorum_lost", 5),
        (400, "bad_targets", 2),
        (500, "internal", 1),
        (401, "unauthorized", 1),
    ] {
        let api = Api::refusing(status, code);
        let started = Instant::now();
        let done = program.run(&format!("scan 10.0.0.1 --api {}", api.endpoint));
        assert_eq!((done.code, done.stdout.as_str()), (exit, ""), "{code}: {}", done.stderr);
        assert!(done.stderr.contains("the detail"), "{code}: {}", done.stderr);
        assert!(started.elapsed() < Duration::from_secs(8), "{code}");
    }
    let api = Api::refusing(401, "unauthorized");
    let unauthorized = program.run(&format!("scan 10.0.0.1 --api {}", api.endpoint));
    assert!(unauthorized.stderr.contains("admin.token") && unauthorized.stderr.contains("PENTORA_TOKEN_FILE"));
}

#[test]
fn nobody_listening_is_exit_5_at_once() {
    let program = Program::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for line in ["cluster status", "nodes list", "scan 10.0.0.1", "job list"] {
        let done = program.run(&format!("{line} --api http://127.0.0.1:{port}"));
        assert_eq!(done.code, 5, "{line}: {}", done.stderr);
        assert!(done.stderr.contains("no node answers at") && done.stderr.contains("next: "), "{}", done.stderr);
    }
    let done = program.run("scan 10.0.0.1 --detach");
    assert!(done.code == 5 && done.stderr.contains("no cluster"), "{}", done.stderr);
}

#[test]
fn a_slip_in_targets_or_ports_is_shown_with_its_position_before_anything_is_sent() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    let file = program.file("targets", "10.0.0.1\n10.0.0.2, 10.0.0.256\n");
    for (line, position) in [
        (format!("scan --file {file}"), format!("{file}:2:11: \"10.0.0.256\"")),
        ("scan 10.0.0.1 10.0.0.0/40".to_owned(), "target 2:1:1".to_owned()),
        ("scan 10.0.0.1 --ports 22,http,70000".to_owned(), "ports:9: \"70000\"".to_owned()),
        ("scan 10.0.0.1 --exclude 10.0.0.300".to_owned(), "--exclude:1:1".to_owned()),
        ("scan".to_owned(), "no targets".to_owned()),
    ] {
        let done = program.run(&format!("{line} --api {}", api.endpoint));
        assert_eq!(done.code, 2, "{line}: {}", done.stderr);
        assert!(done.stderr.contains(&position), "{line}: {}", done.stderr);
    }
    assert_eq!(api.requests(), Vec::<String>::new());
}

#[test]
fn ctrl_c_leaves_a_clusters_job_running_and_says_how_to_come_back() {
    let (program, api) = (Program::new(), Api::with_job("completed", usize::MAX));
    let child = program.command(&format!("scan 10.0.0.1 --api {}", api.endpoint)).spawn().unwrap();
    let started = Instant::now();
    while !api.requests().iter().any(|uri| uri.contains("/jobs/job-1")) {
        assert!(started.elapsed() < Duration::from_secs(20), "the job is never asked for");
        std::thread::yield_now();
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let done = ended(child);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{}", done.stderr);
    assert!(done.stderr.contains("pentora job watch job-1") && done.stderr.contains("pentora job cancel job-1"));
    assert!(!api.requests().iter().any(|uri| uri.contains("cancel")), "nobody asked to cancel it");
}

#[test]
fn a_token_is_printed_alone_and_its_hints_elsewhere() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    let done = program.run(&format!("coordinator worker-token create --name n2 --api {}", api.endpoint));
    assert_eq!((done.code, done.stdout.as_str()), (0, "pnj_secret\n"));
    assert!(done.stderr.contains("2025-07-11") && !done.stderr.contains("pnj_secret"), "{}", done.stderr);
    let revoked = program.run(&format!("coordinator worker-token revoke tok-1 --yes -q --api {}", api.endpoint));
    assert_eq!((revoked.code, revoked.stderr.as_str()), (0, ""));
}

#[test]
fn tables_follow_the_locale_and_views_have_json() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    let list = format!("coordinator workers list --api {}", api.endpoint);
    assert!(program.run(&list).stdout.starts_with("┌─"));
    let ascii = ended(program.command(&list).env("LC_ALL", "C").spawn().unwrap());
    assert!(ascii.stdout.starts_with("+-") && ascii.stdout.is_ascii());
    for (line, pointer, expected) in [
        ("nodes list --json", "/0/worker_id", json!("wrk_a")),
        ("cluster status --json", "/leader", json!("n1")),
        ("job status job-1 --json", "/targets_scanned", json!(2)),
        ("job events job-1 --json", "/0/index", json!(9)),
    ] {
        let done = program.run(&format!("{line} --api {}", api.endpoint));
        let document: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(document.pointer(pointer), Some(&expected), "{line}");
    }
    let events = program.run(&format!("job events job-1 --api {}", api.endpoint));
    assert!(events.stdout.contains("[12:00:00.250] job accepted"), "{}", events.stdout);
    assert!(
        program.run(&format!("job status job-1 --watch --api {}", api.endpoint)).stdout.contains("Status: Completed")
    );
}

#[test]
fn the_node_is_found_by_environment_and_file() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    let token = program.file("t", "pna_env");
    let mut by_env = program.command("cluster status --json");
    let done = ended(by_env.env("PENTORA_API", &api.endpoint).env("PENTORA_TOKEN_FILE", token).spawn().unwrap());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(api.seen.lock().unwrap().last().unwrap().1, "Bearer pna_env");
    let file =
        program.file("p.yaml", &format!("client: {{api: '{}'}}\nworker: {{token: '${{UNSET}}'}}\n", api.endpoint));
    assert_eq!(program.run(&format!("cluster status --config {file}")).code, 0);
}

#[test]
fn a_reader_that_stops_reading_ends_the_program_quietly() {
    let (program, api) = (Program::new(), Api::with_job("completed", 0));
    for line in [
        "completions bash".to_owned(),
        format!("job results job-1 -o jsonl --api {}", api.endpoint),
        "--help".to_owned(),
    ] {
        let mut child = program.command(&line).spawn().unwrap();
        drop(child.stdout.take());
        let done = ended(child);
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{line}");
    }
}

#[test]
fn a_configuration_is_checked_without_binding_anything() {
    let program = Program::new();
    let good = program.file("good.yaml", "queue: {backend: redis, url: 'redis://r:6379'}\n");
    let done = program.run(&format!("config check {good}"));
    assert_eq!((done.code, done.stdout.as_str()), (0, format!("{good}: ok\n").as_str()), "{}", done.stderr);
    assert!(done.stderr.contains("queue.url and queue.backend are not used"), "{}", done.stderr);

    let bad = program.file("bad.yaml", "server: {api: {listen: here}}\nmesch: {}\nqueue: {backend: rabbit}\n");
    for line in [format!("config check --config {bad}"), format!("start --config {bad}"), format!("config show {bad}")]
    {
        let done = program.run(&line);
        assert_eq!((done.code, done.stdout.as_str()), (8, ""), "{line}");
        for place in [
            format!("{bad}:1:24: server.api.listen"),
            format!("{bad}:2:1: unknown key mesch: did you mean mesh?"),
            format!("{bad}:3:18: queue.backend"),
        ] {
            assert!(done.stderr.contains(&place), "{line}: {}", done.stderr);
        }
    }
    assert_eq!(program.run("config check /nonexistent.yaml").code, 8);

    let shown = ended(program.command("config show --origin").env("WORKER_TOKEN", "pnj_hidden").spawn().unwrap());
    assert!(
        shown.stdout.contains("# environment WORKER_TOKEN") && !shown.stdout.contains("pnj_hidden"),
        "{}",
        shown.stdout
    );
    assert!(
        serde_json::from_str::<Value>(&program.run("config schema").stdout).unwrap()["properties"]["mesh"].is_object()
    );
}

#[test]
fn a_node_that_cannot_start_says_why_before_it_binds() {
    let program = Program::new();
    let done = program.run("start");
    assert!(done.code == 2 && done.stderr.contains("holds no node yet"), "{}", done.stderr);
    assert!(!program.home.path().join("data").exists(), "a refused start leaves nothing behind");
    let done = program.run("join --peer 10.88.0.1:7400 --token-file /nonexistent");
    assert!(done.code == 8 && done.stderr.contains("/nonexistent"), "{}", done.stderr);
}

#[test]
fn both_names_are_the_same_program_and_each_is_shown_as_it_was_called() {
    let program = Program::new();
    let link = program.home.path().join("pentora");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pentora-node"), &link).unwrap();
    let renamed = program.home.path().join("pentora-0.1");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pentora-node"), &renamed).unwrap();
    let said = |path: &Path, words: &[&str]| {
        String::from_utf8(Command::new(path).args(words).env_clear().output().unwrap().stdout).unwrap()
    };
    let node = Path::new(env!("CARGO_BIN_EXE_pentora-node"));
    assert_eq!(said(node, &["version"]), said(&link, &["version"]));
    for (path, name) in [(node, "pentora-node"), (&link, "pentora"), (&renamed, "pentora")] {
        assert!(said(path, &["--version"]).starts_with(&format!("{name} ")), "{}", path.display());
        assert!(said(path, &["completions", "zsh"]).starts_with(&format!("#compdef {name}\n")), "{}", path.display());
    }
    for (path, name) in [(node, "pentora-node"), (&link, "pentora")] {
        assert!(said(path, &["scan", "--help"]).contains(&format!("Usage: {name} scan")), "{}", path.display());
    }
    assert_eq!(program.run("").code, 2, "no command is a usage error");
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let program = Program::new();
    let done = program.run("man scan");
    assert!(done.code == 0 && done.stdout.contains("\n.TH pentora-scan 1 "), "{}", done.stderr);
    let folder = program.home.path().join("pages");
    assert_eq!(program.run(&format!("man --dir {}", folder.display())).code, 0);
    assert_eq!(std::fs::read_to_string(folder.join("pentora-scan.1")).unwrap(), done.stdout);
    assert!(folder.join("pentora.1").exists() && folder.join("pentora-coordinator-worker-token-create.1").exists());
    let wrong = program.run("man sacn");
    assert!(wrong.code == 2 && wrong.stderr.contains("sacn"), "{}", wrong.stderr);
    let file = program.file("taken", "");
    assert_eq!(program.run(&format!("man --dir {file}")).code, 1);
}
