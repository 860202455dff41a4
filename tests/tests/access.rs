//! Who may use the API, seen from outside: tokens and their roles on every node, what is kept of orders, and strangers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Context;
use pentora_tests::cluster::Cluster;
use pentora_tests::command_line::{self, Ran};
use pentora_tests::http::Request;
use pentora_tests::lab::Lab;
use pentora_tests::wait;

const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The contract: as soon as a node has applied a revocation, and within two seconds everywhere.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

fn cluster(size: u8) -> anyhow::Result<Option<Cluster>> {
    let Some(lab) = Lab::start(size)? else { return Ok(None) };
    Cluster::of(lab, usize::from(size)).map(Some)
}

/// `pentora WORDS...` on a node's host, with a token.
fn with_token(cluster: &Cluster, number: usize, token: &str, words: &[&str]) -> anyhow::Result<Ran> {
    let file = cluster.folder().join(format!("{number}.token"));
    std::fs::write(&file, token)?;
    let file = file.display().to_string();
    let settings = [("PENTORA_API", "http://127.0.0.1:8080"), ("PENTORA_TOKEN_FILE", &file)];
    command_line::pentora(cluster.lab().host(number), cluster.folder(), &settings, words)
}

#[test]
fn a_token_goes_as_far_as_its_role_on_every_node_and_no_further_once_it_is_revoked() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3)? else { return Ok(()) };
    let make = |name: &str, more: &[&str]| -> anyhow::Result<String> {
        let words = [&["token", "create", "--name", name, "--role"], more].concat();
        Ok(cluster.pentora(1, &words)?.ok()?.trim().to_owned())
    };
    let viewer = make("grafana", &["viewer"])?;
    let operator = make("ci", &["operator", "--networks", "10.88.0.0/16", "--expires", "1h"])?;
    let scan = ["scan", "10.88.0.1", "--ports", "8080", "--no-discovery", "--json"];
    for number in 1..=3 {
        wait::until("the token on every node", ANSWER_MAX, || {
            Ok((with_token(&cluster, number, &operator, &["token", "whoami"])?.code == 0).then_some(()))
        })?;
        with_token(&cluster, number, &viewer, &["job", "list"])?.ok()?;
        let said = with_token(&cluster, number, &viewer, &scan)?.stderr;
        assert!(said.contains("needs the role operator") && said.contains("`grafana` has the role viewer"), "{said}");
    }
    // Whoever logs in on a host needs to say neither address nor token from then on.
    let bare = |words: &[&str]| command_line::pentora(cluster.lab().host(3), cluster.folder(), &[], words);
    let file = cluster.folder().join("grafana.token");
    std::fs::write(&file, &viewer)?;
    let login = ["login", "prod", "--api", "http://127.0.0.1:8080", "--token-file", &file.display().to_string()];
    assert_ne!(bare(&["job", "list"])?.code, 0, "nobody yet");
    let said = bare(&login)?;
    assert!(said.code == 0 && said.stderr.contains("you are grafana (viewer)"), "{}", said.stderr);
    assert_eq!(bare(&["token", "whoami", "--json"])?.json()?["name"], "grafana");
    assert!(bare(&["token", "whoami", "--context", "none"])?.stderr.contains("no context `none`"));
    with_token(&cluster, 2, &operator, &scan)?.ok()?;
    let outside = ["scan", "10.99.0.1", "--ports", "80", "--json"];
    let said = with_token(&cluster, 3, &operator, &outside)?.stderr;
    assert!(said.contains("token `ci` may scan 10.88.0.0/16 alone"), "{said}");
    let said = with_token(&cluster, 3, &operator, &["token", "list"])?.stderr;
    assert!(said.contains("needs the role admin"), "{said}");
    let listed = cluster.pentora(3, &["token", "list", "--json"])?.ok()?;
    assert!(listed.contains("\"grafana\"") && !listed.contains(&viewer) && !listed.contains(&operator), "{listed}");

    cluster.pentora(2, &["token", "revoke", "ci", "--yes"])?.ok()?;
    let began = Instant::now();
    for number in 1..=3 {
        wait::until("the revocation on every node", REVOKED_WITHIN, || {
            let request = Request { method: "GET", path: "/api/v1/jobs", token: Some(&operator), ..Request::default() };
            Ok((cluster.api(number, &request, ANSWER_MAX)?.status == 401).then_some(()))
        })?;
    }
    println!("revoked on three nodes within {:?}", began.elapsed());
    let said = cluster.pentora(1, &["token", "revoke", "admin", "--yes"])?.refused(1)?;
    assert!(said.contains("last valid administrator"), "{said}");
    // The first token is replaced like any other.
    let second = cluster.pentora(1, &["token", "rotate", "admin"])?.ok()?.trim().to_owned();
    wait::until("the token of before let in no more", REVOKED_WITHIN, || {
        Ok((cluster.pentora(2, &["job", "list"])?.code != 0).then_some(()))
    })?;
    with_token(&cluster, 2, &second, &["job", "list"])?.ok()?;
    Ok(())
}

