//! The command lines of the original description and of the product's contract, given one after the other to a node that
//! runs, and all that they print held against what they printed before: `commands/transcript.txt`, with what changes from run
//! to run masked. `PENTORA_GOLDEN=write` writes it anew; the change is then read like any other.
//!
//! Those that are not here need more than one node (the other system tests have them), a machine of their own (`start`,
//! `join`, `leave`), or print what is the machine's (`doctor`, `config show`).

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use pentora_tests::cluster::Cluster;
use pentora_tests::command_line::Ran;
use pentora_tests::lab::Lab;
use pentora_tests::wait;
use regex::Regex;

/// The commands, in the order in which they are given. `JOB` is the job that was submitted last, `TOKEN` the join token that
/// was listed last, `DIR` a folder.
const COMMANDS: &str = include_str!("commands/commands.txt");
/// What they print.
const TRANSCRIPT: &str = "tests/commands/transcript.txt";

/// What differs from run to run, and what stands for it. The order matters: what is more particular comes first.
const MASKS: [(&str, &str); 26] = [
    (r"\r\n", "\n"),
    (r"job-[0-9a-f]{6}", "JOB"),
    (r"pnj_[A-Za-z0-9_-]+|pna_[a-z2-7]+", "TOKEN"),
    (r"ed25519:[A-Za-z0-9_-]+", "KEY"),
    (r"12D3Koo[A-Za-z0-9]+", "KEY"),
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\b[0-9a-f]{16}\b", "ID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "CLOCK"),
    (r"\((CET|CEST)\)|\b(CET|CEST)\b", "ZONE"),
    (r"\b\d+h \d+m\b|\b\d+m \d+s\b|\b\d+d \d+h\b|\b\d+ ms ago\b|\b\d+ s ago\b", "AGE"),
    (r"\b\d+(\.\d+)?(ms|s)\b", "AGE"),
    (r"\b0\.1\.0\b", "VERSION"),
    (r"/tmp/[^ \n]*", "PATH"),
    (r"(?i)(term|index|commit|applied|log version)(:?) \d+", "$1$2 N"),
    (r"\b\d+ probes?\b", "N probes"),
    (r"\b\d+ entries \(1 to \d+\)", "N entries (1 to N)"),
    // The answer to what was asked is noted a moment after it was given.
    (r"Audit: [12] entr(y|ies)", "Audit: N entries"),
    (r"\b\d+ (KiB|bytes)\b", "N $1"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) TIME", "DAY TIME"),
    (r#""index":\d+"#, r#""index":N"#),
    (r"recall \S+", "recall R"),
    (r"[─-]{3,}", "---"),
    (r"[ ]{2,}", "  "),
];

fn masked(text: &str) -> anyhow::Result<String> {
    let mut text = text.to_owned();
    for (pattern, word) in MASKS {
        text = Regex::new(pattern)?.replace_all(&text, word).into_owned();
    }
    Ok(text)
}

/// The words of a command line; quotes hold some together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

fn told(line: &str, ran: &Ran) -> anyhow::Result<String> {
    let mut text = format!("$ {line}\n");
    text.push_str(&masked(&ran.stdout)?);
    for said in masked(&ran.stderr)?.lines() {
        writeln!(text, "! {said}")?;
    }
    if ran.code != 0 {
        writeln!(text, "exit {}", ran.code)?;
    }
    Ok(text)
}

#[test]
fn the_commands_of_the_contract_print_what_they_printed() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let folder = cluster.folder().join("carried");
    fs::create_dir(&folder)?;
    fs::copy(cluster.data_dir(1).join("admin.token"), folder.join("admin.token"))?;
    let (mut transcript, mut job, mut token) = (String::new(), String::new(), String::new());
    let job_id = Regex::new(r"job-[0-9a-f]{6}")?;
    let token_id = Regex::new(r"\b[0-9a-f]{16}\b")?;
    // What is listed does not depend on how soon that is.
    let stands = |words: &[&str], status: &[&str]| {
        wait::until(&format!("{words:?} with {status:?}"), Duration::from_secs(20), || {
            let text = cluster.pentora(1, words)?.stdout;
            Ok(status.iter().any(|status| text.contains(&format!(r#""status":"{status}""#))).then_some(()))
        })
    };
    stands(&["nodes", "list", "--json"], &["Idle"])?;
    for line in COMMANDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let filled = line.replace("JOB", &job).replace("TOKEN", &token).replace("DIR", &folder.display().to_string());
        let words = words(&filled);
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let ran = cluster.pentora(1, &words)?;
        if let Some(found) = job_id.find(&ran.stdout).filter(|_| words.first() == Some(&"scan")) {
            job = found.as_str().to_owned();
            stands(&["job", "status", &job, "--json"], &["running", "completed"])?;
        }
        if words.get(1) == Some(&"worker-token") {
            token = token_id.find(&ran.stdout).map_or(token, |found| found.as_str().to_owned());
        }
        transcript.push_str(&told(line, &ran)?);
        transcript.push('\n');
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TRANSCRIPT);
    if std::env::var_os("PENTORA_GOLDEN").is_some() {
        fs::write(&path, &transcript)?;
    }
    let before = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (were, are): (Vec<&str>, Vec<&str>) = (before.split("\n\n").collect(), transcript.split("\n\n").collect());
    let differs = were.iter().zip(&are).filter(|(was, is)| was != is);
    let differs: Vec<String> = differs.map(|(was, is)| format!("was:\n{was}\nis:\n{is}\n")).collect();
    assert!(differs.is_empty(), "PENTORA_GOLDEN=write writes {TRANSCRIPT} anew\n{}", differs.join("\n"));
    assert_eq!(are.len(), were.len());
    Ok(())
}

#[test]
fn a_line_is_parted_as_a_shell_parts_it() {
    assert_eq!(words(r#"a "b c" --d "" e"#), ["a", "b c", "--d", "", "e"]);
    assert_eq!(masked("job-00002a at 2025-07-10T12:00:00.123Z took 1m 2s").unwrap(), "JOB at TIME took AGE");
}
