//! Shapes of results where alloy's are stricter than clients are.

use alloy_primitives::{B256, Bytes, FixedBytes, U64};
use alloy_rpc_types_engine::{ExecutionPayloadV3, PayloadId};
use lapis_protocol_spec::Blob;
use serde::Deserialize;
use serde_json::Value as Json;

use super::client::{BuiltBlob, PoolBlob};
use crate::execution::{InvalidBlock, PayloadStatus};

/// `PayloadStatusV1`. Clients differ in whether an invalid payload comes with a `validationError`, and some still know
/// `INVALID_BLOCK_HASH`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusV1 {
    status: StatusName,
    #[serde(default)]
    validation_error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum StatusName {
    Valid,
    Invalid,
    InvalidBlockHash,
    Syncing,
    Accepted,
}

/// The result of a forkchoice update.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForkchoiceResult {
    pub(super) payload_status: Json,
    #[serde(default)]
    pub(super) payload_id: Option<PayloadId>,
}

/// What is read of a block.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct BlockSummary {
    pub(super) hash: B256,
    pub(super) number: U64,
}

/// The result of `getPayload`, V3 and V4.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuiltV4 {
    pub(super) execution_payload: ExecutionPayloadV3,
    pub(super) blobs_bundle: Bundle,
    /// Before Prague some clients leave it out, and others say null.
    #[serde(default)]
    pub(super) execution_requests: Option<Vec<Bytes>>,
}

/// `BlobsBundleV1`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Bundle {
    commitments: Vec<FixedBytes<48>>,
    proofs: Vec<FixedBytes<48>>,
    blobs: Vec<BlobHex>,
}

/// `BlobAndProofV1`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct BlobAndProof {
    blob: BlobHex,
    proof: FixedBytes<48>,
}

/// A blob in hex. It is never on the stack, where it would take 128 KiB each time that it is handed on.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Bytes")]
struct BlobHex(Blob);

/// A blob of another length than all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob has {0} bytes")]
struct BlobLength(usize);

impl TryFrom<Bytes> for BlobHex {
    type Error = BlobLength;

    fn try_from(bytes: Bytes) -> Result<Self, BlobLength> {
        Blob::from_slice(&bytes).map(Self).ok_or(BlobLength(bytes.len()))
    }
}

impl Bundle {
    /// The blobs with what belongs to each; `None` if the three lists are not alike in length.
    pub(super) fn into_blobs(self) -> Option<Vec<BuiltBlob>> {
        let Self { commitments, proofs, blobs } = self;
        if commitments.len() != blobs.len() || proofs.len() != blobs.len() {
            return None;
        }
        let parts = blobs.into_iter().zip(commitments).zip(proofs);
        Some(
            parts
                .map(|((BlobHex(blob), commitment), proof)| BuiltBlob {
                    blob,
                    kzg_commitment: commitment.0.into(),
                    kzg_proof: proof.0.into(),
                })
                .collect(),
        )
    }
}

impl From<BlobAndProof> for PoolBlob {
    fn from(found: BlobAndProof) -> Self {
        Self { blob: found.blob.0, kzg_proof: found.proof.0.into() }
    }
}

/// Reads a payload status; all of it is kept if the payload is invalid.
pub(super) fn payload_status(result: Json) -> Result<PayloadStatus, serde_json::Error> {
    let answer = result.to_string();
    let StatusV1 { status, validation_error } = serde_json::from_value(result)?;
    Ok(match status {
        StatusName::Valid => PayloadStatus::Valid { head: None },
        StatusName::Syncing => PayloadStatus::Syncing,
        StatusName::Accepted => PayloadStatus::Accepted,
        StatusName::Invalid | StatusName::InvalidBlockHash => {
            let fallback = match status {
                StatusName::InvalidBlockHash => "it computes another block hash",
                _ => "it does not say why",
            };
            let validation_error = validation_error.unwrap_or_else(|| fallback.to_owned());
            PayloadStatus::Invalid(InvalidBlock::Client { validation_error, answer })
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::json;

    use super::*;

    #[test]
    fn every_status_is_read_with_and_without_its_other_fields() {
        let read = |status: &str| payload_status(json!({ "status": status })).unwrap();
        assert!(matches!(read("VALID"), PayloadStatus::Valid { head: None }));
        assert!(matches!(read("SYNCING"), PayloadStatus::Syncing));
        assert!(matches!(read("ACCEPTED"), PayloadStatus::Accepted));
        assert!(matches!(read("INVALID"), PayloadStatus::Invalid(_)));
        assert!(payload_status(json!({ "status": "MAYBE" })).is_err());
        assert!(payload_status(json!("VALID")).is_err());
        let full = json!({ "status": "INVALID_BLOCK_HASH", "latestValidHash": null, "validationError": null });
        let PayloadStatus::Invalid(InvalidBlock::Client { validation_error, answer }) = payload_status(full).unwrap()
        else {
            panic!("not invalid")
        };
        assert_eq!(validation_error, "it computes another block hash");
        assert!(answer.contains("latestValidHash"));
    }

    #[test]
    fn hex_is_read_in_either_case() {
        let lower: BlockSummary =
            serde_json::from_value(json!({ "hash": format!("0x{}", "ab".repeat(32)), "number": "0xabc", "x": 1 }))
                .unwrap();
        let upper: BlockSummary =
            serde_json::from_value(json!({ "hash": format!("0x{}", "AB".repeat(32)), "number": "0xABC" })).unwrap();
        assert_eq!((lower.hash, lower.number), (upper.hash, upper.number));
        let id: PayloadId = serde_json::from_value(json!("0xABCDEF0123456789")).unwrap();
        assert_eq!(id, serde_json::from_value(json!("0xabcdef0123456789")).unwrap());
    }
}
