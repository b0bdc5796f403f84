//! The execution layer as a node meets it: is this payload the block that the chain decided, and does it extend what
//! was imported before?
//!
//! | module | owns |
//! | --- | --- |
//! | [`fork`] | which execution fork is in force at a timestamp |
//! | [`requests`] | the EIP-7685 commitment over execution requests |
//! | [`payload`] | the check of one payload against one decided value: bytes, fields, transactions, block hash |
//! | [`engine`] | the trait that the importer drives, its statuses, and the engine of a data node |
//! | [`embedded`] | an engine without a client: it links checked blocks into a chain and keeps the head |
//! | [`engine_api`] | an engine that is an execution client of its own, and that client for producers |
//! | [`builder`] | blocks for a development network |
//!
//! Nothing here runs the EVM. State roots, receipts and balances are the business of an execution client; neither
//! [`payload`] nor [`embedded`] can tell a right state root from a wrong one. Nothing here knows peers or the store.

pub mod builder;
pub mod embedded;
pub mod engine;
pub mod engine_api;
pub mod fork;
pub mod payload;
pub mod requests;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod fixtures;

pub use builder::{BlobSchedule, BlockAttributes, BlockBuilder, BuildError, BuiltBlock, ParentBlock};
pub use embedded::{Embedded, Head, HeadFormatError, ImportFault};
pub use engine::{
    ExecutionEngine, Habits, ImportBlock, InvalidBlock, NoEngine, PayloadStatus, Standing, Trouble, Unavailability,
};
pub use fork::{Fork, ForkSchedule, UnsupportedFork};
pub use payload::{BlockFault, CheckedPayload, ExpectedBlock, check_payload};
pub use requests::{RequestsFault, check_requests, requests_hash};
