//! `pentora token create|list|show|rotate|revoke|whoami`: who may use the API.

use clap::{Args, Subcommand};

use super::api_session::{ApiSession, NodeArgs};
use super::confirm::{YesArgs, confirm, confirm_where_asked};
use super::context::Context;
use super::list::{ListArgs, list};
use super::output::{clean, counted};
use super::rules::listed;
use super::secret_file::SecretFileArgs;
use super::shown::ShownArgs;
use super::table::{Column, NOTHING, Tabular};
use super::token::lifetime;
use crate::client::Client;
use crate::document::{AccessTokenCreated, AccessTokenDocument, AccessTokenRequest, TokenWork};
use crate::failure::Failure;
use crate::masked::masked;

/// What can be done with access tokens.
#[derive(Debug, Subcommand)]
pub(super) enum AccessCommand {
    /// Make a token for a person or a program; it is printed alone, so that TOKEN=$(...) works.
    #[command(
        before_help = "Examples:\n  pentora token create --name ci --role operator --expires 90d --to-file ci.token\n  \
                             pentora token create --name grafana --role viewer\n  \
                             pentora token create --name students --role operator --rate 60 --max-jobs 2 --quota 5000\n  \
                             pentora token create --name branch --role operator --networks 10.7.0.0/16 --scope dmz"
    )]
    Create(CreateArgs),
    /// Print tokens without their secrets.
    #[command(before_help = "Example:\n  pentora token list --json")]
    List(ListArgs),
    /// Print one token without its secret.
    #[command(before_help = "Example:\n  pentora token show ci")]
    Show(ShowArgs),
    /// Give a token another secret, which is printed; the one before is of no use from then on.
    #[command(before_help = "Example:\n  pentora token rotate ci --to-file ci.token --force")]
    Rotate(RotateArgs),
    /// Make a token useless. What it asked for goes on, and is named, unless it is to stop as well.
    #[command(before_help = "Examples:\n  pentora token revoke ci --yes\n  pentora token revoke ci --with-work --yes")]
    Revoke(RevokeArgs),
    /// Print the token that this command line shows.
    #[command(before_help = "Example:\n  pentora token whoami")]
    Whoami(WhoamiArgs),
}

/// How many names of a kind are printed of what goes on. Ours: a line or two.
const NAMES_SHOWN_MAX: usize = 10;

/// What a token allows.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What it is called; no other token has had that name.
    #[arg(long)]
    name: String,
    /// What its bearer may do: look; look at the audit log too; scan; everything.
    #[arg(long, value_parser = ["viewer", "auditor", "operator", "admin"])]
    role: String,
    /// How long it is valid [default: until it is revoked].
    #[arg(long, value_name = "DURATION", value_parser = lifetime, alias = "ttl")]
    expires: Option<std::time::Duration>,
    /// Networks that its bearer may scan, as prefixes [default: all that policy allows].
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    networks: Vec<ipnet::IpNet>,
    /// Scopes that its bearer may scan, by name; with --networks, what is in both.
    #[arg(long = "scope", value_name = "NAME", value_delimiter = ',')]
    scopes: Vec<String>,
    /// Requests a minute that each node takes from its bearer [default: server.api.requests_per_minute there].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Jobs of its bearer that wait or run at once [default: as many as the cluster takes].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_jobs: Option<u32>,
    /// Targets of all its jobs in a day, UTC [default: any number].
    #[arg(long, value_name = "TARGETS", value_parser = clap::value_parser!(u64).range(1..))]
    quota: Option<u64>,
    #[command(flatten)]
    file: SecretFileArgs,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which token.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Its name, from `list`.
    name: String,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which token gets another secret.
#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// Its name, from `list`.
    name: String,
    #[command(flatten)]
    file: SecretFileArgs,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which token is to be of no use.
#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// Its name, from `list`.
    name: String,
    /// Stop what it asked for: cancel its jobs, pause its schedules and standing scans. Can be said later as well.
    #[arg(long)]
    with_work: bool,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// How the own token is printed.
