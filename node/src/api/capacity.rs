//! `/capacity`: what past jobs say of how long targets take.

use axum::Json;
use axum::extract::{Query, State};
use pentora_raft::Refusal;
use serde::Deserialize;

use super::jobs::job_id;
use super::{ApiError, Node};
use crate::capacity;
use crate::document::CapacityDocument;

/// `?job=ID`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Of {
    job: Option<String>,
}

/// Of all ended jobs, or of one.
pub(super) async fn measured(
    State(node): State<Node>,
    Query(of): Query<Of>,
) -> Result<Json<CapacityDocument>, ApiError> {
    let job = of.job.as_deref().map(job_id).transpose()?;
    let measured = node.raft.read(|state| match job {
        Some(job) if state.job(job).is_none() => Err(Refusal::JobUnknown { job }),
        job => Ok(capacity::measured(state, job)),
    });
    Ok(Json(measured?))
}
