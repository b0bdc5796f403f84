//! Archives as sync sees them: heights that somebody put away, to be asked for like a peer's.
//!
//! This module owns the seam. It knows nothing of where archives lie or how they are written. What comes through it is
//! plain containers of which nothing is known: they take the same two gates as what peers send.

use std::{
    error::Error,
    fmt::{self, Debug},
    ops::Range,
};

use futures::future::BoxFuture;
use lapis_protocol_spec::{BlobSidecar, DecidedValue, Height, HeightRanges, PayloadEnvelope, ValidatorSet};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Names one of the archives of a node: its place in their list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArchiveId(pub usize);

impl fmt::Display for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "archive {}", self.0)
    }
}

/// A decided value from an archive, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedValue {
    /// The value with its certificate.
    pub decided: DecidedValue,
    /// Sets that were put away with it: the one that signs the next height where it is another than the one that signs
    /// this, and at the beginning of a range the one that signs this.
    pub sets: Vec<ValidatorSet>,
}

/// Where whole heights were put away.
///
/// Nothing that it gives is believed: a wrong answer costs time and nothing else. Each call answers for itself, several
/// of them may be under way at a time, and each may be dropped at any point.
pub trait Archive: Debug + Send + Sync {
    /// Heights that are held, whole, as far as is known. A hint like a peer's status; news come through the channel.
    /// It never blocks. An archive whose sender is dropped is not asked any more.
    fn coverage(&self) -> watch::Receiver<HeightRanges>;

    /// Decided values from `heights.start` on without a hole. It may stop before `heights.end`, and does so once values
    /// and sets take `max_bytes` or more; it gives one value at least.
    ///
    /// # Errors
    /// [`ArchiveFault`].
    fn values(&self, heights: Range<Height>, max_bytes: u64)
    -> BoxFuture<'_, Result<Vec<ArchivedValue>, ArchiveFault>>;

    /// The payload of `height`, whose envelope takes at most `max_bytes`: a longer one is damage, and not held in memory.
    ///
    /// # Errors
    /// [`ArchiveFault`].
    fn payload(&self, height: Height, max_bytes: usize) -> BoxFuture<'_, Result<PayloadEnvelope, ArchiveFault>>;

    /// The sidecars of `height` at `indices`, which ascend, in that order. Holds no more than these in memory.
    ///
    /// # Errors
    /// [`ArchiveFault`].
    fn sidecars(&self, height: Height, indices: Vec<u64>) -> BoxFuture<'_, Result<Vec<BlobSidecar>, ArchiveFault>>;
}

/// What an archive's own code says of a failure.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why an archive does not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// What lies there is not what was put away. The archive's fault: not asked for again for minutes.
    #[error("the archive is damaged: {0}")]
    Damaged(#[source] Cause),
    /// It is not there, or no longer. Nobody's fault.
    #[error("the archive does not have it: {0}")]
    Unavailable(#[source] Cause),
    /// The way to it is broken or slow, or it refuses for now: the whole archive is left alone for a while.
    #[error("the archive cannot be read now: {0}")]
    Passing(#[source] Cause),
}
