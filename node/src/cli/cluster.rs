//! `pentora cluster status` and `transfer-leadership`.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::list::ListArgs;
use super::output::{clean, grouped};
use super::table::{Column, NOTHING, Tabular, load, or_nothing, table};
use super::watch::{View, json, show};
use crate::document::{ClusterDocument, NodeDocument, duration_words};
use crate::failure::{ExitCode, Failure};

/// Longest wait for the new leader to show; a planned transfer takes milliseconds, an election about a second.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two looks for it.
const TRANSFER_POLL: Duration = Duration::from_millis(20);

/// What can be done with a cluster.
#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Print leader, term, quorum margin and every node.
    Status(ListArgs),
    /// Hand leadership to another voter, without an election.
    TransferLeadership(TransferArgs),
}

/// Who shall lead.
#[derive(Debug, Args)]
pub(super) struct TransferArgs {
    /// Name of the voter [default: the most caught-up one].
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Carries the command out.
///
/// # Errors
/// No node answers, it refuses, or the new leader does not show in time.
pub(super) async fn run(command: ClusterCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        ClusterCommand::Status(args) => {
            let session = ApiSession::open(&args.node, context)?;
            let unicode = context.output.unicode;
            show(context, args.watch, async || {
                let cluster = session.client.cluster().await.map_err(|error| session.failure(&error))?;
                let text = if args.json { json(&cluster) } else { status(unicode, &cluster) };
                Ok(View { text, last: false })
            })
            .await
        }
        ClusterCommand::TransferLeadership(args) => transfer(args, context).await,
    }
}

async fn transfer(args: TransferArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let before = session.client.cluster().await.map_err(|error| session.failure(&error))?;
    let started = Instant::now();
    session.client.transfer_leadership(args.to.clone()).await.map_err(|error| session.failure(&error))?;
    loop {
        let now = session.client.cluster().await.map_err(|error| session.failure(&error))?;
        let arrived = match &args.to {
            Some(name) => now.leader.as_ref() == Some(name),
            None => now.leader.is_some() && now.leader != before.leader,
        };
        if arrived {
            let leader = now.leader.as_deref().unwrap_or_default();
            return context.output.print(&if args.json {
                json(&serde_json::json!({"leader": leader, "term": now.term}))
            } else {
                format!("{} leads (term {})\n", clean(leader), now.term)
            });
        }
        if started.elapsed() > TRANSFER_TIMEOUT {
            let leader = now.leader.as_deref().unwrap_or("nobody");
            return Err(Failure::new(ExitCode::Failure, format!("after {TRANSFER_TIMEOUT:?}, {leader} leads"))
                .next("`pentora cluster status` shows which voters are caught up"));
        }
        tokio::time::sleep(TRANSFER_POLL).await;
    }
}

/// The cluster in a few lines, and a table of its nodes.
fn status(unicode: bool, cluster: &ClusterDocument) -> String {
    let leader = cluster.leader.as_deref().map_or_else(|| "none".to_owned(), clean);
    let of_role = |role: &str| cluster.nodes.iter().filter(|node| node.role == role).count();
    let quorum = cluster.quorum;
    let margin = match (cluster.leader.is_some(), quorum.failures_tolerated) {
        (false, _) => "no leader: writes wait".to_owned(),
        (true, 0) if quorum.voters <= 1 => "one voter: its loss stops the cluster".to_owned(),
        (true, 0) => "the loss of one more voter stops writes".to_owned(),
        (true, lost) => format!("survives the loss of {lost} of {} voters", quorum.voters),
    };
    let count = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let mut text = format!(
        "Cluster: {}\nLeader: {leader} (term {})\nCommit index: {} (applied {})\nQuorum: {} of {} {}, {margin}\n\
         Nodes: {}, {}, {}\nAnswered by: {}\n\n",
        clean(&cluster.cluster_id),
        cluster.term,
        grouped(cluster.commit_index),
        grouped(cluster.applied_index),
        quorum.needed,
        quorum.voters,
        if quorum.voters == 1 { "voter" } else { "voters" },
        count(of_role("voter"), "voter", "voters"),
        count(of_role("learner"), "learner", "learners"),
        count(of_role("scanner"), "scan-only node", "scan-only nodes"),
        clean(&cluster.answered_by),
    );
    let rows = cluster.nodes.iter().map(|node| NodeRow {
        node: node.clone(),
        is_leader: cluster.leader.as_ref() == Some(&node.name),
        is_here: node.name == cluster.answered_by,
    });
    text.push_str(&table(unicode, &rows.collect::<Vec<_>>()));
    text
}

