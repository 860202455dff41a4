//! `pentora key create|show|list`, and how `pentora scan --sign` signs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use pentora_p2p::IdentityError;
use pentora_raft::command::is_rule_name;
use serde::Serialize;

use super::context::Context;
use super::contexts;
use super::list::{FormArgs, text};
use super::table::{Column, Tabular};
use crate::clock::wall_ms;
use crate::config::parse_duration;
use crate::document::{ProfileOptions, ScanRequest};
use crate::failure::{ExitCode, Failure};
use crate::orders::{self, Repeats};
use crate::signing::PersonKey;

/// How long an order for a single job holds where nothing is said. Ours: a scan that waits for its night still begins.
const HOLDS_FOR: Duration = Duration::from_secs(24 * 3600);
/// The longest that one may hold. Ours: a signature that nobody remembers is one that nobody takes back.
const HOLDS_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// How files of keys end.
const EXTENSION: &str = "key";

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key to sign orders with, and print the line that `worker.trusted_keys` takes. The file is for its owner alone, and
    /// is never written over.
    #[command(
        before_help = "Examples:\n  pentora key create --name alice\n  pentora key create --name alice --output /media/stick/alice.key"
    )]
    Create(CreateArgs),
    /// Print the line that `worker.trusted_keys` takes; it holds nothing secret.
    #[command(before_help = "Examples:\n  pentora key show\n  pentora key show --key alice")]
    Show(ShowArgs),
    /// Print the keys of this user.
    #[command(before_help = "Example:\n  pentora key list")]
    List(ListArgs),
}

/// Which key is made.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What its owner is called [default: this user's name].
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// The file [default: NAME.key among this user's keys].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Which key is shown.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Its name, or its file [default: the only one of this user].
    #[arg(long, value_name = "NAME|FILE")]
    key: Option<String>,
}

/// How keys are printed.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    form: FormArgs,
}

/// Whether and how a request is signed.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SignArgs {
    /// Sign the order, so that nodes whose owners ask for that scan it: what, how fast, and until when.
    #[arg(long, help_heading = "Signature")]
    sign: bool,
    /// The key: its name, or its file [default: the only one of this user].
    #[arg(long, value_name = "NAME|FILE", requires = "sign", help_heading = "Signature")]
    key: Option<String>,
    /// How long the order holds, such as 8h or 90d; a schedule needs it [default: 24h].
    #[arg(long, value_name = "DURATION", requires = "sign", value_parser = parse_duration, help_heading = "Signature")]
    sign_for: Option<Duration>,
}

/// A row of the list.
#[derive(Debug, Clone, Serialize)]
struct Row {
    name: String,
    key: String,
    file: String,
}

impl Tabular for Row {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |row| row.name.clone()),
            Column::new("Key", |row| row.key.clone()),
            Column::new("File", |row| row.file.clone()),
        ]
    }
}

impl SignArgs {
    /// The request with a signature, where one is asked for; `times` are those of a schedule.
    ///
    /// # Errors
    /// There is no such key, or the request cannot be signed.
    pub(super) fn signed(
        &self,
        request: ScanRequest,
        times: Option<(&str, &str)>,
        context: &Context,
    ) -> Result<ScanRequest, Failure> {
        if !self.sign {
            return Ok(request);
        }
        let usage = |what: &str| Failure::new(ExitCode::Usage, what);
        let holds_for = match (self.sign_for, times) {
            (Some(duration), _) => duration,
            (None, None) => HOLDS_FOR,
            (None, Some(_)) => {
                return Err(usage("a signed schedule ends: say how long its order holds").next("add --sign-for 90d"));
            }
        };
        if holds_for.is_zero() || holds_for > HOLDS_MAX {
            return Err(usage("an order holds for some time, and for a year at most").next("write --sign-for 90d"));
        }
        if let Some(profile) = &request.profile
            && ProfileOptions::built_in(&profile.to_ascii_lowercase()).is_none()
        {
            let what = "a profile of the cluster's own cannot be signed, because the cluster may change it";
            return Err(usage(what).next("name a built-in one, or write its options out"));
        }
        let (key, _) = chosen(self.key.as_deref(), context)?;
        let repeats = times.map(|(cron, timezone)| Repeats { cron: cron.to_owned(), timezone: timezone.to_owned() });
        let valid_ms = u64::try_from(holds_for.as_millis()).unwrap_or(u64::MAX);
        let signed = orders::sign(&request, repeats, (wall_ms(), valid_ms), &key);
        let signed = signed.map_err(|error| Failure::new(ExitCode::Usage, error.to_string()))?;
        Ok(ScanRequest { order: Some(signed), ..request })
    }
}

