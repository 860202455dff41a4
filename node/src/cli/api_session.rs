//! A connection to a node, for commands that ask one.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use clap::Args;

use super::client_failure::from_client;
use super::context::Context;
use super::contexts;
use super::output::clean;
use super::private_files::warn_of_others;
use crate::client::contexts::NamedCluster;
use crate::client::locate::{Location, locate};
use crate::client::{Client, ClientError};
use crate::config::{FlagValue, Purpose, Raw};
use crate::failure::{ExitCode, Failure};
use crate::tls::Fingerprint;

/// Time for a node on this host to say that it is there; loopback answers in less than a millisecond.
const PROBE_TIMEOUT: Duration = Duration::from_millis(300);

/// Which node to ask.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct NodeArgs {
    /// API address of any node, several with commas: the next is asked where one is silent for 2 s or hears no leader
    /// [env: PENTORA_API] [default: a node on this host].
    #[arg(long, value_name = "URL", help_heading = "Node")]
    pub(super) api: Option<String>,
    /// File with the API token [env: PENTORA_TOKEN_FILE] [default: admin.token in the data directory].
    #[arg(long, value_name = "FILE", help_heading = "Node")]
    pub(super) token_file: Option<PathBuf>,
    /// Cluster to ask, by its name from `pentora context list` [env: PENTORA_CONTEXT] [default: the one in use].
    #[arg(long, value_name = "NAME", help_heading = "Node", conflicts_with = "api")]
    pub(super) context: Option<String>,
    #[command(flatten)]
    pub(super) trust: TrustArgs,
}

/// Whom to believe over TLS.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TrustArgs {
    /// File with the certificate authorities to trust [env: PENTORA_CA_FILE] [default: those of the system].
    #[arg(long, value_name = "FILE", help_heading = "Node")]
    pub(super) ca_file: Option<PathBuf>,
    /// Fingerprint of the certificate authority to trust [env: PENTORA_CA_FINGERPRINT].
    #[arg(long, value_name = "SHA256", help_heading = "Node")]
    pub(super) ca_fingerprint: Option<Fingerprint>,
}

impl TrustArgs {
    fn flags(&self) -> impl Iterator<Item = FlagValue> {
        let text = |key, flag, value| FlagValue { key, flag, value: Raw::Text(value) };
        let file = self.ca_file.as_ref().map(|path| text("client.ca_file", "--ca-file", path.display().to_string()));
        let fingerprint =
            self.ca_fingerprint.map(|it| text("client.ca_fingerprint", "--ca-fingerprint", it.to_string()));
        file.into_iter().chain(fingerprint)
    }
}

/// A client, and where its token was looked for.
pub(super) struct ApiSession {
    pub(super) client: Client,
    searched: String,
}

impl ApiSession {
    /// Finds a node as `args`, environment and configuration say. Dials nothing yet.
    ///
    /// # Errors
    /// Exit 8 for a wrong configuration, 1 for an unusable token file.
    pub(super) fn open(args: &NodeArgs, context: &Context) -> Result<Self, Failure> {
        let location = find(args, context)?;
        warn_of_clear(&location, context);
        Self::at(location)
    }

    /// A client of `location`.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub(super) fn at(location: Location) -> Result<Self, Failure> {
        let searched = location.searched;
        let client = Client::http(location.endpoints, location.token, &location.trust)
            .map_err(|error| from_client(&error, &searched))?;
        Ok(Self { client, searched })
    }

    /// A client of the node inside this process, which asks for no token.
    pub(super) fn in_process(client: Client) -> Self {
        Self { client, searched: "this process".to_owned() }
    }

    /// What an error of the client means for the command.
    pub(super) fn failure(&self, error: &ClientError) -> Failure {
        from_client(error, &self.searched)
    }
}

/// Says once that a token goes to another machine in clear, where it does.
pub(super) fn warn_of_clear(location: &Location, context: &Context) {
    static SAID: Once = Once::new();
    if let Some(endpoint) = location.in_clear() {
        SAID.call_once(|| {
            context.warn(format_args!(
                "the token goes to {} in clear, and whoever is on the way can read it: ask https:// there",
                clean(endpoint)
            ));
        });
    }
}

/// Where a node is expected.
///
/// # Errors
/// As [`ApiSession::open`].
pub(super) fn find(args: &NodeArgs, context: &Context) -> Result<Location, Failure> {
    find_in(args, None, context)
}

