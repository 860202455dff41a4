//! Requests of the API that a node which only scans hands to this one: carried out by this node's own router, which lets
//! in bearers of a known token and nobody else, whatever this node lets in on its own loopback.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use pentora_raft::NodeId;
use tower::ServiceExt;

use crate::api::{CameFrom, HandedOnBy};
use crate::rpc::calls::{ApiCall, FORWARDED_FROM};

/// What of an answer's head goes back.
const HANDED_BACK: [&str; 6] =
    ["content-type", "location", "pentora-index", "retry-after", "www-authenticate", "cache-control"];

/// What of an answer's head goes back, with its status and its body as it is made.
type Begun = (u16, Vec<(String, String)>, Body);

/// Carries a request out that node `from` handed on, as far as the answer's head.
///
/// # Errors
/// A sentence where it is no request.
pub(super) async fn begin(router: Router, from: Option<NodeId>, call: ApiCall, body: Bytes) -> Result<Begun, String> {
    let request = Request::builder().method(call.method.as_str()).uri(&call.path);
    let said = call.headers.iter().find(|(name, _)| name == FORWARDED_FROM);
    let said = CameFrom(said.map_or_else(String::new, |(_, said)| said.clone()));
    let request = call.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let length = body.len().to_string();
    let request = request.header("content-length", length).body(Body::from(body)).map_err(|error| error.to_string())?;
    let mut request = request;
    request.extensions_mut().insert(said);
    if let Some(from) = from {
        request.extensions_mut().insert(HandedOnBy(from));
    }
    // A router answers every request.
    let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    let (head, body) = response.into_parts();
    let text = |name: &str| Some((name.to_owned(), head.headers.get(name)?.to_str().ok()?.to_owned()));
    let headers = HANDED_BACK.iter().filter_map(|name| text(name)).collect();
    Ok((head.status.as_u16(), headers, body))
}
