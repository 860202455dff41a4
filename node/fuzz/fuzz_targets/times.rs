//! Times as users write them: of schedules with their zone, of windows, instants, durations and sizes. Refused in one line, or times
//! that go forward, and what prints reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_node::config::{Size, parse_duration};
use pentora_node::policy::hours;
use pentora_node::schedules::Times;

fuzz_target!(|data: &[u8]| {
    let Some((after, text)) = data.split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let after = u64::from_le_bytes(*after);
    let (cron, zone) = text.split_once('\n').unwrap_or((text, "Europe/Berlin"));
    match Times::parse(cron, zone) {
        Ok(times) => {
            // Up to the end of the calendar, and where the clocks are put back and forth.
            for after in [after, after % 4_102_444_800_000, 1_711_846_800_000, 1_729_990_800_000] {
                let mut before = after;
                for at in times.upcoming(after).take(8) {
                    assert!(at > before, "{text:?}");
                    assert!(times.shown(at).is_some());
                    before = at;
                }
                assert_eq!(times.next_ms(after), times.upcoming(after).next());
            }
            assert!(Times::parse(cron, times.zone_name()).is_ok());
        }
        Err(error) => one_line(&error.to_string()),
    }
    match hours::days_of(text) {
        Ok(days) => assert_eq!(hours::days_of(&hours::days_words(days)), Ok(days)),
        Err(said) => one_line(&said),
    }
    match hours::hours_of(text) {
        Ok((from, until)) => assert!(from < 24 * 60 && until <= 24 * 60 && from != until),
        Err(said) => one_line(&said),
    }
    for zone in [None, Some(zone)] {
        let _ = hours::instant_of(cron, zone).map_err(|said| one_line(&said));
    }
    let _ = parse_duration(text).map_err(|said| one_line(&said));
    match text.parse::<Size>() {
        Ok(Size(bytes)) => assert_eq!(bytes.to_string().parse(), Ok(Size(bytes))),
        Err(said) => one_line(&said),
    }
});

/// A refusal is a sentence, in proportion to what was written.
fn one_line(said: &str) {
    assert!(!said.is_empty() && said.len() < 64 << 10 && !said.contains(char::is_control), "{said:?}");
}
