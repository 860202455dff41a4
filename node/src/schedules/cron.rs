//! The times of a schedule as cron writes them: five fields, or a word for them.
//!
//! Minute, hour, day of the month, month, day of the week, each `*`, a value, a range `a-b`, a step `*/n`, `a-b/n` or `a/n`,
//! or several of these with commas. Months and days of the week also by their English names; 0 and 7 are Sunday. `L` is the
//! last day of a month, `FRI#3` its third Friday, `FRIL` its last one. As in cron, where both days are restricted either
//! will do, and where one of the fields begins with `*` both have to fit. Ours, and not a crate's: see decision 0035.
//!
//! This says which minutes of a calendar fit. When these are in a zone is in `times`.

use std::str::FromStr;

use jiff::civil::{Date, Weekday};

/// Longest text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 200;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Words for five fields.
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// What is wrong with the times of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields, and no word for them.
    #[error(
        "`{}` has {fields} fields: write minute, hour, day of the month, month and day of the week, such as \
         `0 2 * * *` for 2:00 each day, or @hourly, @daily, @weekly, @monthly, @yearly",
        text.escape_debug()
    )]
    Fields {
        /// What was written.
        text: String,
        /// How many fields that has.
        fields: usize,
    },
    /// A field that is none.
    #[error("{field}: `{}` {why}", item.escape_debug())]
    Item {
        /// Which field.
        field: &'static str,
        /// The part of it.
        item: String,
        /// What is wrong with it.
        why: String,
    },
    /// No calendar has such a day.
    #[error("no year has a day that fits `{}`", text.escape_debug())]
    Never {
        /// What was written.
        text: String,
    },
}

/// Minutes of a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    month_days: u64,
    last_day: bool,
    months: u64,
    weekdays: u64,
    /// Days of the week, each with which one of the month it has to be; 0 for the last.
    nth_weekdays: Vec<(u32, i8)>,
    /// Whether either day will do.
    either_day: bool,
}

/// A field: its name, the values that it may have, and the names of some.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    words: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", least: 0, most: 59, words: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, words: &[] };
const MONTH_DAY: Field = Field { name: "day of the month", least: 1, most: 31, words: &[] };
const MONTH: Field = Field { name: "month", least: 1, most: 12, words: &MONTHS };
const WEEKDAY: Field = Field { name: "day of the week", least: 0, most: 7, words: &WEEKDAYS };

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let shown: String = text.chars().take(TEXT_BYTES_MAX).collect();
        let lower = shown.trim().to_ascii_lowercase();
        let written = WORDS.iter().find(|(word, _)| *word == lower).map_or(lower.as_str(), |(_, fields)| fields);
        let fields: Vec<&str> = written.split_ascii_whitespace().collect();
        let &[minute, hour, month_day, month, weekday] = fields.as_slice() else {
            return Err(CronError::Fields { text: shown, fields: fields.len() });
        };
        let (mut month_days, mut last_day) = (0, false);
        for item in month_day.split(',') {
            if item == "l" {
                last_day = true;
            } else {
                month_days |= MONTH_DAY.item(item)?;
            }
        }
        let (mut weekdays, mut nth_weekdays) = (0, Vec::new());
        for item in weekday.split(',') {
            match nth_weekday(item)? {
                Some(nth) => nth_weekdays.push(nth),
                None => weekdays |= WEEKDAY.item(item)?,
            }
        }
        // 7 is 0.
        weekdays = (weekdays | (weekdays >> 7)) & 0x7f;
        let cron = Self {
            minutes: MINUTE.set(minute)?,
            hours: HOUR.set(hour)?,
            month_days,
            last_day,
            months: MONTH.set(month)?,
            weekdays,
            nth_weekdays,
            either_day: !month_day.starts_with('*') && !weekday.starts_with('*'),
        };
        if cron.has_days() { Ok(cron) } else { Err(CronError::Never { text: shown }) }
    }
}

