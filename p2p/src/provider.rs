//! What a node implements so that its data can be served.
//!
//! Calls are synchronous, one at a time per exchange, and run on threads that may block; but while reads are seen to be
//! short, as they are from memory, small items are read where the exchange runs. The next item is asked for when the one
//! before is on its way, so an exchange holds one item at most.

use lapis_protocol_spec::{
    Height, Method, Request,
    framing::{Encoder, ErrorCode},
    ssz,
};
use libp2p::PeerId;

/// Answers requests for data. Status, ping and goodbye never get here.
pub trait Provider: Send + Sync + 'static {
    /// Begins an answer. May read from disk.
    ///
    /// # Errors
    /// [`ServeError`], which becomes the only chunk of the answer.
    fn serve(&self, peer: PeerId, request: &Request) -> Result<Box<dyn ItemSource>, ServeError>;
}

/// The rest of one answer, from one snapshot.
pub trait ItemSource: Send + 'static {
    /// Bytes that the next item has, or is expected to have, so that they are charged before it is read; 0 where nothing
    /// is known. What it turns out to have beyond that is charged before it is sent. Must not touch the disk.
    fn next_cost(&self) -> usize;

    /// The height that the next item belongs to, where that is known: what is near the head has a share of its own.
    /// `None` if it is not decided, or if the request says as much. Must not touch the disk.
    fn next_height(&self) -> Option<Height> {
        None
    }

    /// Puts the next item into `out`; `None` when there is no other. Returns the [`Encoded`] that `out` gave.
    ///
    /// # Errors
    /// [`ServeError`], which becomes the last chunk of the answer.
    fn next(&mut self, out: &mut ChunkBuffer) -> Result<Option<Encoded>, ServeError>;
}

/// An answer without items.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoItems;

impl ItemSource for NoItems {
    fn next_cost(&self) -> usize {
        0
    }

    fn next(&mut self, _: &mut ChunkBuffer) -> Result<Option<Encoded>, ServeError> {
        Ok(None)
    }
}

/// Why a request is not (or not further) answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// The request breaks a rule of its method. The client's fault.
    #[error("invalid request: {0}")]
    InvalidRequest(String),
    /// What was asked for is not held. Nobody's fault.
    #[error("not held: {0}")]
    Unavailable(String),
    /// Disk, damaged rows, shutdown: ours. The text goes to the client; details belong in the log.
    #[error("server error: {0}")]
    Local(String),
}

impl ServeError {
    /// The result code of the chunk that tells the client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidRequest(_) => ErrorCode::InvalidRequest,
            Self::Unavailable(_) => ErrorCode::ResourceUnavailable,
            Self::Local(_) => ErrorCode::ServerError,
        }
    }

    /// The text of the chunk that tells the client.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::InvalidRequest(text) | Self::Unavailable(text) | Self::Local(text) => text,
        }
    }
}

/// Proof that a chunk was put into a [`ChunkBuffer`].
#[derive(Debug)]
pub struct Encoded(());

/// The one chunk that an exchange holds, as it goes over the wire.
#[derive(Debug)]
pub struct ChunkBuffer {
    method: Method,
    encoder: Encoder,
    bytes: Vec<u8>,
}

/// Capacity that a buffer keeps from one chunk to the next; what a larger item took is given back.
const KEPT_CAPACITY: usize = 256 * 1024;

impl ChunkBuffer {
    /// An empty buffer for chunks of `method`.
    #[must_use]
    pub fn new(method: Method) -> Self {
        Self { method, encoder: Encoder::new(), bytes: Vec::new() }
    }

    /// Encodes one item given as the pieces of its SSZ encoding, each copied once. Replaces what was encoded before.
    ///
    /// # Errors
    /// [`ServeError::Local`] if no item of the method has that length.
    pub fn encode(&mut self, parts: &[&[u8]]) -> Result<Encoded, ServeError> {
        let bounds = self.method.response_bounds();
        self.encoder
            .chunk(bounds, parts, &mut self.bytes)
            .map(|()| Encoded(()))
            .map_err(|error| ServeError::Local(error.to_string()))
    }

    /// Encodes one container.
    ///
    /// # Errors
    /// As [`ChunkBuffer::encode`].
    pub fn encode_item<T: ssz_rs::SimpleSerialize>(&mut self, item: &T) -> Result<Encoded, ServeError> {
        self.encode(&[&ssz::encode(item)])
    }

    /// The method whose chunks it takes.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Encodes an error chunk.
    pub(crate) fn encode_error(&mut self, code: ErrorCode, message: &str) {
        self.encoder.error(code, message, &mut self.bytes);
    }

    /// The chunk as it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets the chunk and what memory it took beyond the usual.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
    }
}
