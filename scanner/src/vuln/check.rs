//! Read-only checks: what a service says when it is asked one harmless question.
//!
//! A check is data: bytes to send, what to expect, in the files of rules. It tries no password, writes nothing, and is
//! never sent where the gate ([`crate::gate`]) does not let it, such as to fragile devices. The runner here is the only part
//! of `vuln` with sockets; it is bounded in bytes, steps and time, and whatever a server answers ends in yes or no.

mod answer;
mod exchange;
mod run;

use serde::Deserialize;

pub use self::exchange::{Exchange, unescape};
pub use self::run::{Admitting, Connecting, Connector, Known, Options, PlainConnector, Stream, run, run_of};
use super::exposure::Applies;
use crate::port::Protocol;

/// Most exchanges of one check.
pub const STEPS_MAX: usize = 8;

/// One check.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its id, such as `redis-info`.
    pub id: String,
    /// Where it applies.
    pub applies: Applies,
    /// What it is sent over.
    pub protocol: Protocol,
    /// Whether it makes the server ask third parties, so that a user must want it.
    pub is_opt_in: bool,
    /// What is sent and expected, in order.
    pub steps: Vec<Exchange>,
    /// What servers answer, step by step, for which it says yes: its own tests.
    pub yes: Vec<Vec<Vec<u8>>>,
    /// What servers answer for which it says no.
    pub no: Vec<Vec<Vec<u8>>>,
}

/// A check as it is written in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckText {
    pub(super) id: String,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    products: Vec<String>,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default = "tcp")]
    protocol: Protocol,
    #[serde(default)]
    opt_in: bool,
    step: Vec<exchange::StepText>,
    yes: Vec<Vec<String>>,
    no: Vec<Vec<String>>,
}

fn tcp() -> Protocol {
    Protocol::Tcp
}

impl Check {
    /// Reads a check.
    pub(super) fn of(text: CheckText) -> Result<Self, String> {
        if text.step.is_empty() || text.step.len() > STEPS_MAX {
            return Err(format!("has {} steps: 1 to {STEPS_MAX}", text.step.len()));
        }
        if text.yes.is_empty() || text.no.is_empty() {
            return Err("needs an answer for yes and one for no".to_owned());
        }
        let answers = |lists: Vec<Vec<String>>| {
            lists
                .iter()
                .map(|list| list.iter().map(|answer| unescape(answer)).collect())
                .collect::<Result<Vec<Vec<_>>, _>>()
        };
        let yes = answers(text.yes)?;
        let mut steps = text.step.into_iter().map(Exchange::of).collect::<Result<Vec<_>, _>>()?;
        for (at, step) in steps.iter_mut().enumerate() {
            step.is_answered_by(yes.iter().filter_map(|answers| answers.get(at)));
        }
        Ok(Self {
            id: text.id,
            applies: Applies { services: text.services, products: text.products, ports: text.ports },
            protocol: text.protocol,
            is_opt_in: text.opt_in,
            steps,
            yes,
            no: answers(text.no)?,
        })
    }
}