/// The same, with another data directory than the configuration's.
///
/// # Errors
/// As [`ApiSession::open`].
pub(super) fn find_in(args: &NodeArgs, data_dir: Option<&Path>, context: &Context) -> Result<Location, Failure> {
    let text = |key, flag, value: &str| FlagValue { key, flag, value: Raw::Text(value.to_owned()) };
    let api = args.api.as_deref().map(|api| text("client.api", "--api", api));
    let token_file =
        args.token_file.as_ref().map(|path| text("client.token_file", "--token-file", &path.display().to_string()));
    let data_dir = data_dir.map(|path| text("node.data_dir", "--data-dir", &path.display().to_string()));
    let said = api.into_iter().chain(token_file).chain(data_dir).chain(args.trust.flags());
    let loaded = context.load_with_memory(Purpose::Client, said.collect())?;
    let unusable = |error: String| Failure::new(ExitCode::Failure, error);
    let env = context.env.get("PENTORA_CONTEXT").filter(|name| !name.is_empty());
    let named = args.context.as_ref().or(env.filter(|_| args.api.is_none()));
    let by_settings = || {
        let own = loaded.config.data_dir.join("admin.token");
        warn_of_others([loaded.config.client.token_file.as_ref().unwrap_or(&own).as_path()], context);
        locate(&loaded).map_err(|error| unusable(error.to_string()))
    };
    // Where somebody says an address, by flag, environment or file, that goes before the context that is in use.
    if named.is_none() && loaded.config.client.api.is_some() {
        return by_settings();
    }
    let Some((name, cluster)) = contexts::chosen(named.map(String::as_str), context)? else {
        return by_settings();
    };
    let token_file = args.token_file.clone().or(cluster.token_file);
    warn_of_others(token_file.as_deref(), context);
    let cluster = match &args.trust {
        // A context that says nothing of it leaves what the configuration and the environment say.
        TrustArgs { ca_file: None, ca_fingerprint: None }
            if cluster.ca_file.is_none() && cluster.ca_fingerprint.is_none() =>
        {
            let client = &loaded.config.client;
            let (ca_file, ca_fingerprint) = (client.ca_file.clone(), client.ca_fingerprint);
            NamedCluster { token_file, ca_file, ca_fingerprint, ..cluster }
        }
        TrustArgs { ca_file: None, ca_fingerprint: None } => NamedCluster { token_file, ..cluster },
        TrustArgs { ca_file, ca_fingerprint } => {
            NamedCluster { token_file, ca_file: ca_file.clone(), ca_fingerprint: *ca_fingerprint, ..cluster }
        }
    };
    cluster.location(&name).map_err(|error| unusable(error.to_string()))
}

/// The cluster to use, if there is one: one that is named (or must be there), or a node on this host whose token we may
/// read.
///
/// # Errors
/// As [`ApiSession::open`].
pub(super) async fn cluster_here(
    args: &NodeArgs,
    must_be_there: bool,
    context: &Context,
) -> Result<Option<ApiSession>, Failure> {
    let location = find(args, context)?;
    let (sure, has_token) = (location.chosen || must_be_there, location.token.is_some());
    let (data_dir, lives_here) = node_here(args, context)?;
    if !sure && !has_token && !lives_here {
        return Ok(None);
    }
    warn_of_clear(&location, context);
    let session = ApiSession::at(location)?;
    if sure {
        return Ok(Some(session));
    }
    match tokio::time::timeout(PROBE_TIMEOUT, session.client.healthz()).await {
        Ok(Ok(())) if has_token => Ok(Some(session)),
        // Whoever asks on a machine of the cluster means the cluster: its policy, its record, its other nodes.
        Ok(Ok(())) => {
            Err(Failure::new(ExitCode::Failure, "a node runs on this machine, and no token for its cluster was found")
                .because(format!("{}: {}", data_dir.display(), session.searched))
                .next("name one with --token-file or `pentora login`, or scan from this process alone with --local"))
        }
        _ => Ok(None),
    }
}

/// The data directory, and whether a node lives there.
pub(super) fn node_here(args: &NodeArgs, context: &Context) -> Result<(PathBuf, bool), Failure> {
    let loaded = context.load_with_memory(Purpose::Client, args.trust.flags().collect())?;
    let data_dir = loaded.config.data_dir;
    let lives_here = data_dir.join("node.id").exists();
    Ok((data_dir, lives_here))
}

/// A job's or token's id as it may stand in a path.
///
/// # Errors
/// A sentence for the usage message.
pub(super) fn id(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=80).contains(&text.len()) && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err("an id holds letters, digits, - and _ only, such as job-abc123".to_owned())
}
