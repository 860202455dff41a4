//! The files in `deploy/` are what they say: a unit that systemd takes and that is locked down, scripts that parse.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use pentora_tests::binaries::repository;

/// What the unit must say, whoever edits it: the node runs as a user of its own, may do one privileged thing, writes
/// in one place, and has the time to hand its work back.
const UNIT: [(&str, &str); 19] = [
    ("User", "pentora"),
    ("NoNewPrivileges", "yes"),
    ("AmbientCapabilities", "CAP_NET_RAW"),
    ("CapabilityBoundingSet", "CAP_NET_RAW"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectControlGroups", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("RestrictNamespaces", "yes"),
    ("StateDirectory", "pentora"),
    ("ConfigurationDirectoryMode", "0750"),
    ("UMask", "0077"),
    ("KillSignal", "SIGTERM"),
    ("TimeoutStopSec", "30"),
    ("Restart", "on-failure"),
];

/// systemd's own measure of what a service could do to its machine, times ten: 0 is nothing, 100 everything.
const EXPOSURE_MAX: &str = "25";

/// The settings of a section that are given once, and the last of those given several times.
fn section(unit: &str, name: &str) -> BTreeMap<String, String> {
    let header = format!("[{name}]");
    let lines = unit.lines().skip_while(|line| **line != header).skip(1).take_while(|line| !line.starts_with('['));
    let settings = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    settings.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn missing(unit: &str) -> Vec<String> {
    let service = section(unit, "Service");
    let wrong = UNIT.iter().filter(|(key, value)| service.get(*key).map(String::as_str) != Some(value));
    wrong.map(|(key, value)| format!("{key}={value}")).collect()
}

fn unit() -> String {
    fs::read_to_string(repository().join("deploy/pentora.service")).expect("the unit is there")
}

#[test]
fn the_unit_is_locked_down_and_stops_in_order() {
    assert_eq!(missing(&unit()), Vec::<String>::new());
}

#[test]
fn a_scanners_unit_differs_from_a_members_in_what_it_starts_and_where_it_writes_alone() -> anyhow::Result<()> {
    let worker = fs::read_to_string(repository().join("deploy/pentora-worker@.service"))?;
    let own = ["Environment=", "EnvironmentFile=", "ExecStart=", "StateDirectory=", "ReadWritePaths="];
    let settings = |unit: &str| -> Vec<String> {
        let lines = unit.lines().skip_while(|line| *line != "[Service]").take_while(|line| *line != "[Install]");
        let set = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        set.filter(|line| !own.iter().any(|key| line.starts_with(key))).map(str::to_owned).collect()
    };
    assert_eq!(settings(&worker), settings(&unit()));
    let service = section(&worker, "Service");
    let of = |key: &str| service.get(key).map(String::as_str);
    assert_eq!(of("StateDirectory"), Some("pentora-worker/%i"));
    assert_eq!(of("Environment"), Some("PENTORA_DATA_DIR=/var/lib/pentora-worker/%i"));
    assert!(of("ExecStart").is_some_and(|start| start.ends_with(" worker start --config /etc/pentora/%i.yaml")));
    Ok(())
}

#[test]
fn a_unit_that_lost_a_line_is_noticed() {
    let weaker = unit().replace("NoNewPrivileges=yes\n", "").replace("ProtectSystem=strict", "ProtectSystem=full");
    assert_eq!(missing(&weaker), ["NoNewPrivileges=yes", "ProtectSystem=strict"]);
}

#[test]
fn systemd_takes_the_unit_and_finds_it_little_exposed() -> anyhow::Result<()> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        // The other tests hold what can be held without systemd.
        println!("systemd-analyze is not installed: its own opinion of the unit was not asked");
        return Ok(());
    }
    // The program is not installed where the unit expects it; any program stands for it here. What `make install`
    // makes of the unit is in tests/tests/install.rs.
    let folder = tempfile::tempdir()?;
    for name in ["pentora.service", "pentora-worker@.service"] {
        let unit = fs::read_to_string(repository().join("deploy").join(name))?;
        let copy = folder.path().join(name.replace('@', "@one"));
        // A page of the manual is not installed here either.
        fs::write(
            &copy,
            unit.replace("/usr/local/bin/pentora-node", "/bin/true").replace("man:pentora-worker-start(1) ", ""),
        )?;
        for words in [&["verify"][..], &["security", "--offline=true", "--threshold", EXPOSURE_MAX]] {
            let output = Command::new("systemd-analyze").args(words).arg(&copy).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{name}: systemd-analyze {words:?}: {said}");
        }
    }
    Ok(())
}

#[test]
fn every_script_parses() -> anyhow::Result<()> {
    let mut scripts =
        vec![".ci/run".into(), ".ci/summary".into(), "tests/with-namespaces".into(), "tests/run.sh".into()];
    for folder in ["deploy", "deploy/debian", "deploy/image", "docs", "tests/deploy"] {
        for entry in fs::read_dir(repository().join(folder))? {
            let path = entry?.path();
            let is_script = |path: &Path| fs::read(path).is_ok_and(|text| text.starts_with(b"#!/bin/"));
            if path.is_file() && is_script(&path) {
                scripts.push(path);
            }
        }
    }
    for script in ["deploy/prepare.sh", "deploy/debian/postrm", "deploy/image/build.sh", "tests/deploy/all.sh"] {
        assert!(scripts.iter().any(|found| found.ends_with(script)), "{script} is not among {scripts:?}");
    }
    for script in scripts {
        let output = Command::new("bash").arg("-n").arg(repository().join(&script)).output().context("bash")?;
        assert!(output.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[test]
fn preparing_a_machine_that_lacks_nothing_says_nothing() -> anyhow::Result<()> {
    // What builds and runs this test has everything, or `make test` would have stopped before.
    let output = Command::new(repository().join("deploy/prepare.sh")).output()?;
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout), "");
    Ok(())
}

#[test]
fn preparing_a_machine_without_its_tools_says_what_is_missing_and_why() -> anyhow::Result<()> {
    // A machine with a shell and nothing else, and no way to install: only what the script itself needs is found.
    let folder = tempfile::tempdir()?;
    for tool in ["id", "bash"] {
        let found = ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(tool)).find(|path| path.exists());
        std::os::unix::fs::symlink(found.context("a tool every machine has")?, folder.path().join(tool))?;
    }
    let script = fs::read_to_string(repository().join("deploy/prepare.sh"))?;
    // The folders that the script adds to the path hold the real tools of this machine.
    let script = script.replace("PATH=$PATH:/usr/sbin:/sbin", "");
    let output = Command::new("/bin/bash")
        .args(["-c", &script])
        .env_clear()
        .env("PATH", folder.path())
        .env("HOME", folder.path())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for line in ["missing: clang (", "missing: g++ (", "missing: iproute2 (", "missing: nftables (", "no apt-get"] {
        assert!(said.contains(line), "{line:?} is not in:\n{said}");
    }
    Ok(())
}
