//! `pentora cluster status`, `transfer-leadership`, `promote`, `demote`, `remove`, `settings`, `snapshot`, `restore` and `drill`.

mod drill;
pub(super) mod removal;
mod voting;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::Next;
use super::api_session::{ApiSession, NodeArgs};
use super::confirm::YesArgs;
use super::context::Context;
use super::output::{clean, counted, grouped};
use super::settings::{self, SettingsArgs};
use super::shown::ShownArgs;
use super::snapshot;
use super::start;
use super::table::{Column, NOTHING, Tabular, aged, load, or_nothing, table};
use super::watch::{View, show};
use crate::clock::ago;
use crate::document::{ClusterDocument, NodeDocument, duration_words};
use crate::failure::{ExitCode, Failure};

/// Longest wait for the new leader to show; a planned transfer takes milliseconds, an election about a second.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);
/// Clocks that differ by more than this are warned of, in milliseconds: NTP keeps them within a few.
const CLOCK_AHEAD_MS_MAX: u64 = 1_000;
/// What to do where nodes are not found.
const MOVED: &str = "- start them again; if their addresses changed, start this node with --peer HOST:7400 (mesh.peers) of \
                     any node that runs\n";
/// Pause between two looks for it.
const TRANSFER_POLL: Duration = Duration::from_millis(20);

/// What can be done with a cluster.
#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Print leader, term, quorum margin and every node.
    #[command(before_help = "Examples:\n  pentora cluster status\n  pentora cluster status --watch")]
    Status(StatusArgs),
    /// Hand leadership to another voter, without an election.
    #[command(
        before_help = "Examples:\n  pentora cluster transfer-leadership\n  pentora cluster transfer-leadership n2"
    )]
    TransferLeadership(TransferArgs),
    /// Want a node among the voters.
    #[command(before_help = "Example:\n  pentora cluster promote n4")]
    Promote(voting::PromoteArgs),
    /// Keep a node from voting; it follows the log and scans.
    #[command(before_help = "Examples:\n  pentora cluster demote n4\n  pentora cluster demote n4 --yes")]
    Demote(voting::DemoteArgs),
    /// Take a node out for good, one that is gone too.
    #[command(before_help = "Examples:\n  pentora cluster remove n3 --plan\n  pentora cluster remove n3 --yes")]
    Remove(removal::RemoveArgs),
    /// Print how work is shared out, timed and tried again, or change it for all nodes.
    Settings(SettingsArgs),
    /// Save a backup of the cluster, and look into one.
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Begin a new cluster with what is in a backup, and run its first node.
    Restore(Box<start::RestoreArgs>),
    /// Rehearse a failure on the live cluster, and measure what comes of it.
    #[command(subcommand)]
    Drill(drill::DrillCommand),
}

/// How the status is printed.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    form: ShownArgs,
    /// Print again each second.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Who shall lead.
