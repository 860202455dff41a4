//! Errors as `application/problem+json` (RFC 9457) with a stable `code`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pentora_raft::Refusal;
use serde_json::Value;

use crate::document::Problem;
use crate::glue::proposer::Unavailable;
use crate::jobs::RefusedRequest;

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
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::JobUnknown { .. } | Refusal::NodeUnknown { .. } | Refusal::TokenUnknown => StatusCode::NOT_FOUND,
            Refusal::QueueFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Malformed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::CONFLICT,
        };
        Self::new(status, refusal.code(), refusal.to_string())
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::Refused(refusal) => refusal.into(),
            Unavailable::QuorumLost { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "quorum_lost", error.to_string()).retry_after(1)
            }
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
            RefusedRequest::Targets(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_targets", detail),
            RefusedRequest::Ports(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_ports", detail),
            RefusedRequest::Choice(_) | RefusedRequest::Spec(_) | RefusedRequest::Field(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", detail)
            }
            RefusedRequest::Scope(_) => Self::new(StatusCode::FORBIDDEN, "scope_denied", detail),
            RefusedRequest::NoEligibleNode { reasons, .. } => {
                let listed: Vec<String> = reasons.iter().map(|(node, reason)| format!("{node}: {reason}")).collect();
                let detail = format!("{detail}: {}", listed.join("; "));
                let reasons = reasons.into_iter().map(|(node, reason)| (node, Value::from(reason))).collect();
                Self::new(StatusCode::CONFLICT, "no_eligible_node", detail).with("nodes", Value::Object(reasons))
            }
            RefusedRequest::Unavailable(unavailable) => unavailable.into(),
        }
    }
}
