//! What one host loses beyond the path that all share: a limit on new connections before it, a slow line behind a fast one.
//!
//! Canaries measure the path over all hosts, so what a single one loses drowns in them. It shows in the host's own
//! answers: where nothing but the path lost, ports that were silent answer in the next pass as rarely as the path's loss
//! says. A host of which more turns up than that is judged by what turned up: while its pace stays the same, each pass
//! finds a fixed share of what the one before has found, and that share is what each loses. It is asked more slowly then,
//! at what got through, once more if that helped, and as often as its own loss asks for.

use std::time::Duration;

use crate::pace::Pacer;

/// Answers that turn up beyond what the path explains before a host is judged by itself, and the multiple of what it
/// explains: six by chance, twice as many by a burst.
const NEWS_MIN: f64 = 6.0;
const NEWS_TIMES: f64 = 2.0;
/// No loss is judged to be more: what loses everything is silent.
const LOSS_MAX: f64 = 0.98;
/// With less loss than this beyond the path's, slowing down gains less than another pass.
const EXCESS: f64 = 0.25;
/// A slow-down that leaves more than this part of the loss did not help: it is not the pace that loses.
const HELPED: f64 = 0.5;
/// A little more than what got through, since what was lost to chance was not the pace's.
const ROOM: f64 = 1.2;
/// No host is asked more slowly on this account.
const PPS_MIN: f64 = 100.0;

/// The passes over one host's ports.
#[derive(Debug, Default)]
pub(super) struct OwnPath {
    /// Answers of ports before the running pass, and how many the pass before it brought.
    before: u32,
    news: u32,
    /// What the path lost of the pass before; `None` before the first has ended.
    path_loss: Option<f32>,
    /// Whether a second pass has ended.
    is_proved: bool,
    /// Whether the last pass has brought more than the path explains, but too little to judge the host by.
    is_surprising: bool,
    /// Probes sent in the running pass, when the first of them was, and when it was over, in milliseconds.
    sent: u32,
    began_ms: u32,
    ended_ms: u32,
    own: Option<Box<Own>>,
}

/// What is known of a host that loses more than the path.
#[derive(Debug, Default)]
struct Own {
    /// Share that each pass loses, and what it is judged by: what passes at this pace brought, and those before them.
    loss: f64,
    news: f64,
    last: f64,
    /// Passes at this pace, and the logarithm of the chance that an answer was missed in all before them.
    passes: u32,
    exposure: f64,
    pps: Option<u64>,
    pacer: Pacer,
    /// What was lost at the pace before this one, until that is compared.
    slowed_from: Option<f64>,
    /// Whether the loss is the same at any pace.
    is_chance: bool,
}

impl OwnPath {
    /// Whether enough passes have ended to know whether the host loses more than the path. Of one with few ports that shows
    /// only in passes that go on to bring something: it is known once one has not.
    pub(super) fn is_proved(&self) -> bool {
        self.is_proved && !self.is_surprising
    }

    /// Whether the host loses more than the path.
    pub(super) fn differs(&self) -> bool {
        self.own.is_some()
    }

    /// Takes a slot of the host's own pace.
    pub(super) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        let Some(own) = &mut self.own else { return Ok(()) };
        own.pps.map_or(Ok(()), |pps| own.pacer.admit(now, pps, 1).map(drop))
    }

    /// A probe of the running pass goes out.
    pub(super) fn sent(&mut self, now: Duration) {
        if self.sent == 0 {
            self.began_ms = millis(now);
        }
        self.sent += 1;
    }

    /// Everything of the running pass is out.
    pub(super) fn ended(&mut self, now: Duration) {
        self.ended_ms = millis(now);
    }

    /// The answers of a pass are in, `answers` of ports in all. `exposure` is the logarithm of the chance that an answer
    /// was missed in every pass, this one included, as far as the path explains it, which lost `path_loss` of this pass.
    /// Returns that chance's logarithm as the host's own answers tell it.
    pub(super) fn judge(&mut self, answers: u32, path_loss: f64, exposure: f64) -> f64 {
        let news = answers.saturating_sub(self.before);
        let (last, rate) = (std::mem::replace(&mut self.news, news), self.rate());
        #[expect(clippy::cast_possible_truncation, reason = "a share, for which seven digits are enough")]
        let kept = path_loss as f32;
        let lost_before = self.path_loss.replace(kept);
        (self.before, self.sent, self.is_proved, self.is_surprising) = (answers, 0, lost_before.is_some(), false);
        let (news, last) = (f64::from(news), f64::from(last));
        if let Some(own) = &mut self.own {
            return own.judge(news, last, path_loss, rate);
        }
        let explained = lost_before.map(|lost_before| expected(last, f64::from(lost_before), path_loss));
        if explained.is_none_or(|explained| news <= NEWS_TIMES * explained + NEWS_MIN) {
            self.is_surprising = explained.is_some_and(|explained| news >= NEWS_TIMES * explained + 1.0);
            return exposure;
        }
        let mut own = Own { loss: share(news, last), news, last, passes: 2, ..Own::default() };
        let exposure = own.exposure();
        own.slow_down(path_loss, rate);
        self.own = Some(Box::new(own));
        exposure
    }

    /// Probes per second of the pass that has ended.
    fn rate(&self) -> f64 {
        f64::from(self.sent) * 1000.0 / f64::from(self.ended_ms.saturating_sub(self.began_ms).max(1))
    }
}

