//! What the units of `deploy/` let the program do, and what the how-to pages of systemd and upgrades say to do beside them: by the
//! program itself, in mounts and with capabilities as the units have them. What systemd says of the units is in `deploy.rs`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use pentora_tests::binaries::{binary, repository};
use pentora_tests::cluster::Cluster;
use pentora_tests::lab::{Host, Lab};
use pentora_tests::process::Process;
use pentora_tests::wait;

/// Anything here comes about within this on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The mounts of `ProtectSystem=strict`, for what matters here: everything is only read, but for the paths in `WRITABLE`, of which those
/// with a `-` may be missing. `/var` and `/mnt` are this process's own.
const STRICT: &str = "set -euo pipefail
mount --make-rprivate /
for path in /var /mnt; do mount -t tmpfs none $path; done
mkdir -p /var/pentora /var/lib/pentora-worker/plant /mnt/usb
for path in $WRITABLE; do
  if [ \"$path\" != \"${path#-}\" ] && [ ! -e \"${path#-}\" ]; then continue; fi
  mount --bind \"${path#-}\" \"${path#-}\"
done
for path in /var /mnt /; do mount -o remount,bind,ro $path; done
exec \"$@\"
";

fn page(name: &str) -> anyhow::Result<String> {
    let path = repository().join("docs/how-to").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// What stands in a page between a line that ends with `from` and the next line `to`.
fn between<'a>(page: &'a str, from: &str, to: &str) -> anyhow::Result<&'a str> {
    let rest = page.split_once(&format!("{from}\n")).with_context(|| format!("no {from}"))?.1;
    let text = rest.split_once(&format!("\n{to}\n")).with_context(|| format!("no {to} behind {from}"))?.0;
    Ok(text)
}

/// All values of a key in a unit, one behind the other: what systemd does with lists that are given in several lines.
fn values(unit: &str, key: &str) -> Vec<String> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

fn unit(name: &str) -> anyhow::Result<String> {
    Ok(fs::read_to_string(repository().join("deploy").join(name))?)
}

fn start(
    host: &Host,
    wrapped: &[&str],
    words: &[&str],
    settings: &[(&str, &str)],
    log: &Path,
) -> anyhow::Result<Process> {
    let program = binary("pentora-node")?.display().to_string();
    let all = [wrapped, &[program.as_str()], words].concat();
    let (first, rest) = all.split_first().context("a program")?;
    let mut command = host.command(Path::new(first));
    command.env_clear().env("HOME", "/nonexistent").env("PATH", std::env::var_os("PATH").unwrap_or_default());
    Process::start(command.args(rest).envs(settings.iter().copied()), log)
}

/// Waits until the log has a text; an end of the process before is an error with the log.
fn says(process: &mut Process, log: &Path, text: &str) -> anyhow::Result<()> {
    wait::until(text, LIMIT, || {
        let is_running = process.is_running()?;
        let said = fs::read_to_string(log)?;
        ensure!(said.contains(text) || is_running, "it ended: {said}");
        Ok(said.contains(text).then_some(()))
    })
}

#[test]
fn the_units_mounts_let_a_worker_behind_an_air_gap_keep_orders_and_results_where_the_original_has_them()
-> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("air-gapped-worker.yaml");
    fs::write(&config, between(&page("systemd.md")?, "cat > air-gapped-worker.yaml <<'YAML'", "YAML")?)?;
    let config = config.display().to_string();
    let unit = unit("pentora-worker@.service")?;
    let state: Vec<String> =
        values(&unit, "StateDirectory").iter().map(|path| format!("/var/lib/{path}").replace("%i", "plant")).collect();
    let begin = |writable: &[String], log: &Path| {
        let settings =
            [("WRITABLE", writable.join(" ")), ("PENTORA_DATA_DIR", "/var/lib/pentora-worker/plant".to_owned())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let wrapped = ["unshare", "--mount", "bash", "-c", STRICT, "strict"];
        start(lab.host(1), &wrapped, &["worker", "start", "--config", &config], &settings, log)
    };

    let log = folder.path().join("as-the-unit-says.log");
    let mut worker = begin(&[state.clone(), values(&unit, "ReadWritePaths")].concat(), &log)?;
    says(&mut worker, &log, "standalone worker runs")?;
    let said = fs::read_to_string(&log)?;
    assert!(said.contains("/var/pentora/queue") && said.contains("/var/pentora/results"), "{said}");
    assert!(worker.stop(LIMIT)?.0.success());

    // The mounts bite: without what the unit allows besides, the same cannot be.
    let log = folder.path().join("nothing-else.log");
    let mut worker = begin(&state, &log)?;
    assert!(!worker.ended(LIMIT)?.success());
    let said = fs::read_to_string(&log)?;
    assert!(said.contains("/var/pentora/queue") && said.contains("Read-only file system"), "{said}");
    Ok(())
}

