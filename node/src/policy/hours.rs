//! At which instants a rule holds that has hours: by the wall clock of its zone, so that 22:00 is 22:00 in summer and winter.
//!
//! Hours hold while the clock on the wall there shows them. Where clocks are set forward over them they are shorter, or not at
//! all; where clocks are set back over them they hold both times. Those that end the next day belong to the day on which they
//! began. A zone that this node does not know is told by [`At::Unknown`], and whoever asks keeps to the safe side.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use pentora_raft::command::{EVERY_DAY, Hours, When};

/// How an instant lies to a rule's hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Within.
    Within,
    /// Outside.
    Outside,
    /// This node does not know the zone.
    Unknown,
}

const MINUTE_MS: u64 = 60_000;
/// How far ahead the next change is looked for: hours of a week come again within eight days.
const AHEAD_MINUTES: u64 = 8 * 24 * 60;
/// The names of the days, Monday first, as in [`Hours::days`].
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// What follows in their full names.
const DAYS_REST: [&str; 7] = ["day", "sday", "nesday", "rsday", "day", "urday", "day"];

/// How `at_ms`, in unix milliseconds, lies to `when`.
#[must_use]
pub fn at(when: &When, at_ms: u64) -> At {
    let within = match when {
        When::Once { from_ms, until_ms } => (*from_ms..*until_ms).contains(&at_ms),
        When::Weekly(hours) => match crate::clock::zone(&hours.zone) {
            Some(zone) => shows(hours, &zone, at_ms),
            None => return At::Unknown,
        },
    };
    if within { At::Within } else { At::Outside }
}

/// Whether the clock on the wall shows one of the hours.
fn shows(hours: &Hours, zone: &TimeZone, at_ms: u64) -> bool {
    let Some(stamp) = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) else {
        return false;
    };
    let wall = zone.to_datetime(stamp);
    let minute = u16::try_from(i32::from(wall.hour()) * 60 + i32::from(wall.minute())).unwrap_or(0);
    let today = bit(wall.date().weekday());
    if hours.until_minute > hours.from_minute {
        return hours.days & today != 0 && (hours.from_minute..hours.until_minute).contains(&minute);
    }
    let yesterday = wall.date().checked_sub(1.day()).map_or(0, |day| bit(day.weekday()));
    (hours.days & today != 0 && minute >= hours.from_minute)
        || (hours.days & yesterday != 0 && minute < hours.until_minute)
}

fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

/// The first instant after `at_ms` at which what [`at`] says changes, to the minute; `None` where none is near.
#[must_use]
pub fn next_change(when: &When, at_ms: u64) -> Option<u64> {
    match when {
        When::Once { from_ms, until_ms } => [*from_ms, *until_ms].into_iter().find(|change| *change > at_ms),
        When::Weekly(hours) => {
            let zone = crate::clock::zone(&hours.zone)?;
            let now = shows(hours, &zone, at_ms);
            let first = at_ms / MINUTE_MS + 1;
            let mut changes = (first..=first + AHEAD_MINUTES).map_while(|minute| minute.checked_mul(MINUTE_MS));
            changes.find(|ms| shows(hours, &zone, *ms) != now)
        }
    }
}

/// Hours in words, as they are written: `mon-fri 22:00-06:00 Europe/Berlin`.
#[must_use]
pub fn words(when: &When) -> String {
    match when {
        When::Once { from_ms, until_ms } => {
            format!("{} until {}", crate::clock::rfc3339(*from_ms), crate::clock::rfc3339(*until_ms))
        }
        When::Weekly(hours) => format!("{} {} {}", days_words(hours.days), hours_words(hours), hours.zone),
    }
}

/// `22:00-06:00`.
#[must_use]
pub fn hours_words(hours: &Hours) -> String {
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{}-{}", clock(hours.from_minute), clock(hours.until_minute))
}

/// `mon-fri,sun`, or `daily`.
#[must_use]
pub fn days_words(days: u8) -> String {
    if days == EVERY_DAY {
        return "daily".into();
    }
    let has = |day: usize| days & (1 << day) != 0;
    let mut words = Vec::new();
    let mut day = 0;
    while day < DAYS.len() {
        let first = day;
        while day < DAYS.len() && has(day) {
            day += 1;
        }
        let name = |day: usize| DAYS.get(day).copied().unwrap_or_default();
        match day - first {
            0 => day += 1,
            1 => words.push(name(first).to_owned()),
            _ => words.push(format!("{}-{}", name(first), name(day - 1))),
        }
    }
    words.join(",")
}

