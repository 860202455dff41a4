//! `pentora scope|exclude|profile|window|budget|site add|list|show|remove`: the commands about rules of the cluster's policy,
//! which are one over the kind of rule. What a kind has of its own is [`RuleCli`].

use std::fmt::Debug;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::api_session::{ApiSession, NodeArgs};
use super::confirm::{YesArgs, confirm};
use super::context::Context;
use super::list::{ListArgs, list};
use super::output::clean;
use super::shown::ShownArgs;
use super::table::{NOTHING, Tabular};
use crate::client::Client;
use crate::document::{Noun, RuleDocument, WhenFields};
use crate::failure::Failure;

/// What a command is for, and its examples.
pub(super) type Help = (&'static str, &'static str);

/// A kind of rule on the command line.
pub(super) trait RuleCli: Noun {
    /// What `add` takes.
    type Add: Args + Debug;

    /// The help of each command.
    const ADD: Help;
    /// See [`Self::ADD`].
    const LIST: Help;
    /// See [`Self::ADD`].
    const SHOW: Help;
    /// See [`Self::ADD`].
    const REMOVE: Help;

    /// The rule that `add` is for, and how it is told.
    ///
    /// # Errors
    /// Exit 2 where it cannot be read.
    fn request(add: Self::Add) -> Result<(WriteArgs, Self::Request), Failure>;

    /// What its writer should know of a rule that was written, a line each. May ask name servers.
    fn remarks(_request: &Self::Request) -> Vec<String> {
        Vec::new()
    }

    /// The access tokens that a rule is for, by their names.
    fn tokens(_request: &Self::Request) -> &[String] {
        &[]
    }

    /// What a rule says, a line each.
    fn lines(words: &Self::Words) -> Lines;
}

/// What can be done with rules of a kind.
#[derive(Debug, Subcommand)]
pub(super) enum RuleCommand<R: RuleCli> {
    #[command(about = R::ADD.0, before_help = R::ADD.1)]
    Add(R::Add),
    #[command(about = R::LIST.0, before_help = R::LIST.1)]
    List(ListArgs),
    #[command(about = R::SHOW.0, before_help = R::SHOW.1)]
    Show(NameArgs),
    #[command(about = R::REMOVE.0, before_help = R::REMOVE.1)]
    Remove(RemoveArgs),
}

/// Carries a command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run<R: RuleCli>(command: RuleCommand<R>, context: &mut Context) -> Result<(), Failure>
where
    RuleDocument<R::Words>: Tabular,
{
    match command {
        RuleCommand::Add(add) => {
            let (args, request) = R::request(add)?;
            write::<R>(&args, &request, context).await?;
            warn_of_unknown(&args, R::tokens(&request), context).await;
            let remarks = tokio::task::spawn_blocking(move || R::remarks(&request)).await.unwrap_or_default();
            remarks.iter().for_each(|remark| context.warn(clean(remark)));
            Ok(())
        }
        RuleCommand::List(args) => list(&args, context, Client::rules::<R>).await,
        RuleCommand::Show(args) => show::<R>(&args, context).await,
        RuleCommand::Remove(args) => remove::<R>(&args, context).await,
    }
}

/// Which rule.
#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// Its name, from `list`.
    name: String,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which rule is to go.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// Its name, from `list`.
    name: String,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// How a rule that was written is told.