#[derive(Debug, Args)]
pub(super) struct WhoamiArgs {
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

impl Tabular for AccessTokenDocument {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |token| token.name.clone()),
            Column::new("Role", |token| token.role.clone()),
            Column::new("Status", |token| token.status.clone()),
            Column::new("Expires", |token| token.expires_at.clone().unwrap_or_else(|| "never".to_owned())),
            Column::new("May scan", may_scan),
            Column::new("By", |token| listed(std::slice::from_ref(&token.by))),
        ]
    }
}

fn may_scan(token: &AccessTokenDocument) -> String {
    let scopes = token.scopes.iter().map(|scope| format!("scope {scope}"));
    let limits: Vec<String> = token.networks.iter().cloned().chain(scopes).collect();
    match (token.role.as_str(), limits.as_slice()) {
        ("viewer" | "auditor", _) => NOTHING.to_owned(),
        (_, []) => "all that policy allows".to_owned(),
        (_, limits) => limits.join(", "),
    }
}

fn at_most(token: &AccessTokenDocument) -> String {
    let rate = token.requests_per_minute.map(|rate| format!("{} a minute", counted(rate.into(), "request")));
    let jobs = token.open_jobs.map(|jobs| format!("{} at once", counted(jobs.into(), "job")));
    let targets = token.targets_per_day.map(|targets| format!("{} a day", counted(targets, "target")));
    let all: Vec<String> = [rate, jobs, targets].into_iter().flatten().collect();
    if all.is_empty() { NOTHING.to_owned() } else { all.join(", ") }
}

fn text(token: &AccessTokenDocument) -> String {
    let by = match (token.by.as_str(), token.from.as_str()) {
        ("", "") => "with the cluster".to_owned(),
        (by, "") => format!("by {by}"),
        (by, from) => format!("by {by} from {from}"),
    };
    let ends = match (&token.revoked_at, &token.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) => at.clone(),
        (None, None) => "never".to_owned(),
    };
    // Somebody whom a provider of identities let in has no token, and so none that was made.
    let is_person = token.created_at.is_empty();
    let lines = [
        ("Name", token.name.clone()),
        ("Role", token.role.clone()),
        ("Status", token.status.clone()),
        ("Ends", ends),
        ("May scan", may_scan(token)),
        ("At most", at_most(token)),
        ("Made", format!("{} {by}", token.created_at)),
        ("Secret", format!("of {}", token.changed_at)),
    ];
    let of_tokens = |word: &str| matches!(word, "Made" | "Secret");
    let lines = lines.into_iter().filter(|(word, _)| !is_person || !of_tokens(word));
    lines.map(|(word, value)| format!("{:<10} {}\n", format!("{word}:"), clean(&value))).collect()
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run(command: AccessCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        AccessCommand::Create(args) => create(args, context).await,
        AccessCommand::List(args) => list(&args, context, Client::access_tokens).await,
        AccessCommand::Show(args) => {
            let session = ApiSession::open(&args.node, context)?;
            let token = session.client.access_token(&args.name).await.map_err(|error| session.failure(&error))?;
            context.output.print(&args.form.text(&token, || text(&token)))
        }
        AccessCommand::Rotate(args) => {
            args.file.may_be_written()?;
            let session = ApiSession::open(&args.node, context)?;
            let what = format!("the secret that token {} has now will be of no use", clean(&args.name));
            confirm_where_asked(args.yes, &what, context)?;
            let made = session.client.rotate_access_token(&args.name).await;
            show_secret(&made.map_err(|error| session.failure(&error))?, (&args.file, args.form), context)
        }
        AccessCommand::Revoke(args) => {
            let session = ApiSession::open(&args.node, context)?;
            revoke(&args, &session, context).await
        }
        AccessCommand::Whoami(args) => {
            let session = ApiSession::open(&args.node, context)?;
            let token = session.client.own_access_token().await.map_err(|error| session.failure(&error))?;
            context.output.print(&args.form.text(&token, || text(&token)))
        }
    }
}

