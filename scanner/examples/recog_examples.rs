//! Runs every example of a directory of recog fingerprints and prints how many are right.
//!
//! `cargo run --example recog_examples -- DIR`

use std::path::Path;
use std::process::ExitCode;

use pentora_scanner::detect::check_examples;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("usage: recog_examples DIR, a directory of recog's *.xml files");
        return Ok(ExitCode::SUCCESS);
    };
    let checked = check_examples(Path::new(&directory))?;
    for problem in &checked.problems {
        println!("{problem}");
    }
    println!("{} files, {} fingerprints", checked.files, checked.fingerprints);
    println!("examples {}/{}", checked.examples_right, checked.examples);
    println!("attributes {}/{}", checked.attributes_right, checked.attributes);
    println!("found first in a search of all fingerprints of their kind: {}/{}", checked.first, checked.examples);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status")
        && let Some(line) = status.lines().find(|line| line.starts_with("VmHWM"))
    {
        println!("{line}");
    }
    Ok(if checked.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
