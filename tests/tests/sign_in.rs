//! Sessions seen from outside: made at one node, good at all, also at one that only scans, and over with their token.

#![expect(clippy::indexing_slicing, reason = "a document that lacks a field has null there")]

use std::time::{Duration, Instant};

use anyhow::Context;
use pentora_tests::cluster::Cluster;
use pentora_tests::http::{Answer, Request};
use pentora_tests::lab::Lab;
use pentora_tests::wait;

const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The contract, as for a token's revocation.
const OVER_WITHIN: Duration = Duration::from_secs(2);
const JOINED_MAX: Duration = Duration::from_secs(30);
const SCANNER: usize = 4;

fn ask(cluster: &Cluster, number: usize, method: &str, path: &str, bearer: &str) -> anyhow::Result<Answer> {
    let request = Request { method, path, token: Some(bearer), ..Request::default() };
    cluster.api(number, &request, ANSWER_MAX)
}

fn log_in(cluster: &Cluster, number: usize, token: &str) -> anyhow::Result<String> {
    let session = ask(cluster, number, "POST", "/api/v1/auth/login", token)?;
    anyhow::ensure!(session.status == 200, "{session:?}");
    session.json()?["token"].as_str().map(str::to_owned).context("a session")
}

#[test]
fn a_session_is_good_at_every_node_and_ends_with_its_token_everywhere_also_behind_a_new_leader() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(4)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let join = cluster.token("n4", &["--role", "scanner"])?;
    cluster.join(SCANNER, &join)?;
    let make = |name: &str| -> anyhow::Result<String> {
        Ok(cluster.pentora(1, &["token", "create", "--name", name, "--role", "operator"])?.ok()?.trim().to_owned())
    };
    let (token, second) = (make("ci")?, make("second")?);
    let is_known = |number: usize, bearer: &str| -> anyhow::Result<bool> {
        Ok(ask(&cluster, number, "GET", "/api/v1/jobs", bearer).is_ok_and(|answer| answer.status == 200))
    };
    wait::until("the token at the node that only scans", JOINED_MAX, || {
        Ok((is_known(SCANNER, &second)? && is_known(2, &second)?).then_some(()))
    })?;
    let session = log_in(&cluster, 2, &token)?;
    let by_scanner = log_in(&cluster, SCANNER, &second)?;
    for number in 1..=SCANNER {
        for bearer in [&session, &by_scanner] {
            wait::until("the session on every node", ANSWER_MAX, || Ok(is_known(number, bearer)?.then_some(())))?;
        }
        let again = ask(&cluster, number, "POST", "/api/v1/auth/login", &session)?;
        assert_eq!((again.status, &again.json()?["code"]), (403, &"login_needs_token".into()));
        let denied = ask(&cluster, number, "GET", "/api/v1/tokens", &session)?;
        assert_eq!((denied.status, &denied.json()?["code"]), (403, &"role_missing".into()));
    }
    let leader = cluster.leader()?;
    cluster.node_mut(leader)?.kill()?;
    let other = cluster.leader()?;
    assert_eq!(ask(&cluster, other, "GET", "/api/v1/jobs", &session)?.status, 200, "the key is in the log");
    log_in(&cluster, other, &second)?;
    let alive: Vec<usize> = (1..=SCANNER).filter(|number| *number != leader).collect();
    for (order, over, bearer) in [("revoke", "ci", &session), ("rotate", "second", &by_scanner)] {
        let words: &[&str] = if order == "revoke" { &["token", order, over, "--yes"] } else { &["token", order, over] };
        cluster.pentora(other, words)?.ok()?;
        let began = Instant::now();
        for number in &alive {
            wait::until("the end of the session", OVER_WITHIN, || {
                let answer = ask(&cluster, *number, "GET", "/api/v1/jobs", bearer)?;
                Ok((answer.status == 401 && answer.json()?["code"] == "session_ended").then_some(()))
            })?;
        }
        println!("over on all nodes within {:?} after {order}", began.elapsed());
    }
    Ok(())
}
