//! In which order a port is asked: pure, told what was learnt, telling what to try next.
//!
//! The first connection listens, and, unless the port's protocol has the server speak first, asks when nothing is said:
//! the question that its number suggests after a moment, the likeliest one after a while. That one connection must do
//! both, since some servers talk to one client at a time and would let the others wait behind a silent one. After it
//! come the other hinted probes, a listener that keeps silent, a ClientHello, and the rest by yield.

use std::collections::VecDeque;

use super::matcher::ProbeRef;
use super::ports;

/// One thing to try on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Say nothing.
    Listen,
    /// Send a probe.
    Probe(ProbeRef),
    /// Send a ClientHello.
    Hello,
    /// Send one that does not name what would be spoken inside.
    BareHello,
}

impl Attempt {
    /// Whether it asks for TLS.
    pub(super) fn is_hello(&self) -> bool {
        matches!(self, Self::Hello | Self::BareHello)
    }
}

/// The first attempt on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) attempt: Attempt,
    pub(super) patience: OpeningPatience,
}

/// How long the first connection is listened to before it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpeningPatience {
    /// Long enough for a server that closes at once.
    Moment,
    /// Long enough for a server that speaks first.
    While,
}

/// What is left to try on a port.
#[derive(Debug)]
pub(super) struct ProbeOrder {
    queue: VecDeque<Attempt>,
    /// Probes too rare to be sent unasked; a soft match may ask for them.
    rare: Vec<ProbeRef>,
    has_said_hello: bool,
}

impl ProbeOrder {
    /// The first attempt, and the order after it.
    pub(super) fn new(probes: &[ProbeRef], port: u16, intensity: u8, is_inside_tls: bool) -> (Opening, Self) {
        let (hinted, others): (Vec<&ProbeRef>, Vec<&ProbeRef>) = probes.iter().partition(|probe| probe.is_hinted);
        let (common, rare): (Vec<&ProbeRef>, Vec<&ProbeRef>) =
            others.into_iter().partition(|probe| probe.rarity <= intensity);
        let mut hinted = hinted.into_iter().cloned().map(Attempt::Probe);
        let mut common = common.into_iter().cloned().map(Attempt::Probe);
        let is_unknown = hinted.len() == 0;
        let (attempt, patience) = if !is_inside_tls && ports::begins_with_tls(port) {
            (Attempt::Hello, OpeningPatience::Moment)
        } else if ports::is_greeted(port) {
            (Attempt::Listen, OpeningPatience::While)
        } else if let Some(hinted) = hinted.next() {
            (hinted, OpeningPatience::Moment)
        } else {
            (common.next().unwrap_or(Attempt::Listen), OpeningPatience::While)
        };
        let mut queue: VecDeque<Attempt> = hinted.collect();
        let has_said_hello = is_inside_tls || attempt == Attempt::Hello;
        if !has_said_hello && is_unknown {
            queue.push_back(Attempt::Hello);
        }
        if attempt != Attempt::Listen {
            queue.push_back(Attempt::Listen);
        }
        if !has_said_hello && !is_unknown {
            // The likeliest probe before it: the number says that there is no TLS.
            queue.extend(common.next());
            queue.push_back(Attempt::Hello);
        }
        queue.extend(common);
        let probe_order = Self { queue, rare: rare.into_iter().cloned().collect(), has_said_hello };
        (Opening { attempt, patience }, probe_order)
    }

    /// What to try next.
    pub(super) fn next(&mut self) -> Option<Attempt> {
        let attempt = self.queue.pop_front();
        self.has_said_hello |= attempt == Some(Attempt::Hello);
        attempt
    }

    /// The listener, if it has not been tried: a port that does not want to be asked is listened to.
    pub(super) fn take_listener(&mut self) -> Option<Attempt> {
        let at = self.queue.iter().position(|attempt| *attempt == Attempt::Listen)?;
        self.queue.remove(at)
    }

    /// A probe that was to be sent and was not: it comes next.
    pub(super) fn ask_again(&mut self, probe: ProbeRef) {
        self.queue.push_front(Attempt::Probe(probe));
    }