#[derive(Debug, Args)]
pub(super) struct WriteArgs {
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// When a rule holds.
#[derive(Debug, Args)]
pub(super) struct WhenArgs {
    /// At these hours each day, by the clocks of --zone, such as 22:00-06:00.
    #[arg(long, value_name = "HH:MM-HH:MM", requires = "zone", conflicts_with_all = ["from", "until"], help_heading = "When")]
    hours: Option<String>,
    /// On these days, such as mon-fri or sat,sun [default: daily].
    #[arg(long, value_name = "DAYS", requires = "hours", help_heading = "When")]
    days: Option<String>,
    /// The time zone, such as Europe/Berlin.
    #[arg(long, value_name = "IANA", help_heading = "When")]
    zone: Option<String>,
    /// Once, from this instant on: 2026-12-01T22:00 with --zone, or 2026-12-01T21:00:00Z.
    #[arg(long, value_name = "TIME", requires = "until", help_heading = "When")]
    from: Option<String>,
    /// Once, until this instant.
    #[arg(long, value_name = "TIME", requires = "from", help_heading = "When")]
    until: Option<String>,
}

impl WhenArgs {
    /// What was said of it; `None` where nothing was.
    pub(super) fn fields(self) -> Option<WhenFields> {
        let Self { hours, days, zone, from, until } = self;
        let fields = WhenFields { days, hours, zone, from, until };
        (fields != WhenFields::default()).then_some(fields)
    }
}

/// Lines about a rule: a word and what it is.
pub(super) type Lines = Vec<(&'static str, String)>;

/// Prints one rule.
async fn show<R: RuleCli>(args: &NameArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let rule = session.client.rule::<R>(&args.name).await.map_err(|error| session.failure(&error))?;
    context.output.print(&args.form.text(&rule, || text(&rule, R::lines)))
}

/// Says which of the tokens that a rule is for there are none of: a slip in a name would leave the one free that was meant.
async fn warn_of_unknown(args: &WriteArgs, tokens: &[String], context: &mut Context) {
    if tokens.is_empty() {
        return;
    }
    // Who may not list them has the rule all the same.
    let Ok(session) = ApiSession::open(&args.node, context) else { return };
    let Ok(known) = session.client.access_tokens().await else { return };
    for token in unknown(tokens, known.iter().map(|token| token.name.as_str())) {
        let token = clean(token);
        context.warn(format_args!(
            "no access token is called `{token}`: the rule is for nobody, unless one is made, or somebody signs in, by that name"
        ));
    }
}

/// Those of the names that are none of the known ones.
fn unknown<'a>(names: &'a [String], known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let known: Vec<&str> = known.collect();
    names.iter().map(String::as_str).filter(|name| !known.contains(name)).collect()
}

/// Writes a rule and says that it holds.
async fn write<N: Noun>(args: &WriteArgs, request: &N::Request, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let rule = session.client.set_rule::<N>(request).await.map_err(|error| session.failure(&error))?;
    if let Some(text) = args.form.data(&rule) {
        return context.output.print(&text);
    }
    let (kind, name) = (N::KIND.name(), clean(&rule.name));
    context.say(format_args!("{kind} {name} is in the log: it holds on every node that hears the cluster; `pentora {kind} show {name}` prints it"));
    Ok(())
}

/// Takes a rule away, which may let more be scanned, faster, or at other times.
async fn remove<N: Noun>(args: &RemoveArgs, context: &mut Context) -> Result<(), Failure> {
    confirm(args.yes, &format!("{} {} holds no longer, on no node", N::KIND.name(), clean(&args.name)), context)?;
    let session = ApiSession::open(&args.node, context)?;
    session.client.remove_rule::<N>(&args.name).await.map_err(|error| session.failure(&error))?;
    context.say(format_args!("{} {} is gone", N::KIND.name(), clean(&args.name)));
    Ok(())
}

fn text<W: Serialize>(rule: &RuleDocument<W>, lines: fn(&W) -> Lines) -> String {
    let by = if rule.by.is_empty() { "nobody named".to_owned() } else { rule.by.clone() };
    let from = if rule.from.is_empty() { String::new() } else { format!(" from {}", rule.from) };
    let head: Lines = vec![("Name", rule.name.clone())];
    // What is built in was written at no time.
    let written = if rule.at.is_empty() { by } else { format!("{} by {by}{from}", rule.at) };
    let tail: Lines = vec![("Reason", listed(std::slice::from_ref(&rule.reason))), ("Written", written)];
    let all = head.into_iter().chain(lines(&rule.words)).chain(tail);
    all.map(|(word, value)| format!("{:<10} {}\n", format!("{word}:"), clean(&value))).collect()
}

/// Words with commas; a dash for none.
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => NOTHING.to_owned(),
        [only] if only.is_empty() => NOTHING.to_owned(),
        words => words.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_there_are_none_of_are_named() {
        let asked = ["ci".to_owned(), "cl".to_owned()];
        assert_eq!(unknown(&asked, ["admin", "ci"].into_iter()), ["cl"]);
    }

    #[test]
    fn a_rule_is_told_line_by_line_with_who_wrote_it_and_nothing_reaches_the_terminal() {
        let rule = RuleDocument {
            name: "lab".into(),
            words: vec!["10.0.0.0/8".to_owned()],
            reason: "\u{1b}[2J".into(),
            by: "ci".into(),
            from: "10.0.0.9".into(),
            at: "2025-07-10T12:00:00Z".into(),
        };
        let text = text(&rule, |words| vec![("Networks", listed(words))]);
        assert!(text.starts_with("Name:      lab\nNetworks:  10.0.0.0/8\nReason:"), "{text}");
        assert!(
            text.ends_with("Written:   2025-07-10T12:00:00Z by ci from 10.0.0.9\n") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
}
