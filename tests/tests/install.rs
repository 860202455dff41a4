//! `make install` puts a program there that is small, whole and usable, with what belongs to it, and takes it away again.
//!
//! Nothing is compiled here: what cargo built for these tests is stripped as `make build` does it, and installed from
//! there into a temporary folder.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use pentora_tests::binaries::{built, repository};

/// What is installed below PREFIX besides the pages of the manual.
const FILES: [&str; 12] = [
    "bin/pentora",
    "bin/pentora-node",
    "lib/systemd/system/pentora-worker@.service",
    "lib/systemd/system/pentora.service",
    "share/bash-completion/completions/pentora",
    "share/bash-completion/completions/pentora-node",
    "share/doc/pentora/installed",
    "share/doc/pentora/pentora.yaml",
    "share/fish/vendor_completions.d/pentora-node.fish",
    "share/fish/vendor_completions.d/pentora.fish",
    "share/zsh/site-functions/_pentora",
    "share/zsh/site-functions/_pentora-node",
];

/// A command without the settings of the `make` that runs these tests, and without root's view of its user.
fn clean(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PREFIX", "DESTDIR", "UNITDIR", "DIST", "SUDO_USER"] {
        command.env_remove(name);
    }
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", said(&output));
    Ok(said(&output))
}

/// `make TARGET SETTINGS...` in the repository.
fn make(target: &str, settings: &[(&str, &Path)]) -> Command {
    let mut command = clean("make");
    command.arg("-C").arg(repository()).arg(target);
    command.args(settings.iter().map(|(name, path)| format!("{name}={}", path.display())));
    command
}

/// Strips the program that cargo built, into `folder`, as `make build` does.
fn strip(folder: &Path) -> anyhow::Result<()> {
    run(clean(repository().join("deploy/strip.sh")).arg(built("pentora-node")?).arg(folder))?;
    Ok(())
}

/// Something to install that is made in no time: it answers what the installation asks of a program.
fn stand_in(folder: &Path, page: &str) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let program = folder.join("pentora-node");
    fs::write(
        &program,
        format!("#!/bin/bash\ncase $1 in man) mkdir \"$3\"; echo .TH >\"$3/{page}\" ;; *) echo \"$@\" ;; esac\n"),
    )?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    if !folder.join("pentora").exists() {
        std::os::unix::fs::symlink("pentora-node", folder.join("pentora"))?;
    }
    Ok(())
}

/// Every file and link below a folder, and every folder with a `/` behind it, by the path from there.
fn everything(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let (mut found, mut left) = (BTreeSet::new(), vec![root.to_path_buf()]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let name = entry.path().strip_prefix(root)?.display().to_string();
            if entry.file_type()?.is_dir() {
                found.insert(name + "/");
                left.push(entry.path());
            } else {
                found.insert(name);
            }
        }
    }
    Ok(found)
}

fn files(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    Ok(everything(root)?.into_iter().filter(|name| !name.ends_with('/')).collect())
}

/// The value of `ExecStart` in a unit file.
fn exec_start(unit: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(unit)?;
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart="));
    Ok(line.context("no ExecStart")?.to_owned())
}

