//! The sentences that a reader sees: made here from facts, none is a feed's.

use std::fmt::Write as _;

use super::{Match, Method};
use crate::finding::{Severity, Weakness, plain_text};
use crate::vuln::advisory::{Advisory, is_cve_id};

/// Most corrected versions that a remedy names.
const FIXED_MAX: usize = 4;

impl Match {
    /// This match as a weakness of its service.
    #[must_use]
    pub fn weakness(&self) -> Weakness {
        let product = plain_text(&self.product).to_string();
        let severity = self.advisory.severity;
        let mut evidence = self.evidence(&product);
        if severity.is_none() {
            evidence.push_str(" The source gives no severity; medium is assumed.");
        }
        let title = self.advisory.title.as_deref().map(|title| plain_text(title).to_string());
        Weakness {
            id: plain_text(&self.id).to_string(),
            title: title
                .unwrap_or_else(|| format!("{product} is in the affected versions of {}", plain_text(&self.id))),
            severity: severity.unwrap_or(Severity::Medium),
            confidence: self.confidence,
            method: self.method.as_str().to_owned(),
            evidence,
            remedy: remedy(&product, &self.advisory, self.method),
            references: references(&self.id, &self.advisory),
        }
    }

    fn evidence(&self, product: &str) -> String {
        let version = plain_text(&self.version);
        let source = source_of(&self.advisory);
        let mut text = match self.method {
            Method::PackageRange => format!("The package of {product} is {version}, which {source} calls affected."),
            Method::ProductOnly => format!("{product} does not tell its version; {source} calls all of them affected."),
            _ => format!("{product} says version {version}, which {source} calls affected."),
        };
        let caveat = match self.method {
            Method::VersionRangeDistro => {
                " A distribution ships it, and those correct programs without changing this version: potential only."
            }
            Method::VersionRangeShortened => {
                " Only the first places of its version are told; of those that begin so, some are affected and some are not: potential only."
            }
            Method::VersionRangePlatform => " Whether it is the platform or edition meant is not known.",
            Method::VersionRangeGuess => " The product was found by its bare name.",
            _ => "",
        };
        text.push_str(caveat);
        if let Some(kev) = &self.advisory.kev {
            let ransom = if kev.is_ransomware { ", for ransom too" } else { "" };
            // Writing to a string cannot fail.
            let _infallible =
                write!(text, " Known to be exploited since {}{ransom} (CISA KEV).", plain_text(&kev.added));
        }
        if let Some(epss) = &self.advisory.epss {
            let (whole, tenth) = (epss.probability_millionths / 10_000, epss.probability_millionths % 10_000 / 1_000);
            let _infallible = write!(text, " EPSS {whole}.{tenth} % on {}.", plain_text(&epss.day));
        }
        text
    }
}

/// The source as a reader knows it: `CVE record (openbsd, 2024-07-01)`.
pub(super) fn source_of(advisory: &Advisory) -> String {
    let known: Vec<&str> = [advisory.provider.as_str(), advisory.published.as_deref().unwrap_or_default()]
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect();
    format!("{} ({})", advisory.source, plain_text(&known.join(", ")))
}

fn remedy(product: &str, advisory: &Advisory, method: Method) -> String {
    let mut fixed: Vec<&str> = advisory.affected.iter().flat_map(|affected| affected.fixed()).collect();
    fixed.sort_unstable();
    fixed.dedup();
    let more = if fixed.len() > FIXED_MAX { ", ..." } else { "" };
    fixed.truncate(FIXED_MAX);
    let list = fixed.iter().map(|version| plain_text(version).to_string()).collect::<Vec<_>>().join(", ");
    match (fixed.is_empty(), method) {
        (_, Method::VersionRangeDistro) => {
            format!(
                "Compare the installed package of {product} with its distribution's advisory, and update it if it is older."
            )
        }
        (true, _) => {
            format!("No corrected version of {product} is known: follow the references, or take it off the network.")
        }
        (false, _) => format!("Update {product}; corrected in {list}{more}."),
    }
}

fn references(id: &str, advisory: &Advisory) -> Vec<String> {
    let own = is_cve_id(id).then(|| format!("https://www.cve.org/CVERecord?id={id}"));
    let is_web = |url: &&String| url.starts_with("https://") || url.starts_with("http://");
    own.into_iter().chain(advisory.references.iter().filter(is_web).map(|url| plain_text(url).to_string())).collect()
}
