//! `pentora cluster drill`: rehearses a failure on a live cluster, from a node that stays up, and tells what it measured.
//!
//! Here it is chosen who suffers what, asked whether to go on, and ordered; `watch` measures, `losses` compares what was
//! there before with what is there after, `slow` does what `watch` does where a disk is slow.

mod losses;
mod measured;
mod slow;
mod watch;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use self::losses::Kept;
use self::measured::Measured;
use self::watch::{Subject, watch};
use super::super::api_session::{ApiSession, NodeArgs};
use super::super::confirm::{YesArgs, confirm};
use super::super::context::Context;
use super::super::output::clean;
use super::super::shown::ShownArgs;
use crate::config::parse_duration;
use crate::document::{ClusterDocument, FaultKind, FaultRequest, NodeDocument, WorkerDocument};
use crate::drill::{BEGINS_AFTER_MAX_MS, DELAY_MAX_MS, LASTS_MAX_MS};
use crate::failure::{ExitCode, Failure};

/// Statuses of nodes that are there and can suffer something.
const THERE: [&str; 3] = ["Active", "Idle", "Draining"];

/// How long it may take to tell one node, of several that are to suffer at once: an entry of the audit log and a call.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

/// What is rehearsed.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DrillCommand {
    /// End the leader's process as if it were killed; it begins anew by itself.
    #[command(before_help = "Example:\n  pentora cluster drill kill-leader --yes")]
    KillLeader(Common),
    /// End a worker's process as if it were killed; it begins anew by itself.
    #[command(before_help = "Example:\n  pentora cluster drill kill-worker --worker n3 --yes")]
    KillWorker(WorkerArgs),
    /// Cut a node, or all nodes of a region, off from the others.
    #[command(before_help = "Example:\n  pentora cluster drill isolate --region eu --for 30s")]
    Isolate(IsolateArgs),
    /// Have a member's disk be slow: each sync of its log waits before it begins.
    #[command(before_help = "Example:\n  pentora cluster drill slow-disk --member n2 --delay 200ms --for 20s --yes")]
    SlowDisk(SlowDiskArgs),
    /// End all processes at once; each begins anew by itself.
    #[command(before_help = "Example:\n  pentora cluster drill restart-all --yes")]
    RestartAll(Common),
}

