//! The interrogation of one TCP port: attempts side by side until one answer is certain, all have been made, or time is up.
//!
//! The first attempt is alone for a moment, so that a port that answers at once costs one connection. Then another runs
//! beside it, as long as its host has places for connections. What they were answered is judged by the rules through the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::connection::{self, Ending, Endpoint, Patience};
use super::matcher::{Answer, Match, ProbeRef};
use super::probe_order::{Attempt, Opening, OpeningPatience, ProbeOrder, asks_for_tls};
use super::{Detector, http, lines, ports, tls};
use crate::echo::{ECHO, is_echo};
use crate::gate::Stage;
use crate::port::Protocol;

/// Connections to one port at once: enough to hide one silence behind another, too few to alarm it.
const LANES: usize = 2;
/// How long a connection is given at least to speak or close before the opening question is sent: what closes at once
/// does not want a question. The close takes a round trip to arrive, so on long ways that is waited for.
const GRACE: Duration = Duration::from_millis(5);
/// How long it is given at most.
const GRACE_MAX: Duration = Duration::from_millis(300);
/// What closes later than this without a word, beyond the way there and back, has waited for a question.
const AT_ONCE: Duration = Duration::from_millis(100);
/// How long a port of which nothing is known is listened to before it is asked.
const LISTEN_FIRST: Duration = Duration::from_millis(300);
/// How long the opening is alone.
const ALONE: Duration = Duration::from_millis(1200);
/// How long to wait for a greeting where the port's number does not say that one comes; and, where it does, how long one that has
/// begun is left alone.
const LISTEN_WAIT: Duration = Duration::from_secs(6);
/// How long to wait for the answer to a probe.
const PROBE_WAIT: Duration = Duration::from_millis(2000);
/// The same once several were not answered.
const PROBE_WAIT_SILENT: Duration = Duration::from_millis(1000);
/// How long to wait for the answer to a ClientHello: some servers look keys up, or connect to another one first.
const HELLO_WAIT: Duration = Duration::from_secs(3);
/// The same where the port's number says TLS.
const HELLO_WAIT_HINTED: Duration = Duration::from_secs(5);
/// Unanswered probes after which a port counts as silent.
const SILENT_AFTER: usize = 2;
/// Between two parts of an answer that is not HTTP.
const ANSWER_GAP: Duration = Duration::from_millis(250);
/// Attempts end by themselves when time is up; for so long they may take to hand over what they have heard.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// A port that closed its listener and so many connections without a word will not say one.
const WORDLESS_MAX: usize = 3;
/// A port that refuses so many connections in a row has had enough.
const REFUSED_MAX: usize = 3;

/// What an interrogation came to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) outcome: Outcome,
    /// What it said without being asked, or first.
    pub(super) greeting: Option<Vec<u8>>,
    /// Its answer of HTTP to `GET /`, if that was what decided.
    pub(super) page: Option<Vec<u8>>,
    /// Whether it closed on `GET /` without a word, or with words that are nobody's: it may want HTTP/1.1, or a host.
    pub(super) has_dropped_page: bool,
}

/// What a port was found to be.
#[derive(Debug, Default)]
pub(super) enum Outcome {
    /// A rule knows it, for certain or (`is_soft`) by its service only.
    Known(Arc<Match>),
    /// TLS, so that it goes on inside.
    Tls,
    /// It closes without a word.
    Wrapped,
    /// None of it.
    #[default]
    Unknown,
}

/// What became of an attempt.
struct Said {
    attempt: Attempt,
    bytes: Vec<u8>,
    ending: Ending,
    /// Whether something was sent before the bytes came.
    was_asked: bool,
    /// Whether it waited for a question before it closed.
    has_waited: bool,
}

impl Said {
    fn probe(&self) -> Option<&ProbeRef> {
        match &self.attempt {
            Attempt::Probe(probe) if self.was_asked => Some(probe),
            _ => None,
        }
    }

    fn asked_for_page(&self) -> bool {
        self.probe().is_some_and(|probe| probe.payload.starts_with(b"GET / "))
    }

    fn is_wordless_close(&self) -> bool {
        self.bytes.is_empty() && self.ending == Ending::Closed
    }
}

/// Everything learnt so far.
#[derive(Default)]
struct Learnt {
    soft: Option<Arc<Match>>,
    /// The page that went with `soft`.
    page: Option<Vec<u8>>,
    greeting: Option<Vec<u8>>,
    /// What it said to a question that it did not want, such as one before its greeting.
    complaint: Option<Vec<u8>>,
    unanswered: usize,
    refused: usize,
    /// Connections that were closed without a word, and whether the listener was one of them.
    wordless: usize,
    is_wordless: bool,
    /// Whether a ClientHello is waiting for its answer, or was let wait: what closes on all else may be TLS that is late.
    is_hello_held: bool,
    has_dropped_page: bool,
    is_asked_as_a_browser: bool,
    has_words: bool,
    /// Whether the listener is still out.
    is_listening: bool,
}

