//! What `/peers` shows: what the network knows of a peer, beside what sync has measured.

use std::time::Duration;

use lapis_p2p::{self as network, Offence, PeerInfo, PeerState};

use crate::{
    status::{CapacityView, Direction, PeerClaims, PeerStateView, PeerView},
    sync::scheduler::PeerCapacity,
};

/// The views of all peers.
pub(super) fn views(peers: &[PeerInfo], capacities: &[PeerCapacity]) -> Vec<PeerView> {
    let capacity = |peer: &PeerInfo| capacities.iter().find(|capacity| capacity.peer == peer.peer);
    peers.iter().map(|peer| view(peer, capacity(peer))).collect()
}

fn view(peer: &PeerInfo, capacity: Option<&PeerCapacity>) -> PeerView {
    let outbound = peer.connections.iter().any(|connection| connection.direction == network::Direction::Outbound);
    PeerView {
        peer_id: peer.peer,
        connected: peer.state != PeerState::Gone,
        state: match peer.state {
            PeerState::Handshaking => PeerStateView::Handshaking,
            PeerState::Ready => PeerStateView::Ready,
            PeerState::Leaving(_) => PeerStateView::Leaving,
            PeerState::Gone => PeerStateView::Gone,
        },
        addresses: peer.connections.iter().map(|connection| connection.address.clone()).collect(),
        direction: if outbound { Direction::Outbound } else { Direction::Inbound },
        agent: peer.agent.clone().unwrap_or_default(),
        claims: peer.status.map(|status| PeerClaims {
            decided_height: status.decided_height,
            available_height: status.available_height,
            earliest_value_height: status.earliest_value_height,
            earliest_payload_height: status.earliest_payload_height,
            earliest_blob_height: status.earliest_blob_height,
        }),
        capacity: capacity.map(|capacity| CapacityView {
            bytes_per_second: capacity.bytes_per_second,
            window_bytes: capacity.window_bytes,
            in_flight_bytes: capacity.in_flight_bytes,
        }),
        score: peer.score,
        trusted: peer.trusted,
        last_fault: peer.last_fault.map(|fault| fault.offence.name().to_owned()),
        last_fault_why: peer.last_fault.map(|fault| why(fault.offence).to_owned()),
        last_fault_seconds_ago: peer.last_fault.map(|fault| fault.ago.as_secs()),
        banned_for_seconds: peer.banned_for.map(whole_seconds),
        round_trip_ms: peer.round_trip.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        bytes_in: peer.bytes_in,
        bytes_out: peer.bytes_out,
    }
}

/// Rounded up: a ban of which anything is left is not over.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// An offence in words.
const fn why(offence: Offence) -> &'static str {
    match offence {
        Offence::InvalidData => "sent data that a proof, digest or signature does not hold for",
        Offence::InvalidAnnouncement => "announced a value that is not decided",
        Offence::Unrequested => "sent something that was not asked for, twice or out of order",
        Offence::Malformed => "sent bytes that no correct node writes",
        Offence::Oversized => "sent an item larger than its type allows",
        Offence::TooManyChunks => "sent more items than were asked for",
        Offence::InvalidRequest => "sent a request against the rules of its method",
        Offence::TooManyStreams => "opened more exchanges at a time than allowed",
        Offence::TooManyAnnouncements => "announced more than there can be heights",
        Offence::SlowReader => "read an answer slower than the minimum rate",
        Offence::NoHandshake => "sent no status in time",
        Offence::Timeout => "made no progress for too long",
        Offence::Reset => "broke a stream or the connection",
        Offence::Truncated => "ended a stream within a chunk",
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    fn info(state: PeerState) -> PeerInfo {
        PeerInfo {
            peer: PeerId::random(),
            state,
            connections: Vec::new(),
            status: None,
            score: -100.0,
            trusted: false,
            agent: None,
            protocols: Vec::new(),
            round_trip: None,
            bytes_in: 0,
            bytes_out: 0,
            last_fault: None,
            banned_for: Some(Duration::from_millis(1500)),
        }
    }

    #[test]
    fn who_is_gone_is_shown_and_told_apart() {
        let shown = views(&[info(PeerState::Ready), info(PeerState::Handshaking), info(PeerState::Gone)], &[]);
        assert_eq!(shown.iter().map(|peer| peer.connected).collect::<Vec<_>>(), [true, true, false]);
        assert!(shown.iter().all(|peer| peer.banned_for_seconds == Some(2)));
    }
}
