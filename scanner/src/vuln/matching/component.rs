//! What a service is made of: the server that answers, and whatever else it names, each with its own version.
//!
//! `Server: Apache/2.4.62 (Unix) OpenSSL/3.0.15` and `X-Powered-By: PHP/8.3.30` are three products with three versions.
//! An advisory is only ever held against the version of the product that it speaks of, so the parts are told apart
//! before anything is looked up.

use crate::finding::{FACT_VERSION_TOLD, Service};
use crate::vuln::cpe::{Cpe, Part};
use crate::vuln::product::{self, Product};

/// Most parts of one service.
const COMPONENTS_MAX: usize = 12;
/// Most words of a header that are looked at.
const WORDS_MAX: usize = 40;
/// How sure it is that a product that names itself in a header is there.
const CONFIDENCE_NAMED: u8 = 90;
/// Names before a version that are of protocols and interfaces, or of what has the version of something else.
/// `iOS` in a header is the telephone's, never the router's.
const NO_PRODUCTS: [&str; 10] = ["http", "https", "dav", "servlet", "jsp", "java", "mod_ssl", "mod_dav", "ssl", "ios"];

/// Servers that others are made from, whose version these name behind their own: their makers correct it, and the version stays.
const MADE_FROM: [&str; 2] = ["apache", "nginx"];

/// One product that a service names.
#[derive(Debug, Clone)]
pub(super) struct Component {
    /// What it calls itself.
    pub(super) name: String,
    /// Its version, as it was told.
    pub(super) version: Option<String>,
    /// All that was told in one word with it, where that is more: `9.16.23-RH`.
    pub(super) told: Option<String>,
    /// What is known of its names.
    pub(super) entry: Option<&'static Product>,
    /// What its CPE names are looked up by.
    pub(super) keys: Vec<String>,
    /// How sure it is that it is there, 0 to 100.
    pub(super) confidence: u8,
    /// Whether it is the server itself.
    pub(super) is_server: bool,
}

impl Component {
    /// Whether advisories know it by a name of its own.
    pub(super) fn is_known(&self) -> bool {
        self.entry.is_some() || !self.keys.is_empty()
    }

    fn is_same(&self, other: &Self) -> bool {
        let same_entry = match (self.entry, other.entry) {
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            _ => false,
        };
        same_entry
            || self.keys.iter().any(|key| other.keys.contains(key))
            || (!self.is_known() && !other.is_known() && self.name.eq_ignore_ascii_case(&other.name))
    }