/// Reads days, `mon-fri,sun` or `daily`; a range may go over the week's end.
///
/// # Errors
/// A sentence that names the word.
pub fn days_of(text: &str) -> Result<u8, String> {
    let text = text.trim().to_ascii_lowercase();
    if matches!(text.as_str(), "daily" | "*") {
        return Ok(EVERY_DAY);
    }
    let day = |word: &str| {
        let is_its = |(day, rest): (&&str, &&str)| {
            word.trim().strip_prefix(day).is_some_and(|more| rest.starts_with(more.trim_end_matches('.')))
        };
        let at = DAYS.iter().zip(&DAYS_REST).position(is_its);
        at.ok_or_else(|| format!("days: `{}` is no day such as mon or mon-fri", shown(word, 20)))
    };
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let length = (last + DAYS.len() - first) % DAYS.len();
        (0..=length).for_each(|more| days |= 1 << ((first + more) % DAYS.len()));
    }
    Ok(days)
}

/// Reads hours, `22:00-06:00`, as minutes of a day.
///
/// # Errors
/// A sentence that names the text.
pub fn hours_of(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("hours: `{}` is not such as 22:00-06:00", shown(text, 20));
    let clock = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(hour) || !digits(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        let at = hour * 60 + minute;
        (minute < 60 && at <= 24 * 60).then_some(at)
    };
    let (from, until) = text.split_once('-').ok_or_else(wrong)?;
    let (from, until) = (clock(from).ok_or_else(wrong)?, clock(until).ok_or_else(wrong)?);
    if from >= 24 * 60 || from == until { Err(wrong()) } else { Ok((from, until)) }
}

/// Reads an instant: RFC 3339, or a date and a time of the clock on the wall of `zone`.
///
/// # Errors
/// A sentence that names the text.
pub fn instant_of(text: &str, zone: Option<&str>) -> Result<u64, String> {
    let shown = shown(text, 40);
    let of = |stamp: Timestamp| {
        u64::try_from(stamp.as_millisecond()).map_err(|_negative| format!("`{shown}` is before 1970"))
    };
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return of(stamp);
    }
    let wall: jiff::civil::DateTime = text
        .parse()
        .map_err(|_unread| format!("`{shown}` is no instant such as 2026-12-01T22:00 or 2026-12-01T21:00:00Z"))?;
    let zone = zone.ok_or_else(|| format!("`{shown}` has no zone: add one, or write it as 2026-12-01T21:00:00Z"))?;
    let zone = crate::clock::zone(zone).ok_or_else(|| unknown_zone(zone))?;
    // A time that clocks leave out is the one after the gap; of one that they show twice it is the first.
    let stamp =
        zone.to_ambiguous_zoned(wall).compatible().map_err(|_outside| format!("`{shown}` is not in the calendar"))?;
    of(stamp.timestamp())
}

/// Checks that a zone is known here.
///
/// # Errors
/// A sentence that names it.
pub fn check_zone(zone: &str) -> Result<(), String> {
    crate::clock::zone(zone).map(drop).ok_or_else(|| unknown_zone(zone))
}

/// The beginning of a text as an error repeats it, on its line.
fn shown(text: &str, characters: usize) -> String {
    text.chars().take(characters).flat_map(char::escape_debug).collect()
}