impl Own {
    fn judge(&mut self, news: f64, last: f64, path_loss: f64, rate: f64) -> f64 {
        self.passes += 1;
        // The first pass at a new pace has none to be compared with: it is taken to lose as much as the old one.
        if self.passes == 1 {
            return self.exposure + self.loss.ln();
        }
        (self.news, self.last) = (self.news + news, self.last + last);
        let loss = share(self.news, self.last).max(path_loss.min(LOSS_MAX));
        self.loss = loss;
        if let Some(before) = self.slowed_from.take() {
            self.is_chance = self.loss > HELPED * before;
        }
        let exposure = self.exposure();
        self.slow_down(path_loss, rate);
        exposure
    }

    fn exposure(&self) -> f64 {
        self.exposure + f64::from(self.passes) * self.loss.ln()
    }

    /// Takes up a pace at which what got through gets through again, where a pace is what loses. The first pace is kept in
    /// any case: passes can only be compared while it stays the same.
    fn slow_down(&mut self, path_loss: f64, rate: f64) {
        let is_pace = !self.is_chance && self.loss >= path_loss + EXCESS && rate > PPS_MIN;
        let slower = rate * (1.0 - self.loss) * ROOM;
        if self.pps.is_some() && !(is_pace && slower < rate) {
            return;
        }
        // Passes before the first pace went as fast as others let them: what they lost is no measure.
        self.slowed_from = self.pps.map(|_| self.loss);
        self.exposure = self.exposure();
        (self.passes, self.news, self.last) = (0, 0.0, 0.0);
        let pps = if is_pace { slower.min(rate) } else { rate };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate far below 2^63")]
        let pps = pps.max(PPS_MIN) as u64;
        self.pps = Some(pps);
    }
}

/// How many answers a pass is expected to bring after one that brought `last`, with what each lost.
fn expected(last: f64, lost_before: f64, lost_now: f64) -> f64 {
    last * lost_before / (1.0 - lost_before).max(0.01) * (1.0 - lost_now)
}

/// What each of two passes at one pace lost, when the second brought `news` after the `last` of the first.
fn share(news: f64, last: f64) -> f64 {
    ((news + 0.5) / (last + 1.0)).min(LOSS_MAX)
}

fn millis(now: Duration) -> u32 {
    u32::try_from(now.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with `total` ports that answer, of which each pass finds the share that gets through; returns the passes it
    /// takes to be sure, and what was found.
    fn passes(total: f64, through: impl Fn(Option<u64>) -> f64, path_loss: f64) -> (u8, f64) {
        let (mut path, mut found, mut exposure) = (OwnPath::default(), 0.0, 0.0);
        for pass in 0..15 {
            let pace = path.own.as_ref().and_then(|own| own.pps);
            let pps = pace.unwrap_or(10_000);
            let begin = Duration::from_secs(u64::from(pass) * 100);
            (0..10_000).for_each(|_| path.sent(begin));
            path.ended(begin + Duration::from_secs_f64(10_000.0 / pps as f64));
            found += ((total - found) * through(pace)).round();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
            let answers = found as u32;
            let by_path = exposure + path_loss.max(1e-6).ln();
            exposure = path.judge(answers, path_loss, by_path);
            if exposure.exp() < 5e-5 && pass > 0 {
                return (pass + 1, found);
            }
        }
        (15, found)
    }

    #[test]
    fn a_host_behind_a_limit_is_asked_at_its_own_pace_until_all_is_found() {
        for limit in [500.0, 2000.0, 8000.0] {
            let through = |pps: Option<u64>| (limit / pps.unwrap_or(10_000) as f64).min(1.0);
            let (passes, found) = passes(500.0, through, 0.0);
            assert!(found >= 500.0, "{found} at {limit}");
            assert!(passes <= 12, "{passes} at {limit}");
        }
    }

    #[test]
    fn a_host_that_loses_the_same_at_any_pace_is_asked_more_often_and_slowed_once() {
        let (passes, found) = passes(500.0, |_| 0.6, 0.0);
        assert!(found >= 500.0 && passes <= 14, "{found} in {passes}");
    }

    #[test]
    fn a_host_of_few_ports_behind_a_limit_is_not_known_until_a_pass_brings_nothing() {
        let mut path = OwnPath::default();
        let clean = 1e-6_f64.ln();
        let known: Vec<bool> = [6, 11, 16, 18, 18]
            .into_iter()
            .map(|answers| {
                path.judge(answers, 0.0, clean);
                path.is_proved()
            })
            .collect();
        assert_eq!(known, [false, false, false, false, true]);
    }

    #[test]
    fn what_the_path_loses_is_no_word_on_the_host() {
        for loss in [0.0, 0.05, 0.2, 0.36] {
            let mut path = OwnPath::default();
            let (mut found, mut exposure) = (0.0_f64, 0.0);
            for _ in 0..8 {
                found += ((400.0 - found) * (1.0 - loss)).round();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
                let answers = found as u32;
                exposure = path.judge(answers, loss, exposure + loss.max(1e-6_f64).ln());
            }
            assert!(!path.differs(), "{loss}");
            assert!((exposure - 8.0 * loss.max(1e-6).ln()).abs() < 1e-6);
        }
    }
}
