//! Why blobs were not fetched.

use lapis_p2p::{DialError, ExchangeError, GoneReason, RequestError, StartError};
use lapis_protocol_spec::{Bytes32, CertificateFault, GoodbyeReason, Height, gates::MatchFault};
use tokio::task::JoinError;

/// Why blobs were not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Our side of the network does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The peer cannot be reached.
    #[error(transparent)]
    Dial(Box<DialError>),
    /// The peer did not say in time that it is of this chain.
    #[error("the peer does not answer")]
    Silent,
    /// The peer parted before it was known to be of the chain.
    #[error("{}", refusal(.0.as_ref()))]
    Refused(Option<GoodbyeReason>),
    /// The peer went away.
    #[error("the peer has gone: {}", reason(.0))]
    Gone(GoneReason),
    /// Our side of the network has stopped.
    #[error("interrupted")]
    Interrupted,
    /// A request cannot be sent.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A response is broken, or a refusal.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The peer sent what it was not asked for.
    #[error("the peer sent what it was not asked for: {0}")]
    Match(#[from] MatchFault),
    /// The peer sent a blob with another hash than those it was asked for.
    #[error("the peer sent a blob that it was not asked for: {0}")]
    Unrequested(Bytes32),
    /// The peer answered with an item of another kind.
    #[error("the peer answered with something else")]
    OtherItem,
    /// A response ended inside a height.
    #[error("the peer sent half a height")]
    HalfHeight,
    /// The peer does not have a height.
    #[error("the peer does not have height {height}")]
    NotHeld {
        /// The height.
        height: Height,
    },
    /// The peer does not have the set that signed.
    #[error("the peer does not have the validator set {0}")]
    NoValidatorSet(Bytes32),
    /// A certificate does not hold.
    #[error("the certificate of height {height} does not hold: {fault}")]
    Certificate {
        /// The height.
        height: Height,
        /// Why not.
        fault: CertificateFault,
    },
    /// A value does not follow the one before it.
    #[error("the value of height {height} does not follow the one before it")]
    Link {
        /// The height.
        height: Height,
    },
    /// A blob is not what its commitment says.
    #[error("the proof of blob {index} of height {height} does not hold")]
    Proof {
        /// Its height.
        height: Height,
        /// Its place there.
        index: u64,
    },
    /// More was asked for than fits into a request.
    #[error("too many at once")]
    TooMany,
    /// What was fetched cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A task panicked.
    #[error("a task failed: {0}")]
    Task(#[from] JoinError),
}

impl From<DialError> for FetchError {
    fn from(error: DialError) -> Self {
        Self::Dial(Box::new(error))
    }
}

fn refusal(reason: Option<&GoodbyeReason>) -> String {
    match reason {
        Some(GoodbyeReason::WrongNetwork) => "the peer is of another chain".to_owned(),
        Some(reason) => format!("the peer does not talk to us ({reason:?})"),
        None => {
            "the peer closed the connection before it said which chain it is of; perhaps it is another one".to_owned()
        }
    }
}

fn reason(reason: &GoneReason) -> String {
    match reason {
        GoneReason::Closed(text) => text.clone(),
        GoneReason::Goodbye(reason) => format!("it says goodbye ({reason:?})"),
        GoneReason::Disconnected(reason) => format!("this side says goodbye ({reason:?})"),
    }
}
