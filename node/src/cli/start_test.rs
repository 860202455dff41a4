//! Which command line leads to which plan.

use std::collections::BTreeMap;

use super::*;

/// A context whose home is an empty directory.
fn context(directory: &Path, env: &[(&str, &str)]) -> Context {
    let mut context = Context::for_test(std::io::sink());
    context.env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<BTreeMap<_, _>>();
    context.env.insert("PENTORA_DATA_DIR".to_owned(), directory.display().to_string());
    context
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn the_flags_of_the_first_node_reach_its_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("n1").display().to_string();
    let args = StartArgs {
        init: true,
        restore: None,
        node: NodeFlags {
            name: text("n1"),
            data_dir: text(&data),
            mesh_listen: text("10.88.0.1:7400"),
            mesh_advertise: vec!["n1.example:7400".into(), "10.88.0.1:7401".into()],
            api_listen: text("127.0.0.1:8081"),
            profile: text("wan"),
            region: text("eu"),
            tag: vec!["a".into(), "b".into()],
            network_access: vec!["10.0.0.0/8".into(), "192.168.0.0/16".into()],
            ..NodeFlags::default()
        },
    };
    let plan = start(args, &context(directory.path(), &[])).unwrap();
    assert!(matches!(plan.action, StartAction::Init));
    let config = plan.config;
    assert_eq!((config.name.as_str(), config.data_dir.to_str()), ("n1", Some(data.as_str())));
    assert_eq!(config.mesh.listen.to_string(), "10.88.0.1:7400");
    assert_eq!(config.mesh.advertise, ["n1.example:7400", "10.88.0.1:7401"]);
    assert_eq!(config.mesh.profile, crate::config::TimingProfile::Wan);
    assert_eq!((config.api.listen.port(), config.worker.tags.len()), (8081, 2));
    let networks = ["10.0.0.0/8", "192.168.0.0/16"].map(|network| network.parse().unwrap()).to_vec();
    assert_eq!(config.worker.network_access, crate::config::NetworkAccess::Networks(networks));
}

#[test]
fn a_configuration_or_token_that_anybody_may_change_starts_nothing_and_says_what_mends_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (config, token) = (directory.path().join("pentora.yaml"), directory.path().join("t"));
    std::fs::write(&config, "worker:\n  token: pnj_file\nmesh:\n  peers: [\"10.88.0.1:7400\"]\n").unwrap();
    std::fs::write(&token, "pnj_file\n").unwrap();
    let data = directory.path().join("n1");
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let by_config = || {
        let shown = config.display().to_string();
        join(JoinArgs { node: NodeFlags::default() }, &context(&data, &[("PENTORA_CONFIG", &shown)]))
    };
    let by_file = || {
        let node = NodeFlags {
            peer: vec!["10.88.0.1:7400".to_owned()],
            token_file: text(&token.display().to_string()),
            ..NodeFlags::default()
        };
        join(JoinArgs { node }, &context(&data, &[]))
    };
    for mode in [0o600, 0o644] {
        chmod(&config, mode);
        chmod(&token, mode);
        by_config().unwrap();
        by_file().unwrap();
    }
    chmod(&config, 0o666);
    chmod(&token, 0o646);
    for failure in [by_config().unwrap_err(), by_file().unwrap_err()] {
        assert!(failure.to_string().contains("to mend it: chmod o-w "), "{failure}");
    }
    chmod(&config, 0o600);
    chmod(directory.path(), 0o777);
    assert!(by_config().unwrap_err().to_string().contains("can exchange"));
    chmod(directory.path(), 0o700);
    assert!(!data.exists(), "nothing was begun");
}

