//! Errors as `application/problem+json` (RFC 9457) with a stable `code`.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pentora_raft::Refusal;
use serde_json::Value;

use crate::document::Problem;
use crate::jobs::RefusedRequest;
use crate::masked::masked;
use crate::rpc::proposer::Unavailable;

const PROBLEM_JSON: &str = "application/problem+json";
/// When to try again where the queue is full, in seconds. Ours: about the time of a unit.
const QUEUE_RETRY_SECONDS: u64 = 10;
/// The longest plain-text error that is taken over, in bytes.
const REJECTION_BYTES_MAX: usize = 4096;
/// How the framework begins what it says of a query.
const QUERY_REJECTED: &str = "Failed to deserialize query string: ";

/// An error of the API.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    problem: Box<Problem>,
    retry_after: Option<u64>,
}

impl ApiError {
    /// An error with a stable `code` and a sentence.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { status, problem: Box::new(Problem::new(status.as_u16(), code, title, detail)), retry_after: None }
    }

    /// A request that cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// Tells the caller to try again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.problem.extra.insert(key.to_owned(), value);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        // What was asked for may stand in it, and be a token that was given for a name.
        if let Cow::Owned(without) = masked(&self.problem.detail) {
            self.problem.detail = without;
        }
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Makes a problem document of an error that a layer below the handlers answered in plain text.
pub(super) async fn of_rejection(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
    if !is_error || is_problem {
        return response;
    }
    let code = match status {
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        status if status.is_server_error() => "internal",
        _ => "bad_request",
    };
    let text = axum::body::to_bytes(response.into_body(), REJECTION_BYTES_MAX).await.unwrap_or_default();
    let detail = match String::from_utf8_lossy(&text).trim() {
        "" => "the request was not understood".to_owned(),
        text => of_query(text),
    };
    ApiError::new(status, code, detail).into_response()
}

/// What the framework says of a query that does not read, in our words; anything else as it is.
pub(super) fn of_query(text: &str) -> String {
    match text.strip_prefix(QUERY_REJECTED) {
        Some(why) => format!("the query is not understood: {}", why.replace("provided string was not", "this must be")),
        None => text.to_owned(),
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::JobUnknown { .. }
            | Refusal::NodeUnknown { .. }
            | Refusal::KeepUnknown { .. }
            | Refusal::ScheduleUnknown { .. }
            | Refusal::TokenUnknown
            | Refusal::AccessTokenUnknown { .. }
            | Refusal::RuleUnknown { .. } => StatusCode::NOT_FOUND,
            Refusal::QueueFull { .. }
            | Refusal::QueueDeep { .. }
            | Refusal::TokenJobs { .. }
            | Refusal::TokenTargets { .. }
            | Refusal::QueueShare { .. }
            | Refusal::AuditShare { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Malformed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::CONFLICT,
        };
        let error = Self::new(status, refusal.code(), refusal.to_string());
        match &refusal {
            Refusal::TokenTargets { wait_seconds, .. } | Refusal::AuditShare { wait_seconds, .. } => {
                error.retry_after(*wait_seconds)
            }
            _ if status == StatusCode::TOO_MANY_REQUESTS => error.retry_after(QUEUE_RETRY_SECONDS),
            _ => error,
        }
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::Refused(refusal) => refusal.into(),
            Unavailable::QuorumLost { may_be_done, .. } => {
                let lost = Self::new(StatusCode::SERVICE_UNAVAILABLE, "quorum_lost", error.to_string()).retry_after(1);
                // A client may then ask once more, and another node, for what it must not ask for twice.
                if may_be_done { lost } else { lost.with("not_done", Value::Bool(true)) }
            }
            Unavailable::Denied(why) => Self::new(StatusCode::FORBIDDEN, "not_allowed", why),
            Unavailable::Stopped(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "node_stopped", error.to_string()).retry_after(1)
            }
        }
    }
}

impl From<RefusedRequest> for ApiError {
    fn from(error: RefusedRequest) -> Self {
        let detail = error.to_string();
        match error {
            RefusedRequest::Targets(_) | RefusedRequest::Exclusions(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_targets", detail)
            }
            RefusedRequest::Ports(_) | RefusedRequest::ExcludedPorts(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_ports", detail)
            }
            RefusedRequest::Discovery(_)
            | RefusedRequest::Spec(_)
            | RefusedRequest::Field(_)
            | RefusedRequest::Link { .. }
            | RefusedRequest::Profile { .. }
            | RefusedRequest::Site { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", detail),
            RefusedRequest::OrderUsed { .. } => Self::new(StatusCode::CONFLICT, "order_used", detail),
            RefusedRequest::OrderRepeats => Self::new(StatusCode::CONFLICT, "order_repeats", detail),
            RefusedRequest::Order(_) | RefusedRequest::NotAsked(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "order_invalid", detail)
            }
            RefusedRequest::Scope(_) => Self::new(StatusCode::FORBIDDEN, "scope_denied", detail),
            RefusedRequest::Ambiguous { sites, .. } => {
                let sites = sites.into_iter().map(Value::from).collect();
                Self::new(StatusCode::CONFLICT, "ambiguous_site", detail).with("sites", Value::Array(sites))
            }
            RefusedRequest::Closed(_) => Self::new(StatusCode::CONFLICT, "outside_window", detail),
            RefusedRequest::Rule { .. } | RefusedRequest::AllExcluded { .. } => {
                Self::new(StatusCode::FORBIDDEN, "excluded", detail)
            }
            RefusedRequest::NoEligibleNode { reasons, .. } => {
                let listed: Vec<String> = reasons.iter().map(|(node, reason)| format!("{node}: {reason}")).collect();
                let detail = format!("{detail}: {}", listed.join("; "));
                let reasons = reasons.into_iter().map(|(node, reason)| (node, Value::from(reason))).collect();
                Self::new(StatusCode::CONFLICT, "no_eligible_node", detail).with("nodes", Value::Object(reasons))
            }
            RefusedRequest::NotDurable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_durable", detail).retry_after(5)
            }
            RefusedRequest::Unavailable(unavailable) => unavailable.into(),
        }
    }
}
