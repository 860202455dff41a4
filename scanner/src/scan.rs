//! What the connect, SYN and UDP scan have in common beside pace, loss and round trips: the numbers behind `--timing`, the
//! ports that show whether a host is there, what is settled of a host's ports, and what is counted.

mod counts;
pub(crate) mod discovery;
pub(crate) mod limits;
pub(crate) mod middlebox;
mod port_bits;

pub use self::counts::Counts;
pub(crate) use self::port_bits::PortBits;