/// A node in the table of the status.
struct NodeRow {
    node: NodeDocument,
    is_leader: bool,
    /// Whether it is the one that answered.
    is_here: bool,
}

impl Tabular for NodeRow {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Node", |row| row.node.name.clone()),
            Column::new("Role", |row| format!("{}{}", row.node.role, if row.is_leader { " (leader)" } else { "" })),
            Column::new("Status", |row| row.node.status.clone()),
            Column::new("Region", |row| or_nothing(row.node.region.as_ref())),
            Column::new("Address", |row| or_nothing(row.node.address.as_ref())),
            Column::new("Version", |row| or_nothing(row.node.version.as_ref())),
            Column::new(
                "Last contact",
                |row| {
                    if row.is_here { "here".to_owned() } else { ago(row.node.last_contact_ms) }
                },
            ),
            Column::new("Lag", |row| row.node.lag.map_or_else(|| NOTHING.to_owned(), grouped)),
            Column::new("Load", |row| load(row.node.load)),
        ]
    }
}

/// `12 ms ago`, `4 s ago`, `5m 2s ago`.
fn ago(elapsed_ms: Option<u64>) -> String {
    match elapsed_ms {
        None => "never".to_owned(),
        Some(ms @ 0..1000) => format!("{ms} ms ago"),
        Some(ms @ 1000..60_000) => format!("{} s ago", ms / 1000),
        Some(ms) => format!("{} ago", duration_words(ms / 1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Quorum, WorkerLoad};

    fn node(name: &str, role: &str, contact: Option<u64>) -> NodeDocument {
        NodeDocument {
            name: name.into(),
            node_id: 1,
            role: role.into(),
            status: "Active".into(),
            region: None,
            address: Some("10.88.0.1:7400".into()),
            version: Some("0.1.0".into()),
            last_contact_ms: contact,
            lag: Some(1234),
            load: Some(WorkerLoad { running: 0, capacity: 0 }),
        }
    }

    #[test]
    fn the_cluster_status_tells_leader_margin_and_every_node() {
        let mut cluster_document = ClusterDocument {
            cluster_id: "c0ffee".into(),
            leader: Some("n1".into()),
            term: 4,
            commit_index: 12_345,
            applied_index: 12_344,
            quorum: Quorum { voters: 3, needed: 2, failures_tolerated: 1 },
            nodes: vec![node("n1", "voter", Some(12)), node("n2", "voter", None), node("w1", "scanner", Some(61_000))],
            answered_by: "n2".into(),
        };
        let expected = "\
Cluster: c0ffee
Leader: n1 (term 4)
Commit index: 12,345 (applied 12,344)
Quorum: 2 of 3 voters, survives the loss of 1 of 3 voters
Nodes: 2 voters, 0 learners, 1 scan-only node
Answered by: n2

+------+----------------+--------+--------+----------------+---------+--------------+-------+----------+
| Node | Role           | Status | Region | Address        | Version | Last contact | Lag   | Load     |
+------+----------------+--------+--------+----------------+---------+--------------+-------+----------+
| n1   | voter (leader) | Active | -      | 10.88.0.1:7400 | 0.1.0   | 12 ms ago    | 1,234 | 0/0 (0%) |
| n2   | voter          | Active | -      | 10.88.0.1:7400 | 0.1.0   | here         | 1,234 | 0/0 (0%) |
| w1   | scanner        | Active | -      | 10.88.0.1:7400 | 0.1.0   | 1m 1s ago    | 1,234 | 0/0 (0%) |
+------+----------------+--------+--------+----------------+---------+--------------+-------+----------+
";
        assert_eq!(status(false, &cluster_document), expected);
        cluster_document.quorum.failures_tolerated = 0;
        assert!(status(false, &cluster_document).contains("the loss of one more voter stops writes"));
        cluster_document.leader = None;
        assert!(status(false, &cluster_document).contains("Leader: none (term 4)"));
    }
}
