//! Durations as people write them: `30s`, `2m`, `1h30m`, `250ms`.

use std::time::Duration;

/// Units from large to small, in milliseconds; a text must use them in this order.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Longest duration taken: a hundred years, so that adding one to a clock can never overflow.
const MAX_MS: u64 = 100 * 365 * 86_400_000;

/// Reads `text` as a sum of whole numbers with units.
///
/// # Errors
/// A sentence fragment saying what is wrong: no unit, unknown unit, units out of order, or too long.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let shown = text.escape_debug();
    if rest.is_empty() {
        return Err("is empty: write a duration such as 30s, 2m or 1h30m".to_owned());
    }
    let mut total_ms: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let Ok(number) = number.parse::<u64>() else {
            return Err(format!("`{shown}` is not a duration: write 30s, 2m or 1h30m"));
        };
        if unit.is_empty() {
            return Err(format!("`{shown}` lacks a unit: write {number}s, {number}m or {number}h"));
        }
        let position = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| format!("`{unit}` is not a unit of time: use d, h, m, s or ms"))?;
        if position < next_unit {
            return Err(format!("`{shown}` repeats or misorders its units: write 1h30m, not 30m1h"));
        }
        next_unit = position + 1;
        let unit_ms = UNITS.get(position).map_or(1, |(_, ms)| *ms);
        total_ms = number
            .checked_mul(unit_ms)
            .and_then(|ms| ms.checked_add(total_ms))
            .filter(|ms| *ms <= MAX_MS)
            .ok_or_else(|| format!("`{shown}` is longer than a hundred years"))?;
        rest = tail;
    }
    Ok(Duration::from_millis(total_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_numbers_with_units_are_read() {
        for (text, ms) in
            [("30s", 30_000), ("2m", 120_000), ("1h30m", 5_400_000), ("250ms", 250), ("1d", 86_400_000), (" 5s ", 5000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_its_reason() {
        for (text, part) in [
            ("30", "lacks a unit: write 30s"),
            ("", "is empty"),
            ("30y", "`y` is not a unit"),
            ("30m1h", "misorders"),
            ("1s1s", "repeats"),
            ("soon", "is not a duration"),
            ("-5s", "is not a duration"),
            ("1.5h", "lacks a unit"),
            ("99999999999999999999s", "is not a duration"),
            ("9999999999999999d", "a hundred years"),
            ("a\n\u{1b}[2J", r"`a\n\u{1b}[2J` is not a duration"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
