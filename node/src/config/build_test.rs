//! Whole configurations: the original description's files, relations between keys, and warnings.

use std::time::Duration;

use pentora_raft::command::AccessRole;

use super::super::{ApiAuth, FailedUnits, Key, Kind, NetworkAccess, NodeMode, RetryPause, Secret, Strategy};
use super::*;

fn sources(text: &str, env: &[(&str, &str)]) -> Sources {
    Sources {
        remembered: None,
        noted: None,
        file: Some(ConfigText { name: "p.yaml".into(), text: text.into() }),
        env: env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        flags: Vec::new(),
        host: Host { name: "box 1!".into(), home: Some("/home/u".into()), is_root: false },
        purpose: Purpose::Node,
    }
}

fn good(text: &str, env: &[(&str, &str)]) -> Loaded {
    load(&sources(text, env)).unwrap_or_else(|error| panic!("{error}"))
}

fn bad(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    load(&sources(text, env)).expect_err("must be refused").issues.iter().map(ToString::to_string).collect()
}

/// The worker file of the original description, to the letter.
const WORKER: &str = "
worker:
  name: aws-us-east-1
  coordinator: https://pentora-coordinator.example.com
  token: ${WORKER_TOKEN}

  region: us-east-1
  tags:
    - aws
    - production
    - us-east-1

  capacity:
    max_concurrent_scans: 10
    max_targets_per_scan: 1000
";

#[test]
fn the_original_worker_file_is_understood() {
    let config = good(WORKER, &[("WORKER_TOKEN", "pnj_abc")]).config;
    assert_eq!(config.name, "aws-us-east-1");
    assert_eq!(config.mesh.peers, ["pentora-coordinator.example.com:7400"]);
    assert_eq!(config.worker.token.as_ref().map(Secret::expose), Some("pnj_abc"));
    assert_eq!(config.worker.region.as_deref(), Some("us-east-1"));
    assert_eq!(config.worker.tags, ["aws", "production", "us-east-1"]);
    assert_eq!((config.worker.max_concurrent_scans, config.worker.max_targets_per_scan), (10, 1000));
}

#[test]
fn the_original_coordinator_file_is_understood_but_for_its_broker() {
    let text = "
server:
  mode: coordinator
  api:
    listen: 0.0.0.0:8080
    auth: jwt

workers:
  auto_register: true
  heartbeat_interval: 30s

coordinator:
  load_balancing:
    strategy: least_loaded  # Options: round_robin, least_loaded, tag_affinity

    thresholds:
      max_queue_depth: 100
      worker_max_load: 0.8
  job_retry:
    max_attempts: 3
    backoff: exponential
    timeout: 30m

  worker_failure:
    action: reassign
    grace_period: 2m
";
    let loaded = good(text, &[]);
    let config = &loaded.config;
    assert_eq!(config.api.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.workers.heartbeat_interval, Duration::from_secs(30));
    assert_eq!(config.coordinator.grace_period, Duration::from_secs(120));
    assert_eq!((config.coordinator.max_attempts, config.coordinator.strategy), (3, Strategy::LeastLoaded));
    assert!(matches!(loaded.config.api.tls(), ApiTls::Cluster), "others reach it");
    assert_eq!(
        (config.coordinator.backoff, config.coordinator.failure_action),
        (RetryPause::Exponential, FailedUnits::Reassign)
    );
    assert_eq!((config.coordinator.max_queue_depth, config.coordinator.worker_max_load), (100, 0.8));
    assert!(config.workers.auto_register);

    let broker = format!("{text}\nqueue:\n  backend: redis\n  url: redis://redis-cluster:6379\n");
    let loaded = good(&broker, &[]);
    let said: Vec<&String> = loaded.warnings.iter().filter(|warning| warning.contains("queue.")).collect();
    assert_eq!(
        said,
        ["queue.url and queue.backend are not used: the replicated log is the queue, and no broker is used"]
    );
    assert!(good("queue: {backend: raft}", &[]).warnings.is_empty());
    assert!(bad("queue: {backend: rabbit}", &[])[0].contains("raft, redis, kafka"));
}

