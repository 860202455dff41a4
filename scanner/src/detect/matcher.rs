//! What the engine of detection asks of a set of rules, and nothing about how rules are written or matched.
//!
//! The engine owns connections, time and order; a [`Matcher`] owns probes and patterns. It is handed bytes of strangers,
//! at most 64 KiB at a time, and must answer in time linear in them.

use std::fmt;
use std::sync::Arc;

use crate::finding::{Service, Tls};
use crate::port::Protocol;
use crate::udp_scan::payload::Payload;

/// A set of probes, and of rules that know an answer when they see one.
pub trait Matcher: Send + Sync + fmt::Debug {
    /// The probes worth sending to a port: those whose rules name the port first, then the others, each group by how
    /// much it is expected to yield. Probes of every rarity are given; the engine leaves out what is too rare.
    fn probes(&self, protocol: Protocol, port: u16, is_tls: bool) -> Vec<ProbeRef>;

    /// What an answer tells. The engine asks for the probe that was sent and, when that says nothing certain, once more
    /// with `probe: None`, since a greeting may have crossed the probe.
    fn matches(&self, from: &Answer<'_>) -> Option<Match>;

    /// What the TLS of a server tells that says nothing inside: its certificates, or that it has none.
    fn handshake(&self, _port: u16, _tls: &Tls) -> Option<Match> {
        None
    }

    /// Whether what is told depends on the port that answered. Where it does not, equal answers of different ports are
    /// looked at once.
    fn depends_on_port(&self) -> bool {
        false
    }
}

/// A probe's number, unique within its [`Matcher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u32);

/// A probe as the engine sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRef {
    /// Its number, which comes back in [`Answer::probe`].
    pub id: ProbeId,
    /// Its name, for traces and evidence.
    pub name: Arc<str>,
    /// The bytes to send.
    pub payload: Arc<[u8]>,
    /// How seldom it is of use, 1 (always) to 9 (hardly ever); sent up to the intensity, hinted ones always.
    pub rarity: u8,
    /// Whether its rules name the port asked for.
    pub is_hinted: bool,
    /// Names of the services that its answers can tell, for narrowing after a soft match; empty for any.
    pub services: Arc<[Arc<str>]>,
    /// The request of the UDP catalogue that it is; `payload` is then its form for nobody, and each port is asked afresh.
    pub(crate) request: Option<&'static Payload>,
    /// Whether it is the program's own. What a feed or a user's file brings is never a fragile port's own protocol, whatever
    /// it is called.
    pub(crate) is_built_in: bool,
}

/// What a port said.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port that answered.
    pub port: u16,
    /// Whether it was said inside TLS.
    pub is_tls: bool,
    /// The probe it answers; `None` for what was said without being asked.
    pub probe: Option<ProbeId>,
    /// All bytes so far, at most [`ANSWER_BYTES_MAX`].
    pub bytes: &'a [u8],
}

/// Most bytes of one answer that are read and matched: any banner, header or certificate worth looking at fits.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What a rule made of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// What it is, by this answer alone. Its words are printable and bounded.
    pub service: Service,
    /// Only the service's name is certain: probes for that service may tell more.
    pub is_soft: bool,
}
