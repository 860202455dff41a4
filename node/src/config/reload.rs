//! A configuration that is read again while its node runs: what of it takes effect, and what waits for the next start.

use std::path::Path;

use super::build::{Loaded, Sources, load};
use super::file::ConfigText;
use super::issue::ConfigError;
use super::keys::KEYS;
use super::{OidcSettings, WorkerSettings};

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
    pub sources: Sources,
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
pub fn reload(before: &Sources) -> Result<Reloaded, ConfigError> {
    let file = before.file.as_ref().map(|file| ConfigText::read(Path::new(&file.name))).transpose()?;
    let sources = Sources { file, ..before.clone() };
    let (was, is) = (load(before)?, load(&sources)?);
    let other = |loaded: &Loaded, path: &str| loaded.settings.get(path).map(|setting| setting.raw.clone());
    let changed = KEYS.iter().map(|key| key.path).filter(|path| other(&was, path) != other(&is, path));
    let (now, later) = changed.partition(|path| AT_ONCE.contains(path));
    let (worker, oidc, advertise) = (is.config.worker, is.config.api.oidc, is.config.mesh.advertise);
    Ok(Reloaded { sources, worker, advertise, oidc, now, later })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_owner_allows_takes_effect_at_once_the_rest_later_and_a_file_with_a_slip_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("worker: {region: eu, exclude: [10.0.0.1]}\n");
        let before = Sources { file: Some(ConfigText::read(&path).unwrap()), ..Sources::default() };
        let same = reload(&before).unwrap();
        assert!(same.now.is_empty() && same.later.is_empty());
        write("worker: {region: us, exclude: [10.0.0.1, 10.0.0.2], blackouts: ['sat,sun 08:00-18:00 UTC']}\n");
        let read = reload(&before).unwrap();
        assert_eq!(read.now, ["worker.exclude", "worker.blackouts"]);
        assert_eq!(read.later, ["worker.region"]);
        assert_eq!(read.worker.exclude, ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(read.worker.blackouts, ["sat,sun 08:00-18:00 UTC"], "the comma is of its days");
        write("server: {api: {oidc: {issuer: https://i, audience: a, jwks_file: /k, roles: {ops: admin}}}}\n");
        let named = reload(&read.sources).unwrap();
        assert!(named.now.contains(&"server.api.oidc.issuer") && named.now.contains(&"server.api.oidc.roles"));
        assert_eq!(named.oidc.provider().unwrap().issuer, "https://i");
        write("mesh: {advertise: [n1.example:7400]}\n");
        let moved = reload(&named.sources).unwrap();
        assert!(moved.now.contains(&"mesh.advertise") && moved.advertise == ["n1.example:7400"], "{:?}", moved.now);
        write("worker: {exclud: [10.0.0.1]}\n");
        assert!(reload(&read.sources).unwrap_err().to_string().contains("exclude"));
        std::fs::remove_file(&path).unwrap();
        assert!(reload(&read.sources).is_err());
    }
}