async fn revoke(args: &RevokeArgs, session: &ApiSession, context: &mut Context) -> Result<(), Failure> {
    // A secret that was given for a name stays out of what is printed.
    let name = clean(&masked(&args.name));
    let stops = if args.with_work { " with all that it asked for" } else { "" };
    confirm(args.yes, &format!("token {name}{stops} will be of no use, for good"), context)?;
    // Asked for before: whoever revokes its own token asks for nothing afterwards.
    let token = session.client.access_token(&args.name).await.map_err(|error| session.failure(&error))?;
    let revoked = session.client.revoke_access_token(&args.name, args.with_work).await;
    revoked.map_err(|error| session.failure(&error))?;
    let is_person = token.status == "person";
    context.say(if is_person {
        format!("what {name} asked for is stopped")
    } else {
        format!("token {name} is revoked")
    });
    let mut work = token.work.unwrap_or_default();
    if args.with_work {
        work = TokenWork { tokens: work.tokens, join_tokens: work.join_tokens, ..TokenWork::default() };
    }
    for line in goes_on(&name, &work) {
        context.say(format_args!("{line}"));
    }
    Ok(())
}

/// What goes on of a token that is of no use any more, and how it is stopped.
fn goes_on(name: &str, work: &TokenWork) -> Vec<String> {
    let line = |count: usize, what: &str, names: &[String]| {
        let shown = names.iter().take(NAMES_SHOWN_MAX).map(|name| clean(name)).collect::<Vec<_>>();
        let more = if count > shown.len() { ", ..." } else { "" };
        (count > 0).then(|| format!("{}: {}{more}", counted(count as u64, what), shown.join(", ")))
    };
    let all = [("schedule", &work.schedules), ("standing scan", &work.keeps), ("job", &work.jobs)];
    let of_work: Vec<String> = all.iter().filter_map(|(what, names)| line(names.len(), what, names)).collect();
    let mut lines = Vec::new();
    if !of_work.is_empty() {
        lines.push(format!("what it asked for goes on: {}", of_work.join("; ")));
        lines.push(format!("  to stop that: pentora token revoke {name} --with-work"));
    }
    if let Some(made) = line(work.tokens.len(), "token", &work.tokens) {
        lines.push(format!("what it made, or gave a secret, lets in whoever has it: {made}"));
        lines.push("  to end one: pentora token revoke NAME".to_owned());
    }
    if let Some(made) = line(work.join_tokens.len(), "join token", &work.join_tokens) {
        lines.push(format!("with what it made, nodes join: {made}"));
        lines.push("  to end one: pentora coordinator worker-token revoke ID".to_owned());
    }
    lines
}

async fn create(args: CreateArgs, context: &mut Context) -> Result<(), Failure> {
    args.file.may_be_written()?;
    let session = ApiSession::open(&args.node, context)?;
    let request = AccessTokenRequest {
        name: args.name,
        role: args.role,
        ttl_seconds: args.expires.map(|ttl| ttl.as_secs().max(1)),
        networks: args.networks.iter().map(ToString::to_string).collect(),
        scopes: args.scopes,
        requests_per_minute: args.rate,
        open_jobs: args.max_jobs,
        targets_per_day: args.quota,
    };
    let made = session.client.create_access_token(&request).await.map_err(|error| session.failure(&error))?;
    show_secret(&made, (&args.file, args.form), context)
}

