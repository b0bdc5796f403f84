//! What can go wrong, and whose fault it is.

use std::{io, time::Duration};

use lapis_protocol_spec::{
    DecodeError, Method,
    framing::{EncodeError, ErrorCode, ErrorKind, FramingError},
};
use libp2p::{Multiaddr, PeerId};

use crate::{LimitsError, Offence};

/// Who answers for a failure, and at what price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer did what no correct peer does: to be reported with this offence.
    Peer(Offence),
    /// The peer or the network between; reported with this light offence, and the estimate of its capacity falls.
    Unclear(Offence),
    /// Nobody's: it does not have it, or cannot serve it now. No score; what it is asked for changes.
    Unavailable,
    /// Nobody's: too much was asked for at a time. No score; ask later.
    Busy,
    /// Ours. Never the peer's.
    Local,
}

impl Fault {
    /// What to report the peer for, if anything.
    #[must_use]
    pub const fn offence(self) -> Option<Offence> {
        match self {
            Self::Peer(offence) | Self::Unclear(offence) => Some(offence),
            Self::Unavailable | Self::Busy | Self::Local => None,
        }
    }
}

/// Why an exchange did not come about.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection to the peer.
    #[error("not connected to {0}")]
    NotConnected(PeerId),
    /// As many exchanges of this method as are allowed are under way and none ended in time.
    #[error("no free {} exchange with {peer} within {waited:?}", method.name())]
    NoPermit {
        /// The peer.
        peer: PeerId,
        /// The method.
        method: Method,
        /// How long was waited.
        waited: Duration,
    },
    /// The peer does not speak the protocol.
    #[error("{peer} does not support {}", method.protocol_id())]
    Unsupported {
        /// The peer.
        peer: PeerId,
        /// The method.
        method: Method,
    },
    /// The stream was not open, or the request not written, in time.
    #[error("request not sent within {0:?}")]
    Timeout(Duration),
    /// The stream or connection broke.
    #[error("request not sent: {0}")]
    Io(#[source] io::Error),
    /// The request is not a legal one.
    #[error("request cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// The service has stopped.
    #[error("the network service has stopped")]
    Stopped,
}

impl RequestError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NotConnected(_) | Self::Unsupported { .. } => Fault::Unavailable,
            Self::NoPermit { .. } => Fault::Busy,
            Self::Timeout(_) => Fault::Unclear(Offence::Timeout),
            Self::Io(_) => Fault::Unclear(Offence::Reset),
            Self::Encode(_) | Self::Stopped => Fault::Local,
        }
    }
}

/// What an exchange was waiting for when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stall {
    /// The first byte of the answer.
    #[error("no answer within {0:?}")]
    FirstByte(Duration),
    /// Any byte.
    #[error("no byte for {0:?}")]
    Idle(Duration),
    /// The rest of a chunk, at the minimum rate.
    #[error("a chunk came slower than {0} bytes per second")]
    TooSlow(u32),
}

