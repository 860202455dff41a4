//! What a node's memory has of the secrets that it was given, looked at as the superuser can.

use std::fs::{self, File};
use std::io::BufRead;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;

use anyhow::Context;
use pentora_tests::cluster::Cluster;
use pentora_tests::lab::Lab;
use pentora_tests::wait;

/// Anything here comes about within this on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The largest part of memory that is looked through; more at once has no process of ours at its start.
const PART_BYTES_MAX: u64 = 1 << 30;

/// All that a process can write into: where its heap, its stacks and its variables are.
fn memory(process: u32) -> anyhow::Result<Vec<Vec<u8>>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).context("the places of its memory")?;
    let memory = File::open(format!("/proc/{process}/mem")).context("its memory")?;
    let mut parts = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let (from, to) = range.split_once('-').context("a range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        if !rights.starts_with("rw") || to - from > PART_BYTES_MAX {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(to - from)?];
        // What goes while it is looked at is no part of it any more.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            parts.push(bytes);
        }
    }
    Ok(parts)
}

/// Whether a text is somewhere in it, looked for by the system library: there are hundreds of megabytes.
fn has(parts: &[Vec<u8>], text: &str) -> bool {
    let Some((first, behind)) = text.as_bytes().split_first() else { return true };
    parts.iter().any(|bytes| {
        let mut rest = bytes.as_slice();
        while let Ok(1..) = rest.skip_until(*first) {
            if rest.starts_with(behind) {
                return true;
            }
        }
        false
    })
}

#[test]
fn a_node_that_is_in_its_cluster_has_the_token_that_let_it_in_nowhere_in_its_memory() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(5)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    let peer = "10.88.0.1:7400";
    let private = |cluster: &Cluster, name: &str, text: &str| {
        let path = cluster.folder().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        anyhow::Ok(path.display().to_string())
    };
    for (number, role) in [(2, "member"), (3, "scanner"), (4, "scanner"), (5, "member")] {
        let name = format!("n{number}");
        // It would let others in, too.
        let token = cluster.token(&name, &["--role", role, "--uses", "3"])?;
        let token_file = private(&cluster, &format!("{name}.join"), &format!("{token}\n"))?;
        match number {
            2 | 3 => cluster.join_as(number, &["--peer", peer, "--token-file", &token_file])?,
            4 => {
                let file = private(&cluster, "n4.yaml", &format!("worker: {{token_file: {token_file}}}\n"))?;
                cluster.join_as(number, &["--peer", peer, "--config", &file])?;
            }
            _ => {
                let file = private(&cluster, "n5.yaml", &format!("worker:\n  token: {token}\n"))?;
                cluster.join_as(number, &["--peer", peer, "--config", &file])?;
            }
        }
        wait::until("the node in its cluster", LIMIT, || {
            let status = cluster.status(number).ok().filter(|status| status["leader"].is_string());
            Ok(status
                .and_then(|status| status["nodes"].as_array()?.iter().any(|node| node["name"] == name).then_some(())))
        })?;
        let parts = memory(cluster.node(number)?.id()?)?;
        assert!(has(&parts, &cluster.data_dir(number).display().to_string()), "what is there is found");
        let middle = token.len() / 2;
        for text in [token.clone(), token.to_uppercase()] {
            for piece in [&text[..30], &text[4..28], &text[middle..middle + 24], &text[text.len() - 24..]] {
                assert!(!has(&parts, piece), "{name} has {piece} of its token {token} still");
            }
        }
        // Its file is read again, and what is kept of that has no more of it.
        cluster.node(number)?.signal(nix::sys::signal::Signal::SIGHUP)?;
        wait::until("what it says of its file", LIMIT, || {
            let log = cluster.node(number)?.log();
            Ok(["read again", "there is none to read"].iter().any(|part| log.contains(part)).then_some(()))
        })?;
        let parts = memory(cluster.node(number)?.id()?)?;
        assert!(!has(&parts, &token[4..28]), "{name} has it again");
    }
    Ok(())
}
