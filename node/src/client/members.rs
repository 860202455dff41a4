//! Questions about the cluster's nodes: the cluster's word about one, draining, and taking one out.

use axum::http::Method;

use super::{Client, ClientError, encode, in_path};
use crate::document::{
    ClusterDocument, DrainRequest, EmptyWriteDocument, FaultDocument, FaultRequest, HeartbeatDocument, PolicyRequest,
    RegistrationDocument, RegistrationRequest, RemovalDocument, WorkerDocument,
};

impl Client {
    /// What removing a node would come to (`POST /cluster/nodes/{name}/remove?plan=true`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn plan_removal(&self, name: &str) -> Result<RemovalDocument, ClientError> {
        self.post(&format!("{}/remove?plan=true", of_node(name)), &serde_json::json!({})).await
    }

    /// Takes a node out of the cluster (`POST /cluster/nodes/{name}/remove`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_node(&self, name: &str) -> Result<RemovalDocument, ClientError> {
        self.post(&format!("{}/remove", of_node(name)), &serde_json::json!({})).await
    }

    /// Takes the node that answers out of its cluster (`POST /cluster/leave`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn leave(&self) -> Result<RemovalDocument, ClientError> {
        self.post("/api/v1/cluster/leave", &serde_json::json!({})).await
    }

    /// Wants a node among the voters, or keeps it from voting (`POST /cluster/nodes/{name}/promote`, `demote`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_voting(&self, name: &str, promote: bool) -> Result<(), ClientError> {
        let verb = if promote { "promote" } else { "demote" };
        self.command(Method::POST, &format!("{}/{verb}", of_node(name)), Some(b"{}".to_vec())).await
    }

    /// Changes the cluster's word about a node (`PATCH /cluster/nodes/{name}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_policy(&self, name: &str, request: &PolicyRequest) -> Result<(), ClientError> {
        self.command(Method::PATCH, &of_node(name), Some(encode(request))).await
    }

    /// Has a node suffer a fault for a drill (`POST /cluster/nodes/{name}/fault`). Asked once: it may begin before its answer
    /// is here.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn fault(&self, name: &str, request: &FaultRequest) -> Result<FaultDocument, ClientError> {
        let call = self.call(Method::POST, &format!("{}/fault", of_node(name)), Some(encode(request)));
        let reply = self.once(&call).await?;
        self.decode(reply).await
    }

    /// A write that changes nothing (`GET /cluster/empty-write`). Asked once.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn empty_write(&self) -> Result<EmptyWriteDocument, ClientError> {
        let reply = self.once(&self.call(Method::GET, "/api/v1/cluster/empty-write", None)).await?;
        self.decode(reply).await
    }

    /// The cluster, asked once, for whoever watches what becomes of it (`GET /cluster`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cluster_once(&self) -> Result<ClusterDocument, ClientError> {
        let reply = self.once(&self.call(Method::GET, "/api/v1/cluster", None)).await?;
        self.decode(reply).await
    }

    /// Registers a worker (`POST /workers/register`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn register(&self, request: &RegistrationRequest) -> Result<RegistrationDocument, ClientError> {
        self.post("/api/v1/workers/register", request).await
    }

    /// One worker, by its id or name (`GET /workers/{id}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn worker(&self, name: &str) -> Result<WorkerDocument, ClientError> {
        self.get(&format!("/api/v1/workers/{}", in_path(name))).await
    }

    /// What the cluster hears of a worker (`POST /workers/{id}/heartbeat`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn heartbeat(&self, name: &str) -> Result<HeartbeatDocument, ClientError> {
        self.post(&format!("/api/v1/workers/{}/heartbeat", in_path(name)), &serde_json::json!({})).await
    }

    /// Takes a worker out of the cluster for good (`POST /workers/{id}/revoke`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_worker(&self, name: &str) -> Result<RemovalDocument, ClientError> {
        self.post(&format!("/api/v1/workers/{}/revoke", in_path(name)), &serde_json::json!({})).await
    }

    /// Gives a worker nothing new, and with `hand_back` what it has to others (`POST /workers/{id}/drain`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn drain(&self, name: &str, hand_back: bool) -> Result<(), ClientError> {
        let body = encode(&DrainRequest { hand_back });
        self.command(Method::POST, &format!("/api/v1/workers/{}/drain", in_path(name)), Some(body)).await
    }

    /// Gives a worker work again (`POST /workers/{id}/resume`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume_worker(&self, name: &str) -> Result<(), ClientError> {
        self.command(Method::POST, &format!("/api/v1/workers/{}/resume", in_path(name)), Some(b"{}".to_vec())).await
    }
}

fn of_node(name: &str) -> String {
    format!("/api/v1/cluster/nodes/{}", in_path(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(in_path("n-2.eu_1"), "n-2.eu_1");
        assert_eq!(in_path("rack/2 é"), "rack%2F2%20%C3%A9");
        assert_eq!(in_path("../jobs"), "..%2Fjobs");
    }
}
