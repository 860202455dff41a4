//! When the times of a schedule are, in its zone.
//!
//! A calendar and a clock on the wall do not fit each other twice a year. What holds then: a time that the clock leaps over
//! is due when it has leapt, and several of them are one. A time that the clock shows twice is due the first time alone.
//! A schedule of every hour is due whenever the clock shows its times: never for what is leapt over, and both times for what
//! is shown twice.
//!
//! The rules of all zones come with the program, so that all nodes of a release come to the same instants, whatever is
//! installed beside it. Nothing here reads a clock.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, Zoned};

use super::cron::{Cron, CronError};

/// How many days are looked through for the next time. From one 29 February to the next are up to eight years, and a rule
/// that asks for a Friday beside it is met within 40.
const DAYS_MAX: usize = 41 * 366;

/// What is wrong with when a schedule is to run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimesError {
    /// The times.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// The zone.
    #[error("there is no time zone `{}`: write an IANA name, such as Europe/Berlin or UTC", zone.escape_debug())]
    Zone {
        /// What was written.
        zone: String,
    },
}

/// The times of a schedule, in its zone.
#[derive(Debug, Clone)]
pub struct Times {
    cron: Cron,
    zone: TimeZone,
}

impl Times {
    /// Reads the times, and finds the zone.
    ///
    /// # Errors
    /// [`TimesError`].
    pub fn parse(cron: &str, zone: &str) -> Result<Self, TimesError> {
        Ok(Self { cron: cron.parse()?, zone: find_zone(zone)? })
    }

    /// The name of the zone, as it is written in the database.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The first time after that instant, in unix milliseconds; `None` where the calendar ends before.
    #[must_use]
    pub fn next_ms(&self, after_ms: u64) -> Option<u64> {
        self.upcoming(after_ms).next()
    }

    /// The times after that instant, in unix milliseconds, in order.
    pub fn upcoming(&self, after_ms: u64) -> impl Iterator<Item = u64> + '_ {
        let after = i64::try_from(after_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let upcoming = after.and_then(|after| Upcoming::after(self, after));
        upcoming.into_iter().flatten().filter_map(|at| u64::try_from(at.as_millisecond()).ok())
    }

    /// An instant as the clock on the wall of the zone shows it.
    #[must_use]
    pub fn shown(&self, at_ms: u64) -> Option<Zoned> {
        Some(Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()?.to_zoned(self.zone.clone()))
    }

    /// The instants of a day's times, in order.
    fn of_day(&self, date: Date) -> BTreeSet<Timestamp> {
        let as_shown = self.cron.is_of_every_hour();
        self.cron.minutes().flat_map(|(hour, minute)| self.instants(date.at(hour, minute, 0, 0), as_shown)).collect()
    }

    /// When that is due; `as_shown` where it is whenever the clock on the wall shows it.
    fn instants(&self, shown: DateTime, as_shown: bool) -> Vec<Timestamp> {
        let instant = |offset: jiff::tz::Offset| offset.to_timestamp(shown).ok();
        match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => instant(offset).into_iter().collect(),
            AmbiguousOffset::Gap { .. } if as_shown => Vec::new(),
            AmbiguousOffset::Gap { before, .. } => instant(before).map(|at| self.leap(at)).into_iter().collect(),
            AmbiguousOffset::Fold { before, after } => {
                let second = instant(after).filter(|_| as_shown);
                instant(before).into_iter().chain(second).collect()
            }
        }
    }

    /// When the clock leapt: the last change of the zone up to `at`.
    fn leap(&self, at: Timestamp) -> Timestamp {
        let behind = at.checked_add(Span::new().nanoseconds(1)).unwrap_or(at);
        self.zone.preceding(behind).next().map_or(at, |change| change.timestamp())
    }
}

/// The times after an instant: those of a day are worked out together.
struct Upcoming<'a> {
    times: &'a Times,
    after: Timestamp,
    /// The first day that has not been looked at; `None` behind the end of the calendar.
    day: Option<Date>,
    found: BTreeSet<Timestamp>,
}

impl<'a> Upcoming<'a> {
    fn after(times: &'a Times, after: Timestamp) -> Option<Self> {
        // A day earlier, because a clock that is put back at midnight shows the end of the day before once more.
        let day = after.to_zoned(times.zone.clone()).date().yesterday().ok()?;
        Some(Self { times, after, day: Some(day), found: BTreeSet::new() })
    }

    /// Whether nothing that comes earlier can be found on a later day: what is shown once more of a day may come behind the
    /// beginning of the next.
    fn is_first(&self, at: Timestamp) -> bool {
        let next = at.to_zoned(self.times.zone.clone()).date().tomorrow().ok();
        self.day.is_none_or(|day| next.is_some_and(|next| next < day))
    }
}

impl Iterator for Upcoming<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let mut looked = 0;
        loop {
            if let Some(first) = self.found.first().copied()
                && self.is_first(first)
            {
                self.after = first;
                return self.found.pop_first();
            }
            let Some(day) = self.day.filter(|_| looked < DAYS_MAX) else { return self.found.pop_first() };
            if self.times.cron.has_day(day) {
                let of_day = self.times.of_day(day);
                self.found.extend(of_day.into_iter().filter(|at| *at > self.after));
            }
            self.day = day.tomorrow().ok();
            looked += 1;
        }
    }
}

/// A zone by its IANA name, from the rules that come with the program.
fn find_zone(name: &str) -> Result<TimeZone, TimesError> {
    crate::clock::zone(name).ok_or_else(|| TimesError::Zone { zone: name.chars().take(64).collect() })
}

#[cfg(test)]
#[path = "times_test.rs"]
mod tests;
