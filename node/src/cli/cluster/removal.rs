//! `pentora cluster remove`, and what it and `pentora-node leave` say of it.

use clap::Args;

use super::super::api_session::{ApiSession, NodeArgs};
use super::super::confirm::{YesArgs, confirm};
use super::super::context::Context;
use super::super::output::{clean, counted};
use super::super::shown::ShownArgs;
use crate::document::RemovalDocument;
use crate::failure::{ExitCode, Failure};

/// Which node is removed.
#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveArgs {
    /// Name of the node.
    #[arg(value_name = "NODE")]
    name: String,
    /// Say what it would come to, and do nothing.
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Removes a node.
///
/// # Errors
/// No node answers, the removal is refused, or nobody said yes.
pub(super) async fn remove(args: RemoveArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let plan = session.client.plan_removal(&args.name).await.map_err(|error| session.failure(&error))?;
    if args.plan {
        return context.output.print(&args.form.text(&plan, || planned(&plan)));
    }
    context.say(planned(&plan).trim_end());
    confirm(args.yes, &format!("{} is removed from the cluster for good", clean(&args.name)), context)?;
    let done = session.client.remove_node(&args.name).await.map_err(|error| session.failure(&error))?;
    finish(&done, args.form, context)
}

/// Says how it ended.
pub(in crate::cli) fn finish(done: &RemovalDocument, form: ShownArgs, context: &mut Context) -> Result<(), Failure> {
    if !done.removed {
        let name = clean(&done.name);
        return Err(Failure::new(ExitCode::Failure, format!("{name} is not out yet; the leader goes on with it"))
            .next("`pentora cluster status` shows when it is gone"));
    }
    context.output.print(&form.text(done, || {
        format!("{} is out of the cluster; its name is free, its data directory can be deleted\n", clean(&done.name))
    }))
}

/// What a removal would come to, a line each.
pub(in crate::cli) fn planned(plan: &RemovalDocument) -> String {
    let name = clean(&plan.name);
    let list = |names: &[String]| names.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ");
    let mut text = format!("{name} (node {}) would leave the cluster\n", plan.node_id);
    if let Some(to) = &plan.hands_over_to {
        text.push_str(&format!("- it leads: {} takes over first\n", clean(to)));
    }
    if plan.voters != plan.voters_after {
        text.push_str(&format!("- voters: {} become {}\n", list(&plan.voters), list(&plan.voters_after)));
        match plan.voters_after.as_slice() {
            [only] => text.push_str(&format!(
                "- {} alone votes{}: while it is down nothing is decided\n",
                clean(only),
                until(plan)
            )),
            voters if voters.len() < plan.voters.len() => {
                text.push_str(&format!("- {} of them may be lost\n", (voters.len() - 1) / 2));
            }
            _ => {}
        }
    }
    if plan.units_handed_back > 0 {
        text.push_str(&format!("- units it works on, given to others: {}\n", plan.units_handed_back));
    }
    if plan.results_only_there > 0 {
        text.push_str(&format!(
            "- results that only it keeps, LOST unless it is there to copy them first: {}\n",
            counted(plan.results_only_there, "unit")
        ));
    }
    text
}

/// Until when one alone votes.
fn until(plan: &RemovalDocument) -> String {
    match plan.kept_from_voting.as_slice() {
        [] => " until there are three members".to_owned(),
        [first, ..] => {
            let kept = plan.kept_from_voting.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ");
            let are = if plan.kept_from_voting.len() == 1 { "is" } else { "are" };
            format!(" until three members may ({kept} {are} kept from it: `pentora cluster promote {}`)", clean(first))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_who_leads_who_votes_and_what_is_lost() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let plan = RemovalDocument {
            name: "n1".into(),
            node_id: 1,
            removed: false,
            hands_over_to: Some("n2".into()),
            voters: names(&["n1", "n2", "n3"]),
            voters_after: names(&["n2"]),
            kept_from_voting: vec![],
            units_handed_back: 2,
            results_only_there: 1,
        };
        let expected = "\
n1 (node 1) would leave the cluster
- it leads: n2 takes over first
- voters: n1, n2, n3 become n2
- n2 alone votes until there are three members: while it is down nothing is decided
- units it works on, given to others: 2
- results that only it keeps, LOST unless it is there to copy them first: 1 unit
";
        assert_eq!(planned(&plan), expected);
        let kept = RemovalDocument { kept_from_voting: names(&["n3", "n4"]), ..plan.clone() };
        let why = "- n2 alone votes until three members may (n3, n4 are kept from it: `pentora cluster promote n3`): while it is";
        assert!(planned(&kept).contains(why), "{}", planned(&kept));
        let quiet = RemovalDocument {
            hands_over_to: None,
            voters_after: plan.voters.clone(),
            units_handed_back: 0,
            results_only_there: 0,
            ..plan
        };
        assert_eq!(planned(&quiet), "n1 (node 1) would leave the cluster\n");
    }
}
