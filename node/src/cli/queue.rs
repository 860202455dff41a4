//! `pentora queue`: the jobs that are not over, by class, as the original description shows them.

use clap::Args;

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::output::clean;
use super::shown::ShownArgs;
use super::watch::{View, show};
use crate::clock::ago;
use crate::document::{QueueClass, QueueDocument};
use crate::failure::Failure;

/// Jobs that are named of a class before it is cut.
const NAMED_MAX: usize = 10;

/// How the queue is printed.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  pentora queue\n  pentora queue --watch\n  pentora queue --json")]
pub(super) struct QueueArgs {
    #[command(flatten)]
    form: ShownArgs,
    /// Print again each second.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run(args: QueueArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    show(context, args.watch, async || {
        let queue = session.client.queue().await.map_err(|error| session.failure(&error))?;
        Ok(View { text: args.form.text(&queue, || text(&queue)), last: false })
    })
    .await
}

fn text(queue: &QueueDocument) -> String {
    let mut text: String = queue.classes.iter().map(line).collect();
    if let Some(age_ms) = queue.status_age_ms {
        text.push_str(&format!("As it was {}: no leader is known since\n", ago(age_ms)));
    }
    text
}

/// `High Priority (P1):     [ job-124, job-125 ]`.
fn line(class: &QueueClass) -> String {
    let head = format!("{} Priority ({}):", super::status::title_case(class.priority.name()), clean(&class.class));
    let mut names: Vec<String> = class.jobs.iter().take(NAMED_MAX).map(|job| clean(&job.job_id)).collect();
    if class.jobs.len() > NAMED_MAX {
        names.push("...".to_owned());
    }
    let jobs = if names.is_empty() { "[ ]".to_owned() } else { format!("[ {} ]", names.join(", ")) };
    format!("{head:<23} {jobs}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::QueuedJob;
    use pentora_raft::state::Priority;

    #[test]
    fn the_queue_has_the_lines_of_the_original_description() {
        let class = |priority: Priority, ids: std::ops::Range<u64>| QueueClass {
            priority,
            class: format!("P{}", priority as u8),
            jobs: ids
                .map(|id| QueuedJob {
                    job_id: format!("job-{id}"),
                    status: "queued".into(),
                    targets_left: 1,
                    age_seconds: 0,
                    served_as: "P0".into(),
                })
                .collect(),
        };
        let classes = vec![
            class(Priority::Critical, 123..124),
            class(Priority::High, 124..126),
            class(Priority::Normal, 126..126),
            class(Priority::Low, 129..150),
        ];
        let expected = "\
Critical Priority (P0): [ job-123 ]
High Priority (P1):     [ job-124, job-125 ]
Normal Priority (P2):   [ ]
Low Priority (P3):      [ job-129, job-130, job-131, job-132, job-133, job-134, job-135, job-136, job-137, job-138, ... ]
";
        assert_eq!(text(&QueueDocument { classes, waiting: 0, max_waiting: 100, status_age_ms: None }), expected);
        let old = QueueDocument { classes: vec![], waiting: 0, max_waiting: 100, status_age_ms: Some(17_000) };
        assert_eq!(text(&old), "As it was 17 s ago: no leader is known since\n");
    }
}
