//! `/jobs/{id}/findings/{finding}/explain`: why a finding of a job is one.

use std::net::IpAddr;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use pentora_raft::Refusal;
use serde::Deserialize;

use super::auth::HandedOnBy;
use super::jobs::{job_id, unreadable_of};
use super::paging::{Paging, rising};
use super::residency::check_readable;
use super::{ApiError, Node};
use crate::document::Page;
use crate::feeds::explain::{Asked, EXPLAINED_MAX, Explained, of_record};
use crate::feeds::rematch::Rematch;
use crate::results::report;

/// `?address=&port=`: which host and port are meant.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Where {
    address: Option<IpAddr>,
    port: Option<u16>,
}

pub(super) async fn explain(
    State(node): State<Node>,
    by: Option<Extension<HandedOnBy>>,
    Path((job, finding)): Path<(String, String)>,
    Query(place): Query<Where>,
    paging: Paging,
) -> Result<Json<Page<Explained>>, ApiError> {
    let job = job_id(&job)?;
    if node.raft.read(|state| state.job(job).is_none()) {
        return Err(Refusal::JobUnknown { job }.into());
    }
    check_readable(&node, job, by.map(|Extension(by)| by))?;
    let Where { address, port } = place;
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
    let missing = read.await;
    match (failed, missing.first()) {
        (Some(error), _) => Err(unavailable(error)),
        // What was asked for may be in what cannot be read.
        (None, Some(unit)) if explained.is_empty() => {
            Err(unavailable(node.raft.read(|state| unreadable_of(state, unit)).told()))
        }
        (None, _) => {
            let explained = (0..).zip(explained).map(|(number, explained)| (rising(number), explained));
            paging.part("explained", explained, |explained| explained).map(Json)
        }
    }
}
