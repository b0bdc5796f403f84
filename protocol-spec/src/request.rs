//! Requests and response items as typed values.

use bytes::Bytes;
use ssz_rs::prelude::*;

use crate::{
    BlobSidecar, Bytes32, DecidedValue, DecodeError, GoodbyeReason, HeightRange, MAX_REQUEST_HASHES,
    MAX_REQUEST_VALUE_IDS, Method, PayloadEnvelope, Status, ValidatorSet, decode, encode,
};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Handshake.
    Status(Status),
    /// Liveness; the number is an arbitrary sequence number.
    Ping(u64),
    /// Farewell.
    Goodbye(GoodbyeReason),
    /// Decided values of these heights.
    DecidedValuesByRange(HeightRange),
    /// The set with this root.
    ValidatorSetByRoot(Bytes32),
    /// Payloads of these heights.
    PayloadsByRange(HeightRange),
    /// Payloads of these value ids.
    PayloadsByRoot(List<Bytes32, MAX_REQUEST_VALUE_IDS>),
    /// Blob sidecars of these heights.
    BlobsByRange(HeightRange),
    /// Blob sidecars of these versioned hashes.
    BlobsByRoot(List<Bytes32, MAX_REQUEST_HASHES>),
}

impl Request {
    /// The method that this is a request of.
    pub fn method(&self) -> Method {
        match self {
            Self::Status(_) => Method::Status,
            Self::Ping(_) => Method::Ping,
            Self::Goodbye(_) => Method::Goodbye,
            Self::DecidedValuesByRange(_) => Method::DecidedValuesByRange,
            Self::ValidatorSetByRoot(_) => Method::ValidatorSetByRoot,
            Self::PayloadsByRange(_) => Method::PayloadsByRange,
            Self::PayloadsByRoot(_) => Method::PayloadsByRoot,
            Self::BlobsByRange(_) => Method::BlobsByRange,
            Self::BlobsByRoot(_) => Method::BlobsByRoot,
        }
    }

    /// SSZ bytes of the request's body.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Status(status) => encode(status),
            Self::Ping(number) => encode(number),
            Self::Goodbye(reason) => encode(&u64::from(*reason)),
            Self::DecidedValuesByRange(range) | Self::PayloadsByRange(range) | Self::BlobsByRange(range) => {
                encode(range)
            }
            Self::ValidatorSetByRoot(root) => encode(root),
            Self::PayloadsByRoot(ids) => encode(ids),
            Self::BlobsByRoot(hashes) => encode(hashes),
        }
    }

    /// Decodes the body of a request of `method`.
    ///
    /// # Errors
    /// [`DecodeError`]: the client's fault.
    pub fn decode(method: Method, body: &[u8]) -> Result<Self, DecodeError> {
        Ok(match method {
            Method::Status => Self::Status(decode(body)?),
            Method::Ping => Self::Ping(decode(body)?),
            Method::Goodbye => Self::Goodbye(decode::<u64>(body)?.into()),
            Method::DecidedValuesByRange => Self::DecidedValuesByRange(decode(body)?),
            Method::ValidatorSetByRoot => Self::ValidatorSetByRoot(decode(body)?),
            Method::PayloadsByRange => Self::PayloadsByRange(decode(body)?),
            Method::PayloadsByRoot => Self::PayloadsByRoot(decode(body)?),
            Method::BlobsByRange => Self::BlobsByRange(decode(body)?),
            Method::BlobsByRoot => Self::BlobsByRoot(decode(body)?),
        })
    }
}

/// One successful response chunk. Received data: to be matched and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Answer to [`Request::Status`].
    Status(Status),
    /// Answer to [`Request::Ping`]: the responder's own sequence number.
    Pong(u64),
    /// Answer to [`Request::DecidedValuesByRange`].
    DecidedValue(Box<DecidedValue>),
    /// Answer to [`Request::ValidatorSetByRoot`].
    ValidatorSet(ValidatorSet),
    /// Answer to the payload requests.
    Payload(PayloadEnvelope),
    /// Answer to the blob requests.
    Blob(BlobSidecar),
}

impl Item {
    /// Decodes a response chunk of `method`. A blob is not copied.
    ///
    /// # Errors
    /// [`DecodeError`]: the server's fault.
    pub fn decode(method: Method, body: &Bytes) -> Result<Self, DecodeError> {
        Ok(match method {
            Method::Status => Self::Status(decode(body)?),
            Method::Ping => Self::Pong(decode(body)?),
            Method::Goodbye => return Err(DecodeError::NoItems(method)),
            Method::DecidedValuesByRange => Self::DecidedValue(Box::new(decode(body)?)),
            Method::ValidatorSetByRoot => Self::ValidatorSet(decode(body)?),
            Method::PayloadsByRange | Method::PayloadsByRoot => Self::Payload(decode(body)?),
            Method::BlobsByRange | Method::BlobsByRoot => Self::Blob(BlobSidecar::from_ssz(body)?),
        })
    }
}
