//! Shapes of results where alloy's are stricter than clients are.

use alloy_primitives::{B256, U64};
use alloy_rpc_types_engine::PayloadId;
use serde::Deserialize;
use serde_json::Value as Json;

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
