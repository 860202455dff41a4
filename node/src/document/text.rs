//! How durations are written inside documents and in tables.

/// A number of seconds as its two largest units: `45m 12s`, `5d 3h`, `2h 15m`, `59s`.
#[must_use]
pub fn duration_words(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut pairs = UNITS.iter().zip(UNITS.iter().skip(1));
    match pairs.find(|((large, _), _)| seconds >= *large) {
        Some(((large, large_name), (small, small_name))) => {
            format!("{}{large_name} {}{small_name}", seconds / large, seconds % large / small)
        }
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_the_original_description() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (45 * 60 + 12, "45m 12s"),
            (40 * 60 + 5, "40m 5s"),
            (2 * 3600 + 15 * 60 + 59, "2h 15m"),
            (5 * 86_400 + 3 * 3600, "5d 3h"),
            (u64::MAX, "213503982334601d 7h"),
        ] {
            assert_eq!(duration_words(seconds), expected);
        }
    }
}
