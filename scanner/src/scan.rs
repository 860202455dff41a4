//! What the connect, SYN and UDP scan have in common: the numbers behind `--timing`, the ports that show whether a host is
//! there, what is settled of a host's ports, what is found and counted; and what those two have that keep each probe in
//! mind, the connect and the UDP scan: the targets that wait, the tries of a probe, and what these measure.

mod attempt;
mod banner_wait;
pub(crate) mod discovery;
mod heard_ports;
pub(crate) mod limits;
mod measures;
pub(crate) mod middlebox;
mod namesakes;
mod port_bits;
pub(crate) mod pulse;
mod recall;
mod redirect;
mod results;
pub(crate) mod stretch;
mod tries;
mod waiting;

pub(crate) use self::attempt::Attempt;
pub(crate) use self::banner_wait::banner_wait;
pub(crate) use self::heard_ports::{HeardPorts, Unanswered};
pub(crate) use self::measures::Measures;
pub(crate) use self::namesakes::End;
pub(crate) use self::port_bits::PortBits;
pub(crate) use self::recall::Recall;
pub use self::results::Results;
pub(crate) use self::tries::Tries;
pub(crate) use self::waiting::Waiting;
use crate::tally::Estimates;

/// What every scan says of itself while it runs.
pub trait Scan {
    /// What was found, counted and left out so far.
    fn results(&self) -> &Results;

    /// The same, for what was found to be taken.
    fn results_mut(&mut self) -> &mut Results;

    /// What is estimated so far.
    fn estimates(&self) -> Estimates;

    /// Every target below this index is settled; `None` where nobody can say so now.
    fn settled_until(&self) -> Option<u64>;

    /// Whether every target has been asked at least once: what is left is waiting.
    fn is_cooling_down(&self) -> bool;
}
