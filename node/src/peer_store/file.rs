//! The file's form: JSON with times of the wall clock, since nothing else outlives a process.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lapis_p2p::{Ban, KnownPeer, Remembered};
use lapis_protocol_spec::Bytes32;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::genesis_file::hex_bytes;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// Longest ban that is believed, the longest there can be: a clock that was set back does not make one of ages.
const LONGEST_BAN: u64 = 365 * 24 * 3600;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is too long")]
    TooLong,
    #[error("it is not what it should be")]
    Json(#[from] serde_json::Error),
    #[error("it has version {0}, and this program reads version {VERSION}")]
    Version(u32),
    #[error("it is of the chain {0}")]
    OtherChain(Bytes32),
}

/// What every version begins with.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerFile {
    version: u32,
    #[serde(with = "hex_bytes")]
    genesis_id: Bytes32,
    /// Seconds since 1970, as all times here.
    saved_at: u64,
    peers: BTreeMap<String, Entry>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Multiaddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
    #[serde(default)]
    useful_bytes: u64,
    #[serde(default)]
    score: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    banned_until: Option<u64>,
}

/// The file for `remembered` as of `now`.
pub(super) fn encode(remembered: &Remembered, genesis_id: &Bytes32, now: SystemTime) -> io::Result<Vec<u8>> {
    let saved_at = seconds(now);
    let mut peers: BTreeMap<String, Entry> = BTreeMap::new();
    for known in &remembered.known {
        let entry = peers.entry(known.peer.to_string()).or_default();
        entry.addresses.clone_from(&known.addresses);
        entry.last_seen = Some(saved_at.saturating_sub(known.seen.as_secs()));
        entry.useful_bytes = known.useful_bytes;
        entry.score = known.score;
    }
    for ban in &remembered.banned {
        // Rounded up: a ban does not end early.
        let left = ban.left.as_secs().saturating_add(1);
        peers.entry(ban.peer.to_string()).or_default().banned_until = Some(saved_at.saturating_add(left));
    }
    let file = PeerFile { version: VERSION, genesis_id: *genesis_id, saved_at, peers };
    let mut bytes = serde_json::to_vec_pretty(&file)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What the file says as of `now`.
pub(super) fn decode(
    bytes: &[u8],
    genesis_id: &Bytes32,
    half_life: Duration,
    now: SystemTime,
) -> Result<Remembered, Damage> {
    let Head { version } = serde_json::from_slice(bytes)?;
    if version != VERSION {
        return Err(Damage::Version(version));
    }
    let file: PeerFile = serde_json::from_slice(bytes)?;
    if file.genesis_id != *genesis_id {
        return Err(Damage::OtherChain(file.genesis_id));
    }
    let now = seconds(now);
    let elapsed = Duration::from_secs(now.saturating_sub(file.saved_at)).as_secs_f64();
    let healed = (-elapsed / half_life.as_secs_f64().max(f64::MIN_POSITIVE)).exp2();
    let mut remembered = Remembered::default();
    for (peer, entry) in file.peers {
        let peer: PeerId =
            peer.parse().map_err(|_| <serde_json::Error as serde::de::Error>::custom("not a peer id"))?;
        let left = entry.banned_until.map_or(0, |until| until.saturating_sub(now)).min(LONGEST_BAN);
        if left > 0 {
            remembered.banned.push(Ban { peer, left: Duration::from_secs(left) });
        }
        if let Some(last_seen) = entry.last_seen {
            remembered.known.push(KnownPeer {
                peer,
                addresses: entry.addresses,
                seen: Duration::from_secs(now.saturating_sub(last_seen)),
                useful_bytes: entry.useful_bytes,
                score: entry.score * healed,
            });
        }
    }
    // The last ones first, as the network tells them: it takes up no more than it would keep.
    remembered.known.sort_by_key(|known| known.seen);
    Ok(remembered)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