#[test]
fn what_is_installed_is_whole_and_works_and_is_gone_when_it_is_removed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (dist, root) = (folder.path().join("dist"), folder.path().join("root"));
    strip(&dist)?;
    run(&mut make("install", &[("DIST", &dist), ("DESTDIR", &root)]))?;

    let prefix = root.join("usr/local");
    let (pages, others): (BTreeSet<String>, _) =
        files(&prefix)?.into_iter().partition(|name| name.starts_with("share/man/man1/"));
    assert_eq!(others, BTreeSet::from(FILES.map(str::to_owned)));
    for page in ["pentora.1", "pentora-node.1", "pentora-scan.1", "pentora-coordinator-worker-token-create.1"] {
        assert!(pages.contains(&format!("share/man/man1/{page}")), "{page} is not among {pages:?}");
    }
    assert_eq!(fs::read_link(prefix.join("bin/pentora"))?, PathBuf::from("pentora-node"));
    for name in ["pentora", "pentora-node"] {
        let version = run(clean(prefix.join("bin").join(name)).arg("--version"))?;
        assert!(version.starts_with(&format!("{name} ")), "{version}");
    }
    for completion in FILES.iter().filter(|name| name.contains("completion") || name.contains("zsh")) {
        let text = fs::read_to_string(prefix.join(completion))?;
        assert!(text.contains("COMPLETE=") && text.contains("pentora"), "{completion}: {text}");
    }
    let mut asked = clean(prefix.join("bin/pentora"));
    asked.envs([("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "2"), ("_CLAP_IFS", "\n")]);
    let candidates = run(asked.args(["--", "pentora", "coordinator", "work"]))?;
    assert_eq!(candidates.split_whitespace().collect::<Vec<_>>(), ["workers", "worker-token"]);
    for page in &pages {
        let text = fs::read_to_string(prefix.join(page))?;
        assert!(text.contains("\n.TH pentora") && text.contains("\n.SH SYNOPSIS"), "{page}: {text}");
    }
    let example = prefix.join("share/doc/pentora/pentora.yaml");
    run(clean(prefix.join("bin/pentora")).args(["config", "check"]).arg(&example).env_clear())?;

    run(&mut make("uninstall", &[("DESTDIR", &root)]))?;
    assert_eq!(everything(&root)?, BTreeSet::new());
    Ok(())
}

#[test]
fn the_program_is_stripped_and_its_symbols_are_found_beside_it() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    strip(folder.path())?;
    let (program, symbols) = (folder.path().join("pentora-node"), folder.path().join("pentora-node.debug"));
    let sections = run(clean("readelf").args(["--sections", "--wide"]).arg(&program))?;
    assert!(sections.contains(".gnu_debuglink"), "{sections}");
    assert!(!sections.contains(".symtab") && !sections.contains(".debug_line"), "{sections}");
    let (size, was) = (fs::metadata(&program)?.len(), fs::metadata(built("pentora-node")?)?.len());
    assert!(size < was, "{size} bytes of {was}");

    // By the program alone, and by its second name: whoever asks finds the symbols through it.
    let names = run(clean("nm").arg(&symbols))?;
    let main = names.lines().find(|line| line.contains("pentora_node") && line.contains("dispatch4main"));
    let address = main.and_then(|line| line.split_whitespace().next()).context("no such function")?;
    for name in ["pentora-node", "pentora"] {
        let place = run(clean("addr2line").arg("--exe").arg(folder.path().join(name)).arg(address))?;
        assert!(place.contains("node/src/dispatch.rs:"), "{name}, {address}: {place}");
    }

    let made = fs::metadata(&program)?.modified()?;
    strip(folder.path())?;
    assert_eq!(fs::metadata(&program)?.modified()?, made, "what is there already is not made again");
    Ok(())
}

#[test]
fn the_manual_can_be_read() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    run(clean(built("pentora-node")?).args(["man", "--dir"]).arg(folder.path()))?;
    if Command::new("man").arg("--version").output().is_err() {
        println!("man is not installed: how the pages look was not asked");
        return Ok(());
    }
    for (page, words) in [("pentora.1", "pentora-scan(1)"), ("pentora-scan.1", "--network-rate")] {
        let mut man = clean("man");
        // Warnings of the formatter, too, are something wrong with the page.
        man.args(["--warnings", "-l"]).arg(folder.path().join(page));
        let output = man.env("MANPAGER", "cat").env("MANWIDTH", "100").env("LC_ALL", "C").output()?;
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && errors.is_empty(), "{page}: {errors}");
        for words in [words, "EXAMPLES", "EXIT STATUS"] {
            assert!(text.contains(words), "{page}: {words} is not in\n{text}");
        }
    }
    Ok(())
}

