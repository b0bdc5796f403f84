//! A whole network in one process.

pub mod blobs;
pub mod chain_maker;
pub mod consensus;
pub mod keys;
mod parallel;
pub mod proposal;
pub mod spec;
pub mod vote;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod fixtures;
