//! Nodes that talk to each other, and to a peer built from plain libp2p that does as it likes.
//!
//! Tests wait for what must happen, with one generous time limit around each wait. None depends on speed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod discovery;
mod exchanges;
mod gossip;
mod handshake;
mod harness;
mod hostile_client;
mod hostile_server;
mod limits;
mod log;
mod provider;
mod quic;
mod raw;
mod service;
mod sharing;
