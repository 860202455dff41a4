//! `pentora context add|use|list|remove` and `pentora login`: the clusters that a user has names for.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use pentora_raft::command::is_rule_name;
use serde::Serialize;

use super::api_session::{ApiSession, TrustArgs, warn_of_clear};
use super::confirm::YesArgs;
use super::context::Context;
use super::list::{FormArgs, text};
use super::output::clean;
use super::private_files::warn_of_others;
use super::secret_file;
use super::table::{Column, Tabular, or_nothing};
use crate::client::contexts::{Contexts, ContextsError, NamedCluster};
use crate::client::locate::{checked_token, read_token};
use crate::config::Secret;
use crate::durable_file::{self, Readers};
use crate::failure::{ExitCode, Failure};
use crate::tls::Fingerprint;

/// The longest token that is read from standard input, in bytes.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub(super) enum ContextCommand {
    /// Give a cluster a name, with the addresses of its API and the file with the token for it.
    #[command(
        before_help = "Examples:\n  pentora context add prod --api https://10.0.0.1:8080,https://10.0.0.2:8080 --ca-file prod.pem --token-file prod.token\n  \
                             pentora context use prod"
    )]
    Add(AddArgs),
    /// Have commands go to a cluster where they do not say to which.
    #[command(before_help = "Example:\n  pentora context use prod")]
    Use(NameArgs),
    /// Print the clusters that have names.
    #[command(before_help = "Example:\n  pentora context list")]
    List(ListArgs),
    /// Forget a name; its token file stays.
    #[command(before_help = "Example:\n  pentora context remove prod")]
    Remove(RemoveArgs),
}

/// Where a cluster is.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// What it is called.
    #[arg(value_parser = name)]
    name: String,
    /// API addresses, several with commas.
    #[arg(long, value_name = "URL")]
    api: String,
    /// File with the API token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Give the name to this cluster where another has it.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Which cluster.
#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// Its name, from `pentora context list`.
    name: String,
}

/// Which name is forgotten.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The name, from `pentora context list`.
    name: String,
    #[command(flatten)]
    yes: YesArgs,
}

/// How names are printed.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    form: FormArgs,
}

/// Where to log in.
#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// What the cluster is called from now on.
    #[arg(value_parser = name, default_value = "default")]
    name: String,
    /// API addresses, several with commas.
    #[arg(long, value_name = "URL")]
    api: String,
    /// File with the API token [default: it is read from standard input].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Give the name to this cluster where another has it, and write over the token that is kept for that.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    trust: TrustArgs,
}

/// A row of the list.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    current: bool,
    api: String,
    token_file: Option<String>,
    ca_file: Option<String>,
    ca_fingerprint: Option<String>,
}

impl Tabular for Row {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |row| row.name.clone()),
            Column::new("Used", |row| if row.current { "yes" } else { "no" }.to_owned()),
            Column::new("API", |row| row.api.clone()),
            Column::new("Token file", |row| or_nothing(row.token_file.as_ref())),
            Column::new("Trusted", |row| match (&row.ca_file, &row.ca_fingerprint) {
                (None, None) if row.api.contains("https://") => "the system's authorities".to_owned(),
                (None, None) => "-".to_owned(),
                (file, fingerprint) => {
                    file.iter().chain(fingerprint).map(String::as_str).collect::<Vec<_>>().join(" or ")
                }
            }),
        ]
    }
}

fn name(text: &str) -> Result<String, String> {
    match is_rule_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a context's name has 1 to 64 letters, digits, dots, - and _".to_owned()),
    }
}

/// API addresses as they are kept: each a URL without anything behind the port.
fn addresses(api: &str) -> Result<String, Failure> {
    let odd = api.split(',').find(|part| {
        let rest = part.trim().strip_prefix("http://").or_else(|| part.trim().strip_prefix("https://"));
        rest.is_none_or(|rest| {
            rest.trim_end_matches('/').is_empty() || rest.trim_end_matches('/').contains(['/', ' ', '@'])
        })
    });
    if let Some(odd) = odd {
        let what = format!("`{}` is no API address, such as https://10.0.0.1:8080", clean(odd));
        return Err(Failure::new(ExitCode::Usage, what));
    }
    Ok(api.split(',').map(|part| part.trim().trim_end_matches('/')).collect::<Vec<_>>().join(","))
}

