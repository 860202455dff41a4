//! Where a reader of events is: the cursor of their lists, and the id of their stream.
//!
//! Written `41` it stands behind all that the entry at that log index brought, which is what a stream says once it has said
//! all of it; within an entry that brought several events it is written `41.2a.3`, with the job and the line of its history.

use std::fmt;
use std::str::FromStr;

use pentora_raft::JobId;
use pentora_raft::state::EventPlace;

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCursor(pub EventPlace);

impl EventCursor {
    /// Behind an event; `is_last` says that its entry brought no further one.
    #[must_use]
    pub fn behind(place: EventPlace, is_last: bool) -> Self {
        Self(if is_last { EventPlace::behind(place.index) } else { place })
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventPlace { index, job, sequence } = self.0;
        if self.0 == EventPlace::behind(index) {
            write!(f, "{index}")
        } else {
            write!(f, "{index}.{:x}.{sequence}", job.0)
        }
    }
}

/// It is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a place in the log such as 41")]
pub struct NotACursor;

impl FromStr for EventCursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten()
        };
        let mut parts = text.split('.');
        let index = parts.next().and_then(number).ok_or(NotACursor)?;
        let place = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => EventPlace::behind(index),
            (Some(job), Some(sequence), None) => EventPlace {
                index,
                job: JobId(u64::from_str_radix(job, 16).ok().filter(|_| !job.starts_with('+')).ok_or(NotACursor)?),
                sequence: number(sequence).and_then(|number| u32::try_from(number).ok()).ok_or(NotACursor)?,
            },
            _ => return Err(NotACursor),
        };
        Ok(Self(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_anything_else_is_none() {
        let place = EventPlace { index: 41, job: JobId(42), sequence: 3 };
        for (cursor, text) in [(EventCursor::behind(place, false), "41.2a.3"), (EventCursor::behind(place, true), "41")]
        {
            assert_eq!((cursor.to_string().as_str(), text.parse()), (text, Ok(cursor)));
        }
        for bad in
            ["", "x", "-1", "+1", "41.", "41.2a", "41.2a.3.4", "41.2a.x", "41.+2.3", "18446744073709551616", "4 1"]
        {
            assert_eq!(bad.parse::<EventCursor>(), Err(NotACursor), "{bad}");
        }
    }
}