#[test]
fn a_token_comes_from_flag_file_or_environment_in_this_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("t");
    std::fs::write(&file, "pnj_file\n").unwrap();
    let peer = vec!["10.88.0.1:7400".to_owned()];
    let by_flag = NodeFlags { peer: peer.clone(), token: text("pnj_flag"), ..NodeFlags::default() };
    let by_file =
        NodeFlags { peer: peer.clone(), token_file: text(&file.display().to_string()), ..NodeFlags::default() };
    let by_env = NodeFlags { peer, ..NodeFlags::default() };
    let context = context(directory.path(), &[("WORKER_TOKEN", "pnj_env")]);
    for (node, expected) in [(by_flag, "pnj_flag"), (by_file, "pnj_file"), (by_env, "pnj_env")] {
        let plan = join(JoinArgs { node }, &context).unwrap();
        let StartAction::Join { peers, token } = plan.action else { panic!("a join") };
        assert_eq!((peers, token.expose()), (vec!["10.88.0.1:7400".to_owned()], expected));
    }
}

#[test]
fn the_original_commands_start_nodes_from_their_environment_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("none");
    let env = [("COORDINATOR_URL", "https://pentora-coordinator:8080"), ("WORKER_TOKEN", "pnj_1")];
    let plan = worker(JoinArgs::default(), &context(&data, &env)).unwrap();
    assert_eq!(plan.config.mode, crate::config::NodeMode::Worker);
    let StartAction::Join { peers, .. } = plan.action else { panic!("a join") };
    assert_eq!(peers, ["pentora-coordinator:7400"]);

    let args = ServerStartArgs { mode: "coordinator".into(), start: StartArgs::default() };
    let plan = server(ServerCommand::Start(Box::new(args)), &context(&data, &[])).unwrap();
    assert!(matches!(plan.action, StartAction::Init) && plan.config.mode == crate::config::NodeMode::Coordinator);
}

#[test]
fn what_is_missing_the_first_time_is_named_before_anything_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("none");
    let peer = || NodeFlags { peer: vec!["n1".into()], ..NodeFlags::default() };
    let token = || NodeFlags { token: text("pnj_1"), ..NodeFlags::default() };
    let start_with = |node| StartArgs { init: false, restore: None, node };
    let context = context(&empty, &[]);
    for (outcome, part) in [
        (start(StartArgs::default(), &context), "holds no node yet"),
        (start(start_with(peer()), &context), "no join token"),
        (start(start_with(token()), &context), "no node to join through"),
        (join(JoinArgs { node: peer() }, &context), "no join token"),
        (join(JoinArgs { node: token() }, &context), "no node to join through"),
    ] {
        let failure = outcome.unwrap_err();
        assert!(failure.exit == ExitCode::Usage && failure.what.contains(part) && failure.next.is_some(), "{failure}");
    }
    let both = StartArgs { init: true, restore: None, node: peer() };
    assert_eq!(start(both, &context).unwrap_err().exit, ExitCode::Config, "create or join, not both");
}

#[test]
fn a_data_directory_in_use_is_resumed_without_a_word_about_joining() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("identity"), "x").unwrap();
    let context = context(directory.path(), &[]);
    assert!(matches!(start(StartArgs::default(), &context).unwrap().action, StartAction::Resume));
    let scanner = worker(JoinArgs::default(), &context).unwrap();
    assert!(matches!(scanner.action, StartAction::Resume));
    let node = || NodeFlags { peer: vec!["n1".into()], token_file: text("/gone"), ..NodeFlags::default() };
    let again = start(StartArgs { init: false, restore: None, node: node() }, &context).unwrap();
    assert!(matches!(again.action, StartAction::Resume), "the token of the first start may be gone");
    assert_eq!(join(JoinArgs { node: node() }, &context).unwrap_err().exit, ExitCode::Usage, "but joining needs one");
}

