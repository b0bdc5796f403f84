//! The Lapis node: the only place where the wire, the network and the store meet.

pub mod cli;
pub mod config;
pub mod data_dir;
pub mod devnet;
pub mod execution;
pub mod genesis_file;
pub mod http;
pub mod keys;
pub mod shutdown;
pub mod source;
pub mod status;
pub mod telemetry;
