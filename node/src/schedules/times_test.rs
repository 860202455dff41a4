//! Times in zones whose clocks leap and are put back: three of them with different rules, and a slow model for all others.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> u64 {
    text.parse::<Timestamp>().unwrap().as_millisecond().unsigned_abs()
}

/// The next times after `after`, as the clock of the zone shows them.
fn shown(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let times = Times::parse(cron, zone).unwrap();
    let shown = times.upcoming(at(after)).take(count).map(|at| times.shown(at).unwrap());
    shown.map(|zoned| zoned.strftime("%m-%d %H:%M %:z").to_string()).collect()
}

#[test]
fn a_night_in_berlin_is_the_same_wall_time_in_summer_and_winter() {
    // 29 March 2026: 2:00 becomes 3:00. 25 October 2026: 3:00 becomes 2:00.
    assert_eq!(
        shown("0 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 4),
        ["03-28 02:00 +01:00", "03-29 03:00 +02:00", "03-30 02:00 +02:00", "03-31 02:00 +02:00"]
    );
    assert_eq!(
        shown("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
        ["03-29 03:00 +02:00", "03-30 02:30 +02:00"],
        "what the clock leaps over is due when it has leapt"
    );
    assert_eq!(
        shown("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["10-25 02:30 +02:00", "10-26 02:30 +01:00"],
        "what it shows twice is due the first time"
    );
    assert_eq!(
        shown("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:59:00Z", 6),
        [
            "10-25 02:00 +02:00",
            "10-25 02:30 +02:00",
            "10-25 02:00 +01:00",
            "10-25 02:30 +01:00",
            "10-25 03:00 +01:00",
            "10-25 03:30 +01:00"
        ],
        "each half hour is each half hour"
    );
    assert_eq!(
        shown("*/30 1-3 * * *", "Europe/Berlin", "2026-03-29T00:20:00Z", 4),
        ["03-29 01:30 +01:00", "03-29 03:00 +02:00", "03-29 03:30 +02:00", "03-30 01:00 +02:00"],
        "several that the clock leaps over are one"
    );
}

#[test]
fn new_york_leaps_at_two_and_is_put_back_at_two() {
    // 8 March and 1 November 2026.
    assert_eq!(
        shown("15 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2),
        ["03-08 03:00 -04:00", "03-09 02:15 -04:00"]
    );
    assert_eq!(
        shown("15 1 * * *", "america/new_york", "2026-10-31T12:00:00Z", 2),
        ["11-01 01:15 -04:00", "11-02 01:15 -05:00"]
    );
    // The third Wednesday at midnight, which a scanner once left out in a month.
    assert_eq!(
        shown("0 0 * * wed#3", "America/New_York", "2026-02-20T00:00:00Z", 3),
        ["03-18 00:00 -04:00", "04-15 00:00 -04:00", "05-20 00:00 -04:00"]
    );
}

#[test]
fn lord_howe_leaps_by_half_an_hour_and_cairo_at_midnight() {
    // 4 October 2026: 2:00 becomes 2:30. 5 April 2026: 2:00 becomes 1:30.
    assert_eq!(
        shown("10,40 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 3),
        ["10-04 02:30 +11:00", "10-04 02:40 +11:00", "10-05 02:10 +11:00"]
    );
    assert_eq!(
        shown("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2),
        ["04-05 01:45 +11:00", "04-06 01:45 +10:30"]
    );
    assert_eq!(
        shown("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", 3),
        ["04-05 01:45 +11:00", "04-05 01:45 +10:30", "04-05 02:45 +10:30"]
    );
    assert_eq!(
        shown("10 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", 2),
        ["10-04 01:10 +10:30", "10-04 03:10 +11:00"],
        "of every hour, what is never shown is not due"
    );
    // 24 April 2026: midnight becomes 1:00, so that the day begins then.
    assert_eq!(
        shown("@daily", "Africa/Cairo", "2026-04-23T12:00:00Z", 2),
        ["04-24 01:00 +03:00", "04-25 00:00 +03:00"]
    );
    // 29 October 2026: midnight becomes 23:00 of the day that was.
    assert_eq!(
        shown("30 23 * * *", "Africa/Cairo", "2026-10-29T12:00:00Z", 2),
        ["10-29 23:30 +03:00", "10-30 23:30 +02:00"]
    );
    assert_eq!(
        shown("30 * * * *", "Africa/Cairo", "2026-10-29T20:00:00Z", 3),
        ["10-29 23:30 +03:00", "10-29 23:30 +02:00", "10-30 00:30 +02:00"]
    );
    // A day that a zone never had.
    assert_eq!(
        shown("0 12 30,31 12 *", "Pacific/Apia", "2011-12-29T12:00:00Z", 2),
        ["12-31 00:00 +14:00", "12-31 12:00 +14:00"]
    );
}

#[test]
fn a_rare_day_is_found_and_a_zone_that_is_none_is_refused() {
    assert_eq!(shown("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["02-29 00:00 +00:00"]);
    let friday = Times::parse("0 0 29 2 */5", "UTC").unwrap();
    assert!(friday.next_ms(at("2026-01-01T00:00:00Z")).is_some());
    for zone in ["", "Europe/Atlantis", "CET-1CEST", "+02:00", "../etc/passwd", &"x".repeat(999)] {
        let error = Times::parse("0 2 * * *", zone).unwrap_err();
        assert!(matches!(error, TimesError::Zone { .. }), "{zone}: {error}");
    }
    assert_eq!(Times::parse("0 2 * * *", "europe/berlin").unwrap().zone_name(), "Europe/Berlin");
    assert_eq!(Times::parse("0 2 * * *", "UTC").unwrap().next_ms(u64::MAX), None);
}

/// Steps through the minutes of the zone, and says which are due: every instant at which the wall shows a time that fits, and
/// every leap over one; without those that are shown again. With a time in each hour, it is what the wall shows alone.
fn model(times: &Times, from: Timestamp, minutes: i64) -> Vec<u64> {
    let wall = |at: Timestamp| at.to_zoned(times.zone.clone()).datetime();
    let fits = |shown: DateTime| {
        let of_day = times.cron.minutes().any(|minute| minute == (shown.hour(), shown.minute()));
        of_day && times.cron.has_day(shown.date())
    };
    let mut due = Vec::new();
    let mut latest = wall(from);
    for minute in 1..=minutes {
        let at = from + Span::new().minutes(minute);
        let shown = wall(at);
        let expected = latest + Span::new().minutes(1);
        let leapt = !times.cron.is_of_every_hour()
            && expected.series(Span::new().minutes(1)).take_while(|missed| *missed < shown).any(fits);
        let again = shown < expected;
        if leapt || (fits(shown) && (!again || times.cron.is_of_every_hour())) {
            due.push(at.as_millisecond().unsigned_abs());
        }
        latest = latest.max(shown);
    }
    due
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_next_times_are_those_that_a_watched_clock_shows(
        zone in prop::sample::select(vec![
            "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago", "Asia/Kathmandu",
        ]),
        // Around the days of 2026 and 2027 on which clocks are put forward or back.
        day in prop::sample::select(vec!["2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-10-03",
            "2026-04-04", "2026-04-23", "2026-10-29", "2026-09-05", "2027-04-03", "2026-06-15"]),
        hour in prop::sample::select(vec!["*", "0", "1", "2", "23", "0-2", "*/2", "1,3"]),
        minute in prop::sample::select(vec!["0", "30", "*/20", "15,45", "59"]),
        days in prop::sample::select(vec!["* * *", "* * sun", "* * sat,sun", "5 * *", "L * *"]),
    ) {
        let times = Times::parse(&format!("{minute} {hour} {days}"), zone).unwrap();
        let from: Timestamp = format!("{day}T10:00:00Z").parse().unwrap();
        let expected = model(&times, from, 60 * 60);
        let found: Vec<u64> = times
            .upcoming(from.as_millisecond().unsigned_abs())
            .take_while(|at| *at <= (from + Span::new().minutes(3_600)).as_millisecond().unsigned_abs())
            .collect();
        prop_assert_eq!(found, expected);
    }
}