#[test]
fn the_unit_starts_the_program_where_it_was_installed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (dist, prefix) = (folder.path().join("dist"), folder.path().join("prefix"));
    stand_in(&dist, "pentora.1")?;
    run(&mut make("install", &[("DIST", &dist), ("PREFIX", &prefix)]))?;
    let (program, unit) = (prefix.join("bin/pentora-node"), prefix.join("lib/systemd/system/pentora.service"));
    let started = exec_start(&unit)?;
    assert_eq!(started.split(' ').next().map(Path::new), Some(program.as_path()), "{started}");
    assert!(!fs::read_to_string(&unit)?.contains("/usr/local/"), "a path of another prefix is left");
    if Command::new("systemd-analyze").arg("--version").output().is_ok() {
        // That the program is there and can be started is part of what it looks at.
        run(clean("systemd-analyze").arg("verify").arg(&unit))?;
    }

    let root = folder.path().join("root");
    run(&mut make("install", &[("DIST", &dist), ("DESTDIR", &root)]))?;
    let unit = root.join("usr/local/lib/systemd/system/pentora.service");
    assert!(
        exec_start(&unit)?.starts_with("/usr/local/bin/pentora-node "),
        "the folder that stands for / is not in it"
    );
    Ok(())
}

#[test]
fn installing_again_replaces_what_was_installed_and_leaves_what_others_put_there() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (dist, root) = (folder.path().join("dist"), folder.path().join("root"));
    let prefix = root.join("usr/local");
    let settings: [(&str, &Path); 2] = [("DIST", &dist), ("DESTDIR", &root)];
    fs::create_dir_all(prefix.join("share/man"))?;
    fs::create_dir_all(prefix.join("bin"))?;
    fs::write(prefix.join("bin/other"), "")?;
    fs::create_dir_all(root.join("etc/pentora"))?;
    fs::write(root.join("etc/pentora/pentora.yaml"), "node: {name: mine}\n")?;
    let before = everything(&root)?;

    stand_in(&dist, "pentora-old.1")?;
    run(&mut make("install", &settings))?;
    assert!(prefix.join("share/man/man1/pentora-old.1").exists());
    fs::write(prefix.join("share/man/man1/pentora-other.1"), "another's page")?;
    stand_in(&dist, "pentora-new.1")?;
    run(&mut make("install", &settings))?;
    assert!(
        !prefix.join("share/man/man1/pentora-old.1").exists() && prefix.join("share/man/man1/pentora-new.1").exists()
    );

    run(&mut make("uninstall", &settings))?;
    let after = everything(&root)?;
    let left: Vec<&String> = after.difference(&before).collect();
    assert_eq!(left, ["usr/local/share/man/man1/", "usr/local/share/man/man1/pentora-other.1"]);
    assert!(before.is_subset(&after), "{before:?}, {after:?}");
    assert_eq!(fs::read_to_string(root.join("etc/pentora/pentora.yaml"))?, "node: {name: mine}\n");
    Ok(())
}

#[test]
fn what_cannot_be_installed_or_removed_is_refused_with_what_to_do() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (dist, root, empty) = (folder.path().join("dist"), folder.path().join("root"), folder.path().join("empty"));
    stand_in(&dist, "pentora.1")?;
    for (target, settings, what) in [
        ("install", vec![("DIST", empty.as_path()), ("DESTDIR", &root)], "make build"),
        ("install", vec![("DIST", &dist), ("DESTDIR", &root), ("PREFIX", Path::new("usr"))], "absolute"),
        ("install", vec![("DIST", &dist), ("DESTDIR", &root), ("PREFIX", Path::new("/a b"))], "absolute"),
        ("uninstall", vec![("DESTDIR", root.as_path())], "nothing is installed"),
    ] {
        let output = make(target, &settings).output()?;
        assert!(!output.status.success() && said(&output).contains(what), "{settings:?}: {}", said(&output));
    }
    assert!(!root.exists(), "a refusal leaves nothing behind");
    Ok(())
}