fn unknown_zone(zone: &str) -> String {
    format!("zone: `{}` is not in the IANA database; write it as Europe/Berlin or UTC", shown(zone, 40))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weekly(zone: &str, days: &str, hours: &str) -> When {
        let (from_minute, until_minute) = hours_of(hours).unwrap();
        When::Weekly(Hours { zone: zone.into(), days: days_of(days).unwrap(), from_minute, until_minute })
    }

    fn ms(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    #[test]
    fn hours_are_those_of_the_wall_in_summer_and_winter() {
        let nights = weekly("Europe/Berlin", "daily", "22:00-06:00");
        for (stamp, expected) in [
            ("2026-01-15T20:59:00Z", At::Outside),
            ("2026-01-15T21:00:00Z", At::Within),
            ("2026-07-15T19:59:00Z", At::Outside),
            ("2026-07-15T20:00:00Z", At::Within),
            ("2026-07-15T03:59:59Z", At::Within),
            ("2026-07-15T04:00:00Z", At::Outside),
        ] {
            assert_eq!(at(&nights, ms(stamp)), expected, "{stamp}");
        }
        assert_eq!(next_change(&nights, ms("2026-07-15T12:00:30Z")), Some(ms("2026-07-15T20:00:00Z")));
        assert_eq!(next_change(&nights, ms("2026-07-15T21:00:00Z")), Some(ms("2026-07-16T04:00:00Z")));
        // Found by fuzzing: no calendar goes so far, nor does any number of minutes.
        for at_ms in [u64::MAX, u64::MAX - MINUTE_MS] {
            assert_eq!((at(&nights, at_ms), next_change(&nights, at_ms)), (At::Outside, None));
        }
    }

    #[test]
    fn what_is_none_is_repeated_on_one_line() {
        let text = "a\n\u{1b}[2j";
        let said = [
            days_of(text).map(drop),
            hours_of(text).map(drop),
            instant_of(text, None).map(drop),
            instant_of("2026-12-01T22:00", Some(text)).map(drop),
            check_zone(text),
        ];
        for said in said {
            assert!(said.clone().unwrap_err().contains(r"`a\n\u{1b}[2j`"), "{said:?}");
        }
    }

    #[test]
    fn hours_in_a_gap_are_left_out_and_those_that_come_twice_hold_twice() {
        // Clocks go from 02:00 to 03:00 on 29 March 2026 in Berlin, and from 03:00 back to 02:00 on 25 October.
        let small_hours = weekly("Europe/Berlin", "sun", "02:00-03:00");
        let minutes = |day: &str| {
            let first = ms(&format!("{day}T00:00:00Z"));
            (0..180).filter(|minute| at(&small_hours, first + minute * MINUTE_MS) == At::Within).count()
        };
        assert_eq!([minutes("2026-03-29"), minutes("2026-10-25"), minutes("2026-04-05")], [0, 120, 60]);
        // Half an hour of them is in the gap: they begin when the clock jumps over it.
        let over = weekly("America/New_York", "sun", "02:30-04:00");
        assert_eq!(next_change(&over, ms("2026-03-08T05:00:00Z")), Some(ms("2026-03-08T07:00:00Z")));
        // Lord Howe Island sets its clocks by half an hour.
        let island = weekly("Australia/Lord_Howe", "sun", "01:30-02:00");
        let first = ms("2026-04-04T14:00:00Z");
        let held = (0..180).filter(|minute| at(&island, first + minute * MINUTE_MS) == At::Within).count();
        assert_eq!(held, 60, "the half hour comes twice");
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_they_began() {
        let friday = weekly("UTC", "fri", "22:00-06:00");
        assert_eq!(at(&friday, ms("2026-07-17T23:00:00Z")), At::Within, "Friday");
        assert_eq!(at(&friday, ms("2026-07-18T05:59:00Z")), At::Within, "Saturday morning");
        assert_eq!(at(&friday, ms("2026-07-18T23:00:00Z")), At::Outside);
        assert_eq!(at(&friday, ms("2026-07-17T05:00:00Z")), At::Outside, "Friday morning is Thursday's");
    }

    #[test]
    fn once_is_once_and_an_unknown_zone_is_said() {
        let once = When::Once { from_ms: 10, until_ms: 20 };
        assert_eq!([9, 10, 19, 20].map(|ms| at(&once, ms)), [At::Outside, At::Within, At::Within, At::Outside]);
        assert_eq!((next_change(&once, 0), next_change(&once, 10), next_change(&once, 20)), (Some(10), Some(20), None));
        let nowhere = When::Weekly(Hours { zone: "Mars/Base".into(), days: 1, from_minute: 0, until_minute: 1 });
        assert_eq!(at(&nowhere, 5), At::Unknown);
        assert!(check_zone("Mars/Base").unwrap_err().contains("`Mars/Base` is not in the IANA database"));
        check_zone("Asia/Kolkata").unwrap();
    }

    #[test]
    fn zones_are_those_of_the_program_and_mean_the_same_on_each_machine() {
        for zone in ["localtime", "posixrules", "LOCALTIME", "Factory", "Etc/Unknown", "local", ""] {
            assert!(check_zone(zone).is_err(), "{zone}");
            let hours = When::Weekly(Hours { zone: zone.into(), days: 1, from_minute: 0, until_minute: 1 });
            assert_eq!((at(&hours, 5), next_change(&hours, 5)), (At::Unknown, None), "{zone}");
        }
        let bundled = jiff::tz::TimeZoneDatabase::bundled();
        for (zone, wall) in [("Africa/Casablanca", "2027-01-25T01:00:00"), ("America/Havana", "2027-03-05T00:00:00")] {
            let wall_time: jiff::civil::DateTime = wall.parse().unwrap();
            let stamp = bundled.get(zone).unwrap().to_ambiguous_zoned(wall_time).compatible().unwrap().timestamp();
            let expected = u64::try_from(stamp.as_millisecond()).unwrap();
            assert_eq!(instant_of(wall, Some(zone)).unwrap(), expected, "{zone}");
        }
    }

    #[test]
    fn words_are_read_and_written_and_slips_are_named() {
        for text in ["daily", "mon", "mon-fri", "mon-wed,fri,sun", "sat-sun"] {
            assert_eq!(days_words(days_of(text).unwrap()), text);
        }
        assert_eq!(days_words(days_of("fri-mon").unwrap()), "mon,fri-sun");
        assert_eq!(days_words(days_of("Monday-Thurs, wednesday,Sat.").unwrap()), "mon-thu,sat");
        assert_eq!(words(&weekly("UTC", "mon-fri", "09:30-24:00")), "mon-fri 09:30-24:00 UTC");
        for (read, part) in [
            (days_of("moon,tu").err(), "`moon`"),
            (days_of("monkey").err(), "`monkey`"),
            (days_of("fri-sunny").err(), "`sunny`"),
            (days_of("").err(), "is no day"),
            (hours_of("22-6").err(), "22:00-06:00"),
            (hours_of("24:00-06:00").err(), "hours"),
            (hours_of("06:00-06:00").err(), "hours"),
            (hours_of("06:60-07:00").err(), "hours"),
            (instant_of("tomorrow", Some("UTC")).err(), "is no instant"),
            (instant_of("2026-12-01T22:00", None).err(), "has no zone"),
        ] {
            assert!(read.as_ref().is_some_and(|error| error.contains(part)), "{read:?} {part}");
        }
        assert_eq!(instant_of("2026-12-01T22:00", Some("Europe/Berlin")).unwrap(), ms("2026-12-01T21:00:00Z"));
        assert_eq!(instant_of("2026-12-01T22:00:00Z", None).unwrap(), ms("2026-12-01T22:00:00Z"));
    }

    proptest! {
        /// Against a model that asks the zone for each civil minute of the day before, the day and no more.
        #[test]
        fn hours_hold_at_the_minutes_that_a_slow_model_lists(
            zone in prop::sample::select(vec!["Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "UTC", "Australia/Lord_Howe"]),
            days in 1u8..=EVERY_DAY,
            from_minute in 0u16..1_440,
            length in 1u16..1_440,
            minute in 0u64..2 * 366 * 24 * 60,
        ) {
            let until_minute = (from_minute + length) % 1_440;
            prop_assume!(until_minute != from_minute);
            let hours = Hours { zone: zone.into(), days, from_minute, until_minute };
            let at_ms = ms("2025-01-01T00:00:00Z") + minute * MINUTE_MS;
            let zoned = Timestamp::from_millisecond(i64::try_from(at_ms).unwrap()).unwrap().to_zoned(crate::clock::zone(zone).unwrap());
            let length = (until_minute + 1_440 - from_minute - 1) % 1_440 + 1;
            let expected = (0..length).any(|more| {
                // The civil minute that is `more` behind a beginning, on the day it falls on.
                let of_day = from_minute + more;
                let began = if of_day >= 1_440 { zoned.date().checked_sub(1.day()).unwrap() } else { zoned.date() };
                let shown = u16::try_from(zoned.hour()).unwrap() * 60 + u16::try_from(zoned.minute()).unwrap();
                shown == of_day % 1_440 && days & bit(began.weekday()) != 0
            });
            prop_assert_eq!(at(&When::Weekly(hours), at_ms) == At::Within, expected);
        }
    }
}
