//! What a node is told of its HTTP API: where it listens, inside what, and who is let in.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::build::{Values, default_of};
use super::issue::Origin;
use super::keys::{self, KEYS};
use super::kind::claim_and_role;
use super::words::words;
use super::{NodeConfig, NodeMode};
use crate::sign_in::{Provider, Source};
use crate::tls::Files;

/// `server.api.*`.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Address the HTTP API listens on.
    pub(crate) listen: SocketAddr,
    /// How callers prove who they are.
    pub(crate) auth: ApiAuth,
    /// File with its certificate.
    pub(crate) tls_cert: Option<PathBuf>,
    /// File with the certificate's key.
    pub(crate) tls_key: Option<PathBuf>,
    /// More hosts that a certificate of the cluster's authority is for.
    pub(crate) tls_names: Vec<String>,
    /// Whether plain HTTP is meant where others reach it.
    pub(crate) insecure: bool,
    /// Requests a minute that are taken with one token.
    pub(crate) requests_per_minute: u32,
    /// By whose word people are let in.
    pub(crate) oidc: OidcSettings,
}

/// `server.api.oidc.*`.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// Whom JWTs say they are of.
    pub(crate) issuer: Option<String>,
    /// Whom they are for.
    pub(crate) audience: Option<String>,
    /// File with the provider's keys.
    pub(crate) jwks_file: Option<PathBuf>,
    /// Where they are fetched.
    pub(crate) jwks_url: Option<String>,
    /// The claim that says who somebody is.
    pub(crate) name_claim: String,
    /// The claim that says what somebody is.
    pub(crate) role_claim: String,
    /// What its values mean.
    pub(crate) roles: Vec<String>,
}

impl OidcSettings {
    pub(super) fn read(values: &Values<'_>) -> Self {
        Self {
            issuer: values.get(keys::OIDC_ISSUER),
            audience: values.get(keys::OIDC_AUDIENCE),
            jwks_file: values.get(keys::OIDC_JWKS_FILE),
            jwks_url: values.get(keys::OIDC_JWKS_URL),
            name_claim: values.get(keys::OIDC_NAME_CLAIM),
            role_claim: values.get(keys::OIDC_ROLE_CLAIM),
            roles: values.get(keys::OIDC_ROLES),
        }
    }

    /// The provider; none where nobody named one. What belongs together was held against each other.
    pub(crate) fn provider(&self) -> Option<Provider> {
        let of_url = || self.jwks_url.clone().map(Source::Url);
        Some(Provider {
            issuer: self.issuer.clone()?,
            audience: self.audience.clone()?,
            keys: self.jwks_file.clone().map(Source::File).or_else(of_url)?,
            role_claim: self.role_claim.clone(),
            name_claim: self.name_claim.clone(),
            roles: self.roles.iter().filter_map(|text| claim_and_role(text)).collect(),
        })
    }
}

/// What the API is spoken inside.
#[derive(Debug, Clone)]
pub enum ApiTls {
    /// Nothing.
    Plain,
    /// TLS, with a certificate from files.
    Files(Files),
    /// TLS, with a certificate of the cluster's authority.
    Cluster,
}

impl ApiSettings {
    pub(super) fn read(values: &Values<'_>) -> Self {
        Self {
            listen: values.get(keys::API_LISTEN),
            auth: values.get(keys::API_AUTH),
            tls_cert: values.get(keys::API_TLS_CERT),
            tls_key: values.get(keys::API_TLS_KEY),
            tls_names: values.get(keys::API_TLS_NAMES),
            insecure: values.get(keys::API_INSECURE),
            requests_per_minute: values.get(keys::API_REQUESTS_PER_MINUTE),
            oidc: OidcSettings::read(values),
        }
    }

    /// The names under which browsers ask the API of the node `name`; `None` inside TLS, where the certificate says them.
    pub(crate) fn hosts(&self, name: &str, advertised: &[String]) -> Option<Vec<String>> {
        let ApiTls::Plain = self.tls() else { return None };
        let host = |address: &String| address.rsplit_once(':').map_or(address.clone(), |(host, _)| host.to_owned());
        let advertised = advertised.iter().map(host);
        Some(std::iter::once(name.to_owned()).chain(advertised).chain(self.tls_names.iter().cloned()).collect())
    }

    /// What the API is spoken inside: what was given, and otherwise TLS wherever others reach it.
    pub(crate) fn tls(&self) -> ApiTls {
        match self.tls_cert.clone().zip(self.tls_key.clone()) {
            Some((cert, key)) => ApiTls::Files(Files { cert, key }),
            None if self.insecure || self.listen.ip().is_loopback() => ApiTls::Plain,
            None => ApiTls::Cluster,
        }
    }
}

words! {
    /// `server.api.auth`.
    ApiAuth,
    /// A bearer token is needed.
    Jwt = "jwt",
    /// No proof asked; accepted on loopback addresses only.
    None = "none",
}

/// A provider of identities is named whole, and where somebody is asked who they are.
pub(super) fn provider_named_whole(
    config: &NodeConfig,
    values: &Values<'_>,
    broken: &mut impl FnMut(&'static str, &'static str, String),
) {
    let (issuer, group) = ("server.api.oidc.issuer", "server.api.oidc.");
    let set = KEYS.iter().map(|key| key.path).filter(|path| path.starts_with(group));
    let set = set.filter(|path| values.0.get(path).is_some_and(|setting| setting.origin != Origin::Default));
    let oidc = &config.api.oidc;
    let Some(named) = &oidc.issuer else {
        // What is written as it would be anyway does no harm.
        let is_other = |path: &&str| {
            let default = KEYS.iter().find(|key| key.path == *path).map(default_of);
            values.0.get(*path).is_some_and(|setting| Some(&setting.raw) != default.as_ref())
        };
        for path in set.filter(is_other) {
            broken(path, path, format!("means nothing without {issuer}: add that, or remove this"));
        }
        return;
    };
    if named.starts_with("pentora:") || named.contains('#') || named.contains(char::is_whitespace) {
        broken(
            issuer,
            issuer,
            format!("`{named}` is no provider's: write it as the JWTs' `iss` has it, such as https://idp.example"),
        );
    }
    let (file, url) = ("server.api.oidc.jwks_file", "server.api.oidc.jwks_url");
    match (&oidc.jwks_file, &oidc.jwks_url) {
        (None, None) => broken(issuer, issuer, format!("needs its keys: {file} or {url}")),
        (Some(_), Some(_)) => broken(file, url, format!("is set beside {url}: keep one")),
        _ => {}
    }
    if oidc.jwks_url.as_ref().is_some_and(|url| url.starts_with("http://")) && !config.api.insecure {
        let message = "is whoever's on this machine who listens there first, and their keys let anybody in: write https://, or name a \
                       file (server.api.oidc.jwks_file); server.api.insecure: true says that nobody else is here";
        broken(url, "server.api.insecure", message.to_owned());
    }
    if oidc.audience.is_none() {
        broken(issuer, issuer, "needs server.api.oidc.audience: a JWT that is for anybody lets nobody in".to_owned());
    }
    if oidc.roles.is_empty() {
        broken(issuer, issuer, "needs server.api.oidc.roles: without it nobody has a role here".to_owned());
    }
    if config.api.auth == ApiAuth::None {
        broken("server.api.auth", issuer, format!("none asks nobody who they are, so {issuer} means nothing"));
    }
    if config.mode == NodeMode::Worker || config.worker.standalone {
        let message = "a node that only scans hands requests to a member, whose file counts: set it there";
        broken(issuer, "server.mode", message.to_owned());
    }
}
