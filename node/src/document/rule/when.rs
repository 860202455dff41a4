//! When a rule holds, in words: hours of a week in a time zone, or once from an instant to another.

use pentora_raft::command::{EVERY_DAY, Hours, When};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::rfc3339;
use crate::policy::hours;

/// When a rule holds: either `hours` with `zone` (and `days`, all where absent), or `from` and `until`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhenFields {
    /// `mon-fri`, `sat,sun`, `daily`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<String>,
    /// `22:00-06:00`, by the clocks of the zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<String>,
    /// A name of the IANA database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The first instant: RFC 3339, or a date and time in `zone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The instant at which it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl WhenFields {
    /// The same for the log.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn read(&self) -> Result<When, String> {
        match (&self.hours, &self.from, &self.until) {
            (Some(text), None, None) => {
                let zone = self.zone.clone().ok_or("hours need a zone, such as Europe/Berlin")?;
                hours::check_zone(&zone)?;
                let (from_minute, until_minute) = hours::hours_of(text)?;
                let days = self.days.as_deref().map_or(Ok(EVERY_DAY), hours::days_of)?;
                Ok(When::Weekly(Hours { zone, days, from_minute, until_minute }))
            }
            (None, Some(from), Some(until)) if self.days.is_none() => {
                let zone = self.zone.as_deref();
                Ok(When::Once { from_ms: hours::instant_of(from, zone)?, until_ms: hours::instant_of(until, zone)? })
            }
            _ => Err("a time is either hours with a zone (and days), or from and until".into()),
        }
    }

    /// In words, from the log.
    #[must_use]
    pub fn of(when: &When) -> Self {
        match when {
            When::Weekly(weekly) => Self {
                days: Some(hours::days_words(weekly.days)),
                hours: Some(hours::hours_words(weekly)),
                zone: Some(weekly.zone.clone()),
                ..Self::default()
            },
            When::Once { from_ms, until_ms } => {
                Self { from: Some(rfc3339(*from_ms)), until: Some(rfc3339(*until_ms)), ..Self::default() }
            }
        }
    }

    /// On one line, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let weekly = [&self.days, &self.hours, &self.zone].into_iter().flatten();
        match (&self.from, &self.until) {
            (Some(from), Some(until)) => format!("{from} until {until}"),
            _ => weekly.cloned().collect::<Vec<_>>().join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Result<When, String> {
        serde_json::from_str::<WhenFields>(json).map_err(|error| error.to_string())?.read()
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for json in [
            r#"{"days":"mon-fri","hours":"22:00-06:00","zone":"Europe/Berlin"}"#,
            r#"{"from":"2026-12-01T21:00:00.000Z","until":"2026-12-02T05:00:00.000Z"}"#,
        ] {
            assert_eq!(serde_json::to_string(&WhenFields::of(&fields(json).unwrap())).unwrap(), json);
        }
        let daily = WhenFields::of(&fields(r#"{"hours":"22:00-06:00","zone":"UTC"}"#).unwrap());
        assert_eq!(daily.words(), "daily 22:00-06:00 UTC");
        for (json, part) in [
            (r#"{"hours":"22:00-06:00"}"#, "need a zone"),
            (r#"{"hours":"22:00-06:00","zone":"Mars"}"#, "`Mars`"),
            (r#"{"from":"2026-12-01T21:00:00Z"}"#, "either hours"),
            ("{}", "either hours"),
            (r#"{"hours":"22:00-06:00","zone":"UTC","from":"2026-12-01T21:00:00Z"}"#, "either hours"),
        ] {
            let error = fields(json).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
