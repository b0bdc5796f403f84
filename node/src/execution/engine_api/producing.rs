//! What a producer asks besides blocks: block 0, and room for transactions.

use alloy_primitives::{B256, Bytes, U64};
use serde::Deserialize;

use super::{client::EngineApi, error::EngineApiError};

/// Block 0 of a client, as far as the next block's fees and the chain's genesis follow from it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenesisBlock {
    /// Its hash.
    pub hash: B256,
    /// Seconds since the Unix epoch.
    pub timestamp: U64,
    /// Gas limit.
    pub gas_limit: U64,
    /// Base fee per gas in wei.
    pub base_fee_per_gas: U64,
    /// Blob gas used; zero where a client leaves it out.
    #[serde(default)]
    pub blob_gas_used: U64,
    /// Excess blob gas; zero where a client leaves it out.
    #[serde(default)]
    pub excess_blob_gas: U64,
    /// Root of the state.
    pub state_root: B256,
}

impl EngineApi {
    /// The client's block 0.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn genesis_block(&self) -> Result<GenesisBlock, EngineApiError> {
        self.ask("eth_getBlockByNumber", &("0x0", false)).await
    }

    /// Puts a transaction into the client's pool, and gives its hash. `encoded` is what goes over the network: EIP-2718,
    /// with the blobs if it has any (EIP-4844).
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub async fn send_raw_transaction(&self, encoded: &Bytes) -> Result<B256, EngineApiError> {
        self.ask("eth_sendRawTransaction", &(encoded,)).await
    }
}