impl Learnt {
    fn begins(&mut self, attempt: &Attempt) {
        self.is_listening |= *attempt == Attempt::Listen;
        self.is_hello_held |= attempt.is_hello();
    }

    /// What it comes to where nothing has ended the interrogation.
    fn into_seen(self) -> Seen {
        let outcome = match self.soft {
            Some(soft) => Outcome::Known(soft),
            None if self.is_wordless && !self.has_words && !self.is_hello_held => Outcome::Wrapped,
            None => Outcome::Unknown,
        };
        Seen {
            outcome,
            greeting: self.greeting.or(self.complaint),
            page: self.page,
            has_dropped_page: self.has_dropped_page,
        }
    }
}

impl Detector {
    /// Asks a TCP port what it is, in the clear or, as the endpoint says, inside TLS.
    pub(super) async fn interrogate(&self, endpoint: &Endpoint<'_>, intensity: u8) -> Seen {
        let is_inside = endpoint.tls.is_some();
        let port = endpoint.address.port();
        let probes = self.probes(Protocol::Tcp, port, is_inside);
        let (opening, mut probe_order) = ProbeOrder::new(&probes, port, intensity, is_inside);
        // Moments of the port's own time.
        let mut next_start = endpoint.time.now() + ALONE;
        let mut learnt = Learnt::default();
        let mut is_opening = true;
        // Whether a greeting has begun to come, until when it is left alone.
        let (is_begun, alone_until) = (AtomicBool::new(false), endpoint.time.now() + LISTEN_WAIT);
        let mut running = FuturesUnordered::new();
        let Opening { attempt, patience } = opening;
        // One goes on wherever the host has no place for two.
        let has_lane = |running: usize| running == 0 || running < LANES && endpoint.room.has_place();
        learnt.begins(&attempt);
        if learnt.is_listening && ports::punishes_early_talk(port) {
            // As long as it has not spoken.
            next_start = endpoint.time.ends;
        }
        let wait = patience_for(&attempt, port, &learnt);
        running.push(self.attempt(endpoint, attempt, Some(patience), wait, &is_begun));
        loop {
            let now = endpoint.time.now();
            let is_over = now >= endpoint.time.ends;
            if learnt.is_listening && endpoint.is_greeted() && is_begun.load(Ordering::Relaxed) {
                next_start = next_start.max(alone_until);
            }
            while now >= next_start && !is_over && has_lane(running.len()) {
                let Some(attempt) = probe_order.next() else { break };
                learnt.begins(&attempt);
                let wait = patience_for(&attempt, port, &learnt);
                running.push(self.attempt(endpoint, attempt, None, wait, &is_begun));
            }
            let may_start = !is_over && !probe_order.is_exhausted() && has_lane(running.len());
            tokio::select! {
                biased;
                Some(said) = running.next() => {
                    if let Some(seen) = self.learn(endpoint, said, is_opening, &mut learnt, &mut probe_order) {
                        return seen;
                    }
                    is_opening = false;
                    next_start = endpoint.time.now();
                    if learnt.complaint.is_some() && !learnt.has_words {
                        // It was disturbed: nothing more is asked before its greeting has had its time.
                        if !learnt.is_listening && let Some(listen) = probe_order.take_listener() {
                            learnt.is_listening = true;
                            running.push(self.attempt(endpoint, listen, None, PROBE_WAIT, &is_begun));
                        }
                        next_start += if learnt.is_listening { LISTEN_WAIT } else { Duration::ZERO };
                    }
                }
                () = sleep_until(endpoint.listens_until() + LAST_WORDS) => {
                    if endpoint.time.now() >= endpoint.time.listens_until + LAST_WORDS {
                        break;
                    }
                }
                () = sleep_until(endpoint.deadline()), if !is_over => {}
                () = sleep_until(endpoint.time.real(next_start)), if may_start => {
                    is_opening &= endpoint.time.now() < next_start;
                }
            }
            // From then on a greeting is listened to and nothing else.
            let is_over = endpoint.time.now() >= endpoint.time.ends;
            // A port that answers questions has no greeting to wait for.
            let is_rest_idle = running.len() == usize::from(learnt.is_listening && learnt.has_words);
            if (probe_order.is_exhausted() || is_over) && is_rest_idle || learnt.refused >= REFUSED_MAX {
                break;
            }
        }
        learnt.into_seen()
    }

