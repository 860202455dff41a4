//! `pentora cluster promote` and `demote`: who is wanted among the voters, and who is kept from voting.
//!
//! What a demotion comes to is what the leader says of taking the node out. Where fewer voters may be lost after it, a person
//! is asked, and what is said at the end is what the cluster shows then.

use std::time::{Duration, Instant};

use clap::Args;

use super::super::api_session::{ApiSession, NodeArgs};
use super::super::confirm::{YesArgs, confirm};
use super::super::context::Context;
use super::super::output::clean;
use crate::document::{ClusterDocument, RemovalDocument};
use crate::failure::{ExitCode, Failure};

/// Longest wait until a node does not vote: a hand-over of leadership and a change of voters, a round of the leader each.
const DEMOTED_WITHIN: Duration = Duration::from_secs(10);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Who is wanted among the voters.
#[derive(Debug, Args)]
pub(in crate::cli) struct PromoteArgs {
    /// Its name.
    #[arg(value_name = "NODE")]
    name: String,
    #[command(flatten)]
    node: NodeArgs,
}

/// Who is kept from voting.
#[derive(Debug, Args)]
pub(in crate::cli) struct DemoteArgs {
    /// Its name.
    #[arg(value_name = "NODE")]
    name: String,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Wants a node among the voters.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn promote(args: PromoteArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    session.client.set_voting(&args.name, true).await.map_err(|error| session.failure(&error))?;
    let name = clean(&args.name);
    context.say(format_args!("{name} is wanted among the voters; `pentora cluster status` shows who votes"));
    Ok(())
}

/// Keeps a node from voting, and waits until it does not.
///
/// # Errors
/// No node answers, it refuses, nobody said yes, or the node still votes after a while.
pub(super) async fn demote(args: DemoteArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let plan = session.client.plan_removal(&args.name).await.map_err(|error| session.failure(&error))?;
    if let Some(question) = question(&plan) {
        confirm(args.yes, &question, context)?;
    }
    session.client.set_voting(&args.name, false).await.map_err(|error| session.failure(&error))?;
    let begun = Instant::now();
    loop {
        let cluster = session.client.cluster().await.map_err(|error| session.failure(&error))?;
        let voters = voters(&cluster);
        if !voters.contains(&args.name) {
            context.say(told(&plan, &voters));
            return Ok(());
        }
        if begun.elapsed() >= DEMOTED_WITHIN {
            let what = format!("{} is kept from voting from now on, and still votes", clean(&args.name));
            return Err(Failure::new(ExitCode::Failure, what)
                .because(format!("the voters are {}", list(&voters)))
                .next("the leader goes on with it: `pentora cluster status` shows who votes"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What a person is asked, where fewer voters may be lost afterwards.
fn question(plan: &RemovalDocument) -> Option<String> {
    let may_be_lost = |voters: &[String]| voters.len().saturating_sub(1) / 2;
    let (now, after) = (may_be_lost(&plan.voters), may_be_lost(&plan.voters_after));
    (after < now).then(|| {
        let (name, before) = (clean(&plan.name), plan.voters.len());
        match plan.voters_after.as_slice() {
            [only] => format!(
                "{name} does not vote any more, and {only} alone does: {now} of {before} voters may be lost now, and while \
                 {only} is down nothing is decided",
                only = clean(only),
            ),
            voters => format!(
                "{name} does not vote any more, and {} do: {now} of {before} voters may be lost now, and {after} of {} then",
                list(voters),
                voters.len(),
            ),
        }
    })
}

/// What came of it.
fn told(plan: &RemovalDocument, voters: &[String]) -> String {
    let name = clean(&plan.name);
    let never_did = !plan.voters.contains(&plan.name);
    let what = if never_did { "is kept from voting, as it did not before" } else { "does not vote any more" };
    match voters {
        [] => format!("{name} {what}"),
        [only] => format!("{name} {what}; {} alone votes", clean(only)),
        voters => format!("{name} {what}; {} vote", list(voters)),
    }
}

fn voters(cluster: &ClusterDocument) -> Vec<String> {
    cluster.nodes.iter().filter(|node| node.role == "voter").map(|node| node.name.clone()).collect()
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(voters: &[&str], voters_after: &[&str]) -> RemovalDocument {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        RemovalDocument {
            name: "n1".into(),
            node_id: 1,
            removed: false,
            hands_over_to: None,
            voters: names(voters),
            voters_after: names(voters_after),
            kept_from_voting: vec![],
            units_handed_back: 0,
            results_only_there: 0,
        }
    }

    #[test]
    fn a_demotion_asks_where_fewer_may_be_lost_afterwards_and_nowhere_else() {
        assert_eq!(
            question(&plan(&["n1", "n2", "n3"], &["n2"])).as_deref(),
            Some(
                "n1 does not vote any more, and n2 alone does: 1 of 3 voters may be lost now, and while n2 is down nothing \
                 is decided"
            )
        );
        assert_eq!(
            question(&plan(&["n1", "n2", "n3", "n4", "n5"], &["n2", "n3", "n4"])).as_deref(),
            Some("n1 does not vote any more, and n2, n3, n4 do: 2 of 5 voters may be lost now, and 1 of 3 then")
        );
        assert_eq!(question(&plan(&["n1", "n2", "n3"], &["n2", "n3", "n4"])), None, "another takes its place");
        assert_eq!(question(&plan(&["n2"], &["n2"])), None, "it does not vote");
    }

    #[test]
    fn what_is_told_is_who_votes_then() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let of_three = plan(&["n1", "n2", "n3"], &["n2"]);
        assert_eq!(told(&of_three, &names(&["n2"])), "n1 does not vote any more; n2 alone votes");
        assert_eq!(told(&of_three, &names(&["n2", "n3"])), "n1 does not vote any more; n2, n3 vote");
        let follower = plan(&["n2"], &["n2"]);
        assert_eq!(told(&follower, &names(&["n2"])), "n1 is kept from voting, as it did not before; n2 alone votes");
    }
}