fn name(text: &str) -> Result<String, String> {
    match is_rule_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a key's name has 1 to 64 letters, digits, dots, - and _".to_owned()),
    }
}

/// Where this user's keys are.
fn folder(context: &Context) -> Result<PathBuf, Failure> {
    Ok(contexts::directory(context, "keys")?.join("keys"))
}

/// Reads the key that is meant: by its name, by its file, or the only one there is.
fn chosen(which: Option<&str>, context: &Context) -> Result<(PersonKey, PathBuf), Failure> {
    let path = match which {
        Some(name) if is_rule_name(name) && !Path::new(name).exists() => {
            folder(context)?.join(format!("{name}.{EXTENSION}"))
        }
        Some(file) => PathBuf::from(file),
        None => {
            let mut all = files(&folder(context)?)?;
            match (all.pop(), all.len()) {
                (Some(only), 0) => only,
                (None, _) => {
                    return Err(Failure::new(ExitCode::Failure, "you have no key to sign with")
                        .next("make one with `pentora key create`, or name its file with --key"));
                }
                (Some(_), more) => {
                    let what = format!("you have {} keys to sign with", more + 1);
                    return Err(
                        Failure::new(ExitCode::Usage, what).next("name one with --key; `pentora key list` has them")
                    );
                }
            }
        }
    };
    let key = PersonKey::load(&path).map_err(|error| unusable(&error))?;
    Ok((key, path))
}

fn unusable(error: &IdentityError) -> Failure {
    let failure = Failure::new(ExitCode::Failure, "the key cannot be used").because(error.to_string());
    match error {
        IdentityError::Io { path, source } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            let what = format!("{} is there already, and no key is written over another file", path.display());
            Failure::new(ExitCode::Refused, what).next("choose another name or file")
        }
        _ => failure.next("`pentora key list` has this user's keys"),
    }
}

/// The files of keys in a folder, by name; none where there is no such folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let told = |error: std::io::Error| Failure::new(ExitCode::Failure, format!("{}: {error}", folder.display()));
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(told)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(told)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What a key is called: its file's name, where that is one.
fn called(path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if is_rule_name(stem) { stem.to_owned() } else { String::new() }
}

/// The line that a configuration takes.
fn line(key: &PersonKey, path: &Path) -> String {
    format!("{} {}", key.public(), called(path)).trim_end().to_owned()
}

/// Carries the command out.
///
/// # Errors
/// A file cannot be read or written, or there is no such key.
pub(super) fn run(command: KeyCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(args) => create(args, context),
        KeyCommand::Show(args) => {
            let (key, path) = chosen(args.key.as_deref(), context)?;
            context.output.print(&format!("{}\n", line(&key, &path)))
        }
        KeyCommand::List(args) => {
            let mut rows = Vec::new();
            for path in files(&folder(context)?)? {
                // One that cannot be used is listed all the same, with why.
                let key = PersonKey::load(&path);
                let key = key.map_or_else(|error| error.to_string(), |key| key.public().to_string());
                rows.push(Row { name: called(&path), key, file: path.display().to_string() });
            }
            context.output.print(&text(&rows, args.form.form(&context.output)))
        }
    }
}