    /// Takes over what `other`, which is the same, knows better.
    fn merge(&mut self, other: Self) {
        self.entry = self.entry.or(other.entry);
        if self.version.is_none() {
            (self.version, self.confidence) = (other.version, self.confidence.max(other.confidence));
            self.told = other.told;
        } else if is_front_of(self.version.as_deref(), other.version.as_deref()) {
            // The same version, told with its revision: that shows who ships it.
            self.version = other.version;
            self.told = other.told;
            if !self.is_server {
                (self.name, self.confidence) = (other.name, self.confidence.max(other.confidence));
            }
        }
        for key in other.keys {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
    }
}

/// Whether both are one version, of which `longer` may tell more behind its numbers.
fn is_front_of(version: Option<&str>, longer: Option<&str>) -> bool {
    let rest = version.and_then(|version| longer?.strip_prefix(version));
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

/// The parts of `service`, whose CPE names are `cpes`; the server itself first, where it is known.
pub(super) fn components_of(service: &Service, cpes: &[Cpe]) -> Vec<Component> {
    let mut all: Vec<Component> = Vec::new();
    let applications: Vec<&Cpe> =
        cpes.iter().filter(|cpe| cpe.part() == Part::Application && cpe.product_key().is_some()).collect();
    let (own, others): (Vec<&Cpe>, Vec<&Cpe>) =
        applications.iter().copied().partition(|cpe| is_of_server(service, cpe, &applications));
    let confidence = if service.confidence == 0 { 100 } else { service.confidence };
    all.extend(server(service, &own, confidence));
    for cpe in others {
        let component = Component {
            name: cpe.product().literal().unwrap_or_default().replace('_', " "),
            version: cpe.full_version(),
            told: None,
            entry: product::find(None, cpe.product_key().as_deref()),
            keys: cpe.product_key().into_iter().collect(),
            confidence,
            is_server: false,
        };
        add(&mut all, component);
    }
    for named in header_texts(service).iter().flat_map(|text| named_in(text)) {
        add(&mut all, named);
    }
    // Anybody may write anything there: `PHP 5.2 tutorial`.
    let generator = service.http.as_ref().and_then(|http| http.generator.as_deref());
    for named in generator.filter(|text| names_generator(text)).iter().flat_map(|text| named_in(text)) {
        add(&mut all, named);
    }
    all
}

/// What a service says in HTTP of the products that it is made of.
pub(super) fn header_texts(service: &Service) -> Vec<&str> {
    let Some(http) = &service.http else { return Vec::new() };
    let mut texts: Vec<&str> = http.server.as_deref().into_iter().collect();
    for name in ["server", "x-powered-by", "x-generator"] {
        texts.extend(http.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()));
    }
    texts.dedup();
    texts
}

fn add(all: &mut Vec<Component>, component: Component) {
    if let Some(known) = all.iter_mut().find(|known| known.is_same(&component)) {
        known.merge(component);
    } else if all.len() < COMPONENTS_MAX {
        all.push(component);
    }
}

/// The server itself: the product of the service, with the names that are its own.
fn server(service: &Service, own: &[&Cpe], confidence: u8) -> Option<Component> {
    let name = service.product.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let keys: Vec<String> = own.iter().filter_map(|cpe| cpe.product_key()).collect();
    if name.is_none() && keys.is_empty() {
        return None;
    }
    let entry = product::find(name, None).or_else(|| product::find(None, keys.first().map(String::as_str)));
    let told = service.version.clone().filter(|version| !version.trim().is_empty());
    let version = told.or_else(|| own.iter().find_map(|cpe| cpe.full_version()));
    let name = name.unwrap_or(&service.name).to_owned();
    let whole = service.facts.iter().find(|(name, _)| name == FACT_VERSION_TOLD).map(|(_, whole)| whole);
    let is_longer = |whole: &&String| {
        let behind = version.as_deref().and_then(|version| whole.strip_prefix(version));
        behind.is_some_and(|behind| !is_makers_build(behind))
    };
    let told = whole.filter(is_longer).cloned();
    Some(Component { name, version, told, entry, keys, confidence, is_server: true })
}

/// Whether what stands behind a version is the makers' own number of a build, or its commit, as ZooKeeper and ScreenConnect tell: `-1569965`,
/// `-2d71af4`. A packager's revision is shorter.
fn is_makers_build(behind: &str) -> bool {
    behind.strip_prefix('-').is_some_and(|build| build.len() >= 4 && build.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a CPE name is of the server itself, not of something in it.
fn is_of_server(service: &Service, cpe: &Cpe, all: &[&Cpe]) -> bool {
    let key = cpe.product_key().unwrap_or_default();
    let name = service.product.as_deref().map(str::trim).unwrap_or_default();
    if name.is_empty() {
        // Without a product the service's version can only be that of the one name that is there; a name with a version
        // of its own may be of anything in it.
        return all.len() == 1 && service.version.is_some();
    }
    let known = product::find(Some(name), None);
    if let Some(known) = known
        && known.keys.contains(&key.as_str())
    {
        return true;
    }
    let is_same_version = || match (cpe.full_version(), &service.version) {
        (Some(of_cpe), Some(told)) => of_cpe.eq_ignore_ascii_case(told),
        _ => false,
    };
    // Another product of the table is another product.
    if known.is_some() {
        return product::find(None, Some(&key)).is_none() && is_same_version();
    }
    let letters = |text: &str| text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let (name, product) = (letters(name), letters(cpe.product().literal().unwrap_or_default()));
    let is_alike = !product.is_empty() && (name.contains(&product) || product.contains(&name));
    is_same_version() || (is_alike && (cpe.full_version().is_none() || service.version.is_none()))
}

/// The products that a header names with their versions: `Apache/2.4.6 (CentOS) PHP/5.4.16`, `WordPress 6.1`.
fn named_in(text: &str) -> Vec<Component> {
    let between = |c: char| c.is_whitespace() || "(),;[]".contains(c);
    // `Passenger(R) 6.0.4`: a mark of trade is no word.
    let text = without_sentences(&text.replace("(R)", " ").replace("(TM)", " "));
    let words: Vec<&str> = text.split(between).filter(|word| !word.is_empty()).take(WORDS_MAX).collect();
    let is_made_from = |name: &str| {
        let is_one = |word: &str| MADE_FROM.iter().any(|server| word.eq_ignore_ascii_case(server));
        // What stands first is the server, and no module of one: `My nginx/1.2.3 Gateway`.
        let first = words.first().map(|word| word.split('/').next().unwrap_or(word));
        is_one(name) && first.is_some_and(|first| !is_one(first))
    };
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| words.get(at));
        let with_slash = word.split_once('/').filter(|(name, version)| !name.is_empty() && is_version(version));
        let named = match with_slash {
            Some((name, version)) => Some((name, version, before)),
            None if is_version(word) => before
                .filter(|name| !name.contains('/'))
                .map(|name| (*name, *word, at.checked_sub(2).and_then(|at| words.get(at)))),
            None => None,
        };
        let Some((name, version, before)) = named else { continue };
        let pair = before.map(|before| format!("{before} {name}"));
        let of_pair = pair.as_deref().and_then(|pair| Some((pair, product::find(Some(pair), None)?)));
        let (name, entry) = match of_pair {
            Some((pair, entry)) => (pair, Some(entry)),
            None => (name, product::find(Some(name), None)),
        };
        let is_no_product = NO_PRODUCTS.iter().any(|word| name.eq_ignore_ascii_case(word));
        if is_no_product || is_made_from(name) {
            continue;
        }
        if let Some(entry) = entry {
            let (name, version) = (name.to_owned(), Some(version.to_owned()));
            let entry = Some(entry);
            found.push(Component {
                name,
                version,
                told: None,
                entry,
                keys: Vec::new(),
                confidence: CONFIDENCE_NAMED,
                is_server: false,
            });
        }
    }
    found
}

/// A header without the comments that are words about something: `(see PHP/5.2.4 docs)` names nothing that is there, and
/// `(Apache Tomcat/7.0.40 Java/1.7)` does.
fn without_sentences(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once('(') {
        let (comment, after) = comment.split_once(')').unwrap_or((comment, ""));
        let parts = comment.split([',', ';']).map(without_java).filter(|part| names_products(part));
        kept = parts.fold(kept + before, |kept, part| kept + " (" + part + ") ");
        rest = after;
    }
    kept + rest
}

/// Whether a page's generator is a product with its version and nothing before it, as programs write it: what follows stands
/// behind a sign (`WordPress 6.1; features: ...`, `Drupal 10 (https://www.drupal.org)`). What a page is `Powered by` is a word of whoever
/// wrote the page.
fn names_generator(text: &str) -> bool {
    let told = text.split([';', '(', '|', ',']).next().unwrap_or_default();
    let told = told.split(" - ").next().unwrap_or_default().trim().trim_end_matches(" CMS");
    let (name, version) = told.rsplit_once([' ', '/']).unwrap_or_default();
    is_version(version) && product::find(Some(name), None).is_some()
}

/// A part of a comment up to the Java that it ends with, whose maker has blanks in its name: `Java/Oracle Corporation/1.8`.
fn without_java(part: &str) -> &str {
    part.find(" Java/").and_then(|at| part.get(..at)).unwrap_or(part)
}

/// Whether words are products with their versions and nothing else, as far as a version stands in them.
fn names_products(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().take(WORDS_MAX).collect();
    let has_version = |word: &str| is_version(word.split_once('/').map_or(word, |(_, version)| version));
    let mut rest = words.as_slice();
    while let [word, after @ ..] = rest {
        let is_pair = |next: &str| {
            let name = next.split_once('/').map_or(next, |(name, _)| name);
            product::find(Some(&format!("{word} {name}")), None).is_some()
        };
        rest = match after {
            _ if has_version(word) => after,
            [next, after @ ..] if is_version(next) => after,
            [next, version, after @ ..] if is_pair(next) && is_version(version) => after,
            [next, after @ ..] if is_pair(next) && has_version(next) => after,
            _ => return false,
        };
    }
    true
}

fn is_version(text: &str) -> bool {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    text.starts_with(|c: char| c.is_ascii_digit())
}
