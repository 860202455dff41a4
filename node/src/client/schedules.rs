//! Questions about schedules.

use axum::http::Method;

use super::{Client, ClientError};
use crate::document::{ScheduleDocument, ScheduleRequest, ScheduleTimes};

impl Client {
    /// Every schedule, by name, without what each scans (`GET /schedules`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn schedules(&self) -> Result<Vec<ScheduleDocument>, ClientError> {
        self.pages("/api/v1/schedules", None).await
    }

    /// Makes a schedule (`POST /schedules`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_schedule(&self, request: &ScheduleRequest) -> Result<ScheduleDocument, ClientError> {
        self.post("/api/v1/schedules", request).await
    }

    /// One schedule (`GET /schedules/{name}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn schedule(&self, name: &str) -> Result<ScheduleDocument, ClientError> {
        self.get(&format!("/api/v1/schedules/{name}")).await
    }

    /// A schedule's next times (`GET /schedules/{name}/next`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn schedule_next(&self, name: &str, count: u32) -> Result<ScheduleTimes, ClientError> {
        self.get(&format!("/api/v1/schedules/{name}/next?count={count}")).await
    }

    /// Holds a schedule, or lets it go on (`POST /schedules/{name}/pause`, `resume`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn hold_schedule(&self, name: &str, paused: bool) -> Result<ScheduleDocument, ClientError> {
        let verb = if paused { "pause" } else { "resume" };
        self.post(&format!("/api/v1/schedules/{name}/{verb}"), &serde_json::json!({})).await
    }

    /// Takes a schedule away (`DELETE /schedules/{name}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_schedule(&self, name: &str) -> Result<(), ClientError> {
        self.command(Method::DELETE, &format!("/api/v1/schedules/{name}"), None).await
    }
}
