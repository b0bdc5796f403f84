//! The client's side of exchanges: one stream, one request, items one by one.
//!
//! An exchange holds at most one item and a read buffer, and reads from its stream only when it is asked for an item,
//! so that the reader's pace becomes the responder's.

mod client;
mod pace;

use std::{fmt, io, sync::Arc, time::Instant};

use futures::AsyncReadExt;
use lapis_protocol_spec::{
    Item, MAX_REQUEST_HEIGHTS, Method, Request,
    framing::{LengthBounds, Progress, ResponseChunk, ResponseDecoder},
};
use libp2p::PeerId;

use crate::{ExchangeError, Fault, limiter::Limiter, metrics::ExchangeRecord, permits::KeyedPermit, streams::Channel};

pub(crate) use client::Client;
use pace::Pace;

/// Bytes that are read from a stream at a time.
const READ_BUFFER: usize = 64 * 1024;

/// Received bytes after which an exchange pays for them.
const PAY_AFTER: usize = READ_BUFFER;

/// What an exchange gives back when it ends or is dropped: the stream, and then the permit.
#[derive(Debug)]
struct Active {
    channel: Channel,
    _permit: KeyedPermit<(PeerId, Method)>,
}

/// One request and what comes back. Dropping it resets the stream and frees its permit.
pub struct Exchange {
    peer: PeerId,
    method: Method,
    decoder: ResponseDecoder,
    buffer: Box<[u8]>,
    /// The part of `buffer` that is not decoded yet.
    unread: std::ops::Range<usize>,
    max_chunks: usize,
    chunks_left: usize,
    pace: Pace,
    /// Received bytes that are not charged yet.
    unpaid: usize,
    limiter: Arc<Limiter>,
    record: ExchangeRecord,
    active: Option<Active>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("peer", &self.peer)
            .field("method", &self.method)
            .field("chunks_left", &self.chunks_left)
            .field("active", &self.active.is_some())
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// Who is asked.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// What is asked for.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Takes no item of more than `bytes` bytes, where less is certified than the method allows. To be called before the
    /// first item is read.
    #[must_use]
    pub fn with_item_limit(mut self, bytes: usize) -> Self {
        let bounds = self.method.response_bounds();
        let max = bytes.min(bounds.max()).max(bounds.min());
        self.decoder = ResponseDecoder::new(LengthBounds::between(bounds.min(), max));
        self
    }

    /// The next item; `None` at the end of the response. After `None` or an error the exchange has ended, its stream
    /// and permit are given back, and every further call returns `None`.
    ///
    /// Cancel-safe: nothing that was received is lost. The time limits of a chunk that has begun go on meanwhile.
    ///
    /// # Errors
    /// [`ExchangeError`]; [`ExchangeError::fault`] says whose fault it is. Nobody is told of it here.
    pub async fn next(&mut self) -> Result<Option<Item>, ExchangeError> {
        let Some(active) = &mut self.active else { return Ok(None) };
        let result = Reader {
            peer: self.peer,
            channel: &mut active.channel,
            decoder: &mut self.decoder,
            buffer: &mut self.buffer,
            unread: &mut self.unread,
            pace: &mut self.pace,
            unpaid: &mut self.unpaid,
            limiter: &self.limiter,
            record: &self.record,
            end_after: (self.chunks_left == 0).then_some(self.max_chunks),
        }
        .chunk()
        .await
        .and_then(|chunk| self.item(chunk));
        match &result {
            Ok(Some(_)) => return result,
            Ok(None) => self.record.outcome("complete"),
            Err(error) => self.record.outcome(outcome_name(error.fault())),
        }
        self.active = None;
        result
    }

    fn item(&mut self, chunk: Option<ResponseChunk>) -> Result<Option<Item>, ExchangeError> {
        match chunk {
            None => Ok(None),
            Some(ResponseChunk::Success(bytes)) => {
                let left = self.chunks_left.checked_sub(1).ok_or(ExchangeError::TooManyChunks(self.max_chunks))?;
                self.chunks_left = left;
                self.record.chunk();
                Ok(Some(Item::decode(self.method, &bytes)?))
            }
            Some(ResponseChunk::Error { code, message }) => {
                let message = printable(&message);
                Err(ExchangeError::Refused { code, message })
            }
        }
    }
}

