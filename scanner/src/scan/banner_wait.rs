//! How long an open port is listened to.

use std::time::Duration;

/// An open port is listened to for this long, and eight round trips more, up to the longest wait: services that
/// speak first do so at once.
const BANNER_WAIT: Duration = Duration::from_millis(350);
/// No open port is listened to for longer.
const BANNER_WAIT_MAX: Duration = Duration::from_secs(1);

/// The wait for the first words of an open port, with the smoothed round-trip time once that is known.
pub(crate) fn banner_wait(round_trip: Option<Duration>) -> Duration {
    (BANNER_WAIT + 8 * round_trip.unwrap_or_default()).min(BANNER_WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_ports_are_listened_to_for_longer_but_never_for_long() {
        let ms = Duration::from_millis;
        assert_eq!([None, Some(ms(10)), Some(ms(500))].map(banner_wait), [ms(350), ms(430), ms(1000)]);
    }
}
