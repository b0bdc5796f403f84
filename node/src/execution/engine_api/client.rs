//! The methods of the Engine API that this project needs.

use std::{collections::HashSet, sync::Arc, time::Duration};

use alloy_primitives::B256;
use alloy_rpc_types_engine::{ExecutionPayloadV3, ForkchoiceState, PayloadAttributes, PayloadId};
use bytes::Bytes;
use lapis_protocol_spec::{BYTES_PER_BLOB, Blob, Bytes48, MAX_EXECUTION_REQUESTS, MAX_PAYLOAD_BYTES};
use reqwest::Url;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

use super::{
    calls::CallObserver,
    error::EngineApiError,
    jwt::JwtSecret,
    rpc::{Call, Limits, Rpc},
    wire::{BlobAndProof, BlockSummary, BuiltV4, ForkchoiceResult, payload_status},
};
use crate::execution::{Fork, ImportBlock, ImportFault, PayloadStatus};

/// Methods that import and production use, as a client is told of them.
pub(super) const METHODS: [&str; 6] = [
    "engine_newPayloadV3",
    "engine_newPayloadV4",
    "engine_forkchoiceUpdatedV3",
    "engine_getPayloadV3",
    "engine_getPayloadV4",
    GET_BLOBS,
];
/// The method that gives blobs of a client's pool.
pub(super) const GET_BLOBS: &str = "engine_getBlobsV1";

/// Bound of answers that hold no payload: statuses, capabilities, and blocks with the hashes of their transactions.
const SMALL_ANSWER: usize = 4 * 1024 * 1024;
/// Bytes of a blob with its commitment and its proof in JSON, with room for quotes.
const BLOB_IN_JSON: usize = 2 * (BYTES_PER_BLOB + 48 + 48) + 64;
/// Bytes of the largest payload in JSON, with room for names and separators.
const PAYLOAD_IN_JSON: usize = 2 * MAX_PAYLOAD_BYTES + (1 << 20);
/// Bytes of the largest execution requests in JSON.
const REQUESTS_IN_JSON: usize = 2 * MAX_EXECUTION_REQUESTS * (1 << 20);
/// Most hashes in one call of `engine_getBlobsV1` that every client takes.
pub const MAX_BLOBS_PER_CALL: usize = 128;

/// Where a client is and how long it may take.
#[derive(Clone, Debug)]
pub struct EngineApiSettings {
    /// Its Engine API, over HTTP.
    pub url: Url,
    /// What it shares with this node.
    pub secret: JwtSecret,
    /// For `newPayload` and `forkchoiceUpdated`, which execute blocks.
    pub payload_timeout: Duration,
    /// For everything else.
    pub call_timeout: Duration,
    /// Most blobs of a block, which bounds the answer to `getPayload`.
    pub max_blobs: usize,
}

/// An execution client, over its Engine API. Cheap to clone; calls may be made at the same time.
///
/// No method changes what this node believes: answers are claims of one program on this machine.
#[derive(Clone, Debug)]
pub struct EngineApi {
    rpc: Arc<Rpc>,
    settings: Arc<EngineApiSettings>,
    observer: CallObserver,
}

/// A block that a client has built, with everything that belongs to it. Nothing of it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltPayload {
    /// The block.
    pub payload: ExecutionPayloadV3,
    /// Its blobs, in the order of its transactions.
    pub blobs: Vec<BuiltBlob>,
    /// EIP-7685 requests, the type byte first in each; none before Prague.
    pub execution_requests: Vec<Bytes>,
}

/// A blob of a block that a client has built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltBlob {
    /// The blob.
    pub blob: Blob,
    /// Its commitment.
    pub kzg_commitment: Bytes48,
    /// The proof of the two.
    pub kzg_proof: Bytes48,
}

/// A blob of a client's pool. Not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolBlob {
    /// The blob.
    pub blob: Blob,
    /// Its proof.
    pub kzg_proof: Bytes48,
}

