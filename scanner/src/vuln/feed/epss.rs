//! FIRST's exploit prediction scores: CSV of `cve,epss,percentile` below a line that names model and day, as it is
//! published and as spreadsheets save it again: quoted, with semicolons, with decimal commas.

use super::records::Records;
use super::{Entry, FeedKind, Problem, of_cve};
use crate::vuln::advisory::{Epss, bounded, is_cve_id};

/// What each row has, in any order.
const COLUMNS: [&str; 3] = ["cve", "epss", "percentile"];
/// How many rows must have shares of at least some length before a shorter one at the end of the file is called cut.
const ROWS_LIKE_MIN: u64 = 2;

pub(super) fn read(records: &mut Records<'_>) -> Result<(), Problem> {
    let mut day = String::new();
    let mut table: Option<Table> = None;
    let mut rows = 0;
    let mut length_min = usize::MAX;
    records.lines(|line| {
        let text = line.text.trim();
        // Spreadsheets are told their sign by a line in front: `sep=;`.
        if text.is_empty() || (table.is_none() && text.trim_start_matches('"').starts_with("sep=")) {
            return Ok(None);
        }
        let Some(table) = &table else {
            if text.trim_start_matches('"').starts_with('#') {
                let date = text.split("score_date:").nth(1).and_then(|rest| rest.get(..10));
                day = date.map(bounded).ok_or("it names no score_date")?;
                return Ok(None);
            }
            table = Some(Table::of_header(text)?);
            return Ok(None);
        };
        if table.cells(text).iter().all(String::is_empty) {
            return Ok(None);
        }
        let row = table.row(text, &day);
        // Whatever its length, a last line without an end may be the front of one.
        let length = text.len() - text.rfind(['.', ',', ';']).unwrap_or(0);
        let is_cut = !line.is_ended && (row.is_err() || (rows >= ROWS_LIKE_MIN && length < length_min));
        if is_cut {
            return Err(format!("the file ends in the middle of a line (`{}`)", bounded(text)));
        }
        (rows, length_min) = (rows + 1, length_min.min(length));
        Ok(Some(row))
    })
}

/// How the rows of a file are to be read.
struct Table {
    separator: char,
    /// Where the columns are.
    places: [usize; 3],
    /// How many there are.
    columns: usize,
}

impl Table {
    fn of_header(text: &str) -> Result<Self, String> {
        let separator = [';', '\t'].into_iter().find(|separator| text.contains(*separator)).unwrap_or(',');
        let cells = cells(text, separator);
        let place = |name: &str| cells.iter().position(|cell| cell.eq_ignore_ascii_case(name));
        let places = COLUMNS.map(place);
        let columns = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        match places {
            [Some(cve), Some(epss), Some(percentile)] => {
                Ok(Self { separator, places: [cve, epss, percentile], columns })
            }
            _ => Err(format!("`{}` does not name the columns `{}`", bounded(text), COLUMNS.join(","))),
        }
    }

    fn cells(&self, text: &str) -> Vec<String> {
        cells(text, self.separator)
    }

    fn row(&self, text: &str, day: &str) -> Result<Entry, String> {
        let cells = self.cells(text);
        let [cve, epss, percentile] = self
            .places
            .map(|place| (column_of(text, self.separator, place), cells.get(place).map_or("", String::as_str)));
        let broken = |(column, cell): (usize, &str), what: &str| {
            Err(format!("column {column}: `{}` is no {what}, in `{}`", bounded(cell), bounded(text)))
        };
        let has_more = cells.iter().skip(self.columns).any(|cell| !cell.is_empty());
        if !is_cve_id(cve.1) {
            return broken(cve, "CVE id");
        }
        let Some(probability_millionths) = millionths(epss.1) else { return broken(epss, "share between 0 and 1") };
        let Some(percentile_millionths) = millionths(percentile.1).filter(|_| !has_more) else {
            return broken(percentile, "share between 0 and 1 at the end of its row");
        };
        let epss = Epss { probability_millionths, percentile_millionths, day: day.to_owned() };
        let day = (!day.is_empty()).then(|| day.to_owned());
        Ok(of_cve(FeedKind::Epss, cve.1, &epss, day))
    }
}

