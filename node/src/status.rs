//! What a node says about itself: the snapshots behind `/status`, `/peers` and `/readyz`.
//!
//! The node publishes a [`NodeStatus`] and a list of [`PeerView`]s through two `watch` channels; HTTP reads the latest of
//! each. Nothing here computes anything, and nothing here is trusted by the protocol: these are views for people and
//! scripts. Field names are stable; fields may be added.

mod peers;

use std::{fmt, time::Duration};

use lapis_protocol_spec::{Bytes32, Height};
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

pub use self::peers::{CapacityView, Direction, PeerClaims, PeerStateView, PeerView};
use crate::genesis_file::hex_bytes;

/// Everything that `/status` tells.
///
/// Heights are 0 while there is nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Hash tree root of the genesis, the chain's name in handshakes.
    #[serde(with = "hex_bytes")]
    pub genesis_id: Bytes32,
    /// Name of the chain.
    pub chain_id: String,
    /// Identity of the node on the network.
    #[serde(with = "as_text")]
    pub peer_id: PeerId,
    /// Version of the program.
    pub version: String,
    /// Addresses that the node listens on, each one dialable as it stands.
    pub addresses: Vec<Multiaddr>,
    /// Highest height whose certified value is stored.
    pub decided_height: Height,
    /// Id of that value, zero at genesis: with the height, what another node can take as its checkpoint.
    #[serde(with = "hex_bytes")]
    pub decided_value_id: Bytes32,
    /// Up to here payloads and blobs are stored.
    pub available_height: Height,
    /// Up to here the execution engine has taken the payloads.
    pub imported_height: Height,
    /// Up to here blobs have been pruned.
    pub pruned_height: Height,
    /// Lowest height whose value is served.
    pub earliest_value_height: Height,
    /// Lowest height whose payload is served.
    pub earliest_payload_height: Height,
    /// Lowest height whose blobs are served.
    pub earliest_blob_height: Height,
    /// Height that the node works towards.
    pub target_height: Height,
    /// Connected peers of the same chain.
    pub peers: usize,
    /// Why there is no progress although there should be; `null` while all is well.
    pub stall: Option<Stall>,
    /// The execution engine.
    pub engine: EngineStatus,
    /// The archiver; `null` if this node does not archive.
    pub archiver: Option<ArchiverStatus>,
    /// Bytes that were received and are not stored yet.
    pub buffered_bytes: u64,
    /// Counters and rates of the sync engine.
    pub sync: SyncStatus,
    /// Whether the node does its job: it has caught up and nothing stands in its way.
    pub ready: bool,
    /// Why the node is not ready; empty when it is.
    pub not_ready: Vec<String>,
    /// Whole seconds since the start.
    pub uptime_seconds: u64,
}

/// The archiver in a [`NodeStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiverStatus {
    /// Where it writes to.
    pub location: String,
    /// Complete heights that are not archived yet.
    pub pending_heights: u64,
    /// Lowest and highest height of the archive that is being written.
    pub writing: Option<(Height, Height)>,
    /// Why the last attempt failed; `null` once one has succeeded.
    pub failure: Option<String>,
    /// Attempts that have failed in a row.
    pub failures: u32,
}

/// The execution engine in a [`NodeStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Kind of the engine: `engine-api`, `embedded` or `none`.
    pub name: String,
    /// What it is doing or what it waits for: for people.
    pub state: String,
    /// Name of the state, one of those of the metric `lapis_import_state`: for scripts.
    #[serde(default)]
    pub kind: String,
    /// While it is given heights again that it lost: the next one, and the last one that it once had.
    #[serde(default)]
    pub feeding: Option<(Height, Height)>,
    /// The file about a decided block that it refused.
    #[serde(default)]
    pub evidence: Option<String>,
}

/// The sync engine in a [`NodeStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// Verified blobs per second, over the last seconds, rounded down.
    pub blobs_per_second: u64,
    /// Bytes received since the start.
    pub bytes_in: u64,
    /// Bytes sent since the start.
    pub bytes_out: u64,
    /// Blobs that passed verification since the start.
    pub verified_blobs: u64,
    /// Blobs that failed verification since the start.
    pub faulty_blobs: u64,
    /// What came from archives.
    #[serde(default)]
    pub archives: ArchivesStatus,
    /// What came from the execution client's pool.
    #[serde(default)]
    pub pool: PoolStatus,
}

/// The execution client's pool and what it gave since the start, in a [`SyncStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Whether it is asked for the blobs of new heights.
    pub is_asked: bool,
    /// Calls.
    pub calls: u64,
    /// Blobs that it gave.
    pub blobs: u64,
    /// Blobs that it was asked for and does not have.
    pub misses: u64,
    /// Calls that it did not answer, or not in time.
    pub failures: u64,
    /// Blobs that it gave and that are false.
    pub faults: u64,
}

/// Archives that sync may ask, and what they gave, in a [`SyncStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivesStatus {
    /// How many there are.
    pub count: usize,
    /// Decided values from them stored since the start: as many heights.
    pub values: u64,
    /// Payloads and blobs from them stored since the start.
    pub items: u64,
    /// Answers of theirs since the start that were wrong or did not come.
    pub faults: u64,
}

/// Why a node that is behind makes no progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// Kind of the obstacle: for scripts and metrics.
    pub reason: StallReason,
    /// The obstacle with its figures: for people.
    pub detail: String,
}

