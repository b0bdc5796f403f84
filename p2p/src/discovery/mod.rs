//! Finding peers, and keeping as many as wanted.
//!
//! Owns the address book, and decides whom to dial, when to ask others, and who makes place. Decides in pure code
//! ([`Planner`]); asks others through [`Routing`], Kademlia under a protocol name of the chain. Never believes an
//! address: it may be told by a liar, so it is dialed for the peer id that goes with it and forgotten if another answers.
//! Never touches configured peers, which [`crate::peers::Dialer`] keeps.

mod address;
mod book;
mod load;
mod observed;
mod planner;
mod records;
mod rotation;
mod routing;
#[cfg(test)]
mod simulation;
mod walks;

pub(crate) use address::{ADDRESSES_PER_PEER, Reach, is_definite, plausible, reach, without_peer};
pub(crate) use book::Setback;
pub(crate) use observed::Observed;
pub(crate) use planner::{Action, Planner, View};
pub(crate) use rotation::Held;
pub(crate) use routing::Routing;
