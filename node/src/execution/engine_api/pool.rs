//! A client's blob pool as a source for sync.

use futures::future::{BoxFuture, FutureExt};
use lapis_protocol_spec::Bytes32;
use tokio::sync::watch;

use super::{
    client::{EngineApi, PoolBlob},
    error::EngineApiError,
};
use crate::sync::pool::{BlobPool, PoolFault};

/// The pool of the client behind a [`ClientEngine`](super::ClientEngine), which tells whether the client has one to ask.
#[derive(Clone, Debug)]
pub struct ClientPool {
    pub(super) api: EngineApi,
    pub(super) has_blobs: watch::Receiver<bool>,
}

impl BlobPool for ClientPool {
    fn availability(&self) -> watch::Receiver<bool> {
        self.has_blobs.clone()
    }

    fn blobs(&self, versioned_hashes: Vec<Bytes32>) -> BoxFuture<'_, Result<Vec<Option<PoolBlob>>, PoolFault>> {
        async move {
            let hashes: Vec<_> = versioned_hashes.into_iter().map(|hash| hash.0.into()).collect();
            self.api.blobs(&hashes).await.map_err(PoolFault::from)
        }
        .boxed()
    }
}

impl From<EngineApiError> for PoolFault {
    fn from(error: EngineApiError) -> Self {
        if error.is_unknown_method() { Self::Unsupported(Box::new(error)) } else { Self::Failing(Box::new(error)) }
    }
}
