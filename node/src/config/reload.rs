//! A configuration that is read again while its node runs: what of it takes effect, and what waits for the next start.

use std::path::{Path, PathBuf};

use pentora_raft::Digest;

use super::build::{Loaded, Sources, load};
use super::file::ConfigText;
use super::issue::ConfigError;
use super::keys::{KEYS, env_name};
use super::kind::Kind;
use super::layers::{Raw, Settings};
use super::{OidcSettings, WorkerSettings};

/// What a node keeps of what its configuration was read from, to read its file again while it runs: of a secret no more than
/// tells another from it.
#[derive(Debug, Clone)]
pub struct ReadFrom {
    file: Option<PathBuf>,
    /// Without the file's text.
    sources: Sources,
    settings: Settings,
}

impl ReadFrom {
    /// What is kept of `sources`, which were read as `loaded`.
    #[must_use]
    pub fn of(sources: Sources, loaded: &Loaded) -> Self {
        let mut settings = loaded.settings.clone();
        let mut secrets = Vec::new();
        let Sources { remembered, noted, file, mut env, mut flags, host, purpose } = sources;
        for key in KEYS.iter().filter(|key| key.kind == Kind::Secret) {
            // One that something stronger went before is a secret all the same.
            let names = key.also_env.iter().map(ToString::to_string).chain([env_name(key.path)]);
            secrets.extend(names.filter_map(|name| env.get(&name).map(|text| text.trim().to_owned())));
            if let Some(setting) = settings.get_mut(key.path) {
                let secret = match &setting.raw {
                    Raw::Text(text) => text.trim().to_owned(),
                    Raw::List(texts) => texts.join(","),
                };
                setting.raw = Raw::Text(mark_of(&secret));
                secrets.push(secret);
            }
        }
        let hide = |text: &mut String| {
            if secrets.iter().any(|secret| is_of(text.trim(), secret)) {
                *text = mark_of(text);
            }
        };
        env.values_mut().for_each(hide);
        for flag in &mut flags {
            match &mut flag.value {
                Raw::Text(text) => hide(text),
                Raw::List(texts) => texts.iter_mut().for_each(hide),
            }
        }
        let file = file.map(|file| PathBuf::from(file.name));
        Self { file, sources: Sources { remembered, noted, file: None, env, flags, host, purpose }, settings }
    }