#[test]
fn the_original_air_gapped_file_makes_a_standalone_worker() {
    let text = "
worker:
  mode: standalone
  offline: true

  local_queue: /var/pentora/queue
  local_results: /var/pentora/results

sync:
  export_interval: 1h
  export_path: /mnt/usb/pentora-exports
";
    let loaded = good(text, &[]);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let (worker, sync) = (&loaded.config.worker, &loaded.config.sync);
    assert!(worker.standalone && !sync.require_mount);
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().unwrap().display().to_string();
    assert_eq!(path(&worker.local_queue), "/var/pentora/queue");
    assert_eq!(path(&worker.local_results), "/var/pentora/results");
    assert_eq!(path(&sync.export_path), "/mnt/usb/pentora-exports");
    assert_eq!(sync.export_interval, Duration::from_secs(3_600));
    assert!(good("worker: {offline: true}", &[]).config.worker.standalone);
    for (text, contradicts) in
        [("mode: cluster, offline: true", "mode: cluster"), ("mode: standalone, offline: false", "mode: standalone")]
    {
        let issues = bad(&format!("worker: {{{text}}}"), &[]);
        assert!(issues.len() == 1 && issues[0].contains(contradicts) && issues[0].contains("keep one"), "{issues:?}");
    }
    // Elsewhere the stronger word holds, and the other follows it.
    for (text, variable, standalone) in [
        ("worker: {mode: cluster}", ("PENTORA_WORKER_OFFLINE", "true"), true),
        ("worker: {offline: true}", ("PENTORA_WORKER_MODE", "cluster"), false),
        ("worker: {mode: standalone}", ("PENTORA_WORKER_OFFLINE", "true"), true),
    ] {
        assert_eq!(good(text, &[variable]).config.worker.standalone, standalone, "{text} {variable:?}");
    }
    for text in [
        "worker: {local_queue: /q}",
        "sync: {require_mount: true}",
        "sync: {encrypt: true}",
        "sync: {export_interval: 2h}",
    ] {
        assert!(bad(text, &[])[0].contains("worker.mode: standalone"), "{text}");
    }
    let issues = bad("worker: {offline: true, coordinator: 'n1:7400'}\nnode: {init: true}", &[]);
    assert!(issues.len() == 2 && issues.iter().all(|issue| issue.contains("a standalone worker")), "{issues:?}");
}

#[test]
fn what_others_reach_is_inside_tls_unless_somebody_says_otherwise() {
    let tls = |text: &str| {
        let loaded = good(text, &[]);
        let is_warned = loaded.warnings.iter().any(|warning| warning.contains("plain HTTP"));
        (format!("{:?}", loaded.config.api.tls()), is_warned)
    };
    for listen in ["127.0.0.1:8080", "'[::1]:8080'", "127.9.9.9:1"] {
        assert_eq!(tls(&format!("server: {{api: {{listen: {listen}}}}}")), ("Plain".to_owned(), false));
    }
    for listen in ["0.0.0.0:8080", "'[::]:8080'", "10.0.0.1:8080"] {
        assert_eq!(tls(&format!("server: {{api: {{listen: {listen}}}}}")), ("Cluster".to_owned(), false));
        let insecure = tls(&format!("server: {{api: {{listen: {listen}, insecure: true}}}}"));
        assert_eq!(insecure, ("Plain".to_owned(), true));
        let (files, is_warned) = tls(&format!("server: {{api: {{listen: {listen}, tls: {{cert: /c, key: /k}}}}}}"));
        assert!(files.contains("/c") && files.contains("/k") && !is_warned, "{files}");
    }
    assert_eq!(tls("server: {api: {insecure: true}}"), ("Plain".to_owned(), false), "nobody else reaches it");
}

