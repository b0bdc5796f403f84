//! Reading one request.

use std::{io, time::Duration};

use futures::AsyncReadExt;
use lapis_protocol_spec::{
    DecodeError, Method, Request,
    framing::{ErrorKind, FramingError, RequestDecoder},
    messages::RangeFault,
};

use crate::{Offence, metrics::ExchangeRecord, streams::Channel};

/// Bytes that are read at a time; most requests fit.
const READ_BUFFER: usize = 1024;

/// Why there is no request to answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestFault {
    #[error("{0}")]
    Framing(#[from] FramingError),
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("{0}")]
    Range(#[from] RangeFault),
    #[error("no request")]
    Nothing,
    #[error("request not complete in time")]
    Timeout,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl RequestFault {
    /// What the client is charged with.
    pub(super) const fn offence(&self) -> Option<Offence> {
        match self {
            Self::Framing(error) => Some(match error.kind() {
                ErrorKind::Truncated => Offence::Truncated,
                ErrorKind::Oversized => Offence::Oversized,
                ErrorKind::Malformed => Offence::Malformed,
            }),
            Self::Decode(_) | Self::Range(_) => Some(Offence::InvalidRequest),
            Self::Timeout => Some(Offence::Timeout),
            // A client that gave up before it began looks the same.
            Self::Nothing | Self::Io(_) => None,
        }
    }

    /// Whether the client is still there to be told.
    pub(super) const fn is_answered(&self) -> bool {
        match self {
            Self::Framing(_) | Self::Decode(_) | Self::Range(_) | Self::Nothing | Self::Timeout => true,
            Self::Io(_) => false,
        }
    }
}

/// Reads a request up to the client's half-close, which must come within `limit`.
pub(super) async fn read(
    channel: &mut Channel,
    method: Method,
    limit: Duration,
    record: &ExchangeRecord,
) -> Result<Request, RequestFault> {
    let body = read_body(channel, method, record);
    let body = tokio::time::timeout(limit, body).await.map_err(|_| RequestFault::Timeout)??;
    let request = Request::decode(method, &body)?;
    match &request {
        Request::DecidedValuesByRange(range) | Request::PayloadsByRange(range) | Request::BlobsByRange(range) => {
            range.heights()?;
        }
        Request::Status(_)
        | Request::Ping(_)
        | Request::Goodbye(_)
        | Request::ValidatorSetByRoot(_)
        | Request::PayloadsByRoot(_)
        | Request::BlobsByRoot(_) => {}
    }
    Ok(request)
}

async fn read_body(
    channel: &mut Channel,
    method: Method,
    record: &ExchangeRecord,
) -> Result<bytes::Bytes, RequestFault> {
    let mut decoder = RequestDecoder::new(method.request_bounds());
    let mut buffer = [0; READ_BUFFER];
    let mut received = 0_usize;
    loop {
        let count = channel.read(&mut buffer).await?;
        if count == 0 {
            return if received == 0 { Err(RequestFault::Nothing) } else { Ok(decoder.finish()?) };
        }
        received = received.saturating_add(count);
        record.received(count);
        decoder.push(buffer.get(..count).unwrap_or_default())?;
    }
}