    /// The file that is read again; none where there was none.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

/// The shortest text that is held against secrets: a shorter one stands in many that are none.
const SECRET_BYTES_MIN: usize = 12;

/// Whether a variable or flag has a secret, or the part from which the file makes one.
fn is_of(text: &str, secret: &str) -> bool {
    let are_long = text.len().min(secret.len()) >= SECRET_BYTES_MIN;
    are_long && (text.contains(secret) || secret.contains(text))
}

/// What stands for a secret: the same for the same, and itself for what stands for one already. It reads as a header does, which some
/// secrets are.
fn mark_of(secret: &str) -> String {
    const MARK: &str = "was-given-away=";
    let secret = secret.trim();
    if secret.starts_with(MARK) { secret.to_owned() } else { format!("{MARK}{}", Digest::of(secret.as_bytes())) }
}

/// The keys that take effect at once: what a node's owner allows must not wait for a restart, nor who is let in, nor where it is.
const AT_ONCE: [&str; 14] = [
    "mesh.advertise",
    "server.api.oidc.audience",
    "server.api.oidc.issuer",
    "server.api.oidc.jwks_file",
    "server.api.oidc.jwks_url",
    "server.api.oidc.name_claim",
    "server.api.oidc.role_claim",
    "server.api.oidc.roles",
    "worker.scope",
    "worker.exclude",
    "worker.windows",
    "worker.blackouts",
    "worker.require_signed_orders",
    "worker.trusted_keys",
];

/// What reading a configuration again came to.
#[derive(Debug)]
pub struct Reloaded {
    /// What it was read from now.
    pub read_from: ReadFrom,
    /// What holds for the worker.
    pub(crate) worker: WorkerSettings,
    /// Where others reach it.
    pub(crate) advertise: Vec<String>,
    /// By whose word people are let in.
    pub(crate) oidc: OidcSettings,
    /// Keys with other values that take effect at once.
    pub now: Vec<&'static str>,
    /// Keys with other values that are read at the next start.
    pub later: Vec<&'static str>,
}

/// Reads the file again that `before` was read from, with the environment and the flags of then.
///
/// # Errors
/// Everything that is wrong with it now; what held before goes on.
pub fn reload(before: &ReadFrom) -> Result<Reloaded, ConfigError> {
    let file = before.file().map(ConfigText::read).transpose()?;
    let sources = Sources { file, ..before.sources.clone() };
    let is = load(&sources)?;
    let read_from = ReadFrom::of(sources, &is);
    let value = |settings: &Settings, path: &str| settings.get(path).map(|setting| setting.raw.clone());
    let differs = |path: &&str| value(&before.settings, path) != value(&read_from.settings, path);
    let (now, later) = KEYS.iter().map(|key| key.path).filter(differs).partition(|path| AT_ONCE.contains(path));
    let worker = WorkerSettings { token: None, ..is.config.worker };
    let (oidc, advertise) = (is.config.api.oidc, is.config.mesh.advertise);
    Ok(Reloaded { read_from, worker, advertise, oidc, now, later })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FlagValue;

    fn read_from(path: &Path, sources: Sources) -> ReadFrom {
        let sources = Sources { file: Some(ConfigText::read(path).unwrap()), ..sources };
        let loaded = load(&sources).unwrap();
        ReadFrom::of(sources, &loaded)
    }

    #[test]
    fn nothing_that_is_kept_has_a_secret_and_another_one_is_told_of_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.yaml");
        let (token, other) = ("pnj_aaaabbbbccccddddeeee", "pnj_ffffgggghhhhiiiijjjj");
        let of_env = |name: &str, value: &str| {
            let mut sources = Sources::default();
            sources.env.insert(name.to_owned(), value.to_owned());
            sources
        };
        let flag = FlagValue { key: "worker.token", flag: "--token", value: Raw::Text(token.to_owned()) };
        let file = FlagValue { key: "worker.token_file", flag: "--token-file", value: Raw::Text("/t".to_owned()) };
        let escaped = token.replace('p', "\\x70");
        for (text, sources) in [
            (format!("worker: {{token: {token}}}"), Sources::default()),
            (format!("worker: {{token: \"{escaped}\"}}"), Sources::default()),
            ("worker: {token: '${T}'}".to_owned(), of_env("T", token)),
            ("worker: {token: 'pnj_${T}'}".to_owned(), of_env("T", &token[4..])),
            (String::new(), of_env("WORKER_TOKEN", &format!("{token}\n"))),
            (
                "telemetry: {otlp: 'http://127.0.0.1:1'}".to_owned(),
                of_env("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-key={token}")),
            ),
            (String::new(), of_env("PENTORA_WORKER_TOKEN", token)),
            (String::new(), Sources { flags: vec![file], ..of_env("WORKER_TOKEN", token) }),
            (String::new(), Sources { flags: vec![flag], ..Sources::default() }),
        ] {
            std::fs::write(&path, &text).unwrap();
            let kept = read_from(&path, sources);
            let shown = format!("{kept:?}");
            assert!(!shown.contains(&token[4..]) && !shown.contains(&escaped), "{text}: {shown}");
            let again = reload(&kept).unwrap();
            assert!(again.now.is_empty(), "{text}: {:?}", again.now);
            assert!(again.later.is_empty() || text.contains("pnj_$"), "{text}: {:?}", again.later);
            assert!(!format!("{:?}", again.read_from).contains(&token[4..]), "{text}");
            if text.contains(token) {
                std::fs::write(&path, text.replace(token, other)).unwrap();
                assert_eq!(reload(&again.read_from).unwrap().later, ["worker.token"]);
            }
        }
    }

    #[test]
    fn what_an_owner_allows_takes_effect_at_once_the_rest_later_and_a_file_with_a_slip_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("worker: {region: eu, exclude: [10.0.0.1]}\n");
        let before = read_from(&path, Sources::default());
        let same = reload(&before).unwrap();
        assert!(same.now.is_empty() && same.later.is_empty());
        write("worker: {region: us, exclude: [10.0.0.1, 10.0.0.2], blackouts: ['sat,sun 08:00-18:00 UTC']}\n");
        let read = reload(&before).unwrap();
        assert_eq!(read.now, ["worker.exclude", "worker.blackouts"]);
        assert_eq!(read.later, ["worker.region"]);
        assert_eq!(read.worker.exclude, ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(read.worker.blackouts, ["sat,sun 08:00-18:00 UTC"], "the comma is of its days");
        write("server: {api: {oidc: {issuer: https://i, audience: a, jwks_file: /k, roles: {ops: admin}}}}\n");
        let named = reload(&read.read_from).unwrap();
        assert!(named.now.contains(&"server.api.oidc.issuer") && named.now.contains(&"server.api.oidc.roles"));
        assert_eq!(named.oidc.provider().unwrap().issuer, "https://i");
        write("mesh: {advertise: [n1.example:7400]}\n");
        let moved = reload(&named.read_from).unwrap();
        assert!(moved.now.contains(&"mesh.advertise") && moved.advertise == ["n1.example:7400"], "{:?}", moved.now);
        write("worker: {exclud: [10.0.0.1]}\n");
        assert!(reload(&read.read_from).unwrap_err().to_string().contains("exclude"));
        std::fs::remove_file(&path).unwrap();
        assert!(reload(&read.read_from).is_err());
    }
}