/// Kinds of obstacles, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StallReason {
    /// No peer of this chain is connected, and no archive has what is missing.
    NoPeers,
    /// Peers are connected; none of them has what is missing, nor has an archive.
    NoPeerHasData,
    /// The peers that have what is missing withhold it: their rate limits.
    RateLimitedByPeers,
    /// What is missing is in archives alone, and they do not give it.
    ArchiveUnavailable,
    /// The set that signs the next height is not known, and nobody has given it.
    ValidatorSetMissing,
    /// Received data waits for verification.
    VerificationQueueFull,
    /// The memory allowed for received data is used up.
    BufferFull,
    /// The disk is full or fails: it did not take what arrived.
    DiskSlow,
    /// A row of the next height to import is damaged and not mended yet, or one without which it cannot be told what is
    /// missing.
    StoreDamaged,
    /// Stored data is as far ahead of import as is allowed.
    ImporterBehind,
    /// The execution engine lost heights that it had, and is given them again.
    ExecutionBehind,
    /// The execution engine is itself syncing.
    ExecutionSyncing,
    /// The execution engine cannot be reached, or fails.
    ExecutionUnavailable,
    /// The execution engine does not accept this node's credentials.
    ExecutionUnauthorized,
    /// The execution engine does not fit this node or its chain, as its answers say.
    ExecutionRefuses,
    /// The execution engine lacks heights that this node no longer has.
    ExecutionLacksHistory,
    /// The execution engine runs with another genesis.
    ExecutionWrongChain,
    /// The execution engine found a decided payload invalid: people have to resolve that.
    ImportHalted,
}

impl NodeStatus {
    /// The status of a node that has just started: known by name, nothing done, not ready.
    pub fn starting(genesis_id: Bytes32, chain_id: String, peer_id: PeerId) -> Self {
        Self {
            genesis_id,
            chain_id,
            peer_id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            addresses: Vec::new(),
            decided_height: 0,
            decided_value_id: Bytes32::ZERO,
            available_height: 0,
            imported_height: 0,
            pruned_height: 0,
            earliest_value_height: 0,
            earliest_payload_height: 0,
            earliest_blob_height: 0,
            target_height: 0,
            peers: 0,
            stall: None,
            engine: EngineStatus::default(),
            archiver: None,
            buffered_bytes: 0,
            sync: SyncStatus::default(),
            ready: false,
            not_ready: vec!["starting".to_owned()],
            uptime_seconds: 0,
        }
    }

    /// How long the node has been running, in whole seconds.
    pub fn uptime(&self) -> Duration {
        Duration::from_secs(self.uptime_seconds)
    }
}

impl Stall {
    /// A stall for `reason`, told to people as `detail`.
    pub fn new(reason: StallReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl StallReason {
    /// Every kind, for metrics that show each of them.
    pub const ALL: [Self; 18] = [
        Self::NoPeers,
        Self::NoPeerHasData,
        Self::RateLimitedByPeers,
        Self::ArchiveUnavailable,
        Self::ValidatorSetMissing,
        Self::VerificationQueueFull,
        Self::BufferFull,
        Self::DiskSlow,
        Self::StoreDamaged,
        Self::ImporterBehind,
        Self::ExecutionBehind,
        Self::ExecutionSyncing,
        Self::ExecutionUnavailable,
        Self::ExecutionUnauthorized,
        Self::ExecutionRefuses,
        Self::ExecutionLacksHistory,
        Self::ExecutionWrongChain,
        Self::ImportHalted,
    ];

    /// Name in JSON, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPeers => "no_peers",
            Self::NoPeerHasData => "no_peer_has_data",
            Self::RateLimitedByPeers => "rate_limited_by_peers",
            Self::ArchiveUnavailable => "archive_unavailable",
            Self::ValidatorSetMissing => "validator_set_missing",
            Self::VerificationQueueFull => "verification_queue_full",
            Self::BufferFull => "buffer_full",
            Self::DiskSlow => "disk_slow",
            Self::StoreDamaged => "store_damaged",
            Self::ImporterBehind => "importer_behind",
            Self::ExecutionBehind => "execution_behind",
            Self::ExecutionSyncing => "execution_syncing",
            Self::ExecutionUnavailable => "execution_unavailable",
            Self::ExecutionUnauthorized => "execution_unauthorized",
            Self::ExecutionRefuses => "execution_refuses",
            Self::ExecutionLacksHistory => "execution_lacks_history",
            Self::ExecutionWrongChain => "execution_wrong_chain",
            Self::ImportHalted => "import_halted",
        }
    }
}

impl fmt::Display for StallReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Serde by `Display` and `FromStr`.
mod as_text {
    use std::{borrow::Cow, fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_status_survives_its_json_form() {
        let mut status = NodeStatus::starting(Bytes32::from([7; 32]), "chain".to_owned(), PeerId::random());
        status.addresses.push("/ip4/127.0.0.1/tcp/9650".parse().unwrap());
        status.stall = Some(Stall::new(StallReason::NoPeerHasData, "no peer has 812..840"));
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<NodeStatus>(&json).unwrap(), status);
    }

    #[test]
    fn the_fields_that_scripts_rely_on_are_there() {
        let status = NodeStatus::starting(Bytes32::from([7; 32]), "chain".to_owned(), PeerId::random());
        let json = serde_json::to_value(&status).unwrap();
        for field in [
            "genesis_id",
            "peer_id",
            "decided_height",
            "available_height",
            "imported_height",
            "earliest_blob_height",
            "peers",
            "stall",
        ] {
            assert!(json.get(field).is_some(), "{field} is missing in {json}");
        }
        assert_eq!(json["genesis_id"], format!("0x{}", "07".repeat(32)));
        assert!(json["stall"].is_null());
    }

    #[test]
    fn every_stall_reason_has_one_name_in_json_and_metrics() {
        for reason in StallReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
