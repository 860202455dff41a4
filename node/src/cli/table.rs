//! Boxed tables, as in the original description.

use comfy_table::{ColumnConstraint, ContentLineStyle, LineStyle, Table, TableStyle, Width};

use super::findings::Listed;
use super::output::{clean, grouped, percent};
use crate::document::{
    ClusterDocument, FeedDocument, JobDocument, NodeDocument, TokenDocument, WorkerDocument, WorkerLoad, duration_words,
};

/// Lines between all columns and below the header.
const BOXES: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┌', '─', '┬', '┐'))
    .header_lines(ContentLineStyle::new('│', '│', '│'))
    .header_separator(LineStyle::new('├', '─', '┼', '┤'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

/// The same in ASCII.
const ASCII: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('+', '-', '+', '+'))
    .header_lines(ContentLineStyle::new('|', '|', '|'))
    .header_separator(LineStyle::new('+', '-', '+', '+'))
    .content_lines(ContentLineStyle::new('|', '|', '|'))
    .bottom_border(LineStyle::new('+', '-', '+', '+'));

/// An empty cell.
const NOTHING: &str = "-";

/// Draws rows below a header; every cell is made harmless for a terminal.
fn draw(unicode: bool, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, least_widths: &[u16]) -> String {
    let mut table = Table::new();
    table.load_style(if unicode { BOXES } else { ASCII });
    table.force_no_tty();
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)).collect::<Vec<_>>());
    }
    for (index, width) in least_widths.iter().enumerate().filter(|(_, width)| **width > 0) {
        if let Some(column) = table.column_mut(index) {
            // A constraint counts the blank on each side.
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + 2)));
        }
    }
    format!("{table}\n")
}

/// `pentora coordinator workers list`.
pub(super) fn workers(unicode: bool, workers: &[WorkerDocument]) -> String {
    let rows = workers.iter().map(|worker| {
        vec![
            worker.worker_id.clone(),
            worker.status.clone(),
            worker.region.clone().unwrap_or_else(|| NOTHING.to_owned()),
            load(worker.load),
            worker.uptime_seconds.map_or_else(|| NOTHING.to_owned(), duration_words),
        ]
    });
    // Ids and uptimes have room to change without the columns moving under `--watch`.
    draw(unicode, &["Worker ID", "Status", "Region", "Load", "Uptime"], rows, &[16, 0, 0, 0, 8])
}

/// `3/10 (30%)`.
fn load(load: Option<WorkerLoad>) -> String {
    load.map_or_else(
        || NOTHING.to_owned(),
        |load| {
            let share = if load.capacity == 0 { 0.0 } else { percent(load.running.into(), load.capacity.into()) };
            format!("{}/{} ({share:.0}%)", load.running, load.capacity)
        },
    )
}

/// `pentora findings list`.
pub(super) fn findings(unicode: bool, findings: &[Listed]) -> String {
    let rows = findings.iter().map(|one| {
        vec![
            one.weakness.severity.to_string(),
            one.weakness.id.clone(),
            format!("{} {}/{}", one.address, one.port, one.protocol),
            format!("{}%", one.weakness.confidence),
            one.weakness.title.clone(),
        ]
    });
    draw(unicode, &["Severity", "Finding", "Where", "Sure", "What"], rows, &[])
}

/// `pentora feed list`.
pub(super) fn feeds(unicode: bool, feeds: &[FeedDocument]) -> String {
    let rows = feeds.iter().map(|feed| {
        let in_use = if feed.in_use { "in use" } else { "not here yet" };
        let at = feed.imported_at.get(..16).unwrap_or(&feed.imported_at).replace('T', " ");
        vec![feed.kind.clone(), grouped(feed.records), at, feed.signer.clone(), in_use.to_owned(), feed.source.clone()]
    });
    draw(unicode, &["Feed", "Records", "Imported (UTC)", "By", "State", "Source"], rows, &[])
}

/// `pentora job list`.
pub(super) fn jobs(unicode: bool, jobs: &[JobDocument]) -> String {
    let rows = jobs.iter().map(|job| {
        vec![
            job.job_id.clone(),
            super::status::title_case(&job.status),
            job.priority.to_string(),
            format!(
                "{} / {} ({:.0}%)",
                grouped(job.targets_scanned),
                grouped(job.targets_total),
                percent(job.targets_scanned, job.targets_total).floor()
            ),
            grouped(job.results.hosts_up),
            grouped(job.results.open_ports),
            job.duration.clone(),
            job.submitted_at.clone(),
        ]
    });
    let header = ["Job ID", "Status", "Priority", "Progress", "Hosts up", "Open ports", "Duration", "Submitted"];
    draw(unicode, &header, rows, &[])
}