/// A call that is encoded, of a block that was checked.
#[derive(Clone, Debug)]
pub struct PreparedPayload(Call);

/// Why a block is not offered to a client.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It is not what its decided value names.
    #[error(transparent)]
    Block(#[from] ImportFault),
    /// It cannot be encoded.
    #[error(transparent)]
    Call(#[from] EngineApiError),
}

impl EngineApi {
    /// The way to a client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`EngineApiError::Request`] if the system has no room for an HTTP client.
    pub fn new(settings: EngineApiSettings, observer: CallObserver) -> Result<Self, EngineApiError> {
        let rpc = Rpc::new(settings.url.clone(), settings.secret.clone(), settings.call_timeout)?;
        Ok(Self { rpc: Arc::new(rpc), settings: Arc::new(settings), observer })
    }

    /// `engine_exchangeCapabilities`: the methods that the client has. Names that are not known here are kept.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn exchange_capabilities(&self) -> Result<HashSet<String>, EngineApiError> {
        let call = self.rpc.call("engine_exchangeCapabilities", &(METHODS,), self.quick(SMALL_ANSWER))?;
        self.observer.observe(call.method, self.rpc.send(&call)).await
    }

    /// Encodes `engine_newPayloadV3` or `V4`, by the fork of the block. The block is checked first; that and encoding are
    /// work for a blocking thread.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn prepare_payload(&self, block: &ImportBlock) -> Result<PreparedPayload, PrepareError> {
        let payload = block.checked()?.payload();
        let expected = block.expected();
        let (hashes, root) = (&expected.versioned_hashes, expected.parent_beacon_block_root);
        let limits = self.patient(SMALL_ANSWER);
        let call = match expected.fork {
            Fork::Cancun => self.rpc.call("engine_newPayloadV3", &(payload, hashes, root), limits)?,
            Fork::Prague => {
                let requests = block.execution_requests().iter().cloned().map(alloy_primitives::Bytes::from);
                let requests: Vec<_> = requests.collect();
                self.rpc.call("engine_newPayloadV4", &(payload, hashes, root, requests), limits)?
            }
        };
        Ok(PreparedPayload(call))
    }

    /// Sends what [`EngineApi::prepare_payload`] made.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn new_payload(&self, prepared: &PreparedPayload) -> Result<PayloadStatus, EngineApiError> {
        let call = &prepared.0;
        let result = self.observer.observe(call.method, self.rpc.send(call)).await?;
        status(call.method, result)
    }

    /// `engine_forkchoiceUpdatedV3` without attributes.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn forkchoice_updated(&self, state: ForkchoiceState) -> Result<PayloadStatus, EngineApiError> {
        Ok(self.update_forkchoice(state, None).await?.0)
    }

    /// `engine_forkchoiceUpdatedV3` with attributes: the client begins to build a block on `state`'s head. The id is there
    /// if the status is [`PayloadStatus::Valid`].
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn start_building(
        &self,
        state: ForkchoiceState,
        attributes: PayloadAttributes,
    ) -> Result<(PayloadStatus, Option<PayloadId>), EngineApiError> {
        self.update_forkchoice(state, Some(attributes)).await
    }

    async fn update_forkchoice(
        &self,
        state: ForkchoiceState,
        attributes: Option<PayloadAttributes>,
    ) -> Result<(PayloadStatus, Option<PayloadId>), EngineApiError> {
        let call = self.rpc.call("engine_forkchoiceUpdatedV3", &(state, attributes), self.patient(SMALL_ANSWER))?;
        let result: ForkchoiceResult = self.observer.observe(call.method, self.rpc.send(&call)).await?;
        Ok((status(call.method, result.payload_status)?, result.payload_id))
    }

    /// `engine_getPayloadV3` or `V4`, by the fork in force at the block's timestamp.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn built_payload(&self, id: PayloadId, fork: Fork) -> Result<BuiltPayload, EngineApiError> {
        let blobs = self.settings.max_blobs.saturating_mul(BLOB_IN_JSON);
        let limits = self.quick(PAYLOAD_IN_JSON.saturating_add(REQUESTS_IN_JSON).saturating_add(blobs));
        let method = match fork {
            Fork::Cancun => "engine_getPayloadV3",
            Fork::Prague => "engine_getPayloadV4",
        };
        let call = self.rpc.call(method, &(id,), limits)?;
        let built: BuiltV4 = self.observer.observe(method, self.rpc.send(&call)).await?;
        let unlike = || EngineApiError::Incomprehensible {
            method,
            reason: "there are not as many blobs, commitments and proofs".to_owned(),
        };
        let requests = built.execution_requests.unwrap_or_default();
        Ok(BuiltPayload {
            payload: built.execution_payload,
            blobs: built.blobs_bundle.into_blobs().ok_or_else(unlike)?,
            execution_requests: requests.into_iter().map(|request| request.0).collect(),
        })
    }

    /// `engine_getBlobsV1`: for each hash the blob with its proof, if the client's pool has it. Of more than
    /// [`MAX_BLOBS_PER_CALL`] hashes the rest is left out. Not checked.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn blobs(&self, versioned_hashes: &[B256]) -> Result<Vec<Option<PoolBlob>>, EngineApiError> {
        let asked = versioned_hashes.get(..MAX_BLOBS_PER_CALL).unwrap_or(versioned_hashes);
        let limits = self.quick(SMALL_ANSWER.saturating_add(asked.len().saturating_mul(BLOB_IN_JSON)));
        let call = self.rpc.call(GET_BLOBS, &(asked,), limits)?;
        // Some clients answer null as a whole if they lack one of them.
        let answer: Option<Vec<Option<BlobAndProof>>> =
            self.observer.observe(call.method, self.rpc.send_nullable(&call)).await?;
        let found = answer.unwrap_or_default().into_iter().map(|found| found.map(PoolBlob::from));
        Ok(found.chain(std::iter::repeat(None)).take(asked.len()).collect())
    }

    /// Hash and number of the client's head.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn latest_block(&self) -> Result<(B256, u64), EngineApiError> {
        let call = self.rpc.call("eth_getBlockByNumber", &("latest", false), self.quick(SMALL_ANSWER))?;
        let block: BlockSummary = self.observer.observe(call.method, self.rpc.send(&call)).await?;
        Ok((block.hash, block.number.to()))
    }

    /// Whether the client has the block with this hash.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn has_block(&self, block_hash: B256) -> Result<bool, EngineApiError> {
        let call = self.rpc.call("eth_getBlockByHash", &(block_hash, false), self.quick(SMALL_ANSWER))?;
        let block: Option<BlockSummary> = self.observer.observe(call.method, self.rpc.send_nullable(&call)).await?;
        Ok(block.is_some_and(|block| block.hash == block_hash))
    }

    /// A call with a short answer that needs no block to be executed.
    pub(super) async fn ask<T: DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        params: &impl Serialize,
    ) -> Result<T, EngineApiError> {
        let call = self.rpc.call(method, params, self.quick(SMALL_ANSWER))?;
        self.observer.observe(call.method, self.rpc.send(&call)).await
    }

    fn quick(&self, bytes: usize) -> Limits {
        Limits { time: self.settings.call_timeout, bytes }
    }

    fn patient(&self, bytes: usize) -> Limits {
        Limits { time: self.settings.payload_timeout, bytes }
    }
}

impl BuiltPayload {
    /// The block as a payload envelope holds it: SSZ `ExecutionPayloadV3`.
    #[must_use]
    pub fn payload_ssz(&self) -> Vec<u8> {
        ssz::Encode::as_ssz_bytes(&self.payload)
    }
}

fn status(method: &'static str, result: Json) -> Result<PayloadStatus, EngineApiError> {
    payload_status(result).map_err(|error| EngineApiError::Incomprehensible { method, reason: error.to_string() })
}