impl Field {
    /// The values of a field, as bits.
    fn set(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |set, item| Ok(set | self.item(item)?))
    }

    /// The values of one of its parts.
    fn item(&self, item: &str) -> Result<u64, CronError> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, if self.name == WEEKDAY.name { 6 } else { self.most }),
            Some((first, last)) => (self.value(item, first)?, self.value(item, last)?),
            None => {
                let value = self.value(item, range)?;
                (value, if step.is_some() { self.most } else { value })
            }
        };
        if first > last {
            return Err(self.wrong(item, "runs backwards: write the smaller one first, or two ranges with a comma"));
        }
        let step = match step.map(str::parse::<u32>) {
            None => 1,
            Some(Ok(step)) if (1..=self.most).contains(&step) => step,
            Some(_) => return Err(self.wrong(item, format!("has a step that is not from 1 to {}", self.most))),
        };
        let values = (first..=last).step_by(usize::try_from(step).unwrap_or(1));
        Ok(values.fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, item: &str, text: &str) -> Result<u32, CronError> {
        if let Some(place) = self.words.iter().position(|word| *word == text) {
            return Ok(u32::try_from(place).unwrap_or(0) + self.least);
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(value) if is_number && (self.least..=self.most).contains(&value) => Ok(value),
            _ => {
                let words = if self.words.is_empty() { "" } else { ", or a name of three letters" };
                Err(self.wrong(item, format!("is not from {} to {}{words}", self.least, self.most)))
            }
        }
    }

    fn wrong(&self, item: &str, why: impl Into<String>) -> CronError {
        CronError::Item { field: self.name, item: item.to_owned(), why: why.into() }
    }
}

/// `fri#3` and `fril`; `None` where it is neither.
fn nth_weekday(item: &str) -> Result<Option<(u32, i8)>, CronError> {
    if let Some((day, nth)) = item.split_once('#') {
        return match nth.parse::<i8>() {
            Ok(nth) if (1..=5).contains(&nth) => Ok(Some((WEEKDAY.value(item, day)? % 7, nth))),
            _ => Err(WEEKDAY.wrong(item, "is not the first (#1) to fifth (#5) of a month")),
        };
    }
    let day = item.strip_suffix('l').filter(|day| !day.is_empty());
    day.map(|day| Ok((WEEKDAY.value(item, day)? % 7, 0))).transpose()
}

impl Cron {
    /// Whether something is due on that day.
    #[must_use]
    pub(super) fn has_day(&self, date: Date) -> bool {
        if !has(self.months, date.month()) {
            return false;
        }
        let of_month = has(self.month_days, date.day()) || (self.last_day && date.day() == date.days_in_month());
        let weekday = number(date.weekday());
        let nth = (date.day() - 1) / 7 + 1;
        let is_last = date.day() > date.days_in_month() - 7;
        let is_nth = |(day, wanted): &(u32, i8)| *day == weekday && if *wanted == 0 { is_last } else { *wanted == nth };
        let of_week = self.weekdays & (1 << weekday) != 0 || self.nth_weekdays.iter().any(is_nth);
        if self.either_day { of_month || of_week } else { of_month && of_week }
    }

    /// The minutes of a day that has something due: hour and minute.
    pub(super) fn minutes(&self) -> impl Iterator<Item = (i8, i8)> + '_ {
        let minutes = move || (0..60i8).filter(|minute| has(self.minutes, *minute));
        (0..24i8)
            .filter(|hour| has(self.hours, *hour))
            .flat_map(move |hour| minutes().map(move |minute| (hour, minute)))
    }

    /// Whether every hour has something due, so that it is meant to come again and again and not at one time of the day.
    #[must_use]
    pub(super) fn is_of_every_hour(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// Whether any year has such a day: the calendar repeats after 400 of them, and every rule within 40.
    fn has_days(&self) -> bool {
        let first = jiff::civil::date(2000, 1, 1);
        first.series(jiff::Span::new().days(1)).take(40 * 366).any(|date| self.has_day(date))
    }
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set & (1 << value) != 0)
}