/// The file with the names.
fn file(context: &Context) -> Result<PathBuf, Failure> {
    Ok(directory(context, "contexts")?.join("contexts.json"))
}

/// Where this user's own things are kept.
///
/// # Errors
/// There is no home directory to keep `what` in.
pub(super) fn directory(context: &Context, what: &str) -> Result<PathBuf, Failure> {
    let xdg = context.env.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = xdg.or_else(|| context.host.home.as_ref().map(|home| home.join(".config")));
    let directory = directory.ok_or_else(|| {
        Failure::new(ExitCode::Failure, format!("there is no home directory to keep {what} in"))
            .next("set HOME or XDG_CONFIG_HOME")
    })?;
    Ok(directory.join("pentora"))
}

fn failed(error: &ContextsError) -> Failure {
    let failure = Failure::new(ExitCode::Config, error.to_string());
    match error {
        ContextsError::Unknown(_) => failure.next("`pentora context list` has them"),
        _ => failure,
    }
}

/// The cluster that a command goes to by name: the one that is named, or the one in use where none is.
///
/// # Errors
/// The names cannot be read, or there is no such name.
pub(super) fn chosen(named: Option<&str>, context: &Context) -> Result<Option<(String, NamedCluster)>, Failure> {
    let Ok(path) = file(context) else { return Ok(None) };
    let contexts = Contexts::read(&path).map_err(|error| failed(&error))?;
    warn_of_others([path.as_path()], context);
    let Some(name) = named.map(str::to_owned).or_else(|| contexts.current.clone()) else { return Ok(None) };
    let cluster = contexts.named(&name).map_err(|error| failed(&error))?.clone();
    Ok(Some((name, cluster)))
}

fn change(context: &Context, change: impl FnOnce(&mut Contexts) -> Result<(), ContextsError>) -> Result<(), Failure> {
    let path = file(context)?;
    let mut contexts = Contexts::read(&path).map_err(|error| failed(&error))?;
    change(&mut contexts).and_then(|()| contexts.write(&path)).map_err(|error| failed(&error))
}

/// Carries the command out.
///
/// # Errors
/// The names cannot be read or written, or there is no such name.
pub(super) fn run(command: ContextCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        ContextCommand::Add(AddArgs { name, api, token_file, force, trust }) => {
            let api = addresses(&api)?;
            let token_file = token_file.map(|path| whole(&path)).transpose()?;
            let (ca_file, ca_fingerprint) = kept(&trust)?;
            let cluster = NamedCluster { api, token_file, ca_file, ca_fingerprint };
            let before = Contexts::read(&file(context)?).map_err(|error| failed(&error))?.contexts.remove(&name);
            if let Some(before) = before.filter(|before| *before != cluster && !force) {
                return Err(is_taken(&name, &before));
            }
            change(context, |contexts| {
                contexts.contexts.insert(name.clone(), cluster);
                Ok(())
            })?;
            context.say(format_args!("`pentora context use {name}` has commands go there"));
            Ok(())
        }
        ContextCommand::Use(NameArgs { name }) => {
            change(context, |contexts| {
                contexts.named(&name)?;
                contexts.current = Some(name.clone());
                Ok(())
            })?;
            context.say(format_args!("commands go to {} now", clean(&name)));
            Ok(())
        }
        ContextCommand::List(args) => {
            let contexts = Contexts::read(&file(context)?).map_err(|error| failed(&error))?;
            let row = |(name, cluster): (&String, &NamedCluster)| Row {
                name: name.clone(),
                current: contexts.current.as_ref() == Some(name),
                api: cluster.api.clone(),
                token_file: cluster.token_file.as_ref().map(|path| path.display().to_string()),
                ca_file: cluster.ca_file.as_ref().map(|path| path.display().to_string()),
                ca_fingerprint: cluster.ca_fingerprint.map(|fingerprint| fingerprint.to_string()),
            };
            let rows: Vec<Row> = contexts.contexts.iter().map(row).collect();
            context.output.print(&text(&rows, args.form.form(&context.output)))
        }
        ContextCommand::Remove(RemoveArgs { name, yes }) => {
            // It is added again as easily, so nothing is asked; the flag is for whoever gives it to every command.
            let _ = yes.yes;
            change(context, |contexts| {
                contexts.named(&name)?;
                contexts.contexts.remove(&name);
                contexts.current.take_if(|current| *current == name);
                Ok(())
            })?;
            context.say(format_args!("{} is forgotten", clean(&name)));
            Ok(())
        }
    }
}

