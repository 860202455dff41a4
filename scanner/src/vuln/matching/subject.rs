//! What is matched of a service: its product's keys, its version, its distribution, its CPE names.

use super::Distribution;
use crate::finding::Service;
use crate::vuln::advisory::package_key;
use crate::vuln::cpe::{Cpe, Part, Value};
use crate::vuln::product::{self, Product};

/// Most CPE names that are looked at of one service.
const CPES_MAX: usize = 16;

/// A service as matching sees it. Two services that are the same subject have the same weaknesses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    keys: Vec<String>,
    is_guess: bool,
    version: Option<String>,
    distribution: Option<Distribution>,
    cpes: Vec<Cpe>,
    confidence: u8,
}

impl Subject {
    /// The subject of a service; `None` where its product is not known.
    #[must_use]
    pub fn of(service: &Service) -> Option<Self> {
        let cpes: Vec<Cpe> = service.cpes.iter().take(CPES_MAX).filter_map(|cpe| cpe.parse().ok()).collect();
        let mut product_keys: Vec<String> =
            cpes.iter().filter(|cpe| cpe.part() == Part::Application).filter_map(Cpe::product_key).collect();
        let name = service.product.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let known: Option<&Product> = product::find(name, product_keys.first().map(String::as_str));
        product_keys.extend(known.into_iter().flat_map(|product| product.keys).map(|key| (*key).to_owned()));
        product_keys.sort_unstable();
        product_keys.dedup();
        let guessed_key = name.filter(|_| product_keys.is_empty()).map(product::guessed_key);
        if product_keys.is_empty() && guessed_key.is_none() {
            return None;
        }
        let of_cpe = || cpes.iter().filter(|cpe| cpe.part() == Part::Application).find_map(Cpe::full_version);
        let told = service.version.clone().or_else(of_cpe).filter(|version| !version.trim().is_empty());
        let rest = [service.info.as_deref(), service.os.as_deref()].map(Option::unwrap_or_default);
        let distribution = Distribution::of(told.as_deref().unwrap_or_default(), &rest);
        let packages = known.map_or(&[][..], |product| product.packages);
        let is_guess = guessed_key.is_some();
        let package_keys = distribution
            .iter()
            .flat_map(|distribution| packages.iter().map(|package| package_key(distribution.name, package)));
        let keys = product_keys.into_iter().chain(guessed_key).chain(package_keys).collect();
        // Behind the first space or sign of a distribution stands no version of the makers'.
        let version = told.as_deref().and_then(|told| told.split_whitespace().next()).map(|told| match &distribution {
            Some(_) => told.split('-').next().unwrap_or(told).to_owned(),
            None => told.to_owned(),
        });
        let confidence = if service.confidence == 0 { 100 } else { service.confidence };
        Some(Self { keys, is_guess, version, distribution, cpes, confidence })
    }

    /// The keys that its advisories are looked up by.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The version of its makers.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The distribution that ships it.
    #[must_use]
    pub fn distribution(&self) -> Option<&Distribution> {
        self.distribution.as_ref()
    }

    /// How sure it is that the service is what it seems, 0 to 100.
    #[must_use]
    pub fn confidence(&self) -> u8 {
        self.confidence
    }

    /// Whether the product was looked up by its bare name.
    #[must_use]
    pub fn is_guess(&self) -> bool {
        self.is_guess
    }

    /// The CPE names of its system and device.
    pub(super) fn platforms(&self) -> impl Iterator<Item = &Cpe> {
        self.cpes.iter().filter(|cpe| matches!(cpe.part(), Part::System | Part::Hardware))
    }

    /// Its CPE name for the product behind `key`, made up from key and version where it told none.
    pub(super) fn cpe(&self, key: &str) -> Option<Cpe> {
        let told =
            self.cpes.iter().find(|cpe| cpe.product_key().as_deref() == Some(key) && *cpe.version() != Value::Any);
        told.cloned().or_else(|| {
            let (vendor, name) = key.split_once(':')?;
            let version = self.version.as_deref().map_or(Value::Any, Value::text);
            let [vendor, name] = [vendor, name].map(Value::text);
            format!("cpe:2.3:a:{vendor}:{name}:{version}:*:*:*:*:*:*:*").parse().ok()
        })
    }
}
