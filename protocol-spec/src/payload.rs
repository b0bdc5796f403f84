//! Execution payloads on the wire.

use sha2::{Digest, Sha256};
use ssz_rs::prelude::*;

use crate::{ByteList, Bytes32, Height, MAX_EXECUTION_REQUEST_BYTES, MAX_EXECUTION_REQUESTS, MAX_PAYLOAD_BYTES, Value};

/// Execution requests of a height (EIP-7685), each with its type byte first.
pub type ExecutionRequests = List<ByteList<MAX_EXECUTION_REQUEST_BYTES>, MAX_EXECUTION_REQUESTS>;

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
        if requests_hash(self.execution_requests.iter().map(|request| &**request)) != value.requests_hash {
            return Err(PayloadFault::RequestsHash);
        }
        if Sha256::digest(&*self.payload).as_slice() != value.payload_digest.as_slice() {
            return Err(PayloadFault::Digest);
        }
        Ok(())
    }

    fn offsets(encoding: &[u8]) -> Option<(usize, usize)> {
        let fixed = encoding.get(..Self::FIXED_BYTES)?;
        let offset = |at: usize| -> Option<usize> {
            let bytes: [u8; 4] = fixed.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        Some((offset(40)?, offset(44)?))
    }
}

impl ssz_rs::Sized for PayloadEnvelope {
    fn is_variable_size() -> bool {
        true
    }

    fn size_hint() -> usize {
        0
    }
}

impl Serialize for PayloadEnvelope {
    fn serialize(&self, buffer: &mut Vec<u8>) -> Result<usize, SerializeError> {
        let start = buffer.len();
        let requests_offset = Self::FIXED_BYTES + self.payload.len();
        let offset = |at: usize| u32::try_from(at).map_err(|_| SerializeError::MaximumEncodedLengthReached(at));
        buffer.reserve(requests_offset);
        self.height.serialize(buffer)?;
        self.value_id.serialize(buffer)?;
        offset(Self::FIXED_BYTES)?.serialize(buffer)?;
        offset(requests_offset)?.serialize(buffer)?;
        self.payload.serialize(buffer)?;
        self.execution_requests.serialize(buffer)?;
        Ok(buffer.len() - start)
    }
}

impl Deserialize for PayloadEnvelope {
    fn deserialize(encoding: &[u8]) -> Result<Self, DeserializeError> {
        let short = DeserializeError::ExpectedFurtherInput { provided: encoding.len(), expected: Self::FIXED_BYTES };
        let Some((payload_at, requests_at)) = Self::offsets(encoding) else { return Err(short) };
        if payload_at != Self::FIXED_BYTES {
            return Err(DeserializeError::InvalidOffsetsLength(payload_at));
        }
        let (Some(payload), Some(requests)) = (encoding.get(payload_at..requests_at), encoding.get(requests_at..))
        else {
            return Err(DeserializeError::OffsetNotIncreasing { start: payload_at, end: requests_at });
        };
        let (height, rest) = encoding.split_at(8);
        let execution_requests = ExecutionRequests::deserialize(requests)?;
        // `ssz_rs` takes a first offset of zero for an empty list and ignores what follows.
        if execution_requests.is_empty() && !requests.is_empty() {
            return Err(DeserializeError::AdditionalInput { provided: requests.len(), expected: 0 });
        }
        Ok(Self {
            height: u64::deserialize(height)?,
            value_id: Bytes32::deserialize(rest.split_at(32).0)?,
            payload: ByteList::deserialize(payload)?,
            execution_requests,
        })
    }
}

impl Merkleized for PayloadEnvelope {
    fn hash_tree_root(&mut self) -> Result<Node, MerkleizationError> {
        let mut fields: Vector<Bytes32, 4> = Vector::default();
        let roots = [
            self.height.hash_tree_root()?,
            self.value_id.hash_tree_root()?,
            self.payload.hash_tree_root()?,
            self.execution_requests.hash_tree_root()?,
        ];
        for (position, root) in roots.iter().enumerate() {
            fields[position].0.copy_from_slice(root.as_ref());
        }
        fields.hash_tree_root()
    }
}

impl SimpleSerialize for PayloadEnvelope {}
