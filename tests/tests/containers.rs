//! The image as people start it: the original description's commands, in containers on the hosts of a lab.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::containers::{IMAGE, Podman};
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

/// Anything here comes about within this on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// The scan takes some ten seconds undisturbed, and must end in the end.
const SCAN_MAX: Duration = Duration::from_secs(120);
/// What the contract gives an orderly end.
const STOP_MAX: Duration = Duration::from_secs(25);
/// How the original names the coordinator to its workers; what a network of containers does by itself.
const BY_NAME: [&str; 2] = ["--add-host", "pentora-coordinator:10.88.0.1"];
/// What the image may weigh: what people pull to a hundred scanners.
const IMAGE_BYTES_MAX: u64 = 45_000_000;
/// A root that cannot be written to: nothing but the volume is.
const READ_ONLY: &str = "--read-only";

fn lab(hosts: u8) -> anyhow::Result<Option<(Lab, Podman)>> {
    let Some(mut lab) = Lab::start(hosts)? else { return Ok(None) };
    let Some(podman) = Podman::start()? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    Ok(Some((lab, podman)))
}

fn until_ready(podman: &Podman, name: &str) -> anyhow::Result<()> {
    let ready = || Ok((podman.pentora(name, &["health", "--ready"])?.code == 0).then_some(()));
    wait::until(&format!("{name} ready"), LIMIT, ready)
        .with_context(|| podman.log(name).unwrap_or_else(|error| error.to_string()))
}

fn token(podman: &Podman, name: &str, words: &[&str]) -> anyhow::Result<String> {
    let words = [&["coordinator", "worker-token", "create", "--name", name], words].concat();
    Ok(podman.pentora("pentora-coordinator", &words)?.ok()?.trim().to_owned())
}

/// A job's document, asked in a container.
fn job(podman: &Podman, name: &str, id: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&podman.pentora(name, &["job", "status", id, "--json"])?.ok()?)?)
}

fn nodes(podman: &Podman, name: &str) -> anyhow::Result<Vec<Value>> {
    let status = podman.pentora(name, &["cluster", "status", "--json"])?;
    let document: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    Ok(document.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default())
}

#[test]
fn getting_started_works_as_the_original_writes_it() -> anyhow::Result<()> {
    let Some((lab, podman)) = lab(2)? else { return Ok(()) };
    // 1. Deploy Coordinator
    // What a runtime lets containers do by itself differs; without the capability there are connections.
    let license = ["-e", "LICENSE_KEY=an-enterprise-licence", READ_ONLY, "--cap-drop", "NET_RAW"];
    podman.run(lab.host(1), "pentora-coordinator", &license, &["server", "start", "--mode", "coordinator"])?;
    until_ready(&podman, "pentora-coordinator")?;
    let log = podman.log("pentora-coordinator")?;
    ensure!(log.contains("LICENSE_KEY is ignored") && log.contains("scanning with connections"), "{log}");

    // 2. Deploy Workers
    let token = format!("WORKER_TOKEN={}", token(&podman, "us-east-worker", &[])?);
    let url = "COORDINATOR_URL=https://pentora-coordinator:8080";
    let options = [&BY_NAME[..], &["-e", url, "-e", &token, READ_ONLY, "--cap-add", "NET_RAW"]].concat();
    podman.run(lab.host(2), "pentora-worker", &options, &["worker", "start"])?;
    until_ready(&podman, "pentora-worker")?;
    let log = podman.log("pentora-worker")?;
    ensure!(log.contains("scanning with raw packets"), "{log}");

    // 3. Submit Scan
    let scan = ["scan", "10.77.0.0/28", "--distributed", "--workers", "5", "--ports", "22,80", "-o", "list"];
    let found = podman.pentora("pentora-coordinator", &scan)?.ok()?;
    let truth = lab.world().truth().of_ports(&[22, 80]);
    let open = truth.open.iter().filter(|(address, _)| u32::from(*address) & 0xffff < 16).count();
    assert!(open > 0, "the world has something to find there");
    assert_eq!(found.lines().count(), open, "{found}");

    // The end, as process 1 of its container.
    for name in ["pentora-worker", "pentora-coordinator"] {
        let began = Instant::now();
        assert_eq!(podman.stop(name, STOP_MAX)?, 0, "{}", podman.log(name)?);
        assert!(began.elapsed() < STOP_MAX, "{name}: {:?}", began.elapsed());
    }
    Ok(())
}

