//! The nine methods: their protocol ids and the lengths that their messages may have.

use crate::{
    BlobSidecar, DecidedValue, MAX_BLOBS_PER_BLOCK, MAX_REQUEST_HASHES, MAX_REQUEST_HEIGHTS, MAX_REQUEST_SIDECARS,
    MAX_REQUEST_VALUE_IDS, MAX_VALIDATORS, PayloadEnvelope, framing::LengthBounds,
};

/// A request/response protocol; one stream per exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Handshake, and news of it at any time.
    Status,
    /// Liveness and round-trip time.
    Ping,
    /// Farewell; not answered.
    Goodbye,
    /// Decided values with certificates, by height.
    DecidedValuesByRange,
    /// A validator set by its root.
    ValidatorSetByRoot,
    /// Payloads of decided heights.
    PayloadsByRange,
    /// Payloads by value id, undecided ones too.
    PayloadsByRoot,
    /// Blob sidecars of decided heights.
    BlobsByRange,
    /// Blob sidecars by versioned hash, undecided ones too.
    BlobsByRoot,
}

/// Bytes of an encoded `Status`: an id, a value id and five heights.
const STATUS_BYTES: usize = 32 + 8 + 32 + 4 * 8;
/// Chunks of the longest answer to a range request that has one chunk a height.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
const MAX_HEIGHT_CHUNKS: usize = MAX_REQUEST_HEIGHTS as usize;

impl Method {
    /// All methods.
    pub const ALL: [Self; 9] = [
        Self::Status,
        Self::Ping,
        Self::Goodbye,
        Self::DecidedValuesByRange,
        Self::ValidatorSetByRoot,
        Self::PayloadsByRange,
        Self::PayloadsByRoot,
        Self::BlobsByRange,
        Self::BlobsByRoot,
    ];

    /// Name in the protocol id and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Ping => "ping",
            Self::Goodbye => "goodbye",
            Self::DecidedValuesByRange => "decided_values_by_range",
            Self::ValidatorSetByRoot => "validator_set_by_root",
            Self::PayloadsByRange => "payloads_by_range",
            Self::PayloadsByRoot => "payloads_by_root",
            Self::BlobsByRange => "blobs_by_range",
            Self::BlobsByRoot => "blobs_by_root",
        }
    }

    /// The libp2p protocol id.
    pub fn protocol_id(self) -> &'static str {
        match self {
            Self::Status => "/lapis/req/status/1/ssz_snappy",
            Self::Ping => "/lapis/req/ping/1/ssz_snappy",
            Self::Goodbye => "/lapis/req/goodbye/1/ssz_snappy",
            Self::DecidedValuesByRange => "/lapis/req/decided_values_by_range/1/ssz_snappy",
            Self::ValidatorSetByRoot => "/lapis/req/validator_set_by_root/1/ssz_snappy",
            Self::PayloadsByRange => "/lapis/req/payloads_by_range/1/ssz_snappy",
            Self::PayloadsByRoot => "/lapis/req/payloads_by_root/1/ssz_snappy",
            Self::BlobsByRange => "/lapis/req/blobs_by_range/1/ssz_snappy",
            Self::BlobsByRoot => "/lapis/req/blobs_by_root/1/ssz_snappy",
        }
    }

    /// Legal lengths of an encoded request.
    pub fn request_bounds(self) -> LengthBounds {
        match self {
            Self::Status => LengthBounds::fixed(STATUS_BYTES),
            Self::Ping | Self::Goodbye => LengthBounds::fixed(8),
            Self::DecidedValuesByRange | Self::PayloadsByRange | Self::BlobsByRange => LengthBounds::fixed(16),
            Self::ValidatorSetByRoot => LengthBounds::fixed(32),
            Self::PayloadsByRoot => LengthBounds::between(0, 32 * MAX_REQUEST_VALUE_IDS),
            Self::BlobsByRoot => LengthBounds::between(0, 32 * MAX_REQUEST_HASHES),
        }
    }

    /// Legal lengths of an encoded response chunk. `Goodbye` has no chunks; its bounds admit only empty ones.
    pub fn response_bounds(self) -> LengthBounds {
        match self {
            Self::Status => LengthBounds::fixed(STATUS_BYTES),
            Self::Ping => LengthBounds::fixed(8),
            Self::Goodbye => LengthBounds::fixed(0),
            Self::DecidedValuesByRange => LengthBounds::between(
                DecidedValue::encoded_len_of(0, 0),
                DecidedValue::encoded_len_of(MAX_BLOBS_PER_BLOCK, MAX_VALIDATORS),
            ),
            Self::ValidatorSetByRoot => LengthBounds::between(4, 4 + 40 * MAX_VALIDATORS),
            Self::PayloadsByRange | Self::PayloadsByRoot => {
                LengthBounds::between(PayloadEnvelope::FIXED_BYTES, PayloadEnvelope::MAX_BYTES)
            }
            Self::BlobsByRange | Self::BlobsByRoot => LengthBounds::fixed(BlobSidecar::BYTES),
        }
    }

    /// The most chunks that any response of this method has.
    pub fn max_chunks(self) -> usize {
        match self {
            Self::Status | Self::Ping | Self::ValidatorSetByRoot => 1,
            Self::Goodbye => 0,
            Self::DecidedValuesByRange | Self::PayloadsByRange => MAX_HEIGHT_CHUNKS,
            Self::PayloadsByRoot => MAX_REQUEST_VALUE_IDS,
            Self::BlobsByRange => MAX_REQUEST_SIDECARS,
            Self::BlobsByRoot => MAX_REQUEST_HASHES,
        }
    }
}

#[cfg(test)]
mod tests;
