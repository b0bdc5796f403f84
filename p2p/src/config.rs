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
    /// How other peers are found.
    pub discovery: Discovery,
}

/// How peers are found that are not configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovery {
    /// How many peers there are to be. While there are fewer, candidates are dialed, boot nodes asked, and Kademlia is
    /// walked. 0: this node dials nobody by itself.
    pub target_peers: u32,
    /// Where to begin: dialed while there are too few peers and nobody else to try. Not kept otherwise.
    pub boot_nodes: Vec<Multiaddr>,
    /// Where others reach this node, if it is not where it listens: told to peers. With any address that others can
    /// dial, a node takes part in Kademlia as a server.
    pub external_addresses: Vec<Multiaddr>,
    /// Whether nodes of the local network are looked for.
    pub mdns: Mdns,
    /// What [`crate::Handle::remembered`] told in an earlier run.
    pub known: Vec<KnownPeer>,
    /// When a candidate is dialed again.
    pub redial: Redial,
    /// When Kademlia is walked.
    pub walks: Walks,
    /// How often a peer that was of no use since makes place for another.
    pub rotate_every: Duration,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            target_peers: 24,
            boot_nodes: Vec::new(),
            external_addresses: Vec::new(),
            mdns: Mdns::Off,
            known: Vec::new(),
            redial: Redial::default(),
            walks: Walks::default(),
            rotate_every: Duration::from_secs(300),
        }
    }
}

/// Multicast DNS in the local network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mdns {
    /// Neither asks nor answers.
    #[default]
    Off,
    /// Tells this node's addresses to the local network, and dials who answers.
    On,
}

/// A peer that an earlier run was connected with.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownPeer {
    /// Who.
    pub peer: PeerId,
    /// Where it was reached, without its id; may be empty.
    pub addresses: Vec<Multiaddr>,
    /// How long ago it was connected.
    pub seen: Duration,
    /// Bytes received from it, over all runs.
    pub useful_bytes: u64,
    /// Its score at this moment; see [`crate::PeerInfo::score`].
    pub score: f64,
}

/// What is worth keeping over a restart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Peers to begin with, for [`Discovery::known`].
    pub known: Vec<KnownPeer>,
    /// Bans that are not over, for [`Config::banned`].
    pub banned: Vec<Ban>,
}

/// Back-off between attempts to reach a candidate. Doubled with every failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redial {
    /// After the first failure.
    pub first_delay: Duration,
    /// Never longer. A peer without a free place is left alone for a quarter of it.
    pub longest_delay: Duration,
    /// After a peer turned out to be of another chain, or has banned this node.
    pub unsuitable_delay: Duration,
}

impl Default for Redial {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(10),
            longest_delay: Duration::from_secs(3600),
            unsuitable_delay: Duration::from_secs(6 * 3600),
        }
    }
}

/// Time between two walks of Kademlia. Doubled with each that finds nobody new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walks {
    /// After one that did.
    pub first_delay: Duration,
    /// Never longer.
    pub longest_delay: Duration,
}

impl Default for Walks {
    fn default() -> Self {
        Self { first_delay: Duration::from_secs(5), longest_delay: Duration::from_secs(300) }
    }
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
        check_time("dialing.unsuitable_delay", self.dialing.unsuitable_delay)?;
        self.discovery.check()
    }
}

impl Discovery {
    fn check(&self) -> Result<(), LimitsError> {
        check_time("discovery.redial.first_delay", self.redial.first_delay)?;
        check_time("discovery.redial.longest_delay", self.redial.longest_delay)?;
        check_time("discovery.redial.unsuitable_delay", self.redial.unsuitable_delay)?;
        check_time("discovery.walks.first_delay", self.walks.first_delay)?;
        check_time("discovery.walks.longest_delay", self.walks.longest_delay)?;
        check_time("discovery.rotate_every", self.rotate_every)
    }
}
