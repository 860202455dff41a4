//! When a rule holds, for those that hold at some times only. Which instants these are is for whoever knows time zones
//! (`node/src/policy/hours.rs`).

use serde::{Deserialize, Serialize};

/// When a rule holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// At the same hours each week.
    Weekly(Hours),
    /// Once, from one instant to before another, in unix milliseconds.
    Once {
        /// The first.
        from_ms: u64,
        /// The one after the last.
        until_ms: u64,
    },
}

/// Hours of a week, by the wall clocks of a time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// The zone's name in the IANA database.
    pub zone: String,
    /// On which days they begin, Monday in the lowest bit.
    pub days: u8,
    /// The minute of the day at which they begin, below 1,440.
    pub from_minute: u16,
    /// The minute of the day at which they end; one that is not above the first is of the day after.
    pub until_minute: u16,
}

/// Every day.
pub const EVERY_DAY: u8 = 0b111_1111;
const MINUTES: u16 = 24 * 60;
/// The longest name of a zone, in bytes: those of the database are below 40.
const ZONE_BYTES_MAX: usize = 64;

impl When {
    /// What is wrong with it, or `None`.
    pub(super) fn problem(&self) -> Option<String> {
        let wrong = match self {
            Self::Once { from_ms, until_ms } => (from_ms >= until_ms).then_some("a time ends after it begins"),
            Self::Weekly(hours) if hours.days == 0 || hours.days > EVERY_DAY => {
                Some("hours are of one day of the week at least")
            }
            Self::Weekly(hours) if hours.from_minute >= MINUTES || hours.until_minute > MINUTES => {
                Some("hours are from 00:00 to 24:00")
            }
            Self::Weekly(hours) if hours.from_minute == hours.until_minute => {
                Some("hours end at another time than they begin")
            }
            Self::Weekly(hours) => {
                let good = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
                let is_good = (1..=ZONE_BYTES_MAX).contains(&hours.zone.len()) && hours.zone.bytes().all(good);
                (!is_good).then_some("a time zone is named as in the IANA database, such as Europe/Berlin")
            }
        };
        wrong.map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_never_are_or_have_no_zone_are_told() {
        let hours = |zone: &str, days, from_minute, until_minute| {
            When::Weekly(Hours { zone: zone.into(), days, from_minute, until_minute }).problem()
        };
        assert_eq!(hours("Europe/Berlin", EVERY_DAY, 22 * 60, 6 * 60), None);
        assert_eq!(hours("UTC", 1, 0, MINUTES), None);
        assert_eq!(When::Once { from_ms: 1, until_ms: 2 }.problem(), None);
        for problem in [
            hours("", 1, 0, 60),
            hours("Europe/Berlin\n", 1, 0, 60),
            hours("UTC", 0, 0, 60),
            hours("UTC", 128, 0, 60),
            hours("UTC", 1, 60, 60),
            hours("UTC", 1, MINUTES, 60),
            hours("UTC", 1, 0, MINUTES + 1),
            When::Once { from_ms: 2, until_ms: 2 }.problem(),
        ] {
            assert!(problem.is_some());
        }
    }
}
