//! On what an order was carried out, as the audit log has it: names, ids, networks and roles out of what it was answered with.
//!
//! Only fields that are known to hold no secret are taken, and those are masked like any other text that others read. What a
//! request asked for in vain is not in it, but for the code of the problem.

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::header;
use axum::response::Response;
use serde_json::Value;

use super::ApiError;
use super::jobs::job_id;
use crate::masked::masked;

/// An answer that is longer is not looked into. Ours: above every answer to an order that names what it made.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How much of a value is taken, in characters. Ours: a name is shorter, and so are some networks.
const VALUE_CHARACTERS_MAX: usize = 160;
/// The fields of answers that say on what, in this order.
const FIELDS: [&str; 11] =
    ["job_id", "token_id", "worker_id", "name", "kind", "role", "networks", "scopes", "region", "site", "code"];

/// What an answer does not say of what it made, put beside it by its handler.
#[derive(Debug, Clone)]
pub(super) struct About(String);

impl About {
    /// These fields, but for those that are empty.
    pub(super) fn of(fields: &[(&str, String)]) -> Self {
        let told = fields.iter().filter(|(_, text)| !text.is_empty());
        let told = told.filter_map(|(name, text)| Some(format!("{name}={}", value(&Value::from(text.as_str()))?)));
        Self(told.collect::<Vec<_>>().join(" "))
    }
}

/// The answer as it is, and on what it is.
pub(super) async fn of(response: Response) -> (Response, String) {
    let about = response.extensions().get::<About>().map(|about| about.0.clone());
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    let is_short = response.body().size_hint().exact().is_some_and(|bytes| bytes <= ANSWER_BYTES_MAX as u64);
    if !is_json || !is_short {
        return (response, about.unwrap_or_default());
    }
    let (head, body) = response.into_parts();
    // It is in memory as a whole: its length is known.
    let body = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.unwrap_or_default();
    let told = [Some(named(&body)), about].into_iter().flatten().filter(|part| !part.is_empty());
    let told = told.collect::<Vec<_>>().join(" ");
    (Response::from_parts(head, Body::from(body)), told)
}

/// What an answer names.
fn named(body: &[u8]) -> String {
    let Ok(Value::Object(answer)) = serde_json::from_slice(body) else { return String::new() };
    let field = |name: &&str| answer.get(*name).and_then(value).map(|value| format!("{name}={value}"));
    FIELDS.iter().filter_map(field).collect::<Vec<_>>().join(" ")
}

fn value(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        _ => return None,
    };
    // One word: what follows it is another field.
    let word: String = masked(&text).chars().take(VALUE_CHARACTERS_MAX).collect();
    let word: String = word.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect();
    (!word.is_empty()).then_some(word)
}

/// Why a request names a job by what is no job's id, before anything is carried out; `None` where it may be one.
pub(super) fn unreadable(request: &Request) -> Option<ApiError> {
    let route = request.extensions().get::<MatchedPath>()?.as_str();
    let place = route.split('/').position(|part| part == "{id}").filter(|_| route.starts_with("/api/v1/jobs/"))?;
    let id = request.uri().path().split('/').nth(place)?;
    // What is encoded is read by whoever carries it out.
    if id.contains('%') { None } else { job_id(id).err() }
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::response::IntoResponse;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_answer_goes_on_as_it_is_and_its_names_are_taken_but_no_secret() {
        let secret = format!("pna_{}", "mfrggzdfmztwq2lk".repeat(3));
        let answer = json!({
            "token": secret, "name": "ci\n2", "role": "operator", "networks": ["10.0.0.0/8", "fd00::/8"],
            "site": secret, "index": 7,
        });
        let mut response = Json(answer.clone()).into_response();
        response.extensions_mut().insert(About::of(&[("networks", String::new()), ("scopes", "lab".into())]));
        let (response, object) = of(response).await;
        assert_eq!(object, "name=ci_2 role=operator networks=10.0.0.0/8,fd00::/8 site=pna_*** scopes=lab");
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), answer);
        assert_eq!(of("name=x".into_response()).await.1, "", "no JSON");
        assert_eq!(of(Json(json!({"name": "x".repeat(70_000)})).into_response()).await.1, "", "too long");
        assert_eq!(of(Json(json!(["job_id"])).into_response()).await.1, "", "no object");
    }
}
