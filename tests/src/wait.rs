//! Waiting for something to become true, with a limit and a sentence for when it does not.
//!
//! The one place of the harness that sleeps: a test says what it waits for instead of how long it hopes that takes. Where
//! nothing may happen for a while, a test watches for what must not, as `lab::probes_within` does.

use std::time::{Duration, Instant};

use anyhow::bail;

/// The pause between two looks: short against what the tests wait for (elections, scans), long against a look's cost.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks `look` again and again until it gives a value, and returns that.
///
/// # Errors
/// Where `look` gave nothing within `limit`; `what` names the thing waited for. An error of `look` itself ends the wait.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if began.elapsed() >= limit {
            bail!("{what}: not within {:.1} s", limit.as_secs_f64());
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the harness runs plain threads, and this is its one place to wait"
        )]
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_comes_ends_the_wait() {
        let mut looks = 0;
        let value = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some("here"))
        });
        assert_eq!(value.unwrap(), "here");
        assert_eq!(looks, 3);
    }

    #[test]
    fn a_value_that_never_comes_is_an_error_naming_it() {
        let error = until::<()>("the impossible", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "the impossible: not within 0.0 s");
    }
}