/// Why a response ended other than in order. Items that came before stay good.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The bytes break the framing.
    #[error("broken framing: {0}")]
    Framing(FramingError),
    /// A chunk is no item of this method.
    #[error("broken item: {0}")]
    Decode(#[from] DecodeError),
    /// More chunks than were asked for.
    #[error("more than the {0} chunks asked for")]
    TooManyChunks(usize),
    /// No progress.
    #[error("{0}")]
    Timeout(#[from] Stall),
    /// The stream or connection broke.
    #[error("stream broken: {0}")]
    Reset(#[source] io::Error),
    /// The stream ended within a chunk.
    #[error("stream ended within a chunk: {0}")]
    Truncated(FramingError),
    /// The peer answered with an error.
    #[error("the peer answered {code}: {message}")]
    Refused {
        /// What sort of error.
        code: ErrorCode,
        /// What the peer says about it, not to be trusted.
        message: String,
    },
}

impl From<FramingError> for ExchangeError {
    fn from(error: FramingError) -> Self {
        match error.kind() {
            ErrorKind::Truncated => Self::Truncated(error),
            ErrorKind::Oversized | ErrorKind::Malformed => Self::Framing(error),
        }
    }
}

impl ExchangeError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Framing(error) => match error.kind() {
                ErrorKind::Truncated => Fault::Unclear(Offence::Truncated),
                ErrorKind::Oversized => Fault::Peer(Offence::Oversized),
                ErrorKind::Malformed => Fault::Peer(Offence::Malformed),
            },
            Self::Decode(_) => Fault::Peer(Offence::Malformed),
            Self::TooManyChunks(_) => Fault::Peer(Offence::TooManyChunks),
            Self::Timeout(_) => Fault::Unclear(Offence::Timeout),
            Self::Reset(_) => Fault::Unclear(Offence::Reset),
            Self::Truncated(_) => Fault::Unclear(Offence::Truncated),
            Self::Refused { code, .. } => match code {
                ErrorCode::RateLimited => Fault::Busy,
                ErrorCode::InvalidRequest
                | ErrorCode::ServerError
                | ErrorCode::ResourceUnavailable
                | ErrorCode::Unknown(_) => Fault::Unavailable,
            },
        }
    }
}

/// Why the network cannot start. Nothing was sent or accepted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A limit makes no sense.
    #[error("network limits: {0}")]
    Limits(#[from] LimitsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address as configured.
        address: Multiaddr,
        /// Why.
        source: io::Error,
    },
    /// mDNS cannot be used on this machine.
    #[error("mDNS: {0}")]
    Mdns(#[source] io::Error),
    /// A configured peer's address cannot be dialed.
    #[error("cannot dial {address}: {reason}")]
    PeerAddress {
        /// The address as configured.
        address: Multiaddr,
        /// Why.
        reason: &'static str,
    },
    /// The key does not work for the transport's encryption.
    #[error("the node key cannot be used for noise: {0}")]
    Noise(#[from] libp2p::noise::Error),
    /// The key does not work for QUIC's encryption.
    #[error("the node key cannot be used for QUIC: {0}")]
    Quic(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system's DNS configuration cannot be read.
    #[error("DNS configuration: {0}")]
    Dns(#[source] io::Error),
    /// The gossip protocol does not accept its settings.
    #[error("gossip settings: {0}")]
    Gossip(&'static str),
}

impl StartError {
    pub(crate) fn quic(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Quic(Box::new(error))
    }
}

/// Why a running service ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A task of the service panicked. The message is in the log where it happened.
    #[error("the {0} task panicked")]
    Panicked(&'static str),
}

/// Why a peer could not be reached at an address.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The attempt failed.
    #[error("cannot reach {address}: {source}")]
    Failed {
        /// The address.
        address: Multiaddr,
        /// Why.
        source: libp2p::swarm::DialError,
    },
    /// As many attempts as are allowed are under way.
    #[error("too many dials at a time")]
    Busy,
    /// The service has stopped.
    #[error("the network service has stopped")]
    Stopped,
}

/// Why a peer was not banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// Trusted peers are not banned; the configuration has to change first.
    #[error("{0} is a trusted peer of the configuration")]
    Trusted(PeerId),
    /// Configured peers are not banned: they would be dialed all the same.
    #[error("{0} is a configured peer, which the node stays connected with")]
    Configured(PeerId),
    /// This node itself.
    #[error("{0} is this node")]
    Own(PeerId),
    /// The service has stopped.
    #[error("the network service has stopped")]
    Stopped,
}

/// Why a decided value was not announced.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// Gossip refused it.
    #[error("announcement refused: {0}")]
    Gossip(#[from] libp2p::gossipsub::PublishError),
    /// The service has stopped.
    #[error("the network service has stopped")]
    Stopped,
}

/// The service has stopped; nobody is there to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network service has stopped")]
pub struct Stopped;

#[cfg(test)]
mod tests;
