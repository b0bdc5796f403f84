//! What a client says over its public RPC.

use alloy_primitives::{B256, U64};
use serde::Deserialize;
use serde_json::json;

/// A block that a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Head {
    /// Its hash.
    pub hash: B256,
    /// Its number.
    #[serde(deserialize_with = "number")]
    pub number: u64,
}

#[derive(Deserialize)]
struct Answer {
    result: Option<Head>,
}

/// The head of the client that listens at `url`; `None` if it does not answer.
pub(super) async fn head(http: &reqwest::Client, url: &str) -> Option<Head> {
    let method = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_getBlockByNumber",
        "params": ["latest", false],
    });
    let answer: Answer = http.post(url).json(&method).send().await.ok()?.json().await.ok()?;
    answer.result
}

fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    U64::deserialize(deserializer).map(|number| number.to())
}