#[test]
fn a_worker_starts_with_a_configuration_of_the_originals_form() -> anyhow::Result<()> {
    let Some((lab, podman)) = lab(2)? else { return Ok(()) };
    podman.run(lab.host(1), "pentora-coordinator", &[], &["server", "start", "--mode", "coordinator"])?;
    until_ready(&podman, "pentora-coordinator")?;
    let file = podman.folder().join("worker-us-east-1.yaml");
    std::fs::write(
        &file,
        "worker:\n  name: aws-us-east-1\n  coordinator: https://pentora-coordinator\n  token: ${WORKER_TOKEN}\n\n  \
         region: us-east-1\n  tags:\n    - aws\n    - production\n    - us-east-1\n\n  \
         capacity:\n    max_concurrent_scans: 10\n    max_targets_per_scan: 1000\n",
    )?;
    let (token, mount) = (
        format!("WORKER_TOKEN={}", token(&podman, "us", &[])?),
        format!("{}:/etc/pentora/worker-us-east-1.yaml:ro", file.display()),
    );
    let options = [&BY_NAME[..], &["-e", &token, "-v", &mount]].concat();
    podman.run(
        lab.host(2),
        "pentora-worker-us-east-1",
        &options,
        &["worker", "start", "--config", "worker-us-east-1.yaml"],
    )?;
    let worker = wait::until("the worker", LIMIT, || {
        Ok(nodes(&podman, "pentora-coordinator")?.into_iter().find(|node| node["name"] == "aws-us-east-1"))
    })
    .with_context(|| podman.log("pentora-worker-us-east-1").unwrap_or_default())?;
    assert_eq!((&worker["region"], &worker["role"]), (&"us-east-1".into(), &"scanner".into()), "{worker}");
    Ok(())
}

#[test]
fn a_worker_that_waits_for_its_coordinator_is_well_and_found_however_it_was_started_and_ends_when_asked()
-> anyhow::Result<()> {
    let Some((lab, podman)) = lab(2)? else { return Ok(()) };
    podman.run(lab.host(1), "pentora-coordinator", &[], &["server", "start", "--mode", "coordinator"])?;
    until_ready(&podman, "pentora-coordinator")?;
    let token = format!("WORKER_TOKEN={}", token(&podman, "late", &[])?);
    podman.call(&["kill", "--signal", "KILL", "pentora-coordinator"])?.ok()?;
    // Its own file says where its API is, and its command line where its data is: the image's say otherwise.
    let file = podman.folder().join("own.yaml");
    std::fs::write(&file, "server: {api: {listen: '0.0.0.0:9443'}}\n")?;
    let mount = format!("{}:/etc/pentora/own.yaml:ro", file.display());
    let options = [&BY_NAME[..], &["-e", "COORDINATOR_URL=https://pentora-coordinator:8080", "-e", &token]].concat();
    let options = [&options[..], &["-v", &mount, READ_ONLY]].concat();
    let words = ["worker", "start", "--config", "own.yaml", "--data-dir", "/var/lib/pentora/own"];
    podman.run(lab.host(2), "pentora-worker", &options, &words)?;
    let is_well = || Ok((podman.call(&["healthcheck", "run", "pentora-worker"])?.code == 0).then_some(()));
    let log = || podman.log("pentora-worker").unwrap_or_else(|error| error.to_string());
    wait::until("the worker well", LIMIT, is_well).with_context(log)?;
    let unready = podman.pentora("pentora-worker", &["health", "--ready"])?;
    ensure!(unready.code == 5 && unready.stderr.contains("not joined yet: "), "{unready:?}");

    // It is process 1, which no signal ends that it takes no notice of.
    let began = Instant::now();
    assert_eq!(podman.stop("pentora-worker", STOP_MAX)?, 0, "{}", log());
    println!("a worker that waits ends {:.2} s after it is asked to", began.elapsed().as_secs_f64());
    ensure!(log().contains("asked to stop before this node was up"), "{}", log());

    podman.call(&["start", "pentora-worker"])?.ok()?;
    wait::until("the worker well again", LIMIT, is_well).with_context(log)?;
    podman.call(&["start", "pentora-coordinator"])?.ok()?;
    until_ready(&podman, "pentora-worker")?;
    is_well()?.context("it is well once it has joined")
}

