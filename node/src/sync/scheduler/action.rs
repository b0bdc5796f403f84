//! What the scheduler decides, and what it is told afterwards.

use std::{fmt, ops::Range, str::FromStr};

use lapis_protocol_spec::{Bytes32, Height, Method, matching::IdentifiedValue};
use libp2p::PeerId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::input::text;
use crate::sync::archive::ArchiveId;

/// Names one exchange that the scheduler asked for. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// How the pool is called where others have a name.
const POOL: &str = "execution client";

/// Somebody who can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// A peer.
    Peer(PeerId),
    /// An archive.
    Archive(ArchiveId),
    /// The blob pool of the execution client.
    Pool,
}

/// What is wrong with the name of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it names neither a peer nor an archive nor the pool")]
pub struct NotASource;

impl FromStr for SourceId {
    type Err = NotASource;

    fn from_str(name: &str) -> Result<Self, NotASource> {
        match name.split_once(' ') {
            Some(("peer", id)) => id.parse().map(Self::Peer).map_err(|_| NotASource),
            Some(("archive", place)) => {
                place.parse().map(|place| Self::Archive(ArchiveId(place))).map_err(|_| NotASource)
            }
            _ if name == POOL => Ok(Self::Pool),
            _ => Err(NotASource),
        }
    }
}

impl Serialize for SourceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for SourceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl SourceId {
    /// Whether it is a peer.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Peer(_))
    }

    /// Whether it is an archive.
    pub fn is_archive(self) -> bool {
        matches!(self, Self::Archive(_))
    }
}

impl From<PeerId> for SourceId {
    fn from(peer: PeerId) -> Self {
        Self::Peer(peer)
    }
}

impl From<ArchiveId> for SourceId {
    fn from(archive: ArchiveId) -> Self {
        Self::Archive(archive)
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => write!(f, "peer {peer}"),
            Self::Archive(archive) => write!(f, "{archive}"),
            Self::Pool => f.write_str(POOL),
        }
    }
}

/// One thing to do now. The driver carries it out and reports [`super::Scheduler::finished`] exactly once per id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The exchange's name.
    pub id: RequestId,
    /// Whom to ask.
    pub source: SourceId,
    /// What to ask for.
    pub fetch: Fetch,
}

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Decided values of these heights.
    Values(Range<Height>),
    /// A validator set.
    ValidatorSet {
        /// Its root.
        root: Bytes32,
        /// A height that it signs.
        height: Height,
    },
    /// Payloads of these values, which are at contiguous heights.
    Payloads(Vec<IdentifiedValue>),
    /// Payloads of these values, decided by whoever is asked or not.
    PayloadsByRoot(Vec<IdentifiedValue>),
    /// All blobs of these values; heights between them have no blobs.
    WholeHeights(Vec<IdentifiedValue>),
    /// Single blobs: values with the indices wanted of them.
    Blobs(Vec<(IdentifiedValue, Vec<u64>)>),
}

impl Fetch {
    /// The wire method that serves this.
    pub fn method(&self) -> Method {
        match self {
            Self::Values(_) => Method::DecidedValuesByRange,
            Self::ValidatorSet { .. } => Method::ValidatorSetByRoot,
            Self::Payloads(_) => Method::PayloadsByRange,
            Self::PayloadsByRoot(_) => Method::PayloadsByRoot,
            Self::WholeHeights(_) => Method::BlobsByRange,
            Self::Blobs(_) => Method::BlobsByRoot,
        }
    }
}

/// One unit of data work: what is retried, verified and stored on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// The payload of a height.
    Payload(Height),
    /// One blob of a height.
    Blob(Height, u64),
}

impl Item {
    /// Whether it is a payload.
    pub fn is_payload(self) -> bool {
        matches!(self, Self::Payload(_))
    }

    /// Its index in its height, if it is a blob.
    pub(super) fn index(self) -> Option<u64> {
        match self {
            Self::Payload(_) => None,
            Self::Blob(_, index) => Some(index),
        }
    }

    /// The height that the item belongs to.
    pub fn height(self) -> Height {
        match self {
            Self::Payload(height) | Self::Blob(height, _) => height,
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The response ended in order, whether or not it held all that was asked for.
    Answered,
    /// It said, or showed by an empty answer, that it does not have it. Nobody's fault.
    Unavailable,
    /// It asked us to slow down.
    RateLimited,
    /// Time-out, reset, truncation: unclear whose fault.
    Broken,
    /// It sent something that an honest source does not send.
    Faulty,
    /// It does not speak the method. Nobody's fault; it is not asked that way again.
    Unsupported,
    /// Somebody else was faster, so it was cancelled. Counts for its speed and for nothing else.
    Outrun,
    /// Our own doing (shutdown, no permit): not held against anybody.
    Local,
}