    /// Takes in what became of an attempt; some when that ends the interrogation.
    fn learn(
        &self,
        endpoint: &Endpoint<'_>,
        said: Said,
        is_opening: bool,
        learnt: &mut Learnt,
        probe_order: &mut ProbeOrder,
    ) -> Option<Seen> {
        learnt.refused = if said.ending == Ending::Refused { learnt.refused + 1 } else { 0 };
        learnt.unanswered += usize::from(said.bytes.is_empty());
        learnt.is_listening &= said.attempt != Attempt::Listen;
        if said.attempt.is_hello() {
            learnt.is_hello_held = said.bytes.is_empty() && said.ending == Ending::Quiet;
        }
        if said.is_wordless_close() {
            learnt.wordless += 1;
            learnt.is_wordless |= said.attempt == Attempt::Listen;
            learnt.has_dropped_page |= said.asked_for_page();
        }
        if said.is_wordless_close() && said.was_asked && said.attempt == Attempt::Hello {
            probe_order.ask_bare_hello();
        }
        if said.is_wordless_close() && is_opening {
            match (&said.attempt, said.was_asked) {
                // Some servers give their callers half a second to speak: this one is asked at once.
                (Attempt::Probe(probe), false) if said.has_waited => probe_order.ask_again(probe.clone()),
                (_, false) => return Some(Seen { outcome: Outcome::Wrapped, ..Seen::default() }),
                (_, true) => probe_order.try_the_wordless(),
            }
        }
        let is_wrapped = learnt.is_wordless && !learnt.has_words && !learnt.is_hello_held;
        if is_wrapped && learnt.wordless >= WORDLESS_MAX {
            return Some(Seen { outcome: Outcome::Wrapped, ..Seen::default() });
        }
        if said.bytes.is_empty() {
            if said.ending == Ending::Quiet && !learnt.has_words {
                self.ask_again_as_a_browser(endpoint, &said, learnt, probe_order);
            }
            return None;
        }
        if tls::is_tls(&said.bytes) && endpoint.tls.is_none() {
            return learn_tls(said, learnt, probe_order);
        }
        let is_complaint = said.was_asked && self.is_complaint(endpoint, &said, learnt.is_listening);
        is_complaint.then(|| learnt.complaint.get_or_insert_with(|| said.bytes.clone()));
        learnt.has_words |= !is_complaint;
        if !said.was_asked || learnt.greeting.is_none() && !said.attempt.is_hello() && !is_complaint {
            learnt.greeting = Some(said.bytes.clone());
        }
        if asks_for_tls(&said.bytes) && endpoint.tls.is_none() {
            probe_order.ask_tls();
        }
        if let Attempt::Probe(probe) = &said.attempt
            && !said.was_asked
        {
            // Its greeting came before the question, which is still to be asked.
            probe_order.ask_again(probe.clone());
        }
        let found = self.judge_answer(endpoint, &said, learnt.greeting.as_deref());
        // What answers a request of HTTP/1.0 by something else may answer another one.
        learnt.has_dropped_page |= found.is_none() && said.asked_for_page() && !http::is_http(&said.bytes);
        let found = found?;
        let may_be_half =
            said.ending == Ending::Quiet || said.ending == Ending::Closed && lines::is_of_lines(&said.bytes);
        let found = if may_be_half { lines::without_half_a_version(found, &said.bytes) } else { found };
        let is_page = http::is_http(&said.bytes) || http::is_bare_page(&said.bytes);
        let page = (said.asked_for_page() && is_page).then_some(said.bytes);
        if !found.is_soft && !is_complaint && !page.as_deref().is_some_and(asks_for_tls) {
            let greeting = learnt.greeting.take();
            return Some(Seen { outcome: Outcome::Known(found), greeting, page, has_dropped_page: false });
        }
        let is_better = learnt.soft.as_ref().is_none_or(|soft| soft.service.confidence < found.service.confidence);
        if is_better {
            if found.is_soft && !is_complaint {
                probe_order.narrow(&found.service.name);
            }
            learnt.soft = Some(found);
            learnt.page = page;
        }
        None
    }

    /// Some servers let a request of HTTP/1.0, or one without a host, wait for ever: asked for the page in that way, they are
    /// asked once more as browsers ask.
    fn ask_again_as_a_browser(
        &self,
        endpoint: &Endpoint<'_>,
        said: &Said,
        learnt: &mut Learnt,
        probe_order: &mut ProbeOrder,
    ) {
        let Some(probe) = said.probe().filter(|probe| probe.payload.starts_with(b"GET / HTTP/1.0")) else { return };
        if !std::mem::replace(&mut learnt.is_asked_as_a_browser, true) {
            let payload = http::request(endpoint, "/").into_bytes().into();
            probe_order.ask_behind_the_listener(ProbeRef { payload, ..probe.clone() });
        }
    }