fn create(args: CreateArgs, context: &mut Context) -> Result<(), Failure> {
    let user = context.env.get("USER").filter(|user| is_rule_name(user)).cloned();
    let name = args.name.or(user).unwrap_or_else(|| "default".to_owned());
    let path = match args.output {
        Some(path) => path,
        None => {
            let folder = folder(context)?;
            let told =
                |error: std::io::Error| Failure::new(ExitCode::Failure, format!("{}: {error}", folder.display()));
            std::fs::create_dir_all(&folder).map_err(told)?;
            folder.join(format!("{name}.{EXTENSION}"))
        }
    };
    let key = PersonKey::generate();
    key.save(&path).map_err(|error| unusable(&error))?;
    context.output.print(&format!("{} {name}\n", key.public()))?;
    context.say(format_args!(
        "{} has the private half: keep it where you alone read it\n  the line above goes into the files of nodes that are \
         to take your orders alone:\n  worker: {{require_signed_orders: true, trusted_keys: ['...']}}",
        path.display()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn context(home: &Path) -> Context {
        let mut context = Context::for_test(std::io::sink());
        context.host.home = Some(home.to_owned());
        context
    }

    fn create_named(name: &str, context: &mut Context) -> Result<(), Failure> {
        run(KeyCommand::Create(CreateArgs { name: Some(name.into()), output: None }), context)
    }

    fn sign(key: Option<&str>, times: Option<(&str, &str)>, context: &Context) -> Result<ScanRequest, Failure> {
        let args = SignArgs { sign: true, key: key.map(str::to_owned), sign_for: None };
        args.signed(ScanRequest { targets: vec!["10.0.0.1".into()], ..ScanRequest::default() }, times, context)
    }

    #[test]
    fn a_key_is_private_never_written_over_and_signs_where_it_is_the_only_one_or_named() {
        let home = tempfile::tempdir().unwrap();
        let mut context = context(home.path());
        assert!(sign(None, None, &context).unwrap_err().to_string().contains("no key"), "there is none");
        create_named("alice", &mut context).unwrap();
        let path = home.path().join(".config/pentora/keys/alice.key");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(create_named("alice", &mut context).unwrap_err().exit, ExitCode::Refused);
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let signed = sign(None, None, &context).unwrap().order.unwrap();
        let alice = PersonKey::load(&path).unwrap().public();
        assert_eq!(orders::verify(&signed).unwrap().signer, alice);
        create_named("bob", &mut context).unwrap();
        assert!(sign(None, None, &context).unwrap_err().to_string().contains("2 keys"));
        assert_eq!(sign(Some("alice"), None, &context).unwrap().order.unwrap().key, alice.to_string());
        let by_file = sign(Some(path.to_str().unwrap()), None, &context).unwrap().order.unwrap();
        assert_eq!(by_file.key, alice.to_string());
        assert!(sign(Some("carol"), None, &context).is_err());
        assert_eq!(line(&PersonKey::load(&path).unwrap(), &path), format!("{alice} alice"));
    }

    #[test]
    fn a_schedule_says_how_long_its_order_holds_and_a_clusters_profile_is_not_signed() {
        let home = tempfile::tempdir().unwrap();
        let mut context = context(home.path());
        create_named("alice", &mut context).unwrap();
        let times = Some(("@daily", "UTC"));
        assert!(sign(None, times, &context).unwrap_err().to_string().contains("how long"));
        let args = SignArgs { sign: true, key: None, sign_for: Some(Duration::from_secs(3600)) };
        let nightly = args.signed(ScanRequest::default(), times, &context).unwrap().order.unwrap();
        let order = orders::verify(&nightly).unwrap().order;
        assert_eq!(order.repeats, Some(Repeats { cron: "@daily".into(), timezone: "UTC".into() }));
        assert_eq!(order.expires_at_ms - order.issued_at_ms, 3_600_000);
        let ours = ScanRequest { profile: Some("ours".into()), ..ScanRequest::default() };
        assert!(args.signed(ours, None, &context).unwrap_err().to_string().contains("profile"));
        let forever = SignArgs { sign_for: Some(HOLDS_MAX * 2), ..args.clone() };
        assert!(forever.signed(ScanRequest::default(), None, &context).is_err());
        let plain = SignArgs::default().signed(ScanRequest::default(), None, &context).unwrap();
        assert_eq!(plain.order, None);
    }
}
