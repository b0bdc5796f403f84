//! Why an exchange ended before its response did, and whose fault that is.

use lapis_p2p::{ExchangeError, Fault, Offence, RequestError};
use lapis_protocol_spec::{Bytes32, PayloadFault, framing::ErrorCode, gates::MatchFault};

use crate::sync::{archive::ArchiveFault, pipeline::PipelineClosed, pool::PoolFault, scheduler::Outcome};

/// Why an exchange ended before its response did.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    #[error("{0}")]
    Archive(#[from] ArchiveFault),
    #[error("{0}")]
    Pool(#[from] PoolFault),
    #[error("{0}")]
    Match(#[from] MatchFault),
    #[error("{0}")]
    Payload(#[from] PayloadFault),
    #[error("not the validator set with root {0}")]
    ValidatorSet(Bytes32),
    #[error("an item of another method")]
    OtherItem,
    #[error("half a height")]
    HalfHeight,
    #[error("the pipeline has stopped")]
    Closed,
}

impl From<PipelineClosed> for FetchError {
    fn from(_: PipelineClosed) -> Self {
        Self::Closed
    }
}

impl FetchError {
    /// Whose fault it is. Of an archive and the pool it is said in the same words as of a peer; what it costs is another
    /// matter.
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Request(error) => error.fault(),
            Self::Exchange(error) => error.fault(),
            Self::Archive(ArchiveFault::Damaged(_)) => Fault::Peer(Offence::InvalidData),
            Self::Archive(ArchiveFault::Unavailable(_)) => Fault::Unavailable,
            Self::Archive(ArchiveFault::Passing(_)) => Fault::Unclear(Offence::Timeout),
            Self::Pool(PoolFault::Unsupported(_)) => Fault::Unavailable,
            Self::Pool(PoolFault::Failing(_)) => Fault::Unclear(Offence::Timeout),
            Self::Match(_) => Fault::Peer(Offence::Unrequested),
            Self::Payload(_) => Fault::Peer(Offence::InvalidData),
            Self::ValidatorSet(_) | Self::OtherItem => Fault::Peer(Offence::Malformed),
            Self::HalfHeight => Fault::Unclear(Offence::Truncated),
            Self::Closed => Fault::Local,
        }
    }

    /// What it means for the schedule.
    pub(super) fn outcome(&self) -> Outcome {
        match self.fault() {
            Fault::Peer(_) => Outcome::Faulty,
            Fault::Unclear(_) => Outcome::Broken,
            // Says nothing of what the peer holds: it may serve the same a moment later.
            Fault::Unavailable if self.is_passing() => Outcome::Broken,
            Fault::Unavailable if self.is_unsupported() => Outcome::Unsupported,
            Fault::Unavailable => Outcome::Unavailable,
            Fault::Busy => Outcome::RateLimited,
            Fault::Local => Outcome::Local,
        }
    }

    fn is_unsupported(&self) -> bool {
        matches!(self, Self::Request(RequestError::Unsupported { .. }) | Self::Pool(PoolFault::Unsupported(_)))
    }

    /// Whether the peer could not answer, rather than that it does not have what was asked for.
    fn is_passing(&self) -> bool {
        match self {
            Self::Request(error) => matches!(error, RequestError::NotConnected(_)),
            Self::Exchange(ExchangeError::Refused { code, .. }) => *code != ErrorCode::ResourceUnavailable,
            _ => false,
        }
    }
}
