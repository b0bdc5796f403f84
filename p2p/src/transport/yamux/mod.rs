//! The multiplexer `/yamux/1.0.0`: many streams on one connection, each with its own flow control.
//!
//! [`muxer`] moves frames between the socket and the [`streams`], which know no socket; [`stream`] is one of them,
//! [`window`] its flow control, [`received`] its buffer, [`frame`] what is on the wire. [`shared`] holds the lock between
//! a connection's task and the handles of its streams.
//!
//! **Ends.** A stream that was reset, or whose connection is lost, reads as an error behind what has come of it, never
//! as an end; so does a request that is reset behind its end, which is withdrawn by that. One that is dropped before this
//! side has closed it is reset: behind what was written if the other side opened it, at once if this side did. One that is
//! dropped behind this side's own end is reset behind that end if this side opened it and the other side has not ended it.
//!
//! **Windows.** Every stream may receive 256 KiB that are not read. On streams that this side opened the first update
//! raises this to 4 MiB, as far as two budgets allow, that of the connection and that of all connections; so no round
//! trip is needed to learn how far away the other side is. What the other side opened brings requests, and stays small.
//!
//! **Bounds.** Nothing is allocated by a length that the other side has sent. Of each stream at most 165 KiB wait to be
//! sent; 4 answers to pings; 256 resets of streams beyond the limit, after which the connection is closed.

mod frame;
mod muxer;
mod received;
mod shared;
mod stream;
mod streams;
mod window;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    iter,
    sync::Arc,
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

use self::{
    muxer::Muxer,
    streams::{Role, Streams},
    window::Budgets,
};

pub(super) use self::window::Budget;

/// The upgrade of a connection.
#[derive(Clone, Debug)]
pub(super) struct Config {
    streams: u32,
    receive_window: u32,
    all: Arc<Budget>,
    closing: Duration,
}

impl Config {
    /// At most `streams` at a time, which together hold at most `receive_window` bytes beyond 256 KiB each, and those of
    /// all connections at most what `all` has. A peer that does not read has `closing` to take the last frames.
    pub(super) const fn new(streams: u32, receive_window: u32, all: Arc<Budget>, closing: Duration) -> Self {
        Self { streams, receive_window, all, closing }
    }

    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, socket: C, role: Role) -> Muxer<C> {
        let budgets = Budgets { connection: Arc::new(Budget::new(self.receive_window)), all: self.all };
        Muxer::new(socket, Streams::new(role, self.streams as usize, budgets), self.closing)
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Role::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Role::Client)))
    }
}

#[cfg(test)]
mod tests;
