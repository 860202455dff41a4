//! What a request would become, and why a job stands as it does, as text.

use super::output::{clean, counted, grouped};
use super::status::{since_a_leader, title_case};
use crate::document::{Between, ExplainDocument, PlanDocument, PlanRefusal, duration_words};

/// Nodes that are named of a list before it is cut.
const NAMED_MAX: usize = 12;

/// The plan of `pentora scan --plan`.
pub(super) fn plan(plan: &PlanDocument) -> String {
    let mut text = format!(
        "Plan: {}, {} of each, {} priority; nothing is sent\n",
        counted(plan.targets, "target"),
        counted(plan.ports.into(), "port"),
        plan.priority
    );
    text.push_str(&format!("Expected: {}, {}\n", packets(plan.packets), seconds(plan.seconds)));
    if !plan.rests_on.is_empty() {
        text.push_str(&format!("At most: {}\n", clean(&plan.rests_on.join("; "))));
    }
    for (index, part) in plan.partitions.iter().enumerate() {
        text.push_str(&format!(
            "\nPartition {index}: {} ({})\n",
            counted(part.targets, "target"),
            clean(&part.addresses)
        ));
        needs(&mut text, &part.needs);
        nodes(&mut text, &part.eligible, &part.refused);
        text.push_str(&format!("  Expected: {}, {}\n", packets(part.packets), seconds(part.seconds)));
    }
    if !plan.accepted {
        text.push_str("\nRefused: a partition has no node that may take it\n");
    } else if plan.partitions.iter().any(|part| part.eligible.is_empty()) {
        text.push_str("\nIt waits in the queue until a node has room\n");
    }
    text
}

/// The text of `pentora job explain`.
pub(super) fn explain(job: &ExplainDocument) -> String {
    let (id, age) = (clean(&job.job_id), since_a_leader(job.status_age_ms));
    let mut text = format!("Job ID: {id}\nStatus: {}{age}\nPriority: {}\n", title_case(&job.status), job.priority);
    match job.served_after {
        Some(0) => text.push_str("Queue: served first\n"),
        Some(before) => text.push_str(&format!("Queue: served after {}\n", counted(before, "other job"))),
        None => {}
    }
    if let Some(reason) = &job.reason {
        text.push_str(&format!("Reason: {}\n", clean(reason)));
    }
    for part in &job.partitions {
        text.push_str(&format!(
            "\nPartition {}: {}: {} done, {} out, {} resting, {} given up\n",
            part.partition,
            counted(part.targets, "target"),
            grouped(part.done),
            grouped(part.out),
            grouped(part.resting),
            grouped(part.given_up)
        ));
        needs(&mut text, &part.needs);
        nodes(&mut text, &part.eligible, &part.refused);
        if let Some(why) = &part.held_up {
            text.push_str(&format!("  Held up: {}\n", clean(why)));
        }
    }
    if !job.budgets.is_empty() {
        text.push_str("\nBudgets of networks:\n");
    }
    for budget in &job.budgets {
        let back = if budget.holds_back { "; what is left holds further units back" } else { "" };
        text.push_str(&format!(
            "- {}: {} packets/s, {} out with this job, {} with others{back}\n",
            clean(&budget.name),
            grouped(budget.rate_pps),
            grouped(budget.own_pps),
            grouped(budget.others_pps)
        ));
    }
    text.push_str("\nPhases:\n");
    for phase in &job.phases {
        let at = phase.at.as_deref().unwrap_or("-");
        text.push_str(&format!("- {:<9} {}\n", title_case(&phase.phase), clean(at)));
    }
    text
}

fn needs(text: &mut String, needs: &[String]) {
    if !needs.is_empty() {
        text.push_str(&format!("  Needs: {}\n", clean(&needs.join(", "))));
    }
}

fn nodes(text: &mut String, eligible: &[String], refused: &[PlanRefusal]) {
    let named: Vec<String> = eligible.iter().take(NAMED_MAX).map(|worker| clean(worker)).collect();
    let more = eligible.len().saturating_sub(NAMED_MAX);
    let line = match (named.is_empty(), more) {
        (true, _) => "nobody".to_owned(),
        (false, 0) => named.join(", "),
        (false, more) => format!("{} and {more} more", named.join(", ")),
    };
    text.push_str(&format!("  Eligible: {line}\n"));
    for PlanRefusal { worker_id, reason } in refused {
        text.push_str(&format!("  - {}: {}\n", clean(worker_id), clean(reason)));
    }
}

