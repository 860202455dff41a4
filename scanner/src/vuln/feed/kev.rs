//! CISA's catalog of known exploited vulnerabilities: that and since when, none of its prose.

use serde::Deserialize;

use super::lenient::text;
use super::records::Records;
use super::{Entry, FeedKind, Problem, of_cve};
use crate::vuln::advisory::{Kev, bounded, is_cve_id};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Element {
    #[serde(rename = "cveID", deserialize_with = "text")]
    cve_id: Option<String>,
    #[serde(deserialize_with = "text")]
    date_added: Option<String>,
    #[serde(deserialize_with = "text")]
    due_date: Option<String>,
    #[serde(deserialize_with = "text")]
    known_ransomware_campaign_use: Option<String>,
}

pub(super) fn read(records: &mut Records<'_>) -> Result<(), Problem> {
    records.elements("vulnerabilities", entry)
}

fn entry(element: Element) -> Result<Entry, String> {
    let (Some(id), Some(added)) = (element.cve_id, element.date_added) else {
        return Err("a record has no `cveID` or no `dateAdded`".to_owned());
    };
    if !is_cve_id(&id) {
        return Err(format!("`{}` is no CVE id", bounded(&id)));
    }
    if !is_day(&added) {
        return Err(format!("the `dateAdded` of {id} is `{}`, no day", bounded(&added)));
    }
    let is_ransomware = element.known_ransomware_campaign_use.is_some_and(|word| word.eq_ignore_ascii_case("Known"));
    let kev = Kev { added: bounded(&added), due: element.due_date.as_deref().map(bounded), is_ransomware };
    Ok(of_cve(FeedKind::Kev, &id, &kev, Some(kev.added.clone())))
}

/// Whether this begins with a day, as in `2024-07-01`: the newest of a feed is known by it.
fn is_day(text: &str) -> bool {
    let is_digit_at = |at: usize| at != 4 && at != 7;
    let day = text.as_bytes().get(..10);
    day.is_some_and(|day| {
        (0..).zip(day).all(|(at, byte)| if is_digit_at(at) { byte.is_ascii_digit() } else { *byte == b'-' })
    })
}