/// What all drills take.
#[derive(Debug, Args)]
pub(in crate::cli) struct Common {
    /// How long it lasts, at most 5m [default: 10s, of restart-all 2s].
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    lasts: Option<Duration>,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which worker.
#[derive(Debug, Args)]
pub(in crate::cli) struct WorkerArgs {
    /// Its name [default: the one with the most units in work].
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Whose disk is slow.
#[derive(Debug, Args)]
pub(in crate::cli) struct SlowDiskArgs {
    /// The member's name [default: the leader].
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// How long each sync waits, at most 5s.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "250ms")]
    delay: Duration,
    #[command(flatten)]
    common: Common,
}

/// Who is cut off.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = false, args = ["isolated", "region"])]
pub(in crate::cli) struct IsolateArgs {
    /// A node's name.
    #[arg(long = "isolated", value_name = "NAME")]
    isolated: Option<String>,
    /// All nodes of this region: they hear each other, and nobody else.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Who suffers what.
#[derive(Debug)]
struct Plan {
    drill: &'static str,
    fault: FaultKind,
    victims: Vec<String>,
    /// Whom they are cut off from; everybody, where nobody is named.
    from: Vec<String>,
    /// How long each sync of a slow disk waits.
    delay: Duration,
    lasts: Duration,
}

/// Carries a drill out.
///
/// # Errors
/// It is not possible, nobody said yes, a node does not take the order, something was lost, or a node is not back in time.
pub(super) async fn run(command: DrillCommand, context: &mut Context) -> Result<(), Failure> {
    let common = match &command {
        DrillCommand::KillLeader(common) | DrillCommand::RestartAll(common) => common,
        DrillCommand::KillWorker(args) => &args.common,
        DrillCommand::Isolate(args) => &args.common,
        DrillCommand::SlowDisk(args) => &args.common,
    };
    let session = ApiSession::open(&common.node, context)?;
    let cluster = session.client.cluster().await.map_err(|error| session.failure(&error))?;
    let workers = session.client.workers().await.map_err(|error| session.failure(&error))?;
    let plan = plan(&command, &cluster, &workers)?;
    confirm(common.yes, &question(&plan, &cluster), context)?;
    let before = Kept::of(&session).await?;
    if plan.fault == FaultKind::SlowDisk {
        return slowly(&plan, common, (&cluster, before), &session, context).await;
    }
    let began = order(&plan, &cluster.answered_by, &session).await?;
    context.say(format_args!("{}: begun; watching until all are back", plan.drill));
    let subject = Subject { victims: &plan.victims, kill: plan.fault == FaultKind::Kill, lasts: plan.lasts };
    let seen = watch(&session.client, &subject, &cluster, began).await;
    let after = Kept::after(&session).await;
    let measured = Measured::new(plan.drill, &plan.victims, plan.lasts, seen, before.losses(after.as_ref()));
    context.output.print(&common.form.text(&measured, || measured.told()))?;
    measured.verdict()
}

/// Carries out the drill of a slow disk, of which writes are measured before as well.
async fn slowly(
    plan: &Plan,
    common: &Common,
    (cluster, before): (&ClusterDocument, Kept),
    session: &ApiSession,
    context: &mut Context,
) -> Result<(), Failure> {
    let victim = plan.victims.first().map_or("", String::as_str);
    let subject = slow::Subject { drill: plan.drill, victim, delay: plan.delay, lasts: plan.lasts };
    let writes = slow::before(&session.client).await;
    let began = order(plan, &cluster.answered_by, session).await?;
    context.say(format_args!("{}: begun; watching until writes are as fast as before", plan.drill));
    let seen = slow::watch(&session.client, &subject, cluster, (writes, began)).await;
    let measured = seen.with(before.losses(Kept::after(session).await.as_ref()));
    context.output.print(&common.form.text(&measured, || measured.told()))?;
    measured.verdict()
}

/// Chooses who suffers, or says why nobody can.
fn plan(command: &DrillCommand, cluster: &ClusterDocument, workers: &[WorkerDocument]) -> Result<Plan, Failure> {
    let lasts = |common: &Common, otherwise: u64| common.lasts.unwrap_or(Duration::from_secs(otherwise));
    let kill = |drill, victims, lasts| Plan {
        drill,
        fault: FaultKind::Kill,
        victims,
        from: Vec::new(),
        delay: Duration::ZERO,
        lasts,
    };
    let plan = match command {
        DrillCommand::KillLeader(common) => {
            let leader = cluster.leader.clone().ok_or_else(|| {
                let why = cluster.no_majority.clone().unwrap_or_else(|| "an election goes on".into());
                Failure::new(ExitCode::Unreachable, "there is no leader that could be lost").because(why)
            })?;
            kill("kill-leader", vec![leader], lasts(common, 10))
        }
        DrillCommand::KillWorker(args) => {
            kill("kill-worker", vec![worker(args.worker.as_deref(), cluster, workers)?], lasts(&args.common, 10))
        }
        DrillCommand::RestartAll(common) => {
            let there = cluster.nodes.iter().filter(|node| THERE.contains(&node.status.as_str()));
            kill("restart-all", there.map(|node| node.name.clone()).collect(), lasts(common, 2))
        }
        DrillCommand::Isolate(args) => isolated(args, cluster, lasts(&args.common, 10))?,
        DrillCommand::SlowDisk(args) => slow_disk(args, cluster, lasts(&args.common, 10))?,
    };
    let ms = plan.lasts.as_millis();
    if ms == 0 || ms > u128::from(LASTS_MAX_MS) {
        return Err(Failure::new(ExitCode::Usage, "--for: a drill lasts longer than nothing and at most 5m"));
    }
    let goes_away = plan.fault != FaultKind::SlowDisk && plan.drill != "restart-all";
    if goes_away && plan.victims.contains(&cluster.answered_by) {
        // A node that only scans has its answers from the one that would go away.
        let stays_up = |name: &&String| !plan.victims.contains(name) && cluster.handed_on_by.as_ref() != Some(*name);
        let others: Vec<String> =
            cluster.nodes.iter().map(|node| &node.name).filter(stays_up).map(|name| clean(name)).collect();
        let what = format!("{} answers here, and could not watch itself", clean(&cluster.answered_by));
        return Err(Failure::new(ExitCode::Usage, what).because("a drill is watched from a node that stays up").next(
            if others.is_empty() {
                "there is no other node: `pentora cluster drill restart-all` shows how it comes back".to_owned()
            } else {
                format!("give the command on another node ({}), or name its API: --api", others.join(", "))
            },
        ));
    }
    Ok(plan)
}

/// The worker that is named, or of those that do not answer here the one with the most work that does not lead.
fn worker(named: Option<&str>, cluster: &ClusterDocument, workers: &[WorkerDocument]) -> Result<String, Failure> {
    let there = |worker: &&WorkerDocument| THERE.contains(&worker.status.as_str());
    if let Some(name) = named {
        let known = workers.iter().find(|worker| worker.name == name || worker.worker_id == name);
        let known = known.filter(there).map(|worker| worker.name.clone());
        return known.ok_or_else(|| {
            Failure::new(ExitCode::Usage, format!("no worker {} is at work", clean(name)))
                .next("`pentora nodes list` shows who is")
        });
    }
    let others = workers.iter().filter(there).filter(|worker| worker.name != cluster.answered_by);
    let load = |worker: &&WorkerDocument| worker.load.map_or(0, |load| load.running);
    let best = others.max_by_key(|worker| (cluster.leader.as_ref() != Some(&worker.name), load(worker)));
    best.map(|worker| worker.name.clone()).ok_or_else(|| {
        Failure::new(ExitCode::Refused, "there is no worker beside the node that answers")
            .next("`pentora cluster drill restart-all` shows how a node alone comes back")
    })
}

fn isolated(args: &IsolateArgs, cluster: &ClusterDocument, lasts: Duration) -> Result<Plan, Failure> {
    let is_meant = |node: &&NodeDocument| match (&args.isolated, &args.region) {
        (Some(name), _) => node.name == *name,
        (None, region) => node.region == *region,
    };
    let (meant, others): (Vec<_>, Vec<_>) = cluster.nodes.iter().partition(is_meant);
    let there = meant.iter().filter(|node| THERE.contains(&node.status.as_str()));
    let victims: Vec<String> = there.map(|node| node.name.clone()).collect();
    if victims.is_empty() {
        let whom = args.isolated.as_ref().or(args.region.as_ref()).map_or_else(String::new, |whom| clean(whom));
        return Err(Failure::new(ExitCode::Usage, format!("no node of {whom} is at work"))
            .next("`pentora cluster status` shows names and regions"));
    }
    let from = others.iter().map(|node| node.name.clone()).collect();
    Ok(Plan { drill: "isolate", fault: FaultKind::Cut, victims, from, delay: Duration::ZERO, lasts })
}

/// The member that is named, or the leader; refused where the cluster cannot do without it: every write would wait for its disk.
fn slow_disk(args: &SlowDiskArgs, cluster: &ClusterDocument, lasts: Duration) -> Result<Plan, Failure> {
    if args.delay.is_zero() || args.delay.as_millis() > u128::from(DELAY_MAX_MS) {
        return Err(Failure::new(ExitCode::Usage, "--delay: a sync waits longer than nothing and at most 5s"));
    }
    let Some(name) = args.member.as_ref().or(cluster.leader.as_ref()) else {
        return Err(Failure::new(ExitCode::Unreachable, "there is no leader whose disk could be slow")
            .next("name a member: --member NAME"));
    };
    let there = |node: &&NodeDocument| node.name == *name && THERE.contains(&node.status.as_str());
    let node = cluster.nodes.iter().find(there).ok_or_else(|| {
        Failure::new(ExitCode::Usage, format!("no node {} is at work", clean(name)))
            .next("`pentora cluster status` shows names")
    })?;
    match node.role.as_str() {
        "scanner" => {
            let what = format!("{} only scans, and has no log whose disk could be slow", clean(name));
            return Err(Failure::new(ExitCode::Usage, what).next("`pentora cluster status` shows who is a member"));
        }
        "voter" if cluster.quorum.failures_tolerated.unwrap_or(0) == 0 => {
            let what = format!("the cluster cannot do without {} now", clean(name));
            return Err(Failure::new(ExitCode::Refused, what)
                .because(format!(
                    "{} of {} voters must be there, so that every write would wait for its disk",
                    cluster.quorum.needed, cluster.quorum.voters
                ))
                .next("try again where one voter may be lost: `pentora cluster status`"));
        }
        _ => {}
    }
    let victims = vec![name.clone()];
    Ok(Plan { drill: "slow-disk", fault: FaultKind::SlowDisk, victims, from: Vec::new(), delay: args.delay, lasts })
}

/// What is done, for the person who is asked.
fn question(plan: &Plan, cluster: &ClusterDocument) -> String {
    let names: Vec<String> = plan.victims.iter().map(|name| clean(name)).collect();
    let (one, seconds) = (names.len() == 1, plan.lasts.as_secs_f64());
    let what = match plan.fault {
        FaultKind::Kill if one => "ends as if killed, and is back",
        FaultKind::Kill => "end as if killed, and are back",
        FaultKind::Cut if one => "is cut off from the others, and is back",
        FaultKind::Cut => "are cut off from the others, and are back",
        FaultKind::SlowDisk => {
            let delay = plan.delay.as_millis();
            return format!("each sync of {}'s log begins {delay} ms later, for {seconds} s", names.join(", "));
        }
    };
    let voters = cluster.nodes.iter().filter(|node| node.role == "voter");
    let lost = voters.filter(|node| plan.victims.contains(&node.name)).count();
    let stops = usize::try_from(cluster.quorum.failures_tolerated.unwrap_or(0)).unwrap_or(usize::MAX) < lost;
    let stops = if stops { "; nothing can be written meanwhile" } else { "" };
    format!("{} {what} after {seconds} s{stops}", names.join(", "))
}

/// Has each of them suffer, and tells from when on they do. Several are told one after the other, the node that answers last,
/// and suffer at once: an order needs a majority, which has to last until everybody is told.
async fn order(plan: &Plan, answers: &str, session: &ApiSession) -> Result<Instant, Failure> {
    let for_ms = u64::try_from(plan.lasts.as_millis()).unwrap_or(LASTS_MAX_MS);
    let delay_ms = u64::try_from(plan.delay.as_millis()).unwrap_or(DELAY_MAX_MS);
    let several = u32::try_from(plan.victims.len()).unwrap_or(u32::MAX);
    let told_within = TOLD_WITHIN.saturating_mul(several).min(Duration::from_millis(BEGINS_AFTER_MAX_MS));
    let together = (several > 1).then(|| Instant::now() + told_within);
    let (own, others): (Vec<&String>, Vec<&String>) = plan.victims.iter().partition(|name| *name == answers);
    let mut told: Vec<String> = Vec::new();
    let mut began = Instant::now();
    for name in others.into_iter().chain(own) {
        let after = together.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let request = FaultRequest { fault: plan.fault, for_ms, from: plan.from.clone(), delay_ms, after_ms };
        match session.client.fault(name, &request).await {
            Ok(document) => began = Instant::now() + Duration::from_millis(document.begins_in_ms),
            Err(error) => {
                let failure = session.failure(&error);
                return Err(match told.as_slice() {
                    [] => failure,
                    [one] => failure.next(format!("{one} suffers it already, and is back by itself")),
                    told => failure.next(format!("{} suffer it already, and are back by themselves", told.join(", "))),
                });
            }
        }
        told.push(clean(name));
    }
    Ok(together.map_or(began, |at| at.max(Instant::now())))
}

#[cfg(test)]
#[path = "drill/drill_test.rs"]
mod tests;