/// What is needed to get the next chunk.
struct Reader<'a> {
    peer: PeerId,
    channel: &'a mut Channel,
    decoder: &'a mut ResponseDecoder,
    buffer: &'a mut [u8],
    unread: &'a mut std::ops::Range<usize>,
    pace: &'a mut Pace,
    unpaid: &'a mut usize,
    limiter: &'a Limiter,
    record: &'a ExchangeRecord,
    /// No further item is expected after so many.
    end_after: Option<usize>,
}

impl Reader<'_> {
    async fn chunk(mut self) -> Result<Option<ResponseChunk>, ExchangeError> {
        self.pace.resume(Instant::now());
        loop {
            if let Some(chunk) = self.decode()? {
                self.pace.chunk_complete();
                return Ok(Some(chunk));
            }
            self.pay().await;
            if self.fill().await? == 0 {
                self.decoder.finish()?;
                return Ok(None);
            }
        }
    }

    fn decode(&mut self) -> Result<Option<ResponseChunk>, ExchangeError> {
        let input = self.buffer.get(self.unread.clone()).unwrap_or_default();
        // Nothing of an item that was not asked for is decoded. An error may still say why the response ends.
        let begins_item = input.first() == Some(&0) && self.decoder.finish().is_ok();
        if let (Some(asked), true) = (self.end_after, begins_item) {
            return Err(ExchangeError::TooManyChunks(asked));
        }
        let Progress { consumed, chunk } = self.decoder.push(input)?;
        self.unread.start += consumed;
        Ok(chunk)
    }

    /// Waits until what was received is paid for. Time that this takes is not the peer's.
    async fn pay(&mut self) {
        if *self.unpaid >= PAY_AFTER {
            let start = Instant::now();
            self.limiter.ingress(self.peer, *self.unpaid).await;
            *self.unpaid = 0;
            self.pace.paused(start.elapsed());
        }
    }

    async fn fill(&mut self) -> Result<usize, ExchangeError> {
        let (deadline, stall) = self.pace.deadline(Instant::now());
        let closed = self.channel.closed();
        let bytes = async {
            tokio::select! {
                biased;
                count = self.channel.read(self.buffer) => count,
                // By whichever side: a stream of a connection that is gone is not waited for, whatever its transport says.
                () = closed.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
            }
        };
        let read = tokio::time::timeout_at(deadline.into(), bytes).await;
        let count = read.map_err(|_| stall)?.map_err(ExchangeError::Reset)?;
        *self.unread = 0..count;
        *self.unpaid += count;
        self.record.received(count);
        self.pace.received(count, Instant::now());
        Ok(count)
    }
}

/// The most items that a correct response to `request` has.
fn max_chunks(request: &Request) -> usize {
    let method = request.method().max_chunks();
    match request {
        Request::DecidedValuesByRange(range) | Request::PayloadsByRange(range) => {
            usize::try_from(range.count.min(MAX_REQUEST_HEIGHTS)).unwrap_or(method).min(method)
        }
        Request::PayloadsByRoot(ids) => ids.len().min(method),
        Request::BlobsByRoot(hashes) => hashes.len().min(method),
        Request::Status(_)
        | Request::Ping(_)
        | Request::Goodbye(_)
        | Request::ValidatorSetByRoot(_)
        | Request::BlobsByRange(_) => method,
    }
}

/// What a peer wrote, safe for a terminal and a log.
fn printable(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn outcome_name(fault: Fault) -> &'static str {
    match fault {
        Fault::Peer(offence) | Fault::Unclear(offence) => offence.name(),
        Fault::Unavailable => "unavailable",
        Fault::Busy => "busy",
        Fault::Local => "local",
    }
}