#[test]
fn a_port_below_1024_wants_the_drop_in_of_the_page_and_no_more() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let unit = unit("pentora.service")?;
    let drop_in = between(&page("systemd.md")?, "port.conf <<'CONF'", "CONF")?.to_owned();
    let begin = |unit: &str, name: &str| {
        let allowed = values(unit, "CapabilityBoundingSet");
        assert_eq!(values(unit, "AmbientCapabilities"), allowed);
        let set: Vec<String> =
            allowed.iter().map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase())).collect();
        let bounding = format!("--bounding-set=-all{}", set.concat());
        let data = folder.path().join(name).display().to_string();
        let words =
            ["start", "--init", "--data-dir", &data, "--mesh-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:443"];
        let log = folder.path().join(format!("{name}.log"));
        start(lab.host(1), &["setpriv", &bounding, "--no-new-privs"], &words, &[], &log).map(|process| (process, log))
    };
    let (mut node, log) = begin(&unit, "without")?;
    assert!(!node.ended(LIMIT)?.success());
    assert!(fs::read_to_string(log)?.contains("the API cannot listen on 127.0.0.1:443"));

    let (mut node, log) = begin(&(unit.clone() + &drop_in), "with")?;
    says(&mut node, &log, "api=\"http://127.0.0.1:443\"")?;
    assert!(node.stop(LIMIT)?.0.success());

    if Command::new("systemd-analyze").arg("--version").output().is_ok() {
        // systemd reads it beside the unit, and complains of a key that it does not know.
        let path = folder.path().join("pentora.service");
        fs::write(&path, unit.replace("/usr/local/bin/pentora-node", "/bin/true"))?;
        fs::create_dir(folder.path().join("pentora.service.d"))?;
        for (text, is_fine) in [(drop_in.clone(), true), (drop_in.replace("Ambient", "Ambiant"), false)] {
            fs::write(folder.path().join("pentora.service.d/port.conf"), text)?;
            let output = Command::new("systemd-analyze").arg("verify").arg(&path).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.success(), said.contains("AmbiantCapabilities")), (true, !is_fine), "{said}");
        }
    }
    Ok(())
}

#[test]
fn several_scanners_with_the_pages_file_run_on_one_machine_beside_a_member() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let folder = tempfile::tempdir()?;
    let text = between(&page("systemd.md")?, "cat > aws-us-east-1.yaml <<'YAML'", "YAML")?.to_owned();
    let member = format!("{}:7400", cluster.lab().host(1).address());
    let mut running = Vec::new();
    for name in ["aws-us-east-1", "aws-us-east-2"] {
        let config = folder.path().join(format!("{name}.yaml"));
        let own = text.replace("name: aws-us-east-1", &format!("name: {name}"));
        fs::write(&config, own.replace("https://pentora-coordinator.example.com", &member))?;
        let (data, token) = (folder.path().join(name).display().to_string(), cluster.token(name, &[])?);
        let settings = [("PENTORA_DATA_DIR", data.as_str()), ("WORKER_TOKEN", &token)];
        let (config, log) = (config.display().to_string(), folder.path().join(format!("{name}.log")));
        let words = ["worker", "start", "--config", &config];
        let mut worker = start(cluster.lab().host(1), &[], &words, &settings, &log)?;
        says(&mut worker, &log, "node runs")?;
        running.push(worker);
    }
    wait::until("three nodes", LIMIT, || {
        let status = cluster.status(1)?;
        let nodes = status["nodes"].as_array().into_iter().flatten();
        let names: Vec<&str> = nodes.filter_map(|node| node["name"].as_str()).collect();
        Ok(["n1", "aws-us-east-1", "aws-us-east-2"].iter().all(|name| names.contains(name)).then_some(()))
    })?;
    for worker in &mut running {
        assert!(worker.is_running()?);
        assert!(worker.stop(LIMIT)?.0.success());
    }
    Ok(())
}

#[test]
fn a_member_that_joined_is_drained_with_the_words_of_the_page_and_not_without_a_token() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let cluster = Cluster::of(lab, 2)?;
    let folder = tempfile::tempdir()?;
    for name in ["pentora", "pentora-node"] {
        symlink(binary("pentora-node")?, folder.path().join(name))?;
    }
    let token = cluster.data_dir(1).join("admin.token").display().to_string();
    let page = page("upgrade.md")?;
    let block = between(&page, "it is found by itself.\n\n```console", "```")?;
    ensure!(block.contains("/etc/pentora/admin.token") && block.contains("apt-get install"), "{block}");
    // On the machine of the second node, whose data directory has no such file.
    let run = |script: &str| -> anyhow::Result<std::process::Output> {
        let mut command = cluster.lab().host(2).command(Path::new("bash"));
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH")?);
        command.env_clear().env("PATH", path).env("HOME", folder.path()).env("PENTORA_DATA_DIR", cluster.data_dir(2));
        Ok(command.args(["-euo", "pipefail", "-c", script]).output()?)
    };
    let draining =
        || Ok::<_, anyhow::Error>(cluster.pentora(1, &["coordinator", "workers", "list"])?.ok()?.contains("Draining"));
    let refused = run("pentora-node drain")?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("the node wants a token (401)"), "{said}");
    assert!(!draining()?);

    let script: String =
        block.lines().filter(|line| !line.starts_with("apt-get")).map(|line| format!("{line}\n")).collect();
    let output = run(&script.replace("/etc/pentora/admin.token", &token))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("n2 has no work and gets none"));
    assert!(draining()?);
    Ok(())
}
