//! The first baseline: how Ultramarine's consensus moves data. A height is one message, with value, certificate, payload
//! and all blobs; a node asks for one height, checks it, stores it, and asks for the next one.
//!
//! Transport, containers, gates, KZG and store are those of Lapis; what differs is who asks for how much when. Nothing is
//! imported, which favours the baseline.

mod message;
mod serve;
mod sync;

use libp2p::StreamProtocol;

pub(super) use self::{serve::serve, sync::sync};

pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/lapis-bench/height/1");