#[test]
fn the_coordinators_container_killed_among_three_loses_nothing_and_comes_back_by_its_volume() -> anyhow::Result<()> {
    let Some((lab, podman)) = lab(3)? else { return Ok(()) };
    let start = ["server", "start", "--mode", "coordinator", "--name"];
    podman.run(lab.host(1), "pentora-coordinator", &[READ_ONLY], &[&start[..], &["n1"]].concat())?;
    until_ready(&podman, "pentora-coordinator")?;
    let admin = podman.folder().join("admin.token");
    podman.call(&["cp", "pentora-coordinator:/var/lib/pentora/admin.token", &admin.display().to_string()])?.ok()?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o444);
    std::fs::set_permissions(&admin, readable)?;
    let mount = format!("{}:/run/secrets/admin.token:ro", admin.display());
    for (number, name) in [(2, "n2"), (3, "n3")] {
        let token = format!("WORKER_TOKEN={}", token(&podman, name, &["--role", "member"])?);
        let options = ["-e", &token, "-v", &mount, "-e", "PENTORA_TOKEN_FILE=/run/secrets/admin.token", READ_ONLY];
        let words = [&start[..], &[name, "--peer", "10.88.0.1:7400"]].concat();
        podman.run(lab.host(number), name, &options, &words)?;
    }
    wait::until("three voters", LIMIT, || {
        let nodes = nodes(&podman, "pentora-coordinator")?;
        Ok((nodes.iter().filter(|node| node["role"] == "voter").count() == 3).then_some(()))
    })?;

    let words = ["scan", "10.77.0.0/22", "--ports", "80,81", "--rate", "200", "--no-discovery", "--detach"];
    let id = podman.pentora("n2", &words)?.ok()?.trim().to_owned();
    lab.wait_for_probes(1, 100)?;
    podman.call(&["kill", "--signal", "KILL", "pentora-coordinator"])?.ok()?;
    let killed = Instant::now();
    let writes = ["coordinator", "worker-token", "create", "--name", "after", "--ttl", "1m"];
    wait::until("a write through another", LIMIT, || Ok((podman.pentora("n2", &writes)?.code == 0).then_some(())))?;
    println!("a write commits {:.2} s after the kill", killed.elapsed().as_secs_f64());

    let document = wait::until("the end of the scan", SCAN_MAX, || {
        let document = job(&podman, "n3", &id)?;
        Ok((!matches!(document["status"].as_str(), Some("queued" | "running"))).then_some(document))
    })?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &1024.into()), "{document}");
    let list = podman.pentora("n3", &["job", "results", &id, "-o", "list"])?.ok()?;
    let score = lab.world().truth().of_ports(&[80, 81]).score(&list)?;
    assert!(score.is_exact(), "{score}");

    podman.call(&["start", "pentora-coordinator"])?.ok()?;
    wait::until("the old leader again", LIMIT, || {
        let nodes = nodes(&podman, "n2")?;
        Ok(nodes.into_iter().find(|node| node["name"] == "n1" && node["status"] == "Active"))
    })?;
    Ok(())
}

#[test]
fn the_image_is_small_labelled_nobodys_root_and_says_how_it_is_asked_for_its_health() -> anyhow::Result<()> {
    let Some(podman) = Podman::start()? else { return Ok(()) };
    let of = |template: &str| podman.inspect(IMAGE, template);
    assert_eq!(of("{{.Config.User}}")?, "65532:65532");
    assert_eq!(of("{{json .Config.Entrypoint}} {{json .Config.Cmd}}")?, r#"["/usr/bin/pentora"] ["worker","start"]"#);
    assert_eq!(of("{{json .Config.Volumes}}")?, r#"{"/var/lib/pentora":{}}"#);
    let health = of("{{json .HealthCheck.Test}}")?;
    assert_eq!(health, r#"["CMD","/usr/bin/pentora","health"]"#);
    assert_eq!(of("{{index .Config.Labels \"org.opencontainers.image.licenses\"}}")?, "MIT OR Apache-2.0");
    let version = of("{{index .Config.Labels \"org.opencontainers.image.version\"}}")?;
    let said = podman.call(&["run", "--rm", "--network", "none", IMAGE, "--version"])?.ok()?;
    assert_eq!(said, format!("pentora {version}\n"));

    // Everything but the program itself, whose size is its build's affair: 2.6 MB, or 5.7 where it cannot be linked with the C++
    // library in it.
    let size: u64 = of("{{.Size}}")?.parse()?;
    println!("{size} bytes of image");
    assert!(size <= IMAGE_BYTES_MAX, "{size} bytes of image");
    let dist = podman.folder().join("again");
    let program = pentora_tests::binaries::built("pentora-node")?;
    let script = pentora_tests::binaries::repository().join("deploy/strip.sh");
    ensure!(std::process::Command::new(script).arg(&program).arg(&dist).status()?.success(), "deploy/strip.sh");
    // Whoever builds it again can tell by its digest that it is the same.
    podman.build(&dist, "localhost/again", "localhost/again:it")?;
    assert_eq!(podman.inspect("localhost/again:it", "{{.Digest}} {{.Id}}")?, of("{{.Digest}} {{.Id}}")?);
    let program = std::fs::metadata(dist.join("pentora-node"))?.len();
    assert!(size - program < 6_000_000, "{} bytes beside the program", size - program);

    // Nothing runs there, so its health is asked in vain, within the time of a check.
    let began = Instant::now();
    let asked = podman.call(&["run", "--rm", "--network", "none", IMAGE, "health"])?;
    assert_eq!(asked.code, 5, "{asked:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    Ok(())
}
