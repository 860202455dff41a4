//! `deploy/pentora.yaml` is a configuration that a node takes, as it stands and with each of its examples switched on.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use pentora_tests::binaries::{binary, repository};

/// `pentora config check --config FILE`, without anything of the tester's environment: its exit code and what it says.
fn check(file: &Path) -> anyhow::Result<(Option<i32>, String)> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(binary("pentora")?);
    command.args(["config", "check", "--config"]).arg(file).env_clear().env("HOME", folder.path());
    let output = command.output().context("starting pentora")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code(), said))
}

/// The file with the setting in line `number` switched on: its `#` gone.
fn with_example(text: &str, number: usize) -> String {
    let lines = text.lines().enumerate();
    lines.map(|(at, line)| if at == number { line.replacen('#', "", 1) + "\n" } else { format!("{line}\n") }).collect()
}

/// The lines that are settings behind a `#`, not sentences: no space follows it.
fn examples(text: &str) -> Vec<usize> {
    let is_example =
        |line: &str| line.trim_start().strip_prefix('#').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
    text.lines().enumerate().filter(|(_, line)| is_example(line)).map(|(number, _)| number).collect()
}

#[test]
fn the_file_is_taken_as_it_stands() -> anyhow::Result<()> {
    let (code, said) = check(&repository().join("deploy/pentora.yaml"))?;
    assert_eq!(code, Some(0), "{said}");
    Ok(())
}

#[test]
fn every_example_in_it_is_taken_as_well_and_has_an_effect() -> anyhow::Result<()> {
    let text = fs::read_to_string(repository().join("deploy/pentora.yaml"))?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pentora.yaml");
    let examples = examples(&text);
    assert!(examples.len() >= 15, "{examples:?}");
    for number in examples {
        let switched_on = with_example(&text, number);
        fs::write(&file, &switched_on)?;
        let (code, said) = check(&file)?;
        let line = switched_on.lines().nth(number).unwrap_or_default();
        assert_eq!(code, Some(0), "{line}: {said}");
        assert!(!said.contains("not used yet"), "the file shows only what works: {line}: {said}");
    }
    Ok(())
}

#[test]
fn a_slip_in_it_is_refused_by_line_with_the_code_for_configuration() -> anyhow::Result<()> {
    let text = fs::read_to_string(repository().join("deploy/pentora.yaml"))?.replace("data_dir:", "data_dri:");
    let number = 1 + text.lines().position(|line| line.contains("data_dri")).context("the key")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pentora.yaml");
    fs::write(&file, text)?;
    let (code, said) = check(&file)?;
    assert_eq!(code, Some(8), "{said}");
    assert!(said.contains("data_dri") && said.contains("data_dir") && said.contains(&number.to_string()), "{said}");
    Ok(())
}