#[test]
fn a_node_starts_again_by_its_data_directory_alone() {
    let directory = tempfile::tempdir().unwrap();
    let first = StartArgs {
        init: true,
        restore: None,
        node: NodeFlags { name: text("n1"), mesh_listen: text("10.88.0.1:7499"), ..NodeFlags::default() },
    };
    let env = [("PENTORA_SERVER_API_LISTEN", "127.0.0.1:8099"), ("WORKER_TOKEN", "pnj_secret")];
    let plan = start(first, &context(directory.path(), &env)).unwrap();
    plan.remember().unwrap();

    let again = start(StartArgs::default(), &context(directory.path(), &[])).unwrap();
    assert!(matches!(again.action, StartAction::Resume), "what to do the first time is not remembered");
    assert_eq!((again.config.name.as_str(), again.config.mesh.listen.port()), ("n1", 7499));
    assert_eq!((again.config.api.listen.port(), again.config.worker.token.is_none()), (8099, true));
    assert_eq!(again.remembered, plan.remembered, "and it stays remembered");

    let moved = StartArgs {
        init: false,
        restore: None,
        node: NodeFlags { mesh_listen: text("10.88.0.1:7500"), ..NodeFlags::default() },
    };
    let moved = start(moved, &context(directory.path(), &[])).unwrap();
    assert_eq!((moved.config.mesh.listen.port(), moved.config.api.listen.port()), (7500, 8099));
    moved.remember().unwrap();
    moved.note_api(moved.config.api.listen).unwrap();
    assert_eq!(start(StartArgs::default(), &context(directory.path(), &[])).unwrap().config.mesh.listen.port(), 7500);

    let location =
        crate::cli::api_session::find(&crate::cli::api_session::NodeArgs::default(), &context(directory.path(), &[]));
    assert_eq!(location.unwrap().endpoints, ["http://127.0.0.1:8099"], "the command line finds it as well");
}

#[test]
fn a_damaged_memory_is_named_and_not_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(crate::config::REMEMBERED_FILE), "mesh: {listen: here}").unwrap();
    let failure = start(StartArgs::default(), &context(directory.path(), &[])).unwrap_err();
    assert!(failure.exit == ExitCode::Config && failure.to_string().contains("node.yaml:1:16"), "{failure}");
}

#[test]
fn an_unusable_token_names_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let node = NodeFlags { peer: vec!["n1".into()], token_file: text("/nonexistent/t"), ..NodeFlags::default() };
    let data = directory.path().join("none");
    let failure = join(JoinArgs { node }, &context(&data, &[])).unwrap_err();
    assert!(failure.exit == ExitCode::Config && failure.what.contains("/nonexistent/t"), "{failure}");
    let node = NodeFlags { peer: vec!["n1".into()], token: text("two words"), ..NodeFlags::default() };
    let failure = join(JoinArgs { node }, &context(&data, &[])).unwrap_err();
    assert!(failure.what.contains("flag --token") && !failure.to_string().contains("two words"), "{failure}");
}

#[test]
fn what_is_given_for_a_file_and_is_none_starts_nothing_and_keeps_nobody_waiting() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let zero = PathBuf::from("/dev/zero");
    let config = directory.path().join("pentora.yaml");
    let data = directory.path().join("n1").display().to_string();
    let peer = || vec!["10.88.0.1:7400".to_owned()];
    for odd in [&pipe, &zero, &directory.path().to_owned()] {
        let odd_text = odd.display().to_string();
        let flags =
            NodeFlags { token_file: text(&odd_text), peer: peer(), data_dir: text(&data), ..NodeFlags::default() };
        let by_flag = join(JoinArgs { node: flags }, &context(directory.path(), &[]));
        std::fs::write(&config, format!("worker: {{token_file: {odd_text}}}\n")).unwrap();
        std::fs::set_permissions(&config, PermissionsExt::from_mode(0o600)).unwrap();
        let given = |config: &Path| {
            let mut context = context(directory.path(), &[]);
            context.global.config = Some(config.to_owned());
            let flags = NodeFlags { peer: peer(), data_dir: text(&data), ..NodeFlags::default() };
            join(JoinArgs { node: flags }, &context)
        };
        for refused in [by_flag, given(&config), given(odd)] {
            let why = refused.unwrap_err().to_string();
            assert!(why.contains("no regular file"), "{odd_text}: {why}");
            assert!(!why.contains("chmod"), "{odd_text}: {why}");
        }
    }
}
