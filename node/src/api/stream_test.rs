//! Events as a stream.

use axum::body::Body;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::tests::{TestNode, one_port};
use super::*;

/// The messages of a stream of events so far, each as its id, its kind and its document; heartbeats are none.
fn messages(text: &str) -> Vec<(String, String, Value)> {
    let fields = |block: &str, name: &str| {
        let field = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        field.unwrap_or_default().to_owned()
    };
    let blocks = text.split("\n\n").filter(|block| block.contains("data: "));
    blocks
        .map(|block| {
            let document = serde_json::from_str(&fields(block, "data")).unwrap();
            (fields(block, "id"), fields(block, "event"), document)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_streamed_to_the_jobs_end_and_from_any_id_on_without_gap_or_repeat() {
    let node = TestNode::open().await;
    let job = node.post("/api/v1/scans", &one_port()).await.json()["job_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/jobs/{job}/events");
    let stream = async |path: &str, last: Option<&str>| {
        let headers: Vec<(&str, &str)> =
            std::iter::once(("accept", "text/event-stream")).chain(last.map(|id| ("last-event-id", id))).collect();
        // It ends with the job.
        tokio::time::timeout(Duration::from_secs(30), node.ask(Method::GET, path, &headers, "")).await.unwrap()
    };
    let whole = stream(&path, None).await;
    assert_eq!((whole.status, whole.header("content-type")), (200, "text/event-stream"));
    let all = messages(&whole.body);
    let kinds: Vec<&str> = all.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["submitted", "assigned", "unit_done", "finished"], "{}", whole.body);
    let listed = node.get(&path).await.json();
    let documents: Vec<Value> = all.iter().map(|(_, _, document)| document.clone()).collect();
    assert_eq!(listed["items"], json!(documents), "a stream and a list say the same");
    for (read, (id, _, document)) in (1..).zip(&all) {
        let index = document["index"].as_u64().unwrap().to_string();
        let is_last = all.iter().skip(read).all(|(_, _, later)| later["index"] != document["index"]);
        assert!(id == &index || (!is_last && id.starts_with(&format!("{index}."))), "{id} of {document}");
        let rest = stream(&path, Some(id)).await;
        assert_eq!(rest.status, if read == all.len() { 204 } else { 200 }, "behind {id}");
        assert_eq!(messages(&rest.body), all[read..], "behind {id}");
        let page = node.get(&format!("{path}?after={id}")).await.json();
        assert_eq!(page["items"], json!(documents[read..]), "behind {id}");
    }
    for bad in ["x", "1.2", "-1"] {
        assert_eq!(stream(&path, Some(bad)).await.problem(), "bad_request");
    }
    assert_eq!(stream("/api/v1/jobs/job-000999/events", None).await.problem(), "job_unknown");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_the_log_never_came_to_is_refused_and_not_kept_in_silence() {
    let node = TestNode::open().await;
    let job = node.post("/api/v1/scans", &one_port()).await.json()["job_id"].as_str().unwrap().to_owned();
    let of_job = format!("/api/v1/jobs/{job}/events");
    for path in [of_job.as_str(), "/api/v1/events"] {
        for ahead in ["999999", "999999.2a.0", "18446744073709551615"] {
            let headers = [("accept", "text/event-stream"), ("last-event-id", ahead)];
            let streamed = node.ask(Method::GET, path, &headers, "").await;
            let behind = format!("{path}?after={ahead}");
            let listed = node.get(&behind).await;
            let streamed_behind = node.ask(Method::GET, &behind, &headers[..1], "").await;
            for answer in [streamed, listed, streamed_behind] {
                assert_eq!((answer.status, answer.problem().as_str()), (409, "event_ahead"), "{path} {ahead}");
                assert!(answer.body.contains("of another cluster"), "{}", answer.body);
            }
        }
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_before_what_is_kept_is_refused_and_the_beginning_is_what_there_is() {
    use pentora_raft::command::{Author, Command, NewRule, Rule, SiteRule};
    use pentora_raft::state::CLUSTER_EVENTS_KEPT_MAX;
    let node = TestNode::open().await;
    let rule = |name: u64| {
        let rule = Rule::Site(SiteRule { networks: vec!["10.9.0.0/16".parse().unwrap()] });
        NewRule { name: format!("s{}", name % 2), rule, reason: name.to_string(), author: Author::default() }
    };
    let first = node.served.proposer.propose(Command::SetRule(Box::new(rule(0)))).await.unwrap().index;
    let before = format!("/api/v1/events?after={first}");
    assert_eq!(node.get(&before).await.status, 200);
    for name in 1..=CLUSTER_EVENTS_KEPT_MAX {
        node.served.proposer.propose(Command::SetRule(Box::new(rule(name)))).await.unwrap();
    }
    let stream = [("accept", "text/event-stream"), ("last-event-id", "1")];
    let (listed, streamed) = (node.get(&before).await, node.ask(Method::GET, "/api/v1/events", &stream, "").await);
    for answer in [listed, streamed] {
        assert_eq!((answer.status, answer.problem().as_str()), (410, "events_gone"), "{}", answer.body);
    }
    let kept = node.get("/api/v1/events?after=0").await;
    let from = kept.json()["items"][0]["index"].as_u64().unwrap();
    assert_eq!((kept.status, from > first), (200, true));
    assert_eq!(node.get(&format!("/api/v1/events?after={from}")).await.status, 200);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_streams_have_places_which_they_give_back() {
    let node = TestNode::open().await;
    let open = async || {
        let request = axum::http::Request::get("/api/v1/events").header("authorization", "Bearer key");
        let request = request.header("accept", "text/event-stream").body(Body::empty()).unwrap();
        node.router.clone().oneshot(request).await.unwrap()
    };
    let mut readers = Vec::new();
    loop {
        let response = open().await;
        match response.status().as_u16() {
            200 => readers.push(response),
            status => {
                assert_eq!((status, response.headers()["retry-after"].to_str().unwrap()), (429, "5"));
                break;
            }
        }
        assert!(readers.len() < 1_000, "there is no bound");
    }
    assert_eq!(readers.len(), 16, "a token has a share, and the rest is for others");
    readers.pop();
    // Whoever is gone is noticed by whoever would have told it something.
    let again = async {
        while open().await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("a place is free again");
    // One that is told of all jobs hears of one that begins now.
    let mut body = readers.pop().unwrap().into_body().into_data_stream();
    let job = node.post("/api/v1/scans", &one_port()).await.json()["job_id"].clone();
    let mut text = String::new();
    let hear = async {
        while !messages(&text).iter().any(|(_, kind, document)| kind == "finished" && document["job_id"] == job) {
            let piece = futures::StreamExt::next(&mut body).await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), hear).await.unwrap();
    drop((readers, body));
    node.close().await;
}
