//! `lapis bench`: what this machine can do, and how close the node comes to it.
//!
//! The bench makes one chain with real proofs and lets it be fetched again and again: by nodes as `lapis run` runs them,
//! and by two baselines. Clients and server are processes of their own, so that processor time and memory are theirs
//! alone; the relays that stand for a network with delay and rate run in the bench itself ([`relay`]).
//!
//! It owns its processes and its files, and leaves neither behind. It has no part in how a node works: what it measures
//! is the node's own code, and what it adds is who serves, the ways to compare with, and the clock.

mod ceilings;
mod chain;
mod client;
mod error;
mod job;
mod liar;
mod limits;
mod options;
mod plain;
mod process;
pub mod relay;
pub mod report;
mod run;
mod runs;
mod server;
mod serving;
mod stream;
mod table;
mod whole_height;
mod worker;

pub use self::{
    error::{BenchError, ProcessFault},
    options::{BenchOptions, Extent, MAX_BLOBS, MAX_HEIGHTS, OptionsFault, Part},
    plain::PlainError,
    process::WORKER_COMMAND,
    report::Report,
    run::{Tell, run},
    worker::{WorkerInput, work},
};
