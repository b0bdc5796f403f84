//! The framing against its vectors, against snap's own frame coder, and against everything that a hostile peer can write.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod encode;
mod frames;
mod golden;
mod prefix;
mod properties;
mod response;
mod wire;
