//! A node whose owner asks for signed orders scans what its signers signed, says why it does nothing else, and what it did can be
//! verified from a file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::lab::{Lab, WorldOptions, probes_during, probes_within};
use pentora_tests::wait;

const SOON: Duration = Duration::from_secs(40);
const SCAN_MAX: Duration = Duration::from_secs(120);
const ON_THE_SECOND: [&str; 7] =
    ["10.77.0.0/26", "--ports", "80,81", "--no-discovery", "--no-services", "--require-worker-tag", "own"];

/// Two nodes, of which the second has a file of its own and the tag `own`.
fn cluster(file: &Path) -> anyhow::Result<Option<Cluster>> {
    let Some(mut lab) = Lab::start(2)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 64, alive_percent: 100, ..WorldOptions::default() })?;
    write(file, "")?;
    let mut cluster = Cluster::of_one(lab)?;
    let token = cluster.token("n2", &[])?;
    cluster.join_with(2, &token, &["--config", &file.display().to_string()])?;
    wait::until("the second worker", SOON, || {
        let list = cluster.pentora(1, &["nodes", "list", "--json"])?.json()?;
        let second = list.as_array().and_then(|all| all.iter().find(|node| node["name"] == "n2"));
        Ok(second.filter(|node| node["status"] == "Idle").map(drop))
    })?;
    Ok(Some(cluster))
}

fn write(file: &Path, rules: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(file, format!("worker:\n  tags: [own]\n{rules}"))?)
}

/// Has the second node read its file again, and waits for its word about it.
fn read_again(cluster: &Cluster, said: &str) -> anyhow::Result<()> {
    let before = cluster.node(2)?.log().len();
    cluster.node(2)?.signal(Signal::SIGHUP)?;
    wait::until("the file to be read again", SOON, || {
        Ok(cluster.node(2)?.log().get(before..).is_some_and(|log| log.contains(said)).then_some(()))
    })
}

/// A person's key in a file, and the line for `worker.trusted_keys`.
fn key(cluster: &Cluster, folder: &Path, name: &str) -> anyhow::Result<(String, String)> {
    let file = folder.join(format!("{name}.key")).display().to_string();
    let line = cluster.pentora(1, &["key", "create", "--name", name, "--output", &file])?.ok()?;
    ensure!(cluster.pentora(1, &["key", "show", "--key", &file])?.ok()? == line, "{line}");
    cluster.pentora(1, &["key", "create", "--name", name, "--output", &file])?.refused(4)?;
    Ok((file, line.trim().to_owned()))
}

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["scan"].into_iter().chain(ON_THE_SECOND).chain(more.iter().copied()).collect()
}

#[test]
fn a_node_that_asks_for_signed_orders_scans_those_alone_and_what_it_did_is_verified_from_a_file() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("n2.yaml");
    let Some(cluster) = cluster(&file)? else { return Ok(()) };
    let world = cluster.lab().world_host();
    let (alice, line) = key(&cluster, folder.path(), "alice")?;
    let (mallory, _) = key(&cluster, folder.path(), "mallory")?;
    write(&file, &format!("  require_signed_orders: true\n  trusted_keys: ['{line}']\n"))?;
    read_again(&cluster, "worker.require_signed_orders")?;
    let refused = |more: &[&str], part: &str| {
        wait::until("the plan to say why", SOON, || {
            let ran = cluster.pentora(1, &words(&[&["--plan", "--json"][..], more].concat()))?;
            Ok(ran.stdout.contains(part).then_some(()))
        })
    };
    refused(&[], "it takes signed orders alone, and nobody signed this one")?;
    refused(&["--sign", "--key", &mallory], "it does not take orders that are signed by ed25519:")?;
    cluster.pentora(1, &words(&["--detach"]))?.refused(4)?;

    let waiting = Job::submit(&cluster, 1, &[&ON_THE_SECOND[..], &["--wait-for-worker"]].concat())?;
    let explained = cluster.pentora(1, &["job", "explain", &waiting.0])?.ok()?;
    ensure!(explained.contains("nobody signed this one"), "{explained}");
    let sent = probes_within(world, Duration::from_secs(2))?;
    ensure!(sent.is_empty(), "{sent:?}");

    let job = Job::submit(&cluster, 1, &[&ON_THE_SECOND[..], &["--sign", "--key", &alice]].concat())?;
    let (document, probes) = probes_during(world, || job.wait(&cluster, 1, SCAN_MAX))?;
    ensure!(!probes.is_empty() && document["status"] == "completed", "{document}");
    let signer = line.split(' ').next().context("a key")?;
    ensure!(document["signed_by"] == signer, "{document}");
    let score = job.score(&cluster, 1, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    ensure!(score.is_exact(), "{score}");
    verify(&cluster, folder.path(), &job, signer, &waiting)?;

    let said = cluster.pentora(1, &words(&["--schedule", "0 2 * * *", "--sign", "--key", &alice]))?.refused(2)?;
    ensure!(said.contains("--sign-for"), "{said}");
    let nightly =
        ["--schedule", "0 2 * * *", "--schedule-name", "nightly", "--sign", "--key", &alice, "--sign-for", "90d"];
    cluster.pentora(1, &words(&nightly))?.ok()?;

    // Its owner asks for nothing any more: what waited goes on.
    write(&file, "")?;
    read_again(&cluster, "worker.require_signed_orders")?;
    let document = waiting.wait(&cluster, 1, SCAN_MAX)?;
    ensure!(document["status"] == "completed" && document.get("signed_by").is_none(), "{document}");
    Ok(())
}

/// The bundle of a signed job holds; one that was cut, of another signer, or of another job does not.
fn verify(cluster: &Cluster, folder: &Path, job: &Job, signer: &str, open: &Job) -> anyhow::Result<()> {
    let bundle = folder.join("job.tar.gz").display().to_string();
    let exported = cluster.pentora(1, &["job", "export", &job.0, "--output", &bundle])?;
    let said = format!("{exported:?}");
    let key = said.split("--written-by ").nth(1).context("the key is printed")?;
    let key: String = key.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:=".contains(*c)).collect();
    let said = cluster.pentora(1, &["job", "verify", &job.0, "--bundle", &bundle, "--key", signer])?.refused(1)?;
    ensure!(said.contains("not trusted here") && said.contains("--written-by"), "{said}");
    let check = |id: &str, file: &str, more: &[&str]| {
        cluster.pentora(1, &[&["job", "verify", id, "--bundle", file, "--written-by", &key][..], more].concat())
    };
    let verified = check(&job.0, &bundle, &["--key", signer, "--json"])?.json()?;
    let says = |key: &str| verified.get(key).cloned().unwrap_or_default();
    ensure!(says("signed_by") == signer && says("targets") == 64, "{verified}");
    ensure!(says("audit_entries").as_u64() >= Some(2), "{verified}");
    let nobody = "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w";
    let said = check(&job.0, &bundle, &["--key", nobody])?.refused(1)?;
    ensure!(said.contains("not by whom you named"), "{said}");
    check(&open.0, &bundle, &[])?.refused(1)?;
    let bytes = std::fs::read(&bundle)?;
    let cut = folder.join("cut.tar.gz").display().to_string();
    std::fs::write(&cut, bytes.get(..bytes.len() / 2).context("half")?)?;
    let said = check(&job.0, &cut, &[])?.refused(1)?;
    ensure!(said.contains("cut short"), "{said}");
    let said = cluster.pentora(1, &["job", "export", &open.0, "--output", &cut])?.refused(1)?;
    ensure!(said.contains("has not ended"), "{said}");
    Ok(())
}
