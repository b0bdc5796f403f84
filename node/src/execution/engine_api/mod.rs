//! Execution clients over their Engine API: JSON-RPC over HTTP with a shared secret
//! (<https://github.com/ethereum/execution-apis/tree/main/src/engine>).
//!
//! | module | owns |
//! | --- | --- |
//! | [`client`] | the methods, for import ([`ClientEngine`]) and for producers |
//! | `engine` | a client as an engine |
//! | `pool` | a client's blob pool as a source for sync |
//! | `producing` | what producers ask besides the Engine API's methods |
//! | `rpc` | one call: credentials, limits of time and bytes, one retry |
//! | [`jwt`] | the secret and its tokens |
//! | `wire` | results that clients write differently |
//! | [`error`] | what goes wrong, sorted by whose business it is |
//! | `calls` | what is counted |
//!
//! A producer has a block built, and fetches it with its blobs:
//!
//! ```no_run
//! # use lapis_node::execution::{Fork, engine_api::{EngineApi, EngineApiError}};
//! # use alloy_rpc_types_engine::{ForkchoiceState, PayloadAttributes};
//! # async fn build(api: EngineApi, head: ForkchoiceState, attributes: PayloadAttributes) -> Result<(), EngineApiError> {
//! let (_status, id) = api.start_building(head, attributes).await?;
//! if let Some(id) = id {
//!     let built = api.built_payload(id, Fork::Prague).await?;
//!     println!("{} bytes, {} blobs", built.payload_ssz().len(), built.blobs.len());
//! }
//! # Ok(())
//! # }
//! ```

mod calls;
pub mod client;
mod engine;
pub mod error;
pub mod jwt;
mod pool;
mod producing;
mod rpc;
#[cfg(test)]
mod tests;
mod wire;

pub use self::{
    calls::CallObserver,
    client::{
        BuiltBlob, BuiltPayload, EngineApi, EngineApiSettings, MAX_BLOBS_PER_CALL, PoolBlob, PrepareError,
        PreparedPayload,
    },
    engine::ClientEngine,
    error::{EngineApiError, RpcCode, RpcError},
    jwt::{JwtSecret, JwtSecretError},
    pool::ClientPool,
    producing::GenesisBlock,
};
