//! What a node is told about its network before it starts.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use crate::{Limits, LimitsError, Timeouts, limits::check_time, peers::ScoreRules};

/// Configuration of a [`crate::Service`].
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Addresses to listen on: `/ip4/../tcp/..`, `/ip4/../udp/../quic-v1`, `/memory/..`.
    pub listen: Vec<Multiaddr>,
    /// Peers that are dialed, and dialed again whenever they are gone. With `/p2p/<peer id>` at the end of an address,
    /// only that peer is accepted there.
    pub peers: Vec<Multiaddr>,
    /// Peers whose offences are reported, but never cost them the connection.
    pub trusted: Vec<PeerId>,
    /// Bans of an earlier run that are not over; those of trusted peers, and more than are remembered, are left out.
    pub banned: Vec<Ban>,
    /// How the node names itself to others.
    pub agent: Agent,
    /// Bounds on connections, exchanges and rates.
    pub limits: Limits,
    /// Time limits.
    pub timeouts: Timeouts,
    /// What offences lead to.
    pub scores: ScoreRules,
    /// How configured peers are dialed.
    pub dialing: Dialing,
}

/// A peer that is kept out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub peer: PeerId,
    /// For how much longer, as [`crate::PeerInfo::banned_for`] tells it.
    pub left: Duration,
}

/// Name and version that identify tells others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent(pub String);

impl Default for Agent {
    fn default() -> Self {
        Self(concat!("lapis/", env!("CARGO_PKG_VERSION")).to_owned())
    }
}

/// Back-off between attempts to reach a configured peer. Doubled with every failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialing {
    /// After the first failure.
    pub first_delay: Duration,
    /// Never longer.
    pub longest_delay: Duration,
    /// After a peer turned out to be of another chain, or said goodbye for a reason that will not pass soon.
    pub unsuitable_delay: Duration,
}

impl Default for Dialing {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(120),
            unsuitable_delay: Duration::from_secs(600),
        }
    }
}

impl Config {
    /// Checks limits, time limits and score rules.
    ///
    /// # Errors
    /// The first [`LimitsError`] found.
    pub fn check(&self) -> Result<(), LimitsError> {
        self.limits.check()?;
        self.timeouts.check()?;
        self.scores.check()?;
        check_time("dialing.first_delay", self.dialing.first_delay)?;
        check_time("dialing.longest_delay", self.dialing.longest_delay)?;
        check_time("dialing.unsuitable_delay", self.dialing.unsuitable_delay)
    }
}
