//! FIRST's exploit prediction scores: CSV of `cve,epss,percentile` below a line that names model and day.

use super::records::Records;
use super::{Entry, FeedKind, Problem, of_cve};
use crate::vuln::advisory::{Epss, bounded, is_cve_id};

const HEADER: &str = "cve,epss,percentile";

pub(super) fn read(records: &mut Records<'_>) -> Result<(), Problem> {
    let mut day = String::new();
    let mut has_header = false;
    records.lines(|number, line| {
        if number == 1 && line.starts_with('#') {
            let date = line.split("score_date:").nth(1).and_then(|rest| rest.get(..10));
            day = date.map(bounded).ok_or("its first line names no score_date")?;
            return Ok(None);
        }
        if !has_header {
            has_header = line == HEADER;
            return if has_header { Ok(None) } else { Err(format!("it does not begin with `{HEADER}`")) };
        }
        row(line, &day).map(Some)
    })
}

fn row(line: &str, day: &str) -> Result<Entry, String> {
    let broken = || format!("`{}` is not `{HEADER}`", bounded(line));
    let mut fields = line.split(',');
    let (Some(id), Some(epss), Some(percentile), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(broken());
    };
    let probability_millionths = millionths(epss).ok_or_else(broken)?;
    let percentile_millionths = millionths(percentile).ok_or_else(broken)?;
    if !is_cve_id(id) {
        return Err(broken());
    }
    let epss = Epss { probability_millionths, percentile_millionths, day: day.to_owned() };
    let day = (!day.is_empty()).then(|| day.to_owned());
    Ok(of_cve(FeedKind::Epss, id, &epss, day))
}

/// A share between 0 and 1, in millionths.
fn millionths(text: &str) -> Option<u32> {
    let share: f64 = text.parse().ok().filter(|share| (0.0..=1.0).contains(share))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1,000,000")]
    let millionths = (share * 1e6).round() as u32;
    Some(millionths)
}
