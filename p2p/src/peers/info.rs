//! What is told about peers.

use std::time::Duration;

use lapis_protocol_spec::{GoodbyeReason, Status};
use libp2p::{Multiaddr, PeerId};

use super::Offence;

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The peer did.
    Inbound,
    /// This node did.
    Outbound,
}

/// How far it has come with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Connected, statuses not yet exchanged.
    Handshaking,
    /// Connected, of the same chain.
    Ready,
    /// Connected, goodbye under way.
    Leaving(GoodbyeReason),
    /// Not connected, but remembered.
    Gone,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The peer's end.
    pub address: Multiaddr,
    /// Who opened it.
    pub direction: Direction,
}

/// The last offence of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastFault {
    /// What it was.
    pub offence: Offence,
    /// How long ago.
    pub ago: Duration,
}

/// A peer at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerInfo {
    /// Who.
    pub peer: PeerId,
    /// How far it has come.
    pub state: PeerState,
    /// Its connections; several of one peer are one peer.
    pub connections: Vec<ConnectionInfo>,
    /// What it says of itself: claims.
    pub status: Option<Status>,
    /// 0 at best; see [`Offence::price`].
    pub score: f64,
    /// Offences are reported, but cost it nothing.
    pub trusted: bool,
    /// Name and version, as it says.
    pub agent: Option<String>,
    /// libp2p protocol ids that it supports, as it says.
    pub protocols: Vec<String>,
    /// Of libp2p's ping.
    pub round_trip: Option<Duration>,
    /// Bytes received from it in exchanges, over all its connections.
    pub bytes_in: u64,
    /// Bytes sent to it in exchanges, over all its connections.
    pub bytes_out: u64,
    /// Its last offence.
    pub last_fault: Option<LastFault>,
    /// How much longer it is banned.
    pub banned_for: Option<Duration>,
}
