//! The Lapis wire protocol, as pure code.
//!
//! This crate owns what goes over the wire and when it may be believed: the SSZ containers, the framing of requests and
//! response chunks, certificate and validator-set checks, and the two gates through which received data becomes data
//! that may be stored ([`Matched`], then [`Verified`]). It performs no IO and knows no clock, no thread, no random
//! source (where signatures are added up, coefficients come from the caller, and decide nothing), no transport and no
//! database. `spec/` beside the sources holds the normative text.
//!
//! ```text
//! bytes --framing--> chunk --SSZ--> container --matching--> Matched<T> --proof--> Verified<T>
//! ```

pub mod announcement;
pub mod archive;
pub mod blob;
pub mod bytes;
pub mod certificate;
mod container;
#[cfg(test)]
mod fixtures;
pub mod framing;
pub mod gates;
pub mod genesis;
pub mod kzg;
pub mod matching;
pub mod messages;
pub mod method;
pub mod payload;
pub mod ranges;
pub mod request;
pub mod ssz;
pub mod validators;
pub mod value;

pub use crate::{
    blob::{Blob, BlobSidecar, versioned_hash},
    bytes::{Address, ByteList, Bytes20, Bytes32, Bytes48, Bytes64, FixedBytes},
    certificate::{CertificateFault, ChainLink, CommitCertificate, CommitSignature, DecidedValue, VerifiedRun},
    gates::{Matched, Verified},
    genesis::Genesis,
    kzg::{Kzg, KzgSetupError},
    messages::{GoodbyeReason, HeightRange, Status},
    method::Method,
    payload::{ExecutionRequests, PayloadEnvelope, PayloadFault},
    ranges::HeightRanges,
    request::{Item, Request},
    ssz::{DecodeError, decode, encode},
    validators::{Validator, ValidatorSet, ValidatorSetFault},
    value::{IdentifiedValue, Value},
};

/// A position in the chain. Heights start at 1; 0 means "nothing yet".
pub type Height = u64;

/// SSZ capacity of the commitments of a value; the chain's genesis sets the enforced limit.
pub const MAX_BLOBS_PER_BLOCK: usize = 4096;
/// Largest validator set.
pub const MAX_VALIDATORS: usize = 1024;
/// Largest SSZ execution payload, in bytes (32 MiB).
pub const MAX_PAYLOAD_BYTES: usize = 32 * 1024 * 1024;
/// Most execution requests (EIP-7685) of a height.
pub const MAX_EXECUTION_REQUESTS: usize = 64;
/// Largest single execution request, in bytes (1 MiB).
pub const MAX_EXECUTION_REQUEST_BYTES: usize = 1024 * 1024;
/// Most heights that one range request is answered with.
pub const MAX_REQUEST_HEIGHTS: u64 = 128;
/// Most versioned hashes in one `blobs_by_root` request.
pub const MAX_REQUEST_HASHES: usize = 1024;
/// Most value ids in one `payloads_by_root` request.
pub const MAX_REQUEST_VALUE_IDS: usize = 128;
/// Most sidecars that one request is answered with, unless the first height alone has more.
pub const MAX_REQUEST_SIDECARS: usize = 4096;
/// Most exchanges of one protocol that a peer may have open with another at a time.
pub const MAX_CONCURRENT_REQUESTS: usize = 2;
/// Bytes of one blob: 4096 field elements of 32 bytes (EIP-4844).
pub const BYTES_PER_BLOB: usize = 131_072;
