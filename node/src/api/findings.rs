//! `/jobs/{id}/findings/{finding}/explain`: why a finding of a job is one.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use pentora_raft::Refusal;
use serde::Deserialize;

use super::jobs::job_id;
use super::{ApiError, Node};
use crate::document::Page;
use crate::feeds::explain::{Asked, EXPLAINED_MAX, Explained, of_record};
use crate::feeds::rematch::Rematch;
use crate::results::report;

/// `?address=&port=`: which host and port are meant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Where {
    address: Option<IpAddr>,
    port: Option<u16>,
    min_index: Option<String>,
}

pub(super) async fn explain(
    State(node): State<Node>,
    Path((job, finding)): Path<(String, String)>,
    Query(place): Query<Where>,
) -> Result<Json<Page<Explained>>, ApiError> {
    let job = job_id(&job)?;
    if node.raft.read(|state| state.job(job).is_none()) {
        return Err(Refusal::JobUnknown { job }.into());
    }
    // The index was waited for before this was called.
    let Where { address, port, min_index: _ } = place;
    let asked = Asked { id: finding, address, port };
    let (mut explained, mut failed) = (Vec::new(), None);
    let rematch = Rematch::new(node.feeds.clone()).into_revise();
    let read = report::for_each_record(&node.raft, node.exchange.clone(), job, rematch, |record| {
        match of_record(&asked, record, node.feeds.as_ref()) {
            Ok(more) => explained.extend(more),
            Err(error) => failed = Some(error.to_string()),
        }
        explained.len() < EXPLAINED_MAX && failed.is_none()
    });
    let unavailable = |what: String| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "results_unavailable", what);
    read.await.map_err(unavailable)?;
    match failed {
        Some(error) => Err(unavailable(error)),
        None => Ok(Json(Page::whole(explained))),
    }
}