    /// A probe that nothing is hurried by: it comes next, but for a listener that has not begun yet, which needs the time that is left for
    /// a server that greets late.
    pub(super) fn ask_behind_the_listener(&mut self, probe: ProbeRef) {
        match self.take_listener() {
            Some(listener) => {
                self.ask_again(probe);
                self.queue.push_front(listener);
            }
            None => self.ask_again(probe),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_exhausted(&self) -> bool {
        self.queue.is_empty()
    }

    /// The service is known: only probes that its answers can tell more by are left, however rare.
    pub(super) fn narrow(&mut self, service: &str) {
        let tells = |probe: &ProbeRef| probe.services.iter().any(|name| &**name == service);
        self.queue.retain(|attempt| matches!(attempt, Attempt::Probe(probe) if tells(probe)));
        self.queue.extend(self.rare.drain(..).filter(|probe| tells(probe)).map(Attempt::Probe));
    }

    /// The port asked for TLS: that comes next, unless it was tried.
    pub(super) fn ask_tls(&mut self) {
        if !self.has_said_hello {
            self.queue.retain(|attempt| *attempt != Attempt::Hello);
            self.queue.push_front(Attempt::Hello);
        }
    }

    /// Something was said that only TLS says, but not to a ClientHello: that comes next, unless one was sent.
    pub(super) fn confirm_tls(&mut self, said_to: &Attempt) {
        // What came before it was sent was no answer to it.
        self.has_said_hello &= !said_to.is_hello();
        self.ask_tls();
    }

    /// A ClientHello was closed on without a word: some do that for what it names.
    pub(super) fn ask_bare_hello(&mut self) {
        self.queue.push_front(Attempt::BareHello);
    }

    /// The opening question was closed on without a word: TLS is tried next, since that is how many of its servers take
    /// clear text, and after it whether the port says anything at all.
    pub(super) fn try_the_wordless(&mut self) {
        for wanted in [Attempt::Listen, Attempt::Hello] {
            if let Some(at) = self.queue.iter().position(|attempt| *attempt == wanted) {
                let attempt = self.queue.remove(at);
                self.queue.extend(attempt);
                self.queue.rotate_right(1);
            }
        }
    }
}

/// Whether an answer in the clear asks for TLS, in the words of the servers that do.
pub(super) fn asks_for_tls(bytes: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [
        b"HTTP request was sent to HTTPS port",
        b"speaking plain HTTP to an SSL-enabled",
        b"HTTP request to an HTTPS server",
        b"This combination of host and port requires TLS",
    ];
    let beginning = bytes.get(..2048).unwrap_or(bytes);
    WORDS.iter().any(|words| beginning.windows(words.len()).any(|window| window == *words))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::matcher::ProbeId;
    use super::*;

    fn probe(id: u32, rarity: u8, is_hinted: bool, services: &[&str]) -> ProbeRef {
        ProbeRef {
            id: ProbeId(id),
            name: Arc::from("p"),
            payload: Arc::from(&b"p"[..]),
            rarity,
            is_hinted,
            services: services.iter().map(|name| Arc::from(*name)).collect(),
            request: None,
            is_built_in: true,
        }
    }

    fn rest(mut probe_order: ProbeOrder) -> Vec<String> {
        std::iter::from_fn(|| probe_order.next())
            .map(|attempt| match attempt {
                Attempt::Probe(probe) => probe.id.0.to_string(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_the_number_suggests_comes_first_and_the_rare_not_at_all() {
        let probes = [probe(1, 1, true, &[]), probe(2, 9, true, &[]), probe(3, 1, false, &[]), probe(4, 8, false, &[])];
        let (opening, probe_order) = ProbeOrder::new(&probes, 80, 7, false);
        assert_eq!(opening, Opening { attempt: Attempt::Probe(probes[0].clone()), patience: OpeningPatience::Moment });
        assert_eq!(rest(probe_order), ["2", "Listen", "3", "Hello"]);
        let (opening, probe_order) = ProbeOrder::new(&probes, 25, 8, false);
        assert_eq!(opening.attempt, Attempt::Listen, "a mail server speaks first");
        assert_eq!(rest(probe_order), ["1", "2", "3", "Hello", "4"]);
        let (opening, probe_order) = ProbeOrder::new(&probes, 443, 0, false);
        assert_eq!(opening.attempt, Attempt::Hello);
        assert_eq!(rest(probe_order), ["1", "2", "Listen"]);
        let (opening, probe_order) = ProbeOrder::new(&probes[2..], 443, 7, true);
        assert_eq!(opening, Opening { attempt: Attempt::Probe(probes[2].clone()), patience: OpeningPatience::While });
        assert_eq!(rest(probe_order), ["Listen"], "no TLS inside TLS");
        let (opening, probe_order) = ProbeOrder::new(&probes[2..], 4000, 8, false);
        assert_eq!(opening.attempt, Attempt::Probe(probes[2].clone()), "one connection listens and then asks");
        assert_eq!(rest(probe_order), ["Hello", "Listen", "4"]);
    }

    #[test]
    fn what_is_asked_once_more_lets_the_listener_go_before_it() {
        let probes = [probe(1, 1, false, &[]), probe(2, 1, false, &[])];
        let (_, mut probe_order) = ProbeOrder::new(&probes, 4000, 7, false);
        probe_order.ask_behind_the_listener(probes[0].clone());
        assert_eq!(rest(probe_order), ["Listen", "1", "Hello", "2"]);
        let (_, mut probe_order) = ProbeOrder::new(&probes, 4000, 7, false);
        probe_order.take_listener();
        probe_order.ask_behind_the_listener(probes[0].clone());
        assert_eq!(rest(probe_order), ["1", "Hello", "2"]);
    }

    #[test]
    fn a_known_service_is_asked_its_own_questions_only() {
        let probes = [probe(1, 1, false, &["http"]), probe(2, 1, false, &["ftp"]), probe(3, 9, false, &["ftp", "x"])];
        let (_, mut probe_order) = ProbeOrder::new(&probes, 4000, 7, false);
        probe_order.narrow("ftp");
        assert_eq!(rest(probe_order), ["2", "3"], "however rare, and no listener or ClientHello");
    }

    #[test]
    fn a_port_that_asks_for_tls_gets_it_once() {
        let (_, mut probe_order) = ProbeOrder::new(&[probe(1, 1, false, &[]), probe(2, 1, false, &[])], 4000, 7, false);
        probe_order.ask_tls();
        assert_eq!(probe_order.next(), Some(Attempt::Hello));
        probe_order.ask_tls();
        assert_eq!(rest(probe_order), ["Listen", "2"], "the first probe was the opening");
        let (_, mut probe_order) = ProbeOrder::new(&[probe(1, 1, true, &[]), probe(2, 1, false, &[])], 80, 7, false);
        probe_order.try_the_wordless();
        assert_eq!(
            rest(probe_order),
            ["Hello", "Listen", "2"],
            "a wordless close may be TLS that was spoken to in the clear"
        );
        assert!(asks_for_tls(b"HTTP/1.1 400 Bad Request\r\n\r\n<h1>The plain HTTP request was sent to HTTPS port"));
        assert!(!asks_for_tls(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    }
}