/// The refusal to give a name to another cluster than has it.
fn is_taken(name: &str, before: &NamedCluster) -> Failure {
    let what = format!("the name {name} is given already, to {}", clean(&before.api));
    Failure::new(ExitCode::Refused, what).next("choose another name, or add --force")
}

/// Whether a token may be kept in `token_file` for a cluster of this name: renewing the one of the same cluster is what a login is for, and
/// no other secret goes for it.
fn may_be_kept(
    (name, api): (&str, &str),
    token: &str,
    token_file: &std::path::Path,
    context: &Context,
) -> Result<(), Failure> {
    let before = Contexts::read(&file(context)?).map_err(|error| failed(&error))?.contexts.remove(name);
    if let Some(before) = &before
        && before.api != api
    {
        return Err(is_taken(name, before));
    }
    let is_same = |kept: Secret| kept.expose() == token;
    let is_there = token_file.symlink_metadata().is_ok() && before.is_none();
    if is_there && !read_token(token_file).is_ok_and(is_same) { Err(secret_file::is_there(token_file)) } else { Ok(()) }
}

/// Whom to trust, as a context keeps it.
fn kept(trust: &TrustArgs) -> Result<(Option<PathBuf>, Option<Fingerprint>), Failure> {
    Ok((trust.ca_file.as_deref().map(whole).transpose()?, trust.ca_fingerprint))
}

fn whole(path: &std::path::Path) -> Result<PathBuf, Failure> {
    let told = |error: std::io::Error| Failure::new(ExitCode::Failure, format!("{}: {error}", path.display()));
    std::path::absolute(path).map_err(told)
}