fn packets(between: Between<u64>) -> String {
    if between.least == between.most {
        return counted(between.most, "packet");
    }
    format!("{} to {} packets", grouped(between.least), grouped(between.most))
}

fn seconds(between: Option<Between<f64>>) -> String {
    let Some(Between { least, most }) = between else { return "time unknown: nobody may take it".to_owned() };
    let words = |seconds: f64| {
        let whole = std::time::Duration::try_from_secs_f64(seconds.ceil()).unwrap_or_default();
        duration_words(whole.as_secs().max(1))
    };
    let (least, most) = (words(least), words(most));
    if least == most { format!("about {most}") } else { format!("{least} to {most}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{ExplainBudget, ExplainPart, JobPhase, PlanPart};
    use pentora_raft::state::Priority;

    #[test]
    fn a_plan_names_each_part_who_may_take_it_and_every_refusal() {
        let refused = vec![PlanRefusal { worker_id: "wrk_b".into(), reason: "it has no tag `dmz`".into() }];
        let part = PlanPart {
            targets: 256,
            addresses: "10.0.0.0/24".into(),
            needs: vec!["tag dmz".into()],
            eligible: vec!["wrk_a".into()],
            refused: refused.clone(),
            packets: Between { least: 1_536, most: 257_536 },
            seconds: Some(Between { least: 0.1, most: 51.5 }),
        };
        let nobody = PlanPart { eligible: Vec::new(), seconds: None, ..part.clone() };
        let document = PlanDocument {
            accepted: false,
            targets: 512,
            ports: 1_000,
            priority: Priority::Normal,
            packets: Between { least: 3_072, most: 515_072 },
            seconds: None,
            rests_on: vec!["what stays silent is asked once".into(), "up to 2 open ports of a host".into()],
            partitions: vec![part, nobody],
        };
        let expected = "\
Plan: 512 targets, 1,000 ports of each, normal priority; nothing is sent
Expected: 3,072 to 515,072 packets, time unknown: nobody may take it
At most: what stays silent is asked once; up to 2 open ports of a host

Partition 0: 256 targets (10.0.0.0/24)
  Needs: tag dmz
  Eligible: wrk_a
  - wrk_b: it has no tag `dmz`
  Expected: 1,536 to 257,536 packets, 1s to 52s

Partition 1: 256 targets (10.0.0.0/24)
  Needs: tag dmz
  Eligible: nobody
  - wrk_b: it has no tag `dmz`
  Expected: 1,536 to 257,536 packets, time unknown: nobody may take it

Refused: a partition has no node that may take it
";
        assert_eq!(plan(&document), expected);
    }

    #[test]
    fn an_explanation_tells_place_parts_and_phases() {
        let part = ExplainPart {
            partition: 0,
            targets: 100,
            done: 40,
            given_up: 0,
            out: 20,
            resting: 10,
            needs: Vec::new(),
            eligible: Vec::new(),
            refused: vec![PlanRefusal { worker_id: "wrk_a".into(), reason: "it is draining".into() }],
            held_up: Some("what failed is tried again in 3 s".into()),
        };
        let document = ExplainDocument {
            job_id: "job-abc123".into(),
            status: "running".into(),
            status_age_ms: Some(17_000),
            priority: Priority::High,
            served_after: Some(1),
            reason: None,
            partitions: vec![part],
            budgets: vec![ExplainBudget {
                name: "plant".into(),
                rate_pps: 2_000,
                own_pps: 500,
                others_pps: 1_500,
                holds_back: true,
            }],
            phases: vec![
                JobPhase { phase: "request".into(), at: Some("2025-07-10T12:00:00.000Z".into()) },
                JobPhase { phase: "complete".into(), at: None },
            ],
        };
        let expected = "\
Job ID: job-abc123
Status: Running, 17 s ago (no leader is known since)
Priority: high
Queue: served after 1 other job

Partition 0: 100 targets: 40 done, 20 out, 10 resting, 0 given up
  Eligible: nobody
  - wrk_a: it is draining
  Held up: what failed is tried again in 3 s

Budgets of networks:
- plant: 2,000 packets/s, 500 out with this job, 1,500 with others; what is left holds further units back

Phases:
- Request   2025-07-10T12:00:00.000Z
- Complete  -
";
        assert_eq!(explain(&document), expected);
    }
}