fn show_secret(
    made: &AccessTokenCreated,
    (file, form): (&SecretFileArgs, ShownArgs),
    context: &mut Context,
) -> Result<(), Failure> {
    if let Some(text) = form.data(made) {
        return context.output.print(&text);
    }
    let token = clean(&made.token);
    let is_kept = file.written(&token, "give it another secret: pentora token rotate")?;
    if !is_kept {
        context.output.print(&format!("{token}\n"))?;
    }
    let until =
        made.expires_at.as_ref().map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {}", clean(at)));
    if is_kept {
        context.say(format_args!("{} may act as {} {until}: --token-file", clean(&made.name), clean(&made.role)));
        return Ok(());
    }
    context.say(format_args!(
        "{} may act as {} {until}; it is shown this once: keep it in a file that only its owner can read, and use it with\n  \
         --token-file FILE",
        clean(&made.name),
        clean(&made.role)
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;

    #[test]
    fn somebody_whom_a_provider_let_in_is_told_without_a_token_that_was_made() {
        let person = AccessTokenDocument { name: "oidc:https://i#alice".into(), ..AccessTokenDocument::default() };
        let told = text(&person);
        assert!(
            told.contains("oidc:https://i#alice") && !told.contains("Made:") && !told.contains("Secret:"),
            "{told}"
        );
        assert!(text(&token()).contains("Made:"));
    }

    fn token() -> AccessTokenDocument {
        AccessTokenDocument {
            name: "ci".into(),
            role: "operator".into(),
            status: "valid".into(),
            created_at: "2025-07-10T12:00:00Z".into(),
            changed_at: "2025-07-11T12:00:00Z".into(),
            expires_at: None,
            revoked_at: None,
            networks: Vec::new(),
            scopes: Vec::new(),
            requests_per_minute: None,
            open_jobs: None,
            targets_per_day: None,
            by: "admin".into(),
            from: "10.0.0.9".into(),
            work: None,
        }
    }

    #[test]
    fn a_token_is_listed_with_what_its_bearer_may_scan() {
        let limited = AccessTokenDocument {
            networks: vec!["10.0.0.0/8".into()],
            scopes: vec!["dmz".into()],
            expires_at: Some("2025-10-10T12:00:00Z".into()),
            ..token()
        };
        let viewer = AccessTokenDocument { role: "viewer".into(), by: String::new(), ..token() };
        assert_eq!(
            cells(&[token(), limited, viewer]),
            [
                ["Name", "Role", "Status", "Expires", "May scan", "By"],
                ["ci", "operator", "valid", "never", "all that policy allows", "admin"],
                ["ci", "operator", "valid", "2025-10-10T12:00:00Z", "10.0.0.0/8, scope dmz", "admin"],
                ["ci", "viewer", "valid", "never", "-", "-"],
            ]
        );
    }

    #[test]
    fn what_goes_on_of_a_revoked_token_is_named_with_the_command_that_stops_it() {
        assert_eq!(goes_on("ci", &TokenWork::default()), Vec::<String>::new());
        let work = TokenWork {
            schedules: vec!["nightly".into()],
            keeps: Vec::new(),
            jobs: (0..12).map(|number| format!("job-{number:06x}")).collect(),
            tokens: vec!["other".into()],
            join_tokens: vec!["tok-1".into()],
        };
        let told = goes_on("ci", &work).join("\n");
        assert!(told.contains("1 schedule: nightly; 12 jobs: job-000000, ") && told.contains(", ...\n"), "{told}");
        assert!(told.contains("pentora token revoke ci --with-work") && told.contains("1 token: other"), "{told}");
        assert!(told.contains("1 join token: tok-1") && told.contains("worker-token revoke ID"), "{told}");
        assert!(!told.contains("standing scan"), "{told}");
    }

    #[test]
    fn what_a_token_allows_of_one_is_told_as_one() {
        let limited = |most: u32| AccessTokenDocument {
            requests_per_minute: Some(most),
            open_jobs: Some(most),
            targets_per_day: Some(most.into()),
            ..token()
        };
        assert_eq!(at_most(&limited(1)), "1 request a minute, 1 job at once, 1 target a day");
        assert_eq!(at_most(&limited(2)), "2 requests a minute, 2 jobs at once, 2 targets a day");
    }

    #[test]
    fn one_token_is_told_line_by_line_and_nothing_reaches_the_terminal() {
        let odd = AccessTokenDocument {
            from: "\u{1b}[2J".into(),
            revoked_at: Some("2025-08-01T00:00:00Z".into()),
            status: "revoked".into(),
            ..token()
        };
        let text = text(&odd);
        assert!(
            text.starts_with("Name:      ci\nRole:      operator\nStatus:    revoked\nEnds:      revoked 2025-08-01"),
            "{text}"
        );
        assert!(text.ends_with("Secret:    of 2025-07-11T12:00:00Z\n") && !text.contains('\u{1b}'), "{text}");
    }
}