/// Tries a token, keeps it where only its owner reads it, and has commands go to that cluster.
///
/// # Errors
/// No node answers, the token is not let in, or nothing can be written.
pub(super) async fn login(args: LoginArgs, context: &mut Context) -> Result<(), Failure> {
    let api = addresses(&args.api)?;
    let bad = |reason: String| Failure::new(ExitCode::Failure, format!("the token cannot be used: {reason}"));
    let token = match &args.token_file {
        Some(path) => read_token(path).map_err(bad)?,
        None => {
            if context.stderr_terminal {
                context.say("paste the token, then Enter and Ctrl-D:");
            }
            let mut text = String::new();
            let read = std::io::stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| bad(error.to_string()))?;
            checked_token(text.trim()).map_err(bad)?
        }
    };
    let contexts = file(context)?;
    let directory = contexts.parent().unwrap_or(&contexts).join("tokens");
    let token_file = directory.join(format!("{}.token", args.name));
    if !args.force {
        may_be_kept((&args.name, &api), token.expose(), &token_file, context)?;
    }
    let (ca_file, ca_fingerprint) = kept(&args.trust)?;
    let cluster = NamedCluster { api, token_file: Some(token_file.clone()), ca_file, ca_fingerprint };
    let unsaved = NamedCluster { token_file: None, ..cluster.clone() };
    let mut location = unsaved.location(&args.name).map_err(|error| failed(&error))?;
    location.token = Some(token.clone());
    location.searched = match &args.token_file {
        Some(path) => path.display().to_string(),
        None => "standard input".to_owned(),
    };
    warn_of_clear(&location, context);
    let session = ApiSession::at(location)?;
    let own = session.client.own_access_token().await.map_err(|error| session.failure(&error))?;
    let told = |error: std::io::Error| Failure::new(ExitCode::Failure, format!("{}: {error}", token_file.display()));
    durable_file::private_folder(&directory).map_err(told)?;
    durable_file::write(&token_file, format!("{}\n", token.expose()).as_bytes(), Readers::Owner).map_err(told)?;
    change(context, |contexts| {
        contexts.contexts.insert(args.name.clone(), cluster);
        contexts.current = Some(args.name.clone());
        Ok(())
    })?;
    context.say(format_args!(
        "you are {} ({}) there; commands go to {} now",
        clean(&own.name),
        clean(&own.role),
        args.name
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_plain_and_what_is_none_is_told() {
        assert_eq!(
            addresses("http://10.0.0.1:8080/, http://[fd00::1]:8080").unwrap(),
            "http://10.0.0.1:8080,http://[fd00::1]:8080"
        );
        for odd in ["10.0.0.1:8080", "ftp://a", "http://", "http://a/b", "http://user@a", "http://a,,http://b"] {
            assert_eq!(addresses(odd).unwrap_err().exit, ExitCode::Usage, "{odd}");
        }
    }

    #[test]
    fn a_login_renews_the_token_of_its_cluster_and_takes_the_place_of_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut context = Context::for_test(std::io::sink());
        context.host.home = Some(dir.path().to_owned());
        let token_file = dir.path().join("prod.token");
        let may = |api: &str, context: &Context| may_be_kept(("prod", api), "pna_2", &token_file, context);
        may("http://10.0.0.1:8080", &context).unwrap();
        // What a name that was forgotten left.
        std::fs::write(&token_file, "pna_1\n").unwrap();
        assert_eq!(may("http://10.0.0.1:8080", &context).unwrap_err().exit, ExitCode::Refused);
        let api = "http://10.0.0.1:8080".to_owned();
        let cluster = NamedCluster { api, token_file: None, ca_file: None, ca_fingerprint: None };
        change(&context, |contexts| {
            contexts.contexts.insert("prod".into(), cluster);
            Ok(())
        })
        .unwrap();
        may("http://10.0.0.1:8080", &context).unwrap();
        assert!(may("http://10.0.0.2:8080", &context).unwrap_err().to_string().contains("given already"));
    }

    #[test]
    fn a_context_is_added_used_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut context = Context::for_test(std::io::sink());
        context.host.home = Some(dir.path().to_owned());
        let add = |name: &str| AddArgs {
            name: name.into(),
            api: "http://10.0.0.1:8080".into(),
            token_file: None,
            force: false,
            trust: TrustArgs::default(),
        };
        assert_eq!(chosen(None, &context).unwrap(), None);
        run(ContextCommand::Add(add("prod")), &mut context).unwrap();
        assert_eq!(chosen(None, &context).unwrap(), None, "added is not used");
        run(ContextCommand::Use(NameArgs { name: "prod".into() }), &mut context).unwrap();
        assert_eq!(chosen(None, &context).unwrap().unwrap().0, "prod");
        let other = || AddArgs { api: "http://10.0.0.2:8080".into(), ..add("prod") };
        run(ContextCommand::Add(add("prod")), &mut context).unwrap();
        let taken = run(ContextCommand::Add(other()), &mut context).unwrap_err();
        assert_eq!(taken.exit, ExitCode::Refused);
        assert!(taken.to_string().contains("to http://10.0.0.1:8080"), "{taken}");
        assert_eq!(chosen(None, &context).unwrap().unwrap().1.api, "http://10.0.0.1:8080", "nothing has changed");
        run(ContextCommand::Add(AddArgs { force: true, ..other() }), &mut context).unwrap();
        assert_eq!(chosen(None, &context).unwrap().unwrap().1.api, "http://10.0.0.2:8080");
        let unknown = run(ContextCommand::Use(NameArgs { name: "other".into() }), &mut context).unwrap_err();
        assert!(unknown.to_string().contains("no context `other`"), "{unknown}");
        assert!(chosen(Some("other"), &context).is_err());
        run(ContextCommand::Remove(RemoveArgs { name: "prod".into(), yes: YesArgs::default() }), &mut context).unwrap();
        assert_eq!(chosen(None, &context).unwrap(), None);
    }
}