    /// Whether an answer only says that the question was not wanted. A port that usually greets, and has not yet, says so in
    /// words that nobody knows; and half of its greeting is no answer while the whole one is waited for.
    fn is_complaint(&self, endpoint: &Endpoint<'_>, said: &Said, is_listening: bool) -> bool {
        let is_early = is_listening && endpoint.is_greeted();
        let is_half = || said.ending == Ending::Quiet && lines::wait_for_the_rest(&said.bytes).is_some();
        let is_unknown = || self.judge(endpoint, said.probe(), &said.bytes).is_none();
        lines::is_complaint(&said.bytes) || is_early && (is_half() || is_unknown())
    }

    /// What the rules make of an answer with the greeting in front of it, and where that is not certain, of what is behind the
    /// greeting. A user's probe may be answered behind one that has not been heard alone: that is a line.
    fn judge_answer(&self, endpoint: &Endpoint<'_>, said: &Said, greeting: Option<&[u8]>) -> Option<Arc<Match>> {
        let (probe, bytes) = (said.probe(), said.bytes.as_slice());
        let whole = self.judge(endpoint, probe, bytes);
        let of_ssh = || lines::of_ssh(bytes).filter(|own| own.len() < bytes.len());
        let whole = whole.or_else(|| self.judge(endpoint, probe, of_ssh()?));
        if probe.is_none() || whole.as_ref().is_some_and(|found| !found.is_soft) {
            return whole;
        }
        let behind = greeting.and_then(|greeting| bytes.strip_prefix(greeting)).filter(|rest| !rest.is_empty());
        let behind = behind.or_else(|| {
            let line =
                bytes.iter().position(|byte| *byte == b'\n').filter(|_| probe.is_some_and(|probe| !probe.is_built_in));
            bytes.get(line? + 1..).filter(|rest| !rest.is_empty())
        });
        let behind = behind.and_then(|rest| self.judge(endpoint, probe, rest));
        behind.filter(|found| !found.is_soft).or(whole)
    }

    /// What the rules make of an answer, to the probe that was sent or else to none.
    pub(super) fn judge(&self, endpoint: &Endpoint<'_>, probe: Option<&ProbeRef>, bytes: &[u8]) -> Option<Arc<Match>> {
        let answer = Answer {
            protocol: Protocol::Tcp,
            port: endpoint.address.port(),
            is_tls: endpoint.tls.is_some(),
            probe: probe.map(|probe| probe.id),
            bytes,
        };
        let found = self.matched(&answer)?;
        let is_own = || probe.is_some_and(|probe| is_echo(&probe.payload, bytes));
        (*found.service.name == *ECHO || !is_own()).then_some(found)
    }

