//! Sessions and signing in over the API: what a JWT lets in as, what ends it, and what is refused with its code.

use axum::body::Body;
use futures::StreamExt;
use pentora_p2p::{Identity, PreSharedKey};
use pentora_raft::command::{AccessRole, Command, NodeInfo, NodeRole};
use pentora_raft::state::NewSessionKey;
use pentora_raft::{ClusterId, Digest};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::sessions::LOGIN;
use super::tests::{Answer, TestNode, one_port};
use super::*;
use crate::join::token::{Credential, JoinToken};
use crate::sign_in::made::{Issuer, Kind, altered, parts, provider_of, resigned, signed_as, write_keys};
use crate::sign_in::{self, MadeKey, Provider, Wanted};
use crate::tls::Sealing;

/// A node that makes sessions.
struct Scene {
    node: TestNode,
    stop: CancellationToken,
}

impl Scene {
    async fn open() -> Self {
        let stop = CancellationToken::new();
        let keeping = stop.clone();
        let node = TestNode::open_as(|served| {
            let trail = Trail::new(served.proposer.clone());
            served.tasks.spawn(trail.clone().keep(keeping));
            Served { psk: Some(PreSharedKey::from_bytes([5; 32])), trail: Some(trail), ..served }
        })
        .await;
        Self { node, stop }
    }

    async fn ask(&self, method: &str, path: &str, bearer: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = axum::http::Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {bearer}"));
        let request = if body.is_empty() { request } else { request.header("content-type", "application/json") };
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(CameFrom("192.0.2.9".into()));
        self.node.send(request).await
    }

    async fn get(&self, path: &str, bearer: &str) -> Answer {
        self.ask("GET", path, bearer, &Value::Null).await
    }

    async fn token(&self, request: Value) -> String {
        let made = self.ask("POST", "/api/v1/tokens", "key", &request).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["token"].as_str().unwrap().to_owned()
    }

    async fn login(&self, bearer: &str) -> String {
        let session = self.ask("POST", LOGIN, bearer, &Value::Null).await;
        assert_eq!(session.status, 200, "{}", session.body);
        session.json()["token"].as_str().unwrap().to_owned()
    }

