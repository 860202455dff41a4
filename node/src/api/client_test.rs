//! The typed client has a method for every operation of the API: what each asks for is held against the table of routes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use pentora_raft::state::Priority;
use tokio_util::sync::CancellationToken;

use super::routes::routes;
use super::{Bounds, serve};
use crate::client::Client;
use crate::document::{
    AccessTokenRequest, BudgetRequest, Budgets, ExclusionRequest, Exclusions, FaultKind, FaultRequest, KeepRequest,
    Noun, PolicyRequest, ProfileRequest, Profiles, RegistrationCapacity, RegistrationRequest, ScanRequest,
    ScheduleRequest, ScopeRequest, Scopes, SettingsChange, SiteRequest, Sites, TokenRequest, WhenFields, WindowRequest,
    Windows,
};
use crate::feeds::FeedKind;
use crate::feeds::explain::Asked;
use crate::tls::Trust;

type Seen = Arc<Mutex<BTreeSet<(String, String)>>>;

/// Answers nothing to everything, and keeps what was asked.
fn listener(seen: &Seen) -> Router {
    let seen = Arc::clone(seen);
    Router::new().fallback(move |request: Request| {
        let asked = (request.method().to_string(), request.uri().path().to_owned());
        seen.lock().unwrap().insert(asked);
        async { StatusCode::NO_CONTENT }
    })
}

/// What comes of the calls is not looked at: an empty answer is not understood by most.
async fn ask_everything(client: &Client) {
    let scan = || ScanRequest::default();
    drop(client.scan(&scan()).await);
    drop(client.jobs().await);
    drop(client.job("x").await);
    drop(client.results("x").await);
    drop(client.job_bundle("x").await);
    drop(client.events("x", None).await);
    drop(client.all_events(None).await);
    drop(client.explain("x", &Asked { id: "x".into(), address: None, port: None }).await);
    drop(client.cancel("x").await);
    drop(client.delete_job("x").await);
    drop(client.pause_job("x").await);
    drop(client.resume_job("x").await);
    drop(client.reprioritize("x", Priority::High).await);
    drop(client.explain_job("x").await);
    drop(client.queue().await);
    drop(client.capacity(None).await);
    drop(client.keeps().await);
    drop(client.add_keep(&KeepRequest { name: None, fresh_seconds: 60, scan: scan() }).await);
    drop(client.keep("x").await);
    drop(client.remove_keep("x").await);
    drop(client.hold_keep("x", true).await);
    drop(client.hold_keep("x", false).await);
    drop(client.schedules().await);
    let schedule = ScheduleRequest {
        name: None,
        cron: "@daily".into(),
        timezone: None,
        missed: None,
        overlap: None,
        scan: scan(),
    };
    drop(client.add_schedule(&schedule).await);
    drop(client.schedule("x").await);
    drop(client.remove_schedule("x").await);
    drop(client.schedule_next("x", 1).await);
    drop(client.hold_schedule("x", true).await);
    drop(client.hold_schedule("x", false).await);
    ask_of_nodes(client).await;
    ask_of_people(client).await;
    ask_of_rules(client).await;
    ask_of_data(client).await;
}

async fn ask_of_nodes(client: &Client) {
    drop(client.workers().await);
    let capacity = RegistrationCapacity { max_concurrent_scans: 1, max_targets_per_scan: 1 };
    let (name, version) = ("x".to_owned(), "1".to_owned());
    let registration = RegistrationRequest { name, version, capacity, tags: Vec::new(), network_access: Vec::new() };
    drop(client.register(&registration).await);
    drop(client.heartbeat("x").await);
    drop(client.worker("x").await);
    drop(client.revoke_worker("x").await);
    drop(client.drain("x", true).await);
    drop(client.resume_worker("x").await);
    drop(client.tokens().await);
    let token: TokenRequest = serde_json::from_str(r#"{"name":"x"}"#).unwrap();
    drop(client.create_token(&token).await);
    drop(client.revoke_token("x").await);
    drop(client.cluster().await);
    drop(client.transfer_leadership(None).await);
    drop(client.settings().await);
    drop(client.change_settings(&SettingsChange::default()).await);
    drop(client.snapshot().await);
    drop(client.leave().await);
    drop(client.remove_node("x").await);
    drop(client.set_voting("x", true).await);
    drop(client.set_voting("x", false).await);
    drop(client.set_policy("x", &PolicyRequest::default()).await);
    drop(
        client
            .fault("x", &FaultRequest { fault: FaultKind::Cut, for_ms: 1, from: Vec::new(), delay_ms: 0, after_ms: 0 })
            .await,
    );
    drop(client.empty_write().await);
    drop(client.healthz().await);
    drop(client.ready().await);
    drop(client.metrics().await);
    drop(client.version().await);
    drop(client.description().await);
}

async fn ask_of_people(client: &Client) {
    drop(client.access_tokens().await);
    drop(client.own_access_token().await);
    drop(client.login().await);
    drop(client.access_token("x").await);
    let token: AccessTokenRequest = serde_json::from_str(r#"{"name":"x","role":"viewer"}"#).unwrap();
    drop(client.create_access_token(&token).await);
    drop(client.rotate_access_token("x").await);
    drop(client.revoke_access_token("x", true).await);
    drop(client.audit().await);
    drop(client.audit_export().await);
}

async fn ask_of_rules(client: &Client) {
    ask_of::<Scopes>(client, &ScopeRequest::default()).await;
    ask_of::<Exclusions>(client, &ExclusionRequest::default()).await;
    ask_of::<Profiles>(client, &ProfileRequest::default()).await;
    let when = WhenFields::default();
    let window = WindowRequest { name: "x".into(), networks: Vec::new(), when, effect: None, reason: String::new() };
    ask_of::<Windows>(client, &window).await;
    ask_of::<Budgets>(client, &BudgetRequest::default()).await;
    ask_of::<Sites>(client, &SiteRequest::default()).await;
}

async fn ask_of<N: Noun>(client: &Client, request: &N::Request) {
    drop(client.rules::<N>().await);
    drop(client.set_rule::<N>(request).await);
    drop(client.rule::<N>("x").await);
    drop(client.remove_rule::<N>("x").await);
}

async fn ask_of_data(client: &Client) {
    drop(client.feeds().await);
    drop(client.put_feed(FeedKind::ALL[0], Vec::new()).await);
    drop(client.remove_feed(FeedKind::ALL[0]).await);
    drop(client.export(true).await);
    let file = tokio::fs::File::from_std(tempfile::tempfile().unwrap());
    drop(client.import(file, true, None).await);
    drop(client.offline_workers().await);
    drop(client.remove_offline_worker("x").await);
}

#[tokio::test]
async fn the_client_has_a_method_for_every_operation() {
    let seen = Seen::default();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", socket.local_addr().unwrap());
    let stop = CancellationToken::new();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(serve(socket, listener(&seen), None, Bounds::default(), stop.clone()));
    ask_everything(&Client::http(vec![address], None, &Trust::default()).unwrap()).await;
    stop.cancel();
    serving.join_next().await.unwrap().unwrap();
    let kind = FeedKind::ALL[0].to_string();
    let filled = |part: &str| match part {
        "{kind}" => kind.clone(),
        part if part.starts_with('{') => "x".into(),
        part => part.to_owned(),
    };
    let wanted: BTreeSet<(String, String)> = routes()
        .into_iter()
        .map(|route| (route.method.to_string(), route.path.split('/').map(filled).collect::<Vec<_>>().join("/")))
        .collect();
    assert_eq!(*seen.lock().unwrap(), wanted);
}