/// The cells of a row, without the quotes around them.
fn cells(text: &str, separator: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    for c in text.chars() {
        if c == '"' {
            is_quoted = !is_quoted;
        } else if c == separator && !is_quoted {
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(c);
        }
    }
    cells.into_iter().map(|cell| cell.trim().to_owned()).collect()
}

/// Where a cell begins, counted in characters from 1.
fn column_of(text: &str, separator: char, place: usize) -> usize {
    let mut is_quoted = false;
    let starts = text.chars().enumerate().filter(|(_, c)| {
        is_quoted ^= *c == '"';
        *c == separator && !is_quoted
    });
    place
        .checked_sub(1)
        .map_or(1, |before| starts.map(|(at, _)| at + 2).nth(before).unwrap_or(text.chars().count() + 1))
}

/// A share between 0 and 1, in millionths.
fn millionths(text: &str) -> Option<u32> {
    // Where a comma is the sign before decimals, programs write it.
    let share: f64 = text.replacen(',', ".", 1).parse().ok().filter(|share| (0.0..=1.0).contains(share))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1,000,000")]
    let millionths = (share * 1e6).round() as u32;
    Some(millionths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_however_a_spreadsheet_saved_them() {
        for (header, row) in [
            ("cve,epss,percentile", "CVE-2021-44228,0.94358,0.99957"),
            ("\"cve\",\"epss\",\"percentile\"", "\"CVE-2021-44228\",\"0.94358\",\"0.99957\""),
            ("cve;epss;percentile", "CVE-2021-44228;0,94358;0,99957"),
            ("cve;epss;percentile", "CVE-2021-44228;0.94358;0.99957;"),
            ("CVE\tEPSS\tPercentile", "CVE-2021-44228\t9,4358E-01\t0,99957"),
            ("percentile,cve,epss", "0.99957,CVE-2021-44228,9.4358e-1"),
            ("cve,epss,percentile", "CVE-2021-44228,\"0,94358\",\"0,99957\",,"),
            (" cve , epss , percentile ", " CVE-2021-44228 , .94358 , 0.99957 "),
            ("cve,epss,percentile,date", "CVE-2021-44228,0.94358,0.99957,2025-06-07"),
        ] {
            let table = Table::of_header(header).unwrap();
            let Ok(Entry::OfCve(row, _)) = table.row(row, "2025-06-07") else { panic!("{row}") };
            let expected =
                Epss { probability_millionths: 943_580, percentile_millionths: 999_570, day: "2025-06-07".to_owned() };
            let Entry::OfCve(expected, _) = of_cve(FeedKind::Epss, "CVE-2021-44228", &expected, None) else { panic!() };
            assert_eq!(row, expected);
        }
    }

    #[test]
    fn what_is_no_row_is_told_with_its_column() {
        let table = Table::of_header("cve,epss,percentile").unwrap();
        for (row, words) in [
            ("CVE-2021,0.1,0.2", "column 1: `CVE-2021` is no CVE id"),
            ("CVE-2021-44228,94%,0.2", "column 16: `94%` is no share"),
            ("CVE-2021-44228,0.1,1.2", "column 20: `1.2` is no share"),
            ("CVE-2021-44228,0.1", "column 19: `` is no share"),
            ("CVE-2021-44228,0,94358,0,99957", "column 18: `94358` is no share"),
            ("CVE-2021-44228,NaN,0.1", "column 16: `NaN`"),
        ] {
            let found = table.row(row, "").unwrap_err();
            assert!(found.contains(words), "{found}");
        }
        assert!(Table::of_header("cve,score").is_err());
    }
}
