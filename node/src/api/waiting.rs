//! What is answered while the node waits to be let into its cluster: that its process works, and to everything else why it
//! does not say more.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use tokio::sync::watch;

use super::{ApiError, browser};

/// When to ask again, in seconds: about as often as the node asks its peers.
const AGAIN_SECONDS: u64 = 5;

/// `/healthz` is well, and all else 503 with the code `not_joined` and `why`, as it is when somebody asks.
pub fn waiting(why: watch::Receiver<String>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(refused)
        .method_not_allowed_fallback(refused)
        .layer(map_response(|mut response: Response| async move {
            browser::tell(response.headers_mut());
            response
        }))
        .with_state(why)
}

async fn refused(State(why): State<watch::Receiver<String>>) -> ApiError {
    let detail = format!("not joined yet: {}", *why.borrow());
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_joined", detail).retry_after(AGAIN_SECONDS)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Method, Request, header};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn only_its_health_is_well_and_everything_else_says_what_it_waits_for_now() {
        let (told, why) = watch::channel("asking n1:7400".to_owned());
        let router = waiting(why);
        let ask = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request)
        };
        let well = ask(Method::GET, "/healthz").await.unwrap();
        assert_eq!(well.status(), StatusCode::OK);
        told.send_replace("n1:7400 has pnj_abcdefghijklmnop, which no node lets in".to_owned());
        for (method, path) in [
            (Method::GET, "/readyz"),
            (Method::GET, "/metrics"),
            (Method::POST, "/api/v1/scans"),
            (Method::POST, "/healthz"),
            (Method::GET, "/nothing"),
        ] {
            let answer = ask(method, path).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(answer.headers()[header::RETRY_AFTER], "5", "{path}");
            assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store", "{path}");
            let body = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["code"], "not_joined", "{path}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with("not joined yet: n1:7400 has ") && !detail.contains("abcdefgh"), "{detail}");
        }
    }
}
