//! A whole network in one process.

mod agreement;
pub mod blobs;
mod ceiling;
pub mod chain_maker;
pub mod clients;
pub mod consensus;
mod error;
pub mod execution_genesis;
pub mod keys;
mod latency;
mod network;
mod options;
mod pace;
mod parallel;
mod progress;
pub mod proposal;
mod run;
mod setup;
pub mod spec;
mod summary;
pub mod vote;

pub use self::{
    agreement::{Disagreement, compare},
    ceiling::{Ceiling, measure, measure_on},
    error::DevnetError,
    latency::Latencies,
    network::MemberError,
    options::{DevnetOptions, MAX_VALIDATORS, OptionsFault},
    run::run,
    summary::{NodeSummary, Summary},
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod fixtures;
