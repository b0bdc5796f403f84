//! What scenarios are made of: chains with real blocks, nodes in this process and as a process of their own, and a peer
//! that misbehaves on demand.
//!
//! Nothing here replaces a part of the node. Nodes are whole ([`TestNode`] runs what `lapis run` runs, [`Program`] is
//! `lapis run`), streams are TCP on the loopback interface, blobs and proofs are real. [`ScriptedPeer`] is a second,
//! smaller implementation of the wire protocol, with a framing of its own, so that both sides do not err alike.
//! [`MemoryArchive`] stands where an object store would, [`EngineServer`] where an execution client would.
//!
//! Tests wait for events and never for time to pass; a wait that takes longer than [`PATIENCE`] fails the test and says
//! how the node was then.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness fails its test by panicking"
)]

mod archive;
mod chain;
mod compare;
mod disk;
pub mod engine_server;
pub mod execution;
mod home;
pub mod kills;
mod node;
pub mod peer;
mod program;
mod s3;
mod validators;
pub mod wire;

use std::{future::Future, time::Duration};

pub use self::{
    archive::{ArchiveDisorder, ArchiveLog, MemoryArchive},
    chain::{TestChain, kzg},
    compare::{assert_holds, held_blobs},
    disk::SmallDisk,
    engine_server::{EngineServer, Reaction},
    home::{Home, Setup},
    node::TestNode,
    peer::{ScriptedPeer, fault::Fault},
    program::{Process, Program},
    s3::S3Server,
    validators::Validators,
};

/// How long an event may take before the test fails. Generous: machines under load are slow, and no test gets better by
/// giving up early.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Shows what nodes and peers log, as far as `RUST_LOG` asks for it; for looking into a test that fails.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Set by another test of the process already, perhaps.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// Waits for `event`; `what` it is, for the message if it does not happen.
pub async fn patiently<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}