    /// Makes one attempt on a connection of its own; the opening first listens, for as long as it says.
    async fn attempt(
        &self,
        endpoint: &Endpoint<'_>,
        attempt: Attempt,
        opening: Option<OpeningPatience>,
        wait: Duration,
        is_begun: &AtomicBool,
    ) -> Said {
        let mut said =
            Said { attempt, bytes: Vec::new(), ending: Ending::Refused, was_asked: false, has_waited: false };
        let stage = if said.attempt.is_hello() { Stage::Tls } else { Stage::Service };
        let Ok(mut connection) = endpoint.connect(stage).await else { return said };
        let stream = &mut connection.stream;
        let hello;
        let payload: &[u8] = match &said.attempt {
            Attempt::Listen => &[],
            Attempt::Probe(probe) => &probe.payload,
            Attempt::Hello | Attempt::BareHello => {
                hello = tls::any_hello(endpoint.name, said.attempt == Attempt::BareHello);
                &hello
            }
        };
        let now = Instant::now();
        if let Some(patience) = opening.filter(|_| !payload.is_empty()) {
            let least = if patience == OpeningPatience::Moment { GRACE } else { LISTEN_FIRST };
            let grace = (connection.round_trip * 5 / 4).clamp(least, GRACE_MAX.max(least));
            let patience = Patience { first: now + grace, gap: Duration::ZERO, last: endpoint.deadline() };
            said.ending = connection::read(stream, &mut said.bytes, patience, |_| true).await;
            said.has_waited = now.elapsed() > 2 * connection.round_trip + AT_ONCE;
            if said.ending == Ending::Closed || self.is_enough(endpoint, &said, &said.bytes) {
                return said;
            }
        }
        let now = Instant::now();
        if said.bytes.is_empty() && !payload.is_empty() {
            said.was_asked = connection::send(stream, payload, endpoint.deadline().min(now + wait)).await;
            if !said.was_asked {
                // Closed while we spoke.
                said.ending = Ending::Closed;
                said.was_asked = true;
                return said;
            }
        }
        let is_greeting = payload.is_empty() && endpoint.is_greeted();
        let last = if is_greeting { endpoint.listens_until() } else { endpoint.deadline() };
        // A greeting that has begun is only read to its end.
        let first = match said.bytes.is_empty() {
            true if is_greeting => last.saturating_duration_since(now),
            true if payload.is_empty() => LISTEN_WAIT,
            true => wait,
            false => ANSWER_GAP,
        };
        let is_http = said.probe().is_some_and(|probe| probe.payload.starts_with(b"GET "));
        let gap = if is_http { http::ANSWER_GAP } else { ANSWER_GAP };
        let patience = Patience { first: now + first, gap, last: last.min(now + first + wait) };
        let mut bytes = std::mem::take(&mut said.bytes);
        let is_enough = |bytes: &[u8]| {
            is_begun.fetch_or(is_greeting, Ordering::Relaxed);
            self.is_enough(endpoint, &said, bytes)
        };
        let mut ending = connection::read(stream, &mut bytes, patience, is_enough).await;
        let was_asked = said.was_asked;
        let left = last.saturating_duration_since(Instant::now());
        let rest = |bytes: &[u8]| match lines::wait_for_the_rest(bytes) {
            None if tls::may_become_tls(bytes) => Some(lines::LINE_WAIT),
            _ if is_greeting => lines::wait_for_greeting(bytes, endpoint.address.port(), left),
            None if was_asked => lines::wait_for_welcome(bytes),
            more => more,
        };
        if ending == Ending::Quiet
            && let Some(more) = rest(&bytes)
        {
            // Half a line is not judged: its other half may be on its way.
            let now = Instant::now();
            let patience = Patience { first: now + more, gap: more, last: last.min(now + more + wait) };
            ending = connection::read(stream, &mut bytes, patience, |bytes| rest(bytes).is_none()).await;
        }
        Said { bytes, ending, ..said }
    }

    /// Whether an answer is whole as far as it matters.
    fn is_enough(&self, endpoint: &Endpoint<'_>, said: &Said, bytes: &[u8]) -> bool {
        if http::is_http(bytes) {
            return http::is_complete(bytes);
        }
        if http::is_bare_page(bytes) {
            return http::is_whole_page(bytes);
        }
        if tls::is_tls(bytes) && endpoint.tls.is_none() {
            return true;
        }
        // A line may come in parts; a match on half of it would lack the version.
        let is_text = bytes.iter().take(64).all(|byte| (b' '..=b'~').contains(byte) || byte.is_ascii_whitespace());
        let is_settled = !is_text || bytes.ends_with(b"\n");
        // What names nobody may have more to come: the rest of a message, or the answer to the second one of a probe.
        let is_told = |found: Arc<Match>| !found.is_soft && found.service.product.is_some();
        is_settled && self.judge(endpoint, said.probe(), bytes).is_some_and(is_told)
    }
}

/// Takes in what only TLS says: it is TLS where that answers a ClientHello, and a hint where it answers clear text or nothing.
fn learn_tls(said: Said, learnt: &mut Learnt, probe_order: &mut ProbeOrder) -> Option<Seen> {
    // A user's own probe may be one.
    let is_hello = said.attempt.is_hello() || said.probe().is_some_and(|probe| probe.payload.starts_with(&[22, 3]));
    if is_hello && said.was_asked {
        return Some(Seen { outcome: Outcome::Tls, ..Seen::default() });
    }
    probe_order.confirm_tls(&said.attempt);
    learnt.has_words = true;
    learnt.has_dropped_page |= said.asked_for_page();
    learnt.complaint.get_or_insert(said.bytes);
    None
}

/// How long an answer is waited for.
fn patience_for(attempt: &Attempt, port: u16, learnt: &Learnt) -> Duration {
    match attempt {
        Attempt::Hello | Attempt::BareHello if ports::begins_with_tls(port) => HELLO_WAIT_HINTED,
        Attempt::Hello | Attempt::BareHello => HELLO_WAIT,
        _ if learnt.unanswered < SILENT_AFTER => PROBE_WAIT,
        _ => PROBE_WAIT_SILENT,
    }
}
