//! The execution client's blob pool as sync sees it: single blobs by versioned hash, of transactions that the client has
//! heard of.
//!
//! This module owns the seam. What comes through it takes the same two gates as what peers send.

use std::{error::Error, fmt::Debug};

use futures::future::BoxFuture;
use lapis_protocol_spec::Bytes32;
use tokio::sync::watch;

use crate::execution::engine_api::PoolBlob;

/// Where blobs of new heights may be before any peer is asked for them.
///
/// Nothing that it gives is believed: a wrong answer costs time and nothing else. A call may be dropped at any point.
pub trait BlobPool: Debug + Send + Sync {
    /// Whether it can be asked. Each news through the channel ends what was held against it before. A pool whose sender
    /// is dropped is not asked any more.
    fn availability(&self) -> watch::Receiver<bool>;

    /// For each hash the blob with its proof, if the pool has it.
    ///
    /// # Errors
    /// [`PoolFault`].
    fn blobs(&self, versioned_hashes: Vec<Bytes32>) -> BoxFuture<'_, Result<Vec<Option<PoolBlob>>, PoolFault>>;
}

/// Why a pool does not answer.
#[derive(Debug, thiserror::Error)]
pub enum PoolFault {
    /// The client does not have the method after all.
    #[error("{0}")]
    Unsupported(#[source] Box<dyn Error + Send + Sync>),
    /// It cannot be reached, is slow, refuses, or makes no sense.
    #[error("{0}")]
    Failing(#[source] Box<dyn Error + Send + Sync>),
}