fn number(weekday: Weekday) -> u32 {
    u32::try_from(weekday.to_sunday_zero_offset()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn cron(text: &str) -> Cron {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The days of 2026 that fit, as `month-day`.
    fn days(text: &str) -> Vec<String> {
        let cron = cron(text);
        let days = date(2026, 1, 1).series(jiff::Span::new().days(1)).take(365);
        days.filter(|day| cron.has_day(*day)).map(|day| format!("{}-{}", day.month(), day.day())).collect()
    }

    fn minutes(text: &str) -> Vec<String> {
        cron(text).minutes().map(|(hour, minute)| format!("{hour}:{minute}")).collect()
    }

    #[test]
    fn fields_are_values_ranges_steps_and_lists_of_them() {
        assert_eq!(minutes("0 2 * * *"), ["2:0"]);
        assert_eq!(minutes("*/20 1,3-4 * * *"), ["1:0", "1:20", "1:40", "3:0", "3:20", "3:40", "4:0", "4:20", "4:40"]);
        assert_eq!(minutes("50/4 22/1 * * *"), ["22:50", "22:54", "22:58", "23:50", "23:54", "23:58"]);
        assert_eq!(minutes("5-9/2 0 * * *"), ["0:5", "0:7", "0:9"]);
        assert_eq!(days("0 0 30,31 1-3 *"), ["1-30", "1-31", "3-30", "3-31"]);
        assert_eq!(days("0 0 1 JAN,apr-Jun/2 *"), ["1-1", "4-1", "6-1"]);
        assert_eq!(days("0 0 * 2 sun"), ["2-1", "2-8", "2-15", "2-22"]);
        assert_eq!(days("0 0 * 2 7"), days("0 0 * 2 0"));
        assert_eq!(days("0 0 * 2 5-7"), days("0 0 * 2 fri,sat,sun"));
        assert_eq!(days("0 0 * 2 *").len(), 28);
    }

    #[test]
    fn words_are_fields() {
        for (word, fields) in WORDS {
            assert_eq!(cron(word), cron(fields));
        }
        assert_eq!(cron("  @Daily "), cron("0 0 * * *"));
        assert!(cron("@hourly").is_of_every_hour() && cron("0 */1 * * *").is_of_every_hour());
        assert!(!cron("@daily").is_of_every_hour());
    }

    #[test]
    fn either_day_will_do_where_both_are_restricted_and_both_have_to_fit_where_one_begins_with_a_star() {
        assert_eq!(days("0 0 13 2 fri"), ["2-6", "2-13", "2-20", "2-27"]);
        assert_eq!(days("0 0 */2 2 fri"), ["2-13", "2-27"]);
    }

    #[test]
    fn the_last_day_of_a_month_and_the_third_wednesday_are_found_in_every_month() {
        assert_eq!(
            days("0 0 L * *"),
            ["1-31", "2-28", "3-31", "4-30", "5-31", "6-30", "7-31", "8-31", "9-30", "10-31", "11-30", "12-31"]
        );
        let third = ["1-21", "2-18", "3-18", "4-15", "5-20", "6-17", "7-15", "8-19", "9-16", "10-21", "11-18", "12-16"];
        assert_eq!(days("0 0 * * wed#3"), third);
        assert_eq!(days("0 0 * 5 friL"), ["5-29"]);
        assert_eq!(days("0 0 * 1-6 5#5"), ["1-30", "5-29"]);
        assert_eq!(days("0 0 29 2 *"), Vec::<String>::new(), "2026 has none, 2028 does");
    }

    #[test]
    fn what_is_no_time_is_named_with_its_field() {
        for (text, part) in [
            ("", "has 0 fields"),
            ("0 2 * *", "has 4 fields"),
            ("0 0 2 * * *", "has 6 fields"),
            ("@reboot", "has 1 fields"),
            ("a\n\u{1b}[2J", r"`a\n\u{1b}[2J` has 2 fields"),
            ("\u{1b}[2J 2 * * *", r"minute: `\u{1b}[2j` is not from 0 to 59"),
            ("60 2 * * *", "minute: `60` is not from 0 to 59"),
            ("0 24 * * *", "hour: `24` is not from 0 to 23"),
            ("0 0 0 * *", "day of the month: `0` is not from 1 to 31"),
            ("0 0 * 13 *", "month: `13` is not from 1 to 12, or a name of three letters"),
            ("0 0 * * 8", "day of the week: `8` is not from 0 to 7"),
            ("0 0 * * fry", "`fry` is not from 0 to 7"),
            ("0 0 * * fri-mon", "`fri-mon` runs backwards"),
            ("*/0 0 * * *", "`*/0` has a step that is not from 1 to 59"),
            ("*/x 0 * * *", "`*/x` has a step"),
            ("1,,2 0 * * *", "minute: `` is not"),
            ("+1 0 * * *", "`+1` is not"),
            ("1- 0 * * *", "`1-` is not"),
            ("0 0 * * fri#6", "is not the first (#1) to fifth"),
            ("0 0 * * l", "`l` is not from 0 to 7"),
            ("0 0 30 feb *", "no year has a day that fits `0 0 30 feb *`"),
        ] {
            let error = text.parse::<Cron>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!("0 2 * * *".repeat(99).parse::<Cron>().is_err());
    }
}
