//! `pentora coordinator workers list`, also as `pentora nodes list`.

use clap::Subcommand;

use super::context::Context;
use super::list::{ListArgs, list};
use super::table::{Column, NOTHING, Tabular, aged, load, or_nothing};
use crate::client::Client;
use crate::document::{WorkerDocument, duration_words};
use crate::failure::Failure;

/// What can be done with workers.
#[derive(Debug, Subcommand)]
pub(super) enum ListCommand {
    /// Print every worker: id, status, region, load, uptime.
    #[command(
        before_help = "Examples:\n  pentora coordinator workers list\n  pentora coordinator workers list --watch"
    )]
    List(ListArgs),
}

impl Tabular for WorkerDocument {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::at_least(16, "Worker ID", |worker| worker.worker_id.clone()),
            Column::new("Status", |worker| aged(&worker.status, worker.status_age_ms)),
            Column::new("Region", |worker| or_nothing(worker.region.as_ref())),
            Column::new("Load", |worker| load(worker.load)),
            Column::at_least(8, "Uptime", |worker| {
                worker.uptime_seconds.map_or_else(|| NOTHING.to_owned(), duration_words)
            }),
        ]
    }
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run(command: ListCommand, context: &mut Context) -> Result<(), Failure> {
    let ListCommand::List(args) = command;
    let aside = std::cell::RefCell::new(Vec::new());
    let ask = async |client: &Client| {
        let workers = client.workers().await?;
        let why = |worker: &WorkerDocument| Some(format!("{}: {}", worker.worker_id, worker.set_aside.as_ref()?));
        aside.replace(workers.iter().filter_map(why).collect());
        Ok(workers)
    };
    list(&args, context, ask).await?;
    aside.take().into_iter().for_each(|line| context.say(super::output::clean(&line)));
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::table::table;
    use super::*;
    use crate::document::WorkerLoad;

    pub(in crate::cli) fn worker(
        id: &str,
        status: &str,
        region: &str,
        load: Option<(u32, u32)>,
        uptime: Option<u64>,
    ) -> WorkerDocument {
        WorkerDocument {
            worker_id: id.into(),
            name: id.into(),
            status: status.into(),
            status_age_ms: None,
            region: Some(region.into()),
            tags: Vec::new(),
            load: load.map(|(running, capacity)| WorkerLoad { running, capacity }),
            uptime_seconds: uptime,
            version: None,
            network_access: Vec::new(),
            engines: Vec::new(),
            last_seen: None,
            set_aside: None,
            takes_no_work: None,
            site: None,
            ephemeral: false,
            keeps_results: true,
            leaving: false,
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
        assert_eq!(table(true, &original()), expected);
    }

    #[test]
    fn without_utf8_the_same_table_is_ascii() {
        let text = table(false, &original());
        assert!(text.is_ascii() && text.starts_with("+------------------+--------+"), "{text}");
        assert_eq!(text.lines().count(), 8);
    }

    #[test]
    fn a_hostile_label_cannot_move_the_cursor() {
        let text = table(true, &[worker("wrk_\u{1b}[2J", "Active", "x\ny", None, None)]);
        assert!(!text.contains('\u{1b}') && text.lines().count() == 5, "{text}");
    }
}