#[test]
fn timers_that_nobody_set_follow_the_one_that_was() {
    for (text, grace, timeout) in [
        ("", 15, 1_800),
        ("workers: {heartbeat_interval: 30s}", 90, 1_800),
        ("workers: {heartbeat_interval: 1s}", 15, 1_800),
        ("workers: {heartbeat_interval: 20m}", 3_600, 3_600),
        ("coordinator: {worker_failure: {grace_period: 2h}}", 7_200, 7_200),
    ] {
        let config = good(text, &[]).config.coordinator;
        let seconds = (config.grace_period.as_secs(), config.attempt_timeout.as_secs());
        assert_eq!(seconds, (grace, timeout), "{text}");
    }
}

#[test]
fn an_empty_configuration_is_complete() {
    let loaded = good("", &[]);
    let config = loaded.config;
    assert_eq!((config.name.as_str(), config.mode), ("box1", NodeMode::Coordinator));
    assert_eq!(config.data_dir.to_str(), Some("/home/u/.local/share/pentora"));
    assert_eq!(config.mesh.listen.to_string(), "0.0.0.0:7400");
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.worker.network_access, NetworkAccess::Auto);
    assert!(loaded.warnings.is_empty());
    assert_eq!(load(&Sources::default()).expect("even without a host").config.name, "node");
}

const A_KEY: &str = "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w alice";