/// `pentora coordinator worker-token list`.
pub(super) fn tokens(unicode: bool, tokens: &[TokenDocument]) -> String {
    let or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| NOTHING.to_owned());
    let rows = tokens.iter().map(|token| {
        vec![
            token.token_id.clone(),
            token.name.clone(),
            token.status.clone(),
            token.uses_left.to_string(),
            token.expires_at.clone(),
            or_nothing(&token.role),
            or_nothing(&token.region),
            if token.networks.is_empty() { "any".to_owned() } else { token.networks.join(", ") },
        ]
    });
    let header = ["Token ID", "Name", "Status", "Uses left", "Expires", "Role", "Region", "Networks"];
    draw(unicode, &header, rows, &[])
}

/// `pentora cluster status`.
pub(super) fn cluster(unicode: bool, cluster: &ClusterDocument) -> String {
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
    let header = ["Node", "Role", "Status", "Region", "Address", "Version", "Last contact", "Lag", "Load"];
    text.push_str(&draw(unicode, &header, cluster.nodes.iter().map(|node| node_row(node, cluster)), &[]));
    text
}

fn node_row(node: &NodeDocument, cluster: &ClusterDocument) -> Vec<String> {
    let or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| NOTHING.to_owned());
    let is_leader = cluster.leader.as_ref() == Some(&node.name);
    vec![
        node.name.clone(),
        if is_leader { format!("{} (leader)", node.role) } else { node.role.clone() },
        node.status.clone(),
        or_nothing(&node.region),
        or_nothing(&node.address),
        or_nothing(&node.version),
        if node.name == cluster.answered_by { "here".to_owned() } else { ago(node.last_contact_ms) },
        node.lag.map_or_else(|| NOTHING.to_owned(), grouped),
        load(node.load),
    ]
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
    use crate::document::Quorum;

    fn worker(id: &str, status: &str, region: &str, load: Option<(u32, u32)>, uptime: Option<u64>) -> WorkerDocument {
        WorkerDocument {
            worker_id: id.into(),
            name: id.into(),
            status: status.into(),
            region: Some(region.into()),
            tags: Vec::new(),
            load: load.map(|(running, capacity)| WorkerLoad { running, capacity }),
            uptime_seconds: uptime,
            version: None,
            network_access: Vec::new(),
            engines: Vec::new(),
            last_seen: None,
        }
    }

    /// The workers of the original description's example.
    fn original() -> Vec<WorkerDocument> {
        let uptime = 5 * 86_400 + 3 * 3600;
        vec![
            worker("wrk_us_east_1", "Active", "us-east-1", Some((3, 10)), Some(uptime)),
            worker("wrk_eu_west_1", "Active", "eu-west-1", Some((7, 10)), Some(uptime)),
            worker("wrk_apac_1", "Idle", "ap-south", Some((0, 10)), Some(2 * 3600 + 15 * 60)),
            worker("wrk_onprem_dc1", "Stale", "on-prem", None, None),
        ]
    }

    #[test]
    fn the_workers_table_is_the_one_of_the_original_description_to_the_letter() {
        let expected = "\
┌──────────────────┬────────┬───────────┬────────────┬──────────┐
│ Worker ID        │ Status │ Region    │ Load       │ Uptime   │
├──────────────────┼────────┼───────────┼────────────┼──────────┤
│ wrk_us_east_1    │ Active │ us-east-1 │ 3/10 (30%) │ 5d 3h    │
│ wrk_eu_west_1    │ Active │ eu-west-1 │ 7/10 (70%) │ 5d 3h    │
│ wrk_apac_1       │ Idle   │ ap-south  │ 0/10 (0%)  │ 2h 15m   │
│ wrk_onprem_dc1   │ Stale  │ on-prem   │ -          │ -        │
└──────────────────┴────────┴───────────┴────────────┴──────────┘
";
        assert_eq!(workers(true, &original()), expected);
    }

    #[test]
    fn without_utf8_the_same_table_is_ascii() {
        let table = workers(false, &original());
        assert!(table.is_ascii() && table.starts_with("+------------------+--------+"), "{table}");
        assert_eq!(table.lines().count(), 8);
    }

    #[test]
    fn a_hostile_label_cannot_move_the_cursor() {
        let table = workers(true, &[worker("wrk_\u{1b}[2J", "Active", "x\ny", None, None)]);
        assert!(!table.contains('\u{1b}') && table.lines().count() == 5, "{table}");
    }

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
        assert_eq!(cluster(false, &cluster_document), expected);
        cluster_document.quorum.failures_tolerated = 0;
        assert!(cluster(false, &cluster_document).contains("the loss of one more voter stops writes"));
        cluster_document.leader = None;
        assert!(cluster(false, &cluster_document).contains("Leader: none (term 4)"));
    }
}
