//! What is matched of a service: for each product that it names the keys, the version, the distribution, the CPE names.

use super::Distribution;
use super::component::{Component, components_of, header_texts};
use super::platform::{Family, runs_on};
use crate::finding::Service;
use crate::vuln::advisory::package_key;
use crate::vuln::cpe::{Cpe, Part, Value};
use crate::vuln::product;
use crate::vuln::version::is_known_word;

/// A system of which no more than so much is sure was told by packets, not by words.
const OS_GUESS_MAX: u8 = 60;
/// What some write for the places of a version that they leave out: `2.4.x`, `9.4.z-SNAPSHOT`, `1.N`.
const WILD: &str = "xXyYzZnN*?";
/// From so many places on a version is told in whole, whatever follows.
const WHOLE_PLACES: usize = 3;
/// Most CPE names that are looked at of one service.
const CPES_MAX: usize = 16;

/// One product of a service as matching sees it. Two that are the same subject have the same weaknesses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    name: String,
    keys: Vec<String>,
    is_guess: bool,
    is_whole: bool,
    is_cut: bool,
    version: Option<String>,
    whole: Option<String>,
    distribution: Option<Distribution>,
    cpes: Vec<Cpe>,
    family: Option<Family>,
    confidence: u8,
}

impl Subject {
    /// The subjects of a service: the server itself first, then what else it names; none where no product is known.
    #[must_use]
    pub fn all_of(service: &Service) -> Vec<Self> {
        let cpes: Vec<Cpe> = service.cpes.iter().take(CPES_MAX).filter_map(|cpe| cpe.parse().ok()).collect();
        let os = service.os.as_deref().filter(|_| !is_guessed(service));
        let rest = [service.info.as_deref(), os].map(Option::unwrap_or_default);
        let headers = header_texts(service);
        let systems = cpes
            .iter()
            .filter(|cpe| cpe.part() == Part::System)
            .map(|cpe| cpe.vendor().to_string() + " " + &cpe.product().to_string());
        let texts = systems.chain(rest.iter().chain(&headers).map(|text| (*text).to_owned()));
        let family = texts.collect::<Vec<_>>().iter().find_map(|text| Family::of(text));
        let of_component = |component: Component| Self::of(component, &cpes, &rest, &headers, family);
        components_of(service, &cpes).into_iter().map(of_component).collect()
    }

