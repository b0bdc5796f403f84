//! Why a run ends early.

use lapis_protocol_spec::{Address, CertificateFault, Height};

use crate::devnet::proposal::ProposeError;

/// Why a run ends before its last height.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// A port's key is none of the chain's, or has another port already.
    #[error("{0} is not a validator of this chain or is connected twice")]
    Port(Address),
    /// Two thirds of the power or less are there, so no round can succeed.
    #[error("height {height}: {online} of {total} voting power is online, more than two thirds are needed")]
    NoQuorum {
        /// The height.
        height: Height,
        /// Power online.
        online: u64,
        /// Power of the set that signs the height.
        total: u64,
    },
    /// Too many rounds failed, though enough validators were there.
    #[error("height {height}: no decision after {rounds} rounds")]
    NoDecision {
        /// The height.
        height: Height,
        /// Rounds tried.
        rounds: u64,
    },
    /// A value was decided and no node stored the decision.
    #[error("height {height}: no node stored the decision")]
    NotStored {
        /// The height.
        height: Height,
    },
    /// A proposal cannot be built.
    #[error("height {height}: {source}")]
    Propose {
        /// The height.
        height: Height,
        /// What is wrong.
        source: ProposeError,
    },
    /// The certificate does not decide the value: this program contradicts itself.
    #[error("height {height}: {source}")]
    Certificate {
        /// The height.
        height: Height,
        /// What is wrong.
        source: CertificateFault,
    },
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Stopping,
}
