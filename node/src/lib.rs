//! The Lapis node: the only place where the wire, the network and the store meet.

pub mod archive;
pub mod archiver;
pub mod chain;
pub mod cli;
pub mod config;
pub mod data_dir;
mod decide;
pub mod devnet;
pub mod execution;
pub mod feed;
pub mod genesis_file;
pub mod http;
pub mod import;
pub mod keys;
pub mod local;
pub mod metrics;
pub mod node;
pub mod object_archive;
pub mod peer_store;
pub mod prune;
pub mod repair;
pub mod serve;
pub mod shutdown;
pub mod source;
pub mod status;
pub mod sync;
pub mod telemetry;
