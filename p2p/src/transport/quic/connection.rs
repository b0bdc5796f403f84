//! One connection, and its streams.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, FutureExt, future::BoxFuture};
use libp2p::{
    PeerId,
    core::muxing::{StreamMuxer, StreamMuxerEvent},
};
use quinn::{ConnectionError, RecvStream, SendStream, VarInt, rustls::pki_types::CertificateDer};

use super::QuicError;

type Opening = BoxFuture<'static, Result<(SendStream, RecvStream), ConnectionError>>;

/// The code that this side closes and resets with: there is nothing to tell apart.
const NO_CODE: VarInt = VarInt::from_u32(0);

/// Who is there, when the handshake is done.
pub(super) async fn established(
    connecting: quinn::Connecting,
    limit: Duration,
) -> Result<(PeerId, Connection), QuicError> {
    let connection = tokio::time::timeout(limit, connecting).await.map_err(|_| QuicError::HandshakeTimedOut)??;
    let peer = peer_of(&connection)?;
    Ok((peer, Connection::new(connection)))
}

/// The peer that the certificate names, which the handshake has verified.
fn peer_of(connection: &quinn::Connection) -> Result<PeerId, QuicError> {
    let identity = connection.peer_identity().ok_or(QuicError::NoIdentity)?;
    let certificates = identity.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| QuicError::NoIdentity)?;
    let certificate = certificates.first().ok_or(QuicError::NoIdentity)?;
    let parsed = libp2p_tls::certificate::parse(certificate).map_err(|_| QuicError::NoIdentity)?;
    Ok(parsed.peer_id())
}

/// One connection.
pub(crate) struct Connection {
    connection: quinn::Connection,
    inbound: Option<Opening>,
    outbound: Option<Opening>,
    closing: Option<BoxFuture<'static, ConnectionError>>,
}

impl Connection {
    fn new(connection: quinn::Connection) -> Self {
        Self { connection, inbound: None, outbound: None, closing: None }
    }
}

/// Polls `opening`, which is begun if there is none.
fn poll_opening(
    opening: &mut Option<Opening>,
    begin: impl FnOnce() -> Opening,
    opener: Opener,
    cx: &mut Context<'_>,
) -> Poll<Result<Stream, QuicError>> {
    let opened = ready!(opening.get_or_insert_with(begin).poll_unpin(cx));
    *opening = None;
    let (send, receive) = opened?;
    Poll::Ready(Ok(Stream { send, receive, opener, closed: false }))
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = QuicError;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, QuicError>> {
        let this = self.get_mut();
        let connection = &this.connection;
        let begin = || {
            let connection = connection.clone();
            async move { connection.accept_bi().await }.boxed()
        };
        poll_opening(&mut this.inbound, begin, Opener::Other, cx)
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, QuicError>> {
        let this = self.get_mut();
        let connection = &this.connection;
        let begin = || {
            let connection = connection.clone();
            async move { connection.open_bi().await }.boxed()
        };
        poll_opening(&mut this.outbound, begin, Opener::This, cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), QuicError>> {
        let this = self.get_mut();
        let connection = &this.connection;
        let closing = this.closing.get_or_insert_with(|| {
            connection.close(NO_CODE, &[]);
            let connection = connection.clone();
            async move { connection.closed().await }.boxed()
        });
        match ready!(closing.as_mut().poll(cx)) {
            ConnectionError::LocallyClosed => Poll::Ready(Ok(())),
            error => Poll::Ready(Err(error.into())),
        }
    }

    /// Addresses do not change, and streams drive themselves.
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, QuicError>> {
        Poll::Pending
    }
}

/// Which side opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    This,
    Other,
}

/// One stream. One that this side opened and drops before it has closed it is reset: a request that breaks off is none.
/// Of others what was written is an answer; it would be lost with a reset, which overtakes it, and libp2p's protocols
/// drop streams when they have answered. So the library ends them in order.
#[derive(Debug)]
pub(crate) struct Stream {
    send: SendStream,
    receive: RecvStream,
    opener: Opener,
    closed: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.opener == Opener::This && !self.closed {
            // An error says that the other side does not want it any more.
            let _ = self.send.reset(NO_CODE);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(AsyncWrite::poll_close(Pin::new(&mut self.send), cx))?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }
}