    fn of(component: Component, cpes: &[Cpe], rest: &[&str], headers: &[&str], family: Option<Family>) -> Self {
        let mut keys = component.keys.clone();
        keys.extend(component.entry.into_iter().flat_map(|entry| entry.keys).map(|key| (*key).to_owned()));
        keys.sort_unstable();
        keys.dedup();
        let is_guess = keys.is_empty();
        let own_cpes: Vec<Cpe> = cpes
            .iter()
            .filter(|cpe| cpe.part() != Part::Application || cpe.product_key().is_some_and(|key| keys.contains(&key)))
            .cloned()
            .collect();
        if is_guess {
            keys.push(product::guessed_key(&component.name));
        }
        let told = component.version.as_deref().and_then(told_version);
        let is_wild = component.version.as_deref().is_some_and(|whole| told.is_some_and(|told| is_wild(whole, told)));
        // What else is said is of the server; of the others' revisions nothing but their own versions tell.
        let own = component.told.as_ref().or(component.version.as_ref()).map_or("", String::as_str);
        // The day behind a slash is no revision: `Ruby/2.6.6/2020-03-31`.
        let of_part = || Distribution::of(own.split('/').next().unwrap_or_default(), &[]);
        let of_own = if component.is_server { Distribution::of(own, rest) } else { of_part() };
        let distribution = of_own.or_else(|| Distribution::named(&[rest, headers].concat()));
        let packages = component.entry.map_or(&[][..], |entry| entry.packages);
        if let Some(distribution) = &distribution {
            keys.extend(packages.iter().map(|package| package_key(distribution.name, package)));
        }
        // Behind the first sign of a distribution stands no version of the makers'.
        let version = told.map(|told| match &distribution {
            Some(_) => told.split('-').next().unwrap_or(told).to_owned(),
            None => told.to_owned(),
        });
        let is_whole = keys.iter().any(|key| product::tells_whole_versions(key));
        let has_less = |version: &String| version.bytes().filter(|byte| *byte == b'.').count() < 2;
        let is_cut =
            is_wild || version.as_ref().is_some_and(has_less) && keys.iter().any(|key| product::has_three_places(key));
        let (name, confidence) = (component.name, component.confidence);
        let (whole, cpes) = (component.told.or_else(|| version.clone()), own_cpes);
        Self { name, keys, is_guess, is_whole, is_cut, version, whole, distribution, cpes, family, confidence }
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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

    /// Its version with all that was told in one word with it, by which its makers' builds are told from others'.
    pub(in crate::vuln) fn whole_version(&self) -> Option<&str> {
        self.whole.as_deref()
    }

    /// Whether its version is all of it, whatever it looks like.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether its version is known to have more places than it tells.
    pub(in crate::vuln) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The distribution that ships it.
    #[must_use]
    pub fn distribution(&self) -> Option<&Distribution> {
        self.distribution.as_ref()
    }

    /// How sure it is that it is what it seems, 0 to 100.
    #[must_use]
    pub fn confidence(&self) -> u8 {
        self.confidence
    }

    /// Whether the product was looked up by its bare name.
    #[must_use]
    pub fn is_guess(&self) -> bool {
        self.is_guess
    }

    /// Whether it is on one of these systems; `None` where that is not known.
    pub(super) fn runs_on(&self, platforms: &[String]) -> Option<bool> {
        runs_on(platforms, &self.cpes, self.family)
    }

    /// Its CPE name for the product behind `key`, as a thing of this kind where it was seen as one; made up from key and
    /// version where it told none.
    pub(super) fn cpe(&self, key: &str, part: Part) -> Option<Cpe> {
        let of_key = || self.cpes.iter().filter(|cpe| cpe.product_key().as_deref() == Some(key));
        let of_part = || of_key().filter(|cpe| cpe.part() == part);
        let told = of_part().chain(of_key()).find(|cpe| *cpe.version() != Value::Any);
        let seen = of_part().chain(of_key()).map(Cpe::part).next();
        told.filter(|cpe| Some(cpe.part()) == seen).cloned().or_else(|| {
            let (vendor, name) = key.split_once(':')?;
            let version = self.version.as_deref().map_or(Value::Any, Value::text);
            let [vendor, name] = [vendor, name].map(Value::text);
            let letter = match seen {
                // Of what was looked up by its bare name nobody knows what it is.
                None if self.is_guess => "*",
                None if product::part_of(key) == Part::System => "o",
                None | Some(Part::Application) => "a",
                Some(Part::System) => "o",
                Some(Part::Hardware) => "h",
                Some(Part::Any) => "*",
            };
            format!("cpe:2.3:{letter}:{vendor}:{name}:{version}:*:*:*:*:*:*:*").parse().ok()
        })
    }
}

/// Whether its system is a guess from packets: whatever stands in between may have made those, so they rule nothing out.
fn is_guessed(service: &Service) -> bool {
    let confidence = service.facts.iter().find(|(name, _)| name == "os-confidence");
    confidence.and_then(|(_, value)| value.parse().ok()).is_some_and(|confidence: u8| confidence <= OS_GUESS_MAX)
}

/// Whether what was told goes on behind `told` with places that are left out: an `x`, an asterisk, or a dot alone.
fn is_wild(whole: &str, told: &str) -> bool {
    whole.trim_start().strip_prefix(told).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether a place of a version, behind so many others, hides what stands there: `2.4.hidden`, `1.2X` for 1.20 to 1.29. A small `x` may
/// be a release of OpenSSL's.
fn is_hidden(word: &str, places: usize, rest: &str) -> bool {
    let behind = word.trim_start_matches(|c: char| c.is_ascii_digit());
    if behind.len() < word.len() {
        return !behind.is_empty() && behind.chars().all(|sign| "X*?".contains(sign));
    }
    // Numbers behind a word are of whoever built it: `5.7.mysql_aurora.2.11.1`.
    let is_last = !rest.contains(|c: char| c.is_ascii_digit());
    places < WHOLE_PLACES && is_last && word.chars().all(|c| c.is_ascii_alphabetic()) && !is_known_word(word)
}

/// The version in what was told, up to the first place that is left out.
fn told_version(version: &str) -> Option<&str> {
    let version = version.split_whitespace().next()?;
    // Ruby tells the day of its release behind its version: `2.6.6/2020-03-31`.
    let version = version.split('/').next()?;
    let version = version.trim_end_matches([',', ';', ')', '.']);
    let (mut end, mut places) = (0, 0);
    for place in version.split('.') {
        let word = place.split(['-', '+', '_', '~']).next().unwrap_or_default();
        if end > 0
            && (word.chars().all(|sign| WILD.contains(sign))
                || is_hidden(word, places, version.get(end..).unwrap_or_default()))
        {
            return version.get(..end - 1);
        }
        places += 1;
        end += place.len() + 1;
    }
    Some(version).filter(|version| !version.is_empty())
}
