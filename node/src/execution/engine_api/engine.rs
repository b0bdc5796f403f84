//! An execution client as an engine: what the importer asks, in calls of the Engine API.

use alloy_primitives::B256;
use alloy_rpc_types_engine::ForkchoiceState;
use futures::future::{BoxFuture, FutureExt};
use tokio::sync::watch;

use super::{
    client::{EngineApi, GET_BLOBS, PrepareError},
    error::EngineApiError,
    pool::ClientPool,
};
use crate::{
    execution::{ExecutionEngine, ForkSchedule, Habits, Head, ImportBlock, PayloadStatus, Standing, Unavailability},
    joined::joined,
};

/// The engine of a node with an execution client (`engine-api`).
#[derive(Debug)]
pub struct ClientEngine {
    api: EngineApi,
    forks: ForkSchedule,
    /// Whether the client says that it gives blobs of its pool; told anew whenever it is asked what it has.
    has_blobs: watch::Sender<bool>,
}

impl ClientEngine {
    /// An engine over `api` for a chain with these forks.
    #[must_use]
    pub fn new(api: EngineApi, forks: ForkSchedule) -> Self {
        Self { api, forks, has_blobs: watch::Sender::new(false) }
    }

    /// The client's blob pool. It may be asked once the client has said that it has the method.
    #[must_use]
    pub fn pool(&self) -> ClientPool {
        ClientPool { api: self.api.clone(), has_blobs: self.has_blobs.subscribe() }
    }

    async fn stand(&self) -> Result<Standing, EngineApiError> {
        match self.api.exchange_capabilities().await {
            Ok(has) => {
                self.has_blobs.send_replace(has.contains(GET_BLOBS));
                if let Some(lacking) = self.required().find(|method| !has.contains(*method)) {
                    return Err(EngineApiError::LacksMethod(lacking));
                }
            }
            // An old client: what it has will show.
            Err(error) if error.is_unknown_method() => {}
            Err(error) => return Err(error),
        }
        match self.api.latest_block().await {
            Ok((block_hash, block_number)) => Ok(Standing::Head { block_hash, block_number }),
            Err(error) if error.is_unknown_method() => Ok(Standing::Untold),
            Err(error) => Err(error),
        }
    }

    /// Methods without which this chain cannot be imported.
    fn required(&self) -> impl Iterator<Item = &'static str> {
        let prague = (self.forks.prague_time < u64::MAX).then_some("engine_newPayloadV4");
        let cancun = (self.forks.cancun_time < self.forks.prague_time).then_some("engine_newPayloadV3");
        ["engine_forkchoiceUpdatedV3"].into_iter().chain(cancun).chain(prague)
    }

    async fn offer(&self, block: &ImportBlock) -> PayloadStatus {
        let (api, block) = (self.api.clone(), block.clone());
        match joined(tokio::task::spawn_blocking(move || api.prepare_payload(&block))).await {
            Some(Ok(prepared)) => self.api.new_payload(&prepared).await.unwrap_or_else(unavailable),
            Some(Err(PrepareError::Block(fault))) => fault.into(),
            Some(Err(PrepareError::Call(error))) => unavailable(error),
            None => PayloadStatus::Unavailable(Unavailability::Stopping),
        }
    }
}

fn unavailable(error: EngineApiError) -> PayloadStatus {
    PayloadStatus::Unavailable(error.into())
}

impl ExecutionEngine for ClientEngine {
    fn name(&self) -> &'static str {
        "engine-api"
    }

    fn habits(&self) -> Habits {
        Habits { checks_blocks: true, is_separate: true }
    }

    fn head(&self) -> Option<Head> {
        None
    }

    fn standing(&mut self) -> BoxFuture<'_, Result<Standing, Unavailability>> {
        async move { self.stand().await.map_err(Unavailability::from) }.boxed()
    }

    fn has_block(&mut self, block_hash: B256) -> BoxFuture<'_, Result<bool, Unavailability>> {
        async move { self.api.has_block(block_hash).await.map_err(Unavailability::from) }.boxed()
    }

    fn new_payload<'a>(&'a mut self, block: &'a ImportBlock) -> BoxFuture<'a, PayloadStatus> {
        self.offer(block).boxed()
    }

    fn forkchoice_updated(&mut self, block_hash: B256) -> BoxFuture<'_, PayloadStatus> {
        let state = ForkchoiceState::same_hash(block_hash);
        async move { self.api.forkchoice_updated(state).await.unwrap_or_else(unavailable) }.boxed()
    }
}