#[test]
fn the_audit_log_tells_orders_and_refusals_and_an_export_of_it_cannot_be_bent() -> anyhow::Result<()> {
    let Some(mut cluster) = cluster(3)? else { return Ok(()) };
    cluster.pentora(2, &["scope", "add", "203.0.113.0/24", "--reason", "contract 7", "--name", "lab"])?.ok()?;
    let guessed = with_token(&cluster, 3, "pna_guessed", &["job", "list"])?;
    assert_ne!(guessed.code, 0);
    let told = |number: usize| -> anyhow::Result<Vec<serde_json::Value>> {
        let listed = cluster.pentora(number, &["audit", "list", "--json"])?.json()?;
        Ok(listed.as_array().cloned().unwrap_or_default())
    };
    let has = |entries: &[serde_json::Value], who: &str, action: &str, outcome: &str| {
        entries.iter().any(|entry| entry["who"] == who && entry["action"] == action && entry["outcome"] == outcome)
    };
    wait::until("the entries on another node", ANSWER_MAX, || {
        let entries = told(1)?;
        let all = has(&entries, "admin", "POST /api/v1/scopes", "asked")
            && has(&entries, "admin", "POST /api/v1/scopes", "answered")
            && has(&entries, "", "GET /api/v1", "refused");
        Ok(all.then_some(()))
    })?;
    let file = |name: &str| cluster.folder().join(name).display().to_string();
    cluster.pentora(1, &["audit", "export", &file("first.jsonl")])?.ok()?;
    let kept = std::fs::read(file("first.jsonl"))?;
    let over = cluster.pentora(1, &["audit", "export", &file("first.jsonl")])?.refused(4)?;
    assert!(over.contains("written over") && std::fs::read(file("first.jsonl"))? == kept, "{over}");
    cluster.pentora(3, &["scope", "remove", "lab", "--yes"])?.ok()?;
    let leader = cluster.leader()?;
    let export = file("second.jsonl");
    let changed = file("changed.jsonl");
    let first = file("first.jsonl");
    cluster.node_mut(leader)?.kill()?;
    let other = leader % 3 + 1;
    wait::until("the log after a new leader", Duration::from_secs(20), || {
        Ok((cluster.pentora(other, &["audit", "export", &export])?.code == 0).then_some(()))
    })?;
    let verified = cluster.pentora(other, &["audit", "verify", &export, "--after", &first])?.ok()?;
    assert!(verified.contains("whole and unchanged"), "{verified}");
    // Whose key that is stands in the cluster's status.
    let status = cluster.status(other)?;
    let key = |number: usize| {
        let node = status["nodes"].as_array()?.iter().find(|node| node["name"] == format!("n{number}"))?;
        node["key"].as_str().map(str::to_owned)
    };
    let (own, anothers) = (key(other).context("its key")?, key(leader).context("another's key")?);
    cluster.pentora(other, &["audit", "verify", &export, "--signer", &own])?.ok()?;
    cluster.pentora(other, &["audit", "verify", &export, "--signer", &anothers])?.refused(1)?;
    let text = std::fs::read_to_string(&export)?;
    assert!(text.contains("DELETE /api/v1/scopes/lab"), "{text}");
    std::fs::write(&changed, text.replace("DELETE /api/v1/scopes/lab", "GET /api/v1/scopes/lab"))?;
    let said = cluster.pentora(other, &["audit", "verify", &changed])?.refused(1)?;
    assert!(said.contains("was changed, or one before it"), "{said}");
    Ok(())
}

#[test]
fn pages_of_other_sites_and_hundreds_of_strangers_do_not_come_between_a_node_and_those_who_belong() -> anyhow::Result<()>
{
    let Some(cluster) = cluster(1)? else { return Ok(()) };
    let evil = [("Origin", "http://evil.example")];
    let page = Request { method: "GET", path: "/api/v1/jobs", headers: &evil, ..Request::default() };
    let answer = cluster.api(1, &page, ANSWER_MAX)?;
    assert_eq!((answer.status, &answer.json()?["code"]), (403, &"cross_origin".into()));
    assert!(answer.header("access-control-allow-origin").is_none());
    let plain = Request { method: "GET", path: "/api/v1/jobs", ..Request::default() };
    let answer = cluster.api(1, &plain, ANSWER_MAX)?;
    assert_eq!((answer.status, answer.header("x-content-type-options")), (200, Some("nosniff")));

    let strangers: Vec<TcpStream> = cluster.lab().host(1).within(|| {
        (0..700)
            .map(|_| {
                let mut stream = TcpStream::connect("127.0.0.1:8080")?;
                // One that was given up already refuses more.
                drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n"));
                Ok(stream)
            })
            .collect()
    })?;
    let answer = cluster.api(1, &plain, ANSWER_MAX)?;
    assert_eq!(answer.status, 200, "700 slow clients, and one who belongs is answered");
    for mut stream in strangers {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        // Given up for others, or told that a head takes no longer than five seconds.
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
    Ok(())
}
