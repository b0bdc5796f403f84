//! What a node says about its peers.

use lapis_protocol_spec::Height;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use super::as_text;

/// One peer, as `/peers` shows it: those that are connected, and those that are gone and remembered for what they did
/// wrong, so that people see who is banned and why. [`PeerView::connected`] tells them apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Identity of the peer.
    #[serde(with = "as_text")]
    pub peer_id: PeerId,
    /// Whether there is a connection: `state` is not `gone`.
    pub connected: bool,
    /// How far it has come with it.
    pub state: PeerStateView,
    /// Addresses of its open connections.
    pub addresses: Vec<Multiaddr>,
    /// Who opened the connection.
    pub direction: Direction,
    /// The program's name and version, as the peer tells them; empty until it does.
    pub agent: String,
    /// Heights that the peer claims; absent until its status is known.
    pub claims: Option<PeerClaims>,
    /// What it was measured to deliver; absent unless this node asks things of it.
    pub capacity: Option<CapacityView>,
    /// Trust score; 0 is neutral.
    pub score: f64,
    /// Whether the configuration trusts this peer.
    pub trusted: bool,
    /// What it did wrong last; absent if nothing is known.
    pub last_fault: Option<String>,
    /// The same in words.
    pub last_fault_why: Option<String>,
    /// How long ago that was.
    pub last_fault_seconds_ago: Option<u64>,
    /// Seconds until it may connect again; absent unless it is banned.
    pub banned_for_seconds: Option<u64>,
    /// Last measured round trip, in milliseconds.
    pub round_trip_ms: Option<u64>,
    /// Bytes received from it in exchanges.
    pub bytes_in: u64,
    /// Bytes sent to it in exchanges.
    pub bytes_out: u64,
}

/// How far it has come with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerStateView {
    /// Connected, statuses are being exchanged.
    Handshaking,
    /// Connected, of the same chain.
    Ready,
    /// Goodbye is being said.
    Leaving,
    /// Not connected, remembered for its faults.
    Gone,
}

/// What a peer was measured to deliver, and what it is trusted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityView {
    /// Bytes per second, smoothed; absent until it has delivered something.
    pub bytes_per_second: Option<u64>,
    /// Most bytes that are asked of it at a time.
    pub window_bytes: u64,
    /// Bytes that it is asked for now.
    pub in_flight_bytes: u64,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// What a peer says that it has. Claims only: nothing is believed before it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerClaims {
    /// Highest decided height.
    pub decided_height: Height,
    /// Up to here payloads and blobs.
    pub available_height: Height,
    /// Lowest height with values.
    pub earliest_value_height: Height,
    /// Lowest height with payloads.
    pub earliest_payload_height: Height,
    /// Lowest height with blobs.
    pub earliest_blob_height: Height,
}

impl PeerStateView {
    /// Name in JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handshaking => "handshaking",
            Self::Ready => "ready",
            Self::Leaving => "leaving",
            Self::Gone => "gone",
        }
    }
}

impl Direction {
    /// Name in JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}