    /// The code with which a bearer is refused.
    async fn refused(&self, bearer: &str) -> String {
        let refused = self.get("/api/v1/jobs", bearer).await;
        assert_eq!(refused.status, 401, "{}", refused.body);
        assert_eq!(refused.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
        let claims = bearer.split('.').nth(1).filter(|claims| claims.len() > 20);
        assert!(claims.is_none_or(|claims| !refused.body.contains(claims)), "what was shown is not told again");
        refused.problem()
    }

    /// A JWT by the cluster's own key, that says something else than a session would.
    fn forged(&self, change: impl FnOnce(Wanted<'_>) -> (Wanted<'_>, ClusterId)) -> String {
        let (number, key) =
            self.node.served.raft.read(|state| state.newest_session_key().map(|(at, key)| (at, key.clone()))).unwrap();
        let wanted = Wanted {
            cluster: self.node.served.cluster,
            token: "ci",
            secret: Digest::of(b"guess"),
            role: "admin",
            scopes: &[],
            networks: &[],
            ends_ms: None,
            now_ms: self.node.served.raft.now_ms(),
        };
        let (wanted, sealed_in) = change(wanted);
        let sealing = Sealing { psk: &[5; 32], cluster: &sealed_in.0 };
        let key = MadeKey { public: key.public, sealed: key.sealed };
        sign_in::sign(&wanted, number, &key, sealing).unwrap().jwt
    }

    async fn close(self) {
        self.stop.cancel();
        self.node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_counts_as_the_token_that_it_was_made_with_and_makes_no_other() {
    let scene = Scene::open().await;
    let ci = json!({"name": "ci", "role": "operator", "networks": ["10.0.0.0/8"], "open_jobs": 1});
    let token = scene.token(ci).await;
    let answer = scene.ask("POST", LOGIN, &token, &Value::Null).await.json();
    assert_eq!(
        (&answer["name"], &answer["role"], &answer["token_type"]),
        (&json!("ci"), &json!("operator"), &json!("Bearer"))
    );
    assert!((1..=900).contains(&answer["expires_in"].as_u64().unwrap()), "{answer}");
    let session = answer["token"].as_str().unwrap();
    let (heading, claims) = parts(session);
    assert_eq!(
        (&heading["alg"], &heading["kid"], &claims["networks"]),
        (&json!("EdDSA"), &json!("1"), &json!(["10.0.0.0/8"]))
    );
    assert!(!claims.to_string().contains(&token), "{claims}");
    let own = scene.get("/api/v1/tokens/self", session).await.json();
    assert_eq!((&own["name"], &own["role"]), (&json!("ci"), &json!("operator")));
    let denied = scene.get("/api/v1/tokens", session).await;
    assert_eq!((denied.status, denied.problem().as_str()), (403, "role_missing"));
    let outside = scene.ask("POST", "/api/v1/scans", session, &one_port()).await;
    assert_eq!((outside.status, outside.problem().as_str()), (403, "scope_denied"), "its networks");
    // A login that is sent again is another session, and a session is exchanged for none.
    assert_ne!(scene.login(&token).await, session);
    let again = scene.ask("POST", LOGIN, session, &Value::Null).await;
    assert_eq!((again.status, again.problem().as_str()), (403, "login_needs_token"));
    let unknown = scene.ask("POST", LOGIN, "pna_unknown", &Value::Null).await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (401, "unauthorized"));
    let busy = json!({"targets": ["10.9.9.9"], "ports": "1", "wait_for_worker": true, "require_worker_tags": ["none"]});
    let held = scene.ask("POST", "/api/v1/scans", session, &busy).await;
    assert_eq!(held.status, 202, "{}", held.body);
    let author =
        scene.node.served.raft.read(|state| state.jobs().next().and_then(|(job, _)| state.author(job).cloned()));
    assert_eq!(author.unwrap().who, "ci");
    let second = scene.ask("POST", "/api/v1/scans", &token, &busy).await;
    assert_eq!((second.status, second.problem().as_str()), (429, "token_queue_full"), "both are one bearer");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_token_ends_its_sessions_at_once() {
    let scene = Scene::open().await;
    for (name, how, path) in [("a", "DELETE", "/api/v1/tokens/a"), ("b", "POST", "/api/v1/tokens/b/rotate")] {
        let token = scene.token(json!({"name": name, "role": "viewer"})).await;
        let session = scene.login(&token).await;
        assert_eq!(scene.get("/api/v1/jobs", &session).await.status, 200);
        assert!(scene.ask(how, path, "key", &Value::Null).await.status < 300);
        assert_eq!(scene.refused(&session).await, "session_ended", "{how}");
    }
    let short = scene.token(json!({"name": "c", "role": "viewer", "ttl_seconds": 3})).await;
    let session = scene.login(&short).await;
    let ends = scene.node.served.raft.read(|state| state.access_token_named("c").unwrap().expires_at_ms.unwrap());
    while scene.node.served.raft.now_ms() < ends {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(scene.refused(&session).await, "jwt_expired", "no session outlasts its token");
    // The key that signed is known as long as its sessions last, and not for ever.
    let session = scene.login("key").await;
    for (after, lets_in) in [(1, true), (2, false)] {
        let key = NewSessionKey { after, public: vec![9; 32], sealed: vec![1] };
        let applied = scene.node.served.proposer.propose(Command::SetSessionKey(Box::new(key))).await.unwrap();
        scene.node.served.raft.wait_applied(applied.index, MIN_INDEX_WITHIN).await;
        assert_eq!(scene.get("/api/v1/jobs", &session).await.status == 200, lets_in, "after key {after}");
    }
    assert_eq!(scene.refused(&session).await, "jwt_key_unknown");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_jwt_that_is_none_of_ours_is_refused_with_its_code_and_nothing_is_changed() {
    let scene = Scene::open().await;
    let token = scene.token(json!({"name": "ci", "role": "viewer"})).await;
    let good = scene.login(&token).await;
    let public = scene.node.served.raft.read(|state| state.newest_session_key().unwrap().1.public.clone());
    let other = ClusterId([9; 16]);
    let here = scene.node.served.cluster;
    let now_ms = scene.node.served.raft.now_ms();
    let tokens = |scene: &Scene| scene.node.served.raft.read(|state| state.access_tokens().collect::<Vec<_>>());
    let before = tokens(&scene);
    for (jwt, code) in [
        (scene.forged(|wanted| (wanted, here)), "session_ended"),
        (scene.forged(|wanted| (Wanted { token: "nobody", ..wanted }, here)), "session_ended"),
        (scene.forged(|wanted| (Wanted { now_ms: now_ms - 900_000, ..wanted }, here)), "jwt_expired"),
        (scene.forged(|wanted| (Wanted { now_ms: now_ms + 180_000, ..wanted }, here)), "jwt_early"),
        (scene.forged(|wanted| (Wanted { cluster: other, ..wanted }, here)), "jwt_issuer"),
        (altered(&good, |_, claims| claims["role"] = json!("admin")), "jwt_signature"),
        (altered(&good, |_, claims| claims["aud"] = json!("another")), "jwt_signature"),
        (altered(&good, |heading, _| heading["alg"] = json!("none")), "jwt_algorithm"),
        (altered(&good, |heading, _| heading["kid"] = json!("7")), "jwt_key_unknown"),
        (altered(&good, |heading, _| heading["crit"] = json!(["exp"])), "jwt_critical"),
        (altered(&good, |_, claims| claims["iss"] = json!("https://idp.example")), "jwt_issuer"),
        (signed_as(&good, "none", b""), "jwt_algorithm"),
        (signed_as(&good, "HS256", &public), "jwt_algorithm"),
        (resigned(&good), "jwt_signature"),
        (format!("{good}.x"), "jwt_malformed"),
        (format!("x{good}"), "jwt_malformed"),
        (format!("{good}{}", "A".repeat(9_000)), "jwt_too_large"),
        ("a.b.c".to_owned(), "jwt_malformed"),
    ] {
        assert_eq!(scene.refused(&jwt).await, code, "{jwt}");
    }
    assert_eq!(scene.ask("POST", LOGIN, &resigned(&good), &Value::Null).await.problem(), "jwt_signature");
    assert_eq!(tokens(&scene), before);
    let many = scene.fail_until_told_to_wait().await;
    assert_eq!(many.problem(), "too_many_failures", "they count as wrong tokens do");
    assert_eq!(scene.get("/api/v1/jobs", &good).await.status, 200, "and hold up nobody who belongs");
    scene.close().await;
}

impl Scene {
    async fn fail_until_told_to_wait(&self) -> Answer {
        for _ in 0..100 {
            let answer = self.get("/api/v1/jobs", "a.b.c").await;
            if answer.status == 429 {
                return answer;
            }
        }
        panic!("nobody is told to wait")
    }

    /// The audit log once it has something.
    async fn audit_with(&self, part: &str) -> String {
        for _ in 0..200 {
            let audit = self.get("/api/v1/audit?limit=1000", "key").await.body;
            if audit.contains(part) {
                return audit;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the audit log has no {part}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_and_refusals_are_in_the_audit_log_and_no_session_is() {
    let scene = Scene::open().await;
    let token = scene.token(json!({"name": "ci", "role": "viewer"})).await;
    let session = scene.login(&token).await;
    scene.login(&token).await;
    scene.refused(&resigned(&session)).await;
    assert_eq!(scene.ask("POST", LOGIN, &session, &Value::Null).await.status, 403);
    let audit = scene.audit_with("\"status\":401").await;
    let entries: Value = serde_json::from_str(&audit).unwrap();
    let of = |status: u64| {
        let entries = entries["items"].as_array().unwrap().iter();
        let of = |entry: &&Value| entry["action"] == format!("POST {LOGIN}") && entry["status"] == status;
        entries.filter(of).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of(200).iter().map(|entry| entry["times"].as_u64().unwrap()).sum::<u64>(), 2, "{audit}");
    for entry in of(200).iter().chain(&of(403)) {
        assert_eq!((&entry["who"], &entry["from"], &entry["asked"]), (&json!("ci"), &json!("192.0.2.9"), &json!(0)));
    }
    assert_eq!(of(403).len(), 1, "{audit}");
    for secret in [&token, &session, session.rsplit('.').next().unwrap(), session.split('.').nth(1).unwrap()] {
        assert!(!audit.contains(secret));
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_credential_of_a_worker_tells_of_no_worker_counts_as_a_wrong_token_and_is_in_the_audit_log() {
    let scene = Scene::open().await;
    let guessed = JoinToken::generate(ClusterId::default(), &PreSharedKey::from_bytes([7; 32]));
    let guessed = guessed.credential(&Identity::from_secret([3; 32])).to_string();
    let heartbeat = |id: &str| format!("/api/v1/workers/{id}/heartbeat");
    let known = scene.ask("POST", &heartbeat("wrk_n1"), &guessed, &Value::Null).await;
    let unknown = scene.ask("POST", &heartbeat("nobody"), &guessed, &Value::Null).await;
    assert_eq!((known.status, unknown.status), (401, 401), "{} {}", known.body, unknown.body);
    assert_eq!(known.body, unknown.body);
    let mut answer = unknown;
    for _ in 0..40 {
        answer = scene.ask("POST", &heartbeat("wrk_n1"), &guessed, &Value::Null).await;
    }
    assert_eq!((answer.status, answer.problem().as_str()), (429, "too_many_failures"), "{}", answer.body);
    let audit = scene.audit_with("POST /api/v1/workers/{id}/heartbeat").await;
    assert!(audit.contains("\"status\":401") && !audit.contains(&guessed[4..]), "{audit}");
    let registered = scene.ask("POST", "/api/v1/workers/register", &guessed, &json!({"name": "w"})).await;
    assert_eq!(registered.problem(), "too_many_failures");
    assert_eq!(scene.get("/api/v1/jobs", "key").await.status, 200, "who belongs is let in from there all the same");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_registers_is_in_the_audit_log_with_its_token_as_one_that_joins_is() {
    let scene = Scene::open().await;
    let made = scene.ask("POST", "/api/v1/worker-tokens", "key", &json!({"name": "w1"})).await;
    let token: JoinToken = made.json()["token"].as_str().unwrap().parse().unwrap();
    let credential = token.credential(&Identity::from_secret([3; 32])).to_string();
    let capacity = json!({"max_concurrent_scans": 1, "max_targets_per_scan": 1});
    for (name, status) in [("", 201), ("n1", 409)] {
        let request = json!({"name": name, "version": "1", "capacity": capacity});
        let answer = scene.ask("POST", register::REGISTER, &credential, &request).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let audit = scene.audit_with("\"status\":409").await;
    let entries: Value = serde_json::from_str(&audit).unwrap();
    let is_it = |entry: &&Value| entry["action"] == format!("POST {}", register::REGISTER) && entry["status"] == 201;
    let noted = entries["items"].as_array().unwrap().iter().find(is_it).unwrap_or_else(|| panic!("{audit}"));
    assert_eq!((&noted["from"], &noted["outcome"]), (&json!("192.0.2.9"), &json!("answered")));
    let object = noted["object"].as_str().unwrap();
    assert!(object.contains("name=w1") && object.contains(&format!("token_id={}", token.id)), "{object}");
    assert!(!audit.contains(&credential[4..]), "{audit}");
    // Whoever has one tries no more names with it than an address may ask.
    let request = json!({"name": "n1", "version": "1", "capacity": capacity});
    let mut told = Vec::new();
    while told.last() != Some(&429) && told.len() < 2_000 {
        told.push(scene.ask("POST", register::REGISTER, &credential, &request).await.status);
    }
    assert_eq!(told.last(), Some(&429), "{}", told.len());
    scene.close().await;
}

/// What told a thief of a token that was used up about any node whose public id they knew.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_join_token_nobody_hears_of_a_node_whose_key_they_do_not_have() {
    let scene = Scene::open().await;
    let mut tokens = Vec::new();
    for (name, role) in [("w1", NodeRole::Scanner), ("w2", NodeRole::Scanner)] {
        let made = scene.ask("POST", "/api/v1/worker-tokens", "key", &json!({"name": name})).await;
        let token: JoinToken = made.json()["token"].as_str().unwrap().parse().unwrap();
        let key = Identity::generate();
        let (peer, name) = (key.peer_id().to_string(), name.to_owned());
        let info =
            NodeInfo { name, peer, role, ..scene.node.served.raft.read(|state| state.node(1).unwrap().info.clone()) };
        let joined = scene.node.served.proposer.propose(Command::Admit { token: token.id, info: Box::new(info) }).await;
        joined.unwrap();
        tokens.push((token, key));
    }
    let [(own, key), (_, victim)] = &tokens[..] else { unreachable!("there are two") };
    let heartbeat = async |id: &str, credential: &Credential| {
        let path = format!("/api/v1/workers/{id}/heartbeat");
        scene.ask("POST", &path, &credential.to_string(), &Value::Null).await
    };
    let asked = heartbeat("wrk_w1", &own.credential(key)).await;
    assert_eq!((asked.status, asked.json()["worker_id"].as_str()), (200, Some("wrk_w1")), "its own: {}", asked.body);
    let peer = victim.peer_id();
    let forged = Credential { peer, proof: own.prove(peer), ..own.credential(key) };
    let asked = heartbeat("wrk_w2", &forged).await;
    assert_eq!((asked.status, asked.problem().as_str()), (401, "token_wrong"), "{}", asked.body);
    let capacity = json!({"max_concurrent_scans": 1, "max_targets_per_scan": 1});
    let request = json!({"name": "", "version": "1", "capacity": capacity});
    let registered = scene.ask("POST", register::REGISTER, &forged.to_string(), &request).await;
    assert!(registered.status == 401 && !registered.body.contains("w2"), "{}", registered.body);
    let asked = heartbeat("wrk_w2", &own.credential(key)).await;
    assert_eq!((asked.status, asked.problem().as_str()), (403, "not_allowed"), "{}", asked.body);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_another_order_of_a_request_is_in_the_audit_log_and_nothing_else_of_its_query() {
    let scene = Scene::open().await;
    for name in ["ci", "other"] {
        scene.token(json!({"name": name, "role": "viewer"})).await;
    }
    scene.ask("DELETE", "/api/v1/tokens/ci?with_work=true&x=hidden", "key", &Value::Null).await;
    scene.ask("DELETE", "/api/v1/tokens/other?with_work=false", "key", &Value::Null).await;
    let audit = scene.audit_with("\"DELETE /api/v1/tokens/other\"").await;
    assert!(audit.contains("\"DELETE /api/v1/tokens/ci?with_work=true\"") && !audit.contains("hidden"), "{audit}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_a_backup_or_all_of_the_audit_log_with_them_is_in_the_audit_log() {
    let scene = Scene::open().await;
    scene.get("/api/v1/jobs", "key").await;
    for path in auth::TAKES_ALL {
        assert!(routes::routes().iter().any(|route| route.path == path && route.method == "GET"), "{path}");
    }
    for path in ["/api/v1/audit/export", "/api/v1/jobs/job-1/bundle"] {
        scene.get(path, "key").await;
        let audit = scene.audit_with(&format!("\"GET {path}\"")).await;
        assert!(audit.contains("\"asked\":0") && audit.contains("192.0.2.9"), "{audit}");
        assert!(!audit.contains("GET /api/v1/jobs\""), "{audit}");
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_given_for_a_name_is_neither_in_the_audit_log_nor_in_what_is_answered() {
    let scene = Scene::open().await;
    let token = scene.token(json!({"name": "ci", "role": "viewer"})).await;
    let encoded = format!("%70%6E{}", &token[2..]);
    for (method, path) in [
        ("DELETE", format!("/api/v1/tokens/{token}")),
        ("POST", format!("/api/v1/tokens/{token}/rotate")),
        ("POST", format!("/api/v1/jobs/{encoded}/cancel")),
    ] {
        let answer = scene.ask(method, &path, "key", &Value::Null).await;
        assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.body);
        assert!(!answer.body.contains(&token[4..]), "{}", answer.body);
    }
    let audit = scene.audit_with("POST /api/v1/jobs/pna_***/cancel").await;
    assert!(audit.contains("DELETE /api/v1/tokens/pna_***\"") && audit.contains("POST /api/v1/tokens/pna_***/rotate"));
    assert!(!audit.contains(&token[4..]), "{audit}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whom_a_provider_signed_for_is_let_in_by_its_name_and_its_role_here() {
    let scene = Scene::open().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let issuer = Issuer::new(Kind::Rsa);
    write_keys(&path, &[&issuer]);
    let roles = vec![("scan-team".into(), AccessRole::Operator), ("all".into(), AccessRole::Viewer)];
    let provider = Provider { name_claim: "email".into(), roles, ..provider_of(&path) };
    let now_s = scene.node.served.raft.now_ms() / 1000;
    let jwt = |groups: Value, aud: &str, exp: u64| {
        issuer.sign(&json!({
            "iss": "https://idp.example", "aud": aud, "email": "alice@example.org", "groups": groups, "iat": now_s, "exp": exp,
        }))
    };
    let alice = jwt(json!(["scan-team"]), "pentora", now_s + 300);
    assert_eq!(scene.refused(&alice).await, "jwt_issuer", "nobody is asked here yet");
    scene.node.served.sign_in.take(Some(provider)).unwrap();
    let who = "oidc:https://idp.example#alice@example.org";
    let own = scene.get("/api/v1/tokens/self", &alice).await.json();
    assert_eq!((&own["name"], &own["role"], &own["status"]), (&json!(who), &json!("operator"), &json!("valid")));
    let scan = scene.ask("POST", "/api/v1/scans", &alice, &one_port()).await;
    assert_eq!(scan.status, 202, "{}", scan.body);
    let author =
        scene.node.served.raft.read(|state| state.jobs().next().and_then(|(job, _)| state.author(job).cloned()));
    assert_eq!(author.unwrap().who, who);
    let denied = scene.get("/api/v1/tokens", &alice).await;
    assert_eq!(denied.problem(), "role_missing");
    assert!(denied.body.contains("alice@example.org` has the role operator"), "{}", denied.body);
    let viewer = jwt(json!(["all"]), "pentora", now_s + 300);
    assert_eq!(scene.ask("POST", "/api/v1/scans", &viewer, &one_port()).await.problem(), "role_missing");
    let nobody = scene.get("/api/v1/jobs", &jwt(json!(["guests"]), "pentora", now_s + 300)).await;
    assert_eq!((nobody.status, nobody.problem().as_str()), (403, "no_role"));
    let login = scene.ask("POST", LOGIN, &alice, &Value::Null).await;
    assert_eq!((login.status, login.problem().as_str()), (403, "login_needs_token"));
    assert_eq!(scene.refused(&jwt(json!(["all"]), "mail", now_s + 300)).await, "jwt_audience");
    assert_eq!(scene.refused(&jwt(json!(["all"]), "pentora", now_s - 120)).await, "jwt_expired");
    let audit = scene.audit_with("POST /api/v1/scans").await;
    assert!(audit.contains(who), "{audit}");
    scene.node.served.sign_in.take(None).unwrap();
    assert_eq!(scene.refused(&alice).await, "jwt_issuer", "and not any more");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_somebody_whom_a_provider_let_in_ends_with_the_provider_or_its_key_and_no_other_does() {
    let scene = Scene::open().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let [issuer, next] = [Kind::Ed25519, Kind::P256].map(Issuer::new);
    write_keys(&path, &[&issuer]);
    let provider = Provider { roles: vec![("all".into(), AccessRole::Viewer)], ..provider_of(&path) };
    let sign_in = scene.node.served.sign_in.clone();
    sign_in.take(Some(provider.clone())).unwrap();
    let now_s = scene.node.served.raft.now_ms() / 1000;
    let alice =
        json!({"iss": "https://idp.example", "aud": "pentora", "sub": "alice", "groups": "all", "exp": now_s + 600});
    let open = async |bearer: &str| {
        let request = axum::http::Request::get("/api/v1/events").header("authorization", format!("Bearer {bearer}"));
        let request = request.header("accept", "text/event-stream").body(Body::empty()).unwrap();
        let response = scene.node.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Box::pin(response.into_body().into_data_stream().filter(|piece| {
            let is_heartbeat = piece.as_ref().is_ok_and(|piece| piece.starts_with(b": here"));
            std::future::ready(!is_heartbeat)
        }))
    };
    let mut by_token = open("key").await;
    assert!(by_token.next().await.is_some(), "its place");
    for (what, take_away) in [("its key", Some(provider.clone())), ("the provider", None)] {
        write_keys(&path, &[&issuer]);
        sign_in.take(Some(provider.clone())).unwrap();
        let mut stream = open(&issuer.sign(&alice)).await;
        assert!(stream.next().await.is_some(), "its place");
        write_keys(&path, &[&issuer, &next]);
        sign_in.take(Some(provider.clone())).unwrap();
        let goes_on = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
        assert!(goes_on.is_err(), "a key more ends nothing");
        write_keys(&path, &[&next]);
        sign_in.take(take_away).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.next()).await;
        assert!(ended.expect("at once, and not when it next says that it is there").is_none(), "{what}");
    }
    assert!(tokio::time::timeout(Duration::from_millis(300), by_token.next()).await.is_err(), "a token's goes on");
    drop(by_token);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_that_is_asked_for_again_under_its_key_is_the_same_one_and_with_another_request_none() {
    let scene = Scene::open().await;
    let make = async |key: &str, body: Value| {
        let request = axum::http::Request::builder().method("POST").uri("/api/v1/worker-tokens");
        let request = request.header("authorization", "Bearer key").header("content-type", "application/json");
        let request = request.header("idempotency-key", key).body(Body::from(body.to_string())).unwrap();
        scene.node.send(request).await
    };
    let first = make("k", json!({"name": "n2"})).await;
    let again = make("k", json!({"name": "n2"})).await;
    assert_eq!((first.status, again.status), (201, 201), "{}", again.body);
    assert_eq!(first.json()["token"], again.json()["token"]);
    let reused = make("k", json!({"name": "n3"})).await;
    assert_eq!((reused.status, reused.problem().as_str()), (409, "idempotency_key_reused"), "{}", reused.body);
    let other = make("l", json!({"name": "n2"})).await;
    assert_ne!(first.json()["token"], other.json()["token"]);
    let listed = scene.get("/api/v1/worker-tokens", "key").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    scene.close().await;
}