#[derive(Debug, Args)]
pub(super) struct TransferArgs {
    /// Name of the voter [default: the most caught-up one that answers].
    #[arg(value_name = "NODE")]
    name: Option<String>,
    /// The same.
    #[arg(long, value_name = "NODE", conflicts_with = "name")]
    to: Option<String>,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Carries the command out.
///
/// # Errors
/// No node answers, it refuses, or the new leader does not show in time.
pub(super) async fn run(command: ClusterCommand, context: &mut Context) -> Result<Next, Failure> {
    let ended = match command {
        ClusterCommand::Status(args) => {
            let session = ApiSession::open(&args.node, context)?;
            let unicode = context.output.unicode;
            show(context, args.watch, async || {
                let cluster = session.client.cluster().await.map_err(|error| session.failure(&error))?;
                let text = args.form.text(&cluster, || status(unicode, &cluster));
                Ok(View { text, last: false })
            })
            .await
        }
        ClusterCommand::TransferLeadership(args) => transfer(args, context).await,
        ClusterCommand::Settings(args) => settings::run(args, context).await,
        ClusterCommand::Restore(args) | ClusterCommand::Snapshot(snapshot::SnapshotCommand::Restore(args)) => {
            return start::restore(*args, context).map(|plan| Next::RunNode(Box::new(plan)));
        }
        ClusterCommand::Snapshot(snapshot::SnapshotCommand::Save(args)) => snapshot::save(args, context).await,
        ClusterCommand::Snapshot(snapshot::SnapshotCommand::Inspect(args)) => snapshot::inspect(&args, context),
        ClusterCommand::Drill(command) => drill::run(command, context).await,
        ClusterCommand::Promote(args) => voting::promote(args, context).await,
        ClusterCommand::Demote(args) => voting::demote(args, context).await,
        ClusterCommand::Remove(args) => removal::remove(args, context).await,
    };
    ended.map(|()| Next::Done)
}

impl ClusterCommand {
    /// Whether it runs a node in this process.
    pub(super) fn runs_node(&self) -> bool {
        matches!(self, Self::Restore(_) | Self::Snapshot(snapshot::SnapshotCommand::Restore(_)))
    }
}

async fn transfer(args: TransferArgs, context: &mut Context) -> Result<(), Failure> {
    // Nothing is lost by it, so nothing is asked; the flag is for whoever gives it to every command.
    let _ = args.yes.yes;
    let to = args.name.or(args.to);
    let session = ApiSession::open(&args.node, context)?;
    let before = session.client.cluster().await.map_err(|error| session.failure(&error))?;
    let started = Instant::now();
    session.client.transfer_leadership(to.clone()).await.map_err(|error| session.failure(&error))?;
    loop {
        let now = session.client.cluster().await.map_err(|error| session.failure(&error))?;
        let arrived = match &to {
            Some(name) => now.leader.as_ref() == Some(name),
            None => now.leader.is_some() && now.leader != before.leader,
        };
        if arrived {
            let leader = now.leader.as_deref().unwrap_or_default();
            let document = serde_json::json!({"leader": leader, "term": now.term});
            let told = || format!("{} leads (term {})\n", clean(leader), now.term);
            return context.output.print(&args.form.text(&document, told));
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
    let margin = margin(cluster);
    let held_back = cluster.next_log_version.map(|next| {
        let behind = cluster.nodes.iter().filter(|node| node.log_versions.last().is_some_and(|newest| *newest < next));
        let names: Vec<String> = behind.map(|node| clean(&node.name)).collect();
        format!(
            "Log: version {}; version {next} waits for a newer release on {}\n",
            cluster.log_version,
            names.join(", ")
        )
    });
    let slowed = cluster.time_ahead_ms.zip(cluster.time_slowed_until.as_ref()).map(|(ahead_ms, until)| {
        format!(
            "Time: {} ahead of the clocks of most nodes, and at half their pace until {}\n",
            duration_words(ahead_ms / 1_000),
            clean(until)
        )
    });
    let count = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let short = cluster.results_short.iter().map(|(why, chunks)| {
        format!("Results: {} without a holder that it should have: {}\n", counted(*chunks, "chunk"), clean(why))
    });
    let audit = cluster.audit.as_ref().map(|head| {
        let digest: String = clean(&head.digest).chars().take(16).collect();
        format!(
            "Audit log: {} {}, digest {digest}\n",
            grouped(head.last),
            if head.last == 1 { "entry" } else { "entries" }
        )
    });
    let authority = cluster.authority.as_ref().map(|fingerprint| format!("Authority: {}\n", clean(fingerprint)));
    let mut text = format!(
        "Cluster: {}\nLeader: {leader} (term {})\nCommit index: {} (applied {})\nQuorum: {} of {} {}, {margin}\n\
         Nodes: {}, {}, {}\n{}{}{}{}{}Answered by: {}\n\n",
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
        held_back.unwrap_or_default(),
        slowed.unwrap_or_default(),
        short.collect::<String>(),
        audit.unwrap_or_default(),
        authority.unwrap_or_default(),
        clean(&cluster.answered_by),
    );
    let rows = cluster.nodes.iter().map(|node| NodeRow {
        node: node.clone(),
        is_leader: cluster.leader.as_ref() == Some(&node.name),
        is_here: node.name == *cluster.handed_on_by.as_ref().unwrap_or(&cluster.answered_by),
    });
    text.push_str(&table(unicode, &rows.collect::<Vec<_>>()));
    let warnings = warnings(cluster);
    if !warnings.is_empty() {
        text.push_str(&format!("\nWarnings:\n{}", warnings.concat()));
    }
    text
}

/// How far the cluster is from standing still, in a few words.
pub(super) fn margin(cluster: &ClusterDocument) -> String {
    let quorum = cluster.quorum;
    match (&cluster.no_majority, quorum.failures_tolerated) {
        (Some(why), _) => format!("{}; writes wait", clean(why)),
        (None, _) if cluster.leader.is_none() => "no leader: writes wait".to_owned(),
        (None, None) => "the leader does not say how many may be lost".to_owned(),
        (None, Some(0)) if quorum.voters <= 1 => "one voter: its loss stops the cluster".to_owned(),
        (None, Some(0)) => "the loss of one more voter stops writes".to_owned(),
        (None, Some(lost)) => format!("survives the loss of {lost} of {} voters", quorum.voters),
    }
}

/// What somebody should look at, a line each.
pub(super) fn warnings(cluster: &ClusterDocument) -> Vec<String> {
    let mut lines: Vec<String> = cluster.rivals.iter().map(|rival| format!("- {}\n", clean(rival))).collect();
    let most = most_clocks_ms(cluster);
    for node in &cluster.nodes {
        let name = clean(&node.name);
        if let Some(why) = &node.takes_no_work {
            lines.push(format!("- {name} takes no work: {}\n", clean(why)));
        }
        if node.status == "Incompatible" {
            lines.push(format!(
                "- {name} runs a release that does not read the log, which is of version {}\n",
                cluster.log_version
            ));
        }
        let ahead = ahead_of_leader_ms(cluster, node).map(|ahead| ahead.saturating_sub(most.unwrap_or(0)));
        if let Some(ahead) = ahead.filter(|ahead| ahead.unsigned_abs() > CLOCK_AHEAD_MS_MAX) {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            let seconds = ahead.unsigned_abs() as f64 / 1000.0;
            let whose = if most.is_some() { "that of most nodes" } else { "the leader's" };
            lines.push(format!("- the clock of {name} is {seconds:.1} s {side} {whose}: look at its NTP\n"));
        }
        if node.kept_from_voting && cluster.quorum.failures_tolerated == Some(0) {
            lines.push(format!(
                "- {name} is kept from voting, and no voter may be lost: `pentora cluster promote {name}` lets it\n"
            ));
        }
        if let Some(tried) = node.unreached.as_ref().filter(|_| cluster.no_majority.is_some()) {
            lines.push(format!("- {name} is not reached at {}\n", clean(tried)));
        }
    }
    if cluster.no_majority.is_some() && lines.iter().any(|line| line.contains(" is not reached at ")) {
        lines.push(MOVED.to_owned());
    }
    lines
}

/// How many milliseconds a node's clock is ahead of the leader's, as far as known.
fn ahead_of_leader_ms(cluster: &ClusterDocument, node: &NodeDocument) -> Option<i64> {
    if cluster.leader.as_ref() == Some(&node.name) { Some(0) } else { node.clock_ahead_ms }
}

/// What most clocks are ahead of the leader's, in milliseconds, where they agree with each other and not with it.
fn most_clocks_ms(cluster: &ClusterDocument) -> Option<i64> {
    let mut ahead: Vec<i64> = cluster.nodes.iter().filter_map(|node| ahead_of_leader_ms(cluster, node)).collect();
    ahead.sort_unstable();
    let middle = *ahead.get(ahead.len() / 2)?;
    let agree = ahead.iter().filter(|one| one.abs_diff(middle) <= CLOCK_AHEAD_MS_MAX).count();
    (2 * agree > ahead.len() && middle.unsigned_abs() > CLOCK_AHEAD_MS_MAX).then_some(middle)
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
            Column::new("Status", |row| aged(&row.node.status, row.node.status_age_ms)),
            Column::new("Region", |row| or_nothing(row.node.region.as_ref())),
            Column::new("Address", |row| or_nothing(row.node.address.as_ref())),
            Column::new("Version", |row| or_nothing(row.node.version.as_ref())),
            Column::new("Last contact", |row| {
                if row.is_here { "here".to_owned() } else { contact(row.node.last_contact_ms) }
            }),
            Column::new("Lag", |row| row.node.lag.map_or_else(|| NOTHING.to_owned(), grouped)),
            Column::new("Load", |row| load(row.node.load)),
        ]
    }
}

fn contact(elapsed_ms: Option<u64>) -> String {
    elapsed_ms.map_or_else(|| "never".to_owned(), ago)
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
            ..NodeDocument::default()
        }
    }

    fn cluster_of_three() -> ClusterDocument {
        ClusterDocument {
            cluster_id: "c0ffee".into(),
            authority: Some("sha256:ab".into()),
            leader: Some("n1".into()),
            term: 4,
            commit_index: 12_345,
            applied_index: 12_344,
            quorum: Quorum { voters: 3, needed: 2, failures_tolerated: Some(1) },
            nodes: vec![node("n1", "voter", Some(12)), node("n2", "voter", None), node("w1", "scanner", Some(61_000))],
            answered_by: "n2".into(),
            results_short: [("no other node has room for results".to_owned(), 24)].into(),
            ..ClusterDocument::default()
        }
    }

    #[test]
    fn the_cluster_status_tells_leader_margin_and_every_node() {
        let mut cluster_document = cluster_of_three();
        let expected = "\
Cluster: c0ffee
Leader: n1 (term 4)
Commit index: 12,345 (applied 12,344)
Quorum: 2 of 3 voters, survives the loss of 1 of 3 voters
Nodes: 2 voters, 0 learners, 1 scan-only node
Results: 24 chunks without a holder that it should have: no other node has room for results
Authority: sha256:ab
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
        cluster_document.quorum.failures_tolerated = Some(0);
        assert!(status(false, &cluster_document).contains("the loss of one more voter stops writes"));
        cluster_document.quorum.failures_tolerated = None;
        assert!(status(false, &cluster_document).contains("the leader does not say how many may be lost"));
    }

    #[test]
    fn a_clock_that_is_off_a_node_that_rests_and_one_that_is_not_found_are_warned_of() {
        let mut cluster = cluster_of_three();
        assert!(!status(false, &cluster).contains("Warnings"));
        cluster.nodes[0].clock_ahead_ms = Some(900);
        cluster.nodes[1].clock_ahead_ms = Some(-3_200);
        cluster.nodes[1].takes_no_work = Some("results cannot be written: No space left on device".into());
        cluster.nodes[2].unreached = Some("10.88.0.1:7400: no answer".into());
        let text = status(false, &cluster);
        let (_, warned) = text.split_once("\nWarnings:\n").unwrap();
        let expected = "- n2 takes no work: results cannot be written: No space left on device\n\
                        - the clock of n2 is 3.2 s behind the leader's: look at its NTP\n";
        assert_eq!(warned, expected, "a lost node alone is the table's matter");
        cluster.no_majority = Some("no majority".into());
        let text = status(false, &cluster);
        assert!(text.ends_with(&format!("- w1 is not reached at 10.88.0.1:7400: no answer\n{MOVED}")), "{text}");
    }

    #[test]
    fn a_time_that_is_ahead_is_told_with_its_end_and_another_recovery_with_what_to_do() {
        let mut cluster = cluster_of_three();
        assert!(!status(false, &cluster).contains("Time: "));
        cluster.time_ahead_ms = Some(7_200_000);
        cluster.time_slowed_until = Some("2026-12-01T14:00:00Z".into());
        cluster.rivals = vec!["n2 went on alone as well".into()];
        let text = status(false, &cluster);
        let told =
            "\nTime: 2h 0m ahead of the clocks of most nodes, and at half their pace until 2026-12-01T14:00:00Z\n";
        assert!(text.contains(told), "{text}");
        assert!(text.contains("\nWarnings:\n- n2 went on alone as well\n"), "{text}");
    }

    #[test]
    fn a_leader_whose_clock_is_the_odd_one_is_the_one_that_is_warned_of() {
        let mut cluster = cluster_of_three();
        cluster.nodes[1].clock_ahead_ms = Some(-7_200_000);
        cluster.nodes[2].clock_ahead_ms = Some(-7_199_900);
        let warned = ["- the clock of n1 is 7199.9 s ahead of that of most nodes: look at its NTP\n"];
        assert_eq!(warnings(&cluster), warned);
    }

    #[test]
    fn a_release_that_waits_for_others_and_one_that_is_too_old_are_named() {
        let mut cluster = cluster_of_three();
        cluster.log_version = 1;
        cluster.nodes.iter_mut().for_each(|node| node.log_versions = vec![1, 2]);
        assert!(!status(false, &cluster).contains("Log: "));
        cluster.next_log_version = Some(2);
        cluster.nodes[1].log_versions = vec![1, 1];
        let text = status(false, &cluster);
        assert!(text.contains("\nLog: version 1; version 2 waits for a newer release on n2\n"), "{text}");
        (cluster.log_version, cluster.next_log_version) = (2, None);
        cluster.nodes[1].status = "Incompatible".into();
        let text = status(false, &cluster);
        assert!(text.ends_with("- n2 runs a release that does not read the log, which is of version 2\n"), "{text}");
    }

    #[test]
    fn without_a_leader_there_is_no_margin_and_each_status_has_its_age() {
        let mut cluster = cluster_of_three();
        cluster.leader = None;
        cluster.no_majority = Some("no majority: last heard from n1 12 s ago".into());
        cluster.quorum.failures_tolerated = None;
        cluster.nodes.iter_mut().for_each(|node| node.status_age_ms = Some(12_000));
        let text = status(false, &cluster);
        assert!(text.contains("Leader: none (term 4)"), "{text}");
        assert!(text.contains("2 of 3 voters, no majority: last heard from n1 12 s ago; writes wait"), "{text}");
        assert!(!text.contains("survives") && text.matches("| Active, 12 s ago |").count() == 3, "{text}");
    }
}
