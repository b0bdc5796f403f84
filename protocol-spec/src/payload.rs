//! Execution payloads on the wire.

use std::ops::Deref;

use sha2::{Digest, Sha256};
use ssz_rs::prelude::*;

use crate::{
    ByteList, Bytes32, Height, MAX_EXECUTION_REQUEST_BYTES, MAX_EXECUTION_REQUESTS, MAX_PAYLOAD_BYTES, Value,
    container::{self, OFFSET_BYTES, ssz_container},
};

type RequestList = List<ByteList<MAX_EXECUTION_REQUEST_BYTES>, MAX_EXECUTION_REQUESTS>;

/// Execution requests of a height (EIP-7685), at most [`MAX_EXECUTION_REQUESTS`], each with its type byte first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionRequests(RequestList);

impl Deref for ExecutionRequests {
    type Target = [ByteList<MAX_EXECUTION_REQUEST_BYTES>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// More than [`MAX_EXECUTION_REQUESTS`] execution requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} execution requests, at most {MAX_EXECUTION_REQUESTS} are allowed")]
pub struct TooManyRequests(pub usize);

impl TryFrom<Vec<ByteList<MAX_EXECUTION_REQUEST_BYTES>>> for ExecutionRequests {
    type Error = TooManyRequests;

    fn try_from(requests: Vec<ByteList<MAX_EXECUTION_REQUEST_BYTES>>) -> Result<Self, TooManyRequests> {
        RequestList::try_from(requests).map(Self).map_err(|(requests, _)| TooManyRequests(requests.len()))
    }
}

impl ssz_rs::Sized for ExecutionRequests {
    fn is_variable_size() -> bool {
        true
    }

    fn size_hint() -> usize {
        0
    }
}

impl Serialize for ExecutionRequests {
    fn serialize(&self, buffer: &mut Vec<u8>) -> Result<usize, SerializeError> {
        self.0.serialize(buffer)
    }
}

impl Deserialize for ExecutionRequests {
    /// Offsets are checked against the limit and the length before anything is allocated by them, which `ssz_rs` does
    /// not do.
    fn deserialize(encoding: &[u8]) -> Result<Self, DeserializeError> {
        if encoding.is_empty() {
            return Ok(Self::default());
        }
        let short = DeserializeError::ExpectedFurtherInput { provided: encoding.len(), expected: OFFSET_BYTES };
        let first = container::offset(encoding.get(..OFFSET_BYTES).ok_or(short)?)?;
        if first == 0 || first % OFFSET_BYTES != 0 {
            return Err(DeserializeError::InvalidOffsetsLength(first));
        }
        let count = first / OFFSET_BYTES;
        if count > MAX_EXECUTION_REQUESTS {
            return Err(InstanceError::Bounded { bound: MAX_EXECUTION_REQUESTS, provided: count }.into());
        }
        let cut = DeserializeError::ExpectedFurtherInput { provided: encoding.len(), expected: first };
        let mut offsets = encoding.get(..first).ok_or(cut)?.chunks_exact(OFFSET_BYTES).map(container::offset);
        let mut requests = Vec::with_capacity(count);
        let mut start = offsets.next().transpose()?.unwrap_or(first);
        for end in offsets.chain([Ok(encoding.len())]) {
            let end = end?;
            let request = encoding.get(start..end).ok_or(DeserializeError::OffsetNotIncreasing { start, end })?;
            requests.push(ByteList::deserialize(request)?);
            start = end;
        }
        let provided = requests.len();
        Self::try_from(requests).map_err(|_| InstanceError::Bounded { bound: MAX_EXECUTION_REQUESTS, provided }.into())
    }
}

impl Merkleized for ExecutionRequests {
    fn hash_tree_root(&mut self) -> Result<Node, MerkleizationError> {
        self.0.hash_tree_root()
    }
}

impl SimpleSerialize for ExecutionRequests {}

/// An execution payload with what travels beside it. The bytes are opaque here: the certified digest binds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayloadEnvelope {
    /// Height of the value.
    pub height: Height,
    /// Id of the value.
    pub value_id: Bytes32,
    /// SSZ `ExecutionPayload` of the fork in force at the value's timestamp.
    pub payload: ByteList<MAX_PAYLOAD_BYTES>,
    /// Execution requests, empty before Prague.
    pub execution_requests: ExecutionRequests,
}

/// How a payload differs from what was certified. The sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadFault {
    /// Wrong number of bytes.
    #[error("payload of {found} bytes, certified are {expected}")]
    Size {
        /// Bytes received.
        found: u64,
        /// Bytes certified.
        expected: u64,
    },
    /// A request without data: it would not count in the hash, so nothing certifies it (EIP-7685 leaves such out).
    #[error("execution request {0} has no data")]
    EmptyRequest(usize),
    /// Right size, wrong bytes.
    #[error("sha256 of the payload is not the certified digest")]
    Digest,
    /// The execution requests do not hash to the certified hash.
    #[error("hash of the execution requests is not the certified one")]
    RequestsHash,
}

/// EIP-7685: sha256 over the sha256 of each request that is more than its type byte.
///
/// Of no requests it is the sha256 of nothing.
pub fn requests_hash<'a>(requests: impl IntoIterator<Item = &'a [u8]>) -> Bytes32 {
    let mut outer = Sha256::new();
    for request in requests.into_iter().filter(|request| request.len() > 1) {
        outer.update(Sha256::digest(request));
    }
    <[u8; 32]>::from(outer.finalize()).into()
}

impl PayloadEnvelope {
    /// Bytes before the variable part: height, value id and two offsets.
    pub const FIXED_BYTES: usize = 8 + 32 + 4 + 4;
    /// Longest encoding: the largest payload and all requests at their limits.
    pub const MAX_BYTES: usize =
        Self::FIXED_BYTES + MAX_PAYLOAD_BYTES + MAX_EXECUTION_REQUESTS * (4 + MAX_EXECUTION_REQUEST_BYTES);

    /// Compares payload and requests with what `value` certifies; the cheap comparison first.
    ///
    /// # Errors
    /// The first [`PayloadFault`] found.
    pub fn check(&self, value: &Value) -> Result<(), PayloadFault> {
        let found = self.payload.len() as u64;
        if found != value.payload_size {
            return Err(PayloadFault::Size { found, expected: value.payload_size });
        }
        if let Some(position) = self.execution_requests.iter().position(|request| request.len() <= 1) {
            return Err(PayloadFault::EmptyRequest(position));
        }
        if requests_hash(self.execution_requests.iter().map(|request| &**request)) != value.requests_hash {
            return Err(PayloadFault::RequestsHash);
        }
        if Sha256::digest(&*self.payload).as_slice() != value.payload_digest.as_slice() {
            return Err(PayloadFault::Digest);
        }
        Ok(())
    }
}

ssz_container!(PayloadEnvelope {
    height: u64,
    value_id: Bytes32,
    payload: ByteList<MAX_PAYLOAD_BYTES>,
    execution_requests: ExecutionRequests,
});

#[cfg(test)]
mod tests;