#[test]
fn whose_orders_are_taken_is_said_whole_or_not_at_all() {
    let keys = ("PENTORA_WORKER_TRUSTED_KEYS", A_KEY);
    let signed = ("PENTORA_WORKER_REQUIRE_SIGNED_ORDERS", "true");
    assert_eq!(good("", &[keys, signed]).config.worker.trusted_keys, [A_KEY]);
    for (env, part) in [(keys, "mean nothing without"), (signed, "names nobody")] {
        let error = load(&sources("", &[env])).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

const PROVIDER: &str = "
server:
  api:
    oidc:
      issuer: https://idp.example
      audience: pentora
      jwks_url: https://idp.example/jwks
      role_claim: groups
      roles:
        scan-team: operator
        CN=root,OU=people: admin
";

#[test]
fn a_provider_of_identities_is_named_whole_and_its_roles_keep_their_order() {
    let loaded = good(PROVIDER, &[]);
    let provider = loaded.config.api.oidc.provider().unwrap();
    assert_eq!((provider.issuer.as_str(), provider.audience.as_str()), ("https://idp.example", "pentora"));
    assert_eq!((provider.role_claim.as_str(), provider.name_claim.as_str()), ("groups", "sub"));
    let roles = [("scan-team".to_owned(), AccessRole::Operator), ("CN=root,OU=people".to_owned(), AccessRole::Admin)];
    assert_eq!(provider.roles, roles);
    let shown = super::super::show(&loaded, false);
    assert_eq!(good(&shown, &[]).config.api.oidc.provider(), Some(provider), "{shown}");
    assert!(good("", &[]).config.api.oidc.provider().is_none());
    let with = |from: &str, to: &str| PROVIDER.replacen(from, to, 1);
    let plain = with("https://idp.example/jwks", "http://127.0.0.1:9090/jwks");
    let meant = good(&plain, &[("PENTORA_SERVER_API_INSECURE", "true")]).config.api.oidc.provider().unwrap();
    assert_eq!(meant.keys, crate::sign_in::Source::Url("http://127.0.0.1:9090/jwks".into()));
    for (text, part) in [
        (with("      issuer: https://idp.example\n", ""), "means nothing without server.api.oidc.issuer"),
        (with("      audience: pentora\n", ""), "needs server.api.oidc.audience"),
        (with("      jwks_url: https://idp.example/jwks\n", ""), "needs its keys"),
        (with("role_claim: groups", "jwks_file: /k"), "keep one"),
        (with("https://idp.example/jwks", "http://idp.example/jwks"), "keys come by https"),
        (with("https://idp.example/jwks", "http://127.0.0.1:9090/jwks"), "who listens there first"),
        (with("issuer: https://idp.example", "issuer: pentora:0102"), "is no provider's"),
        (with("issuer: https://idp.example", "issuer: 'https://idp.example#a'"), "is no provider's"),
        (with("scan-team: operator", "scan-team: root"), "is not VALUE=ROLE"),
        (with("scan-team: operator", "scan-team: [operator]"), "one role for each value"),
        (with("oidc:", "auth: none\n    oidc:"), "asks nobody who they are"),
        (with("server:", "server:\n  mode: worker"), "hands requests to a member"),
        (PROVIDER.split("      roles:").next().unwrap().to_owned(), "needs server.api.oidc.roles"),
    ] {
        let issues = bad(&text, &[]);
        assert!(issues.iter().any(|issue| issue.contains(part)), "{text}: {issues:?}");
    }
}

#[test]
fn a_collector_is_named_by_whoever_says_how_to_trust_it_and_by_nobody_without_a_network() {
    let collector = good("telemetry: {otlp: 'https://otel.example/tenant/a/', ca_file: ca.pem}", &[]).config.telemetry;
    assert_eq!(collector.otlp.as_deref(), Some("https://otel.example/tenant/a"));
    assert!(good("", &[]).config.telemetry.collector().is_none(), "nobody is told anything unless somebody says so");
    let otel = ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=s3cret");
    assert!(good("", &[otel]).config.telemetry.collector().is_none(), "meant for other programs");
    let loaded = good("telemetry: {otlp: 'https://otel.example'}", &[otel]);
    assert_eq!(loaded.config.telemetry.collector().unwrap().headers["x-key"], "s3cret");
    assert!(!crate::config::remembered(&loaded).contains("headers"));
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key=other");
    let loaded = good("telemetry: {otlp: 'https://otel.example'}", &[otel, traces]);
    assert_eq!(
        loaded.config.telemetry.headers.unwrap().expose(),
        "x-key=other",
        "that of traces goes before that of all"
    );
    for (text, part) in [
        ("telemetry: {ca_file: ca.pem}", "means nothing without telemetry.otlp"),
        ("telemetry: {headers_file: h}", "means nothing without telemetry.otlp"),
        ("telemetry: {otlp: 'https://otel.example', headers: 'x-key'}", "are not name=value"),
        ("telemetry: {otlp: 'https://otel.example', headers: 'host=a'}", "hold `host`"),
        ("telemetry: {otlp: 'http://10.0.0.1:4318', ca_file: ca.pem}", "means nothing for http://"),
        ("{worker: {mode: standalone}, telemetry: {otlp: 'http://10.0.0.1:4318'}}", "a standalone worker tells nobody"),
    ] {
        let error = load(&sources(text, &[])).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn every_key_can_be_set_by_its_environment_variable() {
    for key in KEYS {
        let value = match (key.default, key.path) {
            ("", "node.data_dir") => "/d",
            ("", "mesh.advertise" | "mesh.peers" | "worker.coordinator") => "10.0.0.1:7400",
            ("", "client.api" | "telemetry.otlp") => "http://127.0.0.1:1",
            ("", "client.ca_fingerprint") => FINGERPRINT,
            ("", "results.retention.max_age") => "30d",
            ("", "results.retention.max_jobs") => "7",
            ("", "results.retention.max_bytes") => "20GiB",
            ("", "worker.windows" | "worker.blackouts") => "22:00-06:00 UTC",
            ("", "worker.trusted_keys") => A_KEY,
            ("", "server.api.oidc.jwks_url") => "https://idp.example/jwks",
            ("", "server.api.oidc.roles") => "ops=admin",
            ("", "telemetry.headers") => "x-key=x",
            ("", _) => "x",
            (default, _) => default,
        };
        let keys = (key.path == "worker.trusted_keys").then_some(("PENTORA_WORKER_REQUIRE_SIGNED_ORDERS", "true"));
        // Some mean something to a standalone worker alone.
        let is_of_standalone = key.path.starts_with("sync.") || key.path.starts_with("worker.local_");
        let mode = is_of_standalone.then_some(("PENTORA_WORKER_MODE", "standalone"));
        // A certificate and its key go together.
        let tls = key.path.starts_with("server.api.tls.");
        let other = tls.then_some([("PENTORA_SERVER_API_TLS_CERT", "x"), ("PENTORA_SERVER_API_TLS_KEY", "x")]);
        let of_collector = key.path.starts_with("telemetry.") && key.path != "telemetry.otlp";
        let collector = of_collector.then_some(("PENTORA_TELEMETRY_OTLP", "https://127.0.0.1:1"));
        let oidc = key.path.starts_with("server.api.oidc.") && key.default.is_empty();
        let oidc = oidc.then_some([
            ("PENTORA_SERVER_API_OIDC_ISSUER", "x"),
            ("PENTORA_SERVER_API_OIDC_AUDIENCE", "x"),
            ("PENTORA_SERVER_API_OIDC_ROLES", "ops=admin"),
        ]);
        let its_keys = oidc.filter(|_| key.path != "server.api.oidc.jwks_url");
        let its_keys = its_keys.map(|_| ("PENTORA_SERVER_API_OIDC_JWKS_FILE", "x"));
        let mode = mode.into_iter().chain(keys).chain(other.into_iter().flatten());
        let mode = mode.chain(oidc.into_iter().flatten()).chain(its_keys).chain(collector);
        let env: Vec<(&str, &str)> = mode.chain([(env_name(key.path).leak() as &str, value)]).collect();
        let loaded = good("", &env);
        let expected = Origin::Environment(env_name(key.path));
        assert_eq!(loaded.origin(key.path), Some(&expected), "{}", key.path);
    }
}

const FINGERPRINT: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A value for `key` that is not its default; `None` where it can have no other.
fn another_value(key: &Key) -> Option<String> {
    let text = match key.kind {
        Kind::Label | Kind::Labels | Kind::Secret | Kind::Text | Kind::Anything => "another",
        Kind::KeysUrl => "https://idp.example/jwks",
        Kind::Roles => "ops=admin",
        Kind::Path => "/another",
        Kind::Switch if key.default == "true" => "false",
        Kind::Switch => "true",
        Kind::Count(low, high) => return Some(if key.default == low.to_string() { high } else { low }.to_string()),
        Kind::Share => "0.125",
        Kind::Time(low_ms, _) => return Some(format!("{}ms", low_ms + 1)),
        Kind::Size(..) => "3MiB",
        Kind::Socket | Kind::Peers | Kind::Coordinators => "127.0.0.9:9",
        Kind::Word(words) => words.iter().copied().find(|word| *word != key.default)?,
        Kind::Networks => "10.9.0.0/16",
        Kind::Targets => "10.9.0.0/24",
        Kind::Windows => "mon-fri 22:00-06:00 Europe/Berlin",
        Kind::Keys => A_KEY,
        Kind::Urls | Kind::Collector => "http://127.0.0.9:9",
        Kind::Hosts => "n9.example",
        Kind::Fingerprint => FINGERPRINT,
    };
    Some(text.to_owned())
}

#[test]
fn every_key_changes_the_configuration_or_says_that_it_does_nothing() {
    // What the keys say of each other is left out, so that each can be set alone.
    let settings = |env: &[(&str, &str)]| settled(&sources("", env), &mut Vec::new());
    let shown = |settings: &Settings| format!("{:?}", NodeConfig::read(&Values(settings)));
    let default = shown(&settings(&[]));
    for key in KEYS {
        let value = another_value(key).unwrap_or_else(|| panic!("{} can have one value only", key.path));
        let set = settings(&[(&env_name(key.path), &value)]);
        let is_changed = shown(&set) != default;
        let said = replaced(&set).is_some_and(|said| said.contains(key.path));
        let expected = match key.effect {
            Effect::Now | Effect::SpellingOf(_) => (true, false),
            Effect::Replaced(_) => (false, true),
        };
        assert_eq!((is_changed, said), expected, "{}: {value}", key.path);
    }
}

#[test]
fn nothing_hides_a_setting_that_nobody_reads_from_the_compiler() {
    let source =
        [include_str!("../config.rs"), include_str!("api.rs"), include_str!("client.rs"), include_str!("telemetry.rs")]
            .concat();
    let settings = source.split("\n#[derive(").skip(1).filter(|item| item.contains("\npub struct "));
    let mut count = 0;
    for item in settings {
        count += 1;
        let fields = item.split("\n}").next().unwrap();
        assert!(fields.starts_with("Debug, Clone)]\n"), "other derives read every field: {fields}");
        assert!(!fields.contains("    pub "), "a public field counts as read: {fields}");
    }
    assert_eq!(count, 12, "every struct of settings is looked at");
}

#[test]
fn broken_relations_between_keys_are_reported_at_the_key_that_was_written() {
    for (text, env, place, part) in [
        (
            "server: {api: {auth: none, listen: '0.0.0.0:8080'}}",
            &[][..],
            "p.yaml:1:22: server.api.auth",
            "loopback only",
        ),
        ("mesh: {listen: '0.0.0.0:8080'}", &[], "p.yaml:1:16: mesh.listen", "same port"),
        (
            "server: {api: {insecure: true, tls: {cert: /c, key: /k}}}",
            &[],
            "p.yaml:1:26: server.api.insecure",
            "keep one",
        ),
        ("server: {api: {tls: {cert: /c}}}", &[], "p.yaml:1:28: server.api.tls.cert", "needs server.api.tls.key"),
        ("server: {api: {tls: {key: /k}}}", &[], "p.yaml:1:27: server.api.tls.key", "needs server.api.tls.cert"),
        ("coordinator: {worker_failure: {grace_period: 9s}}", &[], "p.yaml:1:46", "two heartbeats"),
        ("coordinator: {job_retry: {timeout: 10s}}", &[], "p.yaml:1:36", "less than the grace period"),
        ("worker: {offline: true, coordinator: 'n1:7400'}", &[], "p.yaml:1:19: worker.offline", "no other node"),
        ("worker: {token: a, token_file: b}", &[], "p.yaml:1:17: worker.token", "keep one"),
        ("node: {name: a}\nworker: {name: b}", &[], "p.yaml:2:16: worker.name", "one name"),
    ] {
        let issues = bad(text, env);
        assert!(issues.len() == 1 && issues[0].starts_with(place) && issues[0].contains(part), "{text}: {issues:?}");
    }
    assert!(good("server: {api: {auth: none}}", &[]).config.api.auth == ApiAuth::None, "loopback may go without");
}

#[test]
fn a_stronger_layer_ends_a_contradiction() {
    let loaded = good("worker: {token_file: /t, name: a}", &[("WORKER_TOKEN", "pnj_1"), ("PENTORA_NODE_NAME", "b")]);
    assert_eq!(loaded.config.worker.token.as_ref().map(Secret::expose), Some("pnj_1"));
    assert_eq!((loaded.config.worker.token_file, loaded.config.name.as_str()), (None, "b"));
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let issues = bad(
        "mesh: {profile: slow}\nnode: {init: yes}\nnod: 1\nworker: {token: '${NOPE:?ask the operator}'}",
        &[("PENTORA_SERVER_API_LISTEN", "everywhere")],
    );
    let places: Vec<&str> = issues.iter().filter_map(|issue| issue.split(": ").next()).collect();
    let expected = ["p.yaml:1:17", "p.yaml:2:14", "p.yaml:3:1", "p.yaml:4:17", "environment PENTORA_SERVER_API_LISTEN"];
    assert_eq!(places, expected, "{issues:?}");
    assert!(issues[3].ends_with("ask the operator"));
}

#[test]
fn a_licence_key_and_a_misspelt_variable_get_a_warning_and_foreign_variables_none() {
    let env = [
        ("LICENSE_KEY", "k"),
        ("PENTORA_NODE_NAMEE", "x"),
        ("PENTORA_NOSUCH_KEY", "1"),
        ("PENTORA_REGION_HERE", "eu"),
        // What Kubernetes tells of services with such names.
        ("PENTORA_SERVICE_HOST", "10.0.0.1"),
        ("PENTORA_PORT", "tcp://10.0.0.1:8080"),
        ("PENTORA_WORKER_SERVICE_HOST", "10.0.0.1"),
        ("PENTORA_WORKER_SERVICE_PORT", "8080"),
        ("PENTORA_WORKER_SERVICE_PORT_HTTP", "8080"),
        ("PENTORA_WORKER_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PENTORA_WORKER_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    let warnings = good("worker: {region: '${PENTORA_REGION_HERE}'}", &env).warnings;
    assert_eq!(
        warnings,
        [
            "LICENSE_KEY is ignored: Pentora needs no licence key",
            "environment PENTORA_NODE_NAMEE is not a setting: did you mean PENTORA_NODE_NAME?",
            "environment PENTORA_NOSUCH_KEY is not a setting: `pentora config schema` lists the keys",
        ]
    );
}

#[test]
fn a_broken_file_still_reports_what_is_wrong_elsewhere() {
    let issues = bad("a: [", &[("PENTORA_MESH_PROFILE", "slow")]);
    assert!(issues.len() == 2 && issues[0].contains("not valid YAML"), "{issues:?}");
}

#[test]
fn the_command_line_reads_only_where_a_node_is_and_minds_nothing_else_in_a_services_file() {
    let text =
        "worker: {token: '${SECRET}'}\nzzz: 1\nserver: {api: {listen: '127.0.0.1:9'}}\nmesh: {listen: '0.0.0.0:9'}";
    let loaded = load(&Sources { purpose: Purpose::Client, ..sources(text, &[]) }).expect("nothing of a node matters");
    assert_eq!(loaded.config.api.listen.port(), 9);
    let wrong = Sources { purpose: Purpose::Client, ..sources("client: {api: nowhere}", &[]) };
    assert!(load(&wrong).expect_err("its own keys do").to_string().contains("client.api"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_configuration_panic(text in "\\PC{0,80}|[a-z:{}\\[\\],\"'#&*!|>%@$\\-\\n ]{0,80}") {
        if let Err(error) = load(&sources(&text, &[])) {
            proptest::prop_assert!(!error.issues.is_empty());
        }
    }

    #[test]
    fn no_value_makes_a_key_panic_and_what_is_taken_is_shown_and_taken_again(
        index in 0..KEYS.len(),
        value in "\\PC{0,40}|[0-9a-z.:/,\\[\\]$\\- ]{0,40}"
    ) {
        let key = KEYS[index];
        let sources = Sources { file: None, ..sources("", &[(&env_name(key.path), &value)]) };
        if let Ok(loaded) = load(&sources) {
            let shown = super::super::show(&loaded, false);
            let again = Sources { file: Some(ConfigText { name: "s".into(), text: shown.clone() }), env: BTreeMap::new(), ..sources };
            if key.path != "worker.token" {
                let mut again = load(&again).map_err(|error| proptest::test_runner::TestCaseError::fail(format!("{error}\n{shown}")))?;
                // What is shown has a name in it, which was the host's.
                again.config.is_named = loaded.config.is_named;
                proptest::prop_assert_eq!(format!("{:?}", loaded.config), format!("{:?}", again.config), "{}", shown);
            }
        }
    }
}
