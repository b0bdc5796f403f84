//! Execution clients of others: as processes of their own, with a genesis and a secret made for them, and chains whose
//! blocks they build.
//!
//! The clients are not built or installed here; [`Programs`] says where they are. What they hold is asked over their
//! public RPC, which shares nothing with the code under test.

mod chain;
mod client;
mod devnet;
mod forge;
mod node;
mod rpc;

pub use self::{
    chain::ClientChain,
    client::{ExecutionClient, Kind, MissingProgram, Programs},
    devnet::{Devnet, DevnetFailure},
    forge::{with_swapped_commitments, with_wrong_state_root},
    node::{Importer, Live},
    rpc::Head,
};
