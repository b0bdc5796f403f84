//! What can go wrong in a call of the Engine API, and whose business it is.
//!
//! Nothing here is about a peer or about the chain: an answer that a block is invalid is an answer, not an error.

use std::{fmt, time::Duration};

use crate::execution::{Trouble, Unavailability};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineApiError {
    /// No connection: the client is not running, or listens elsewhere.
    #[error("the execution client cannot be reached: {0}")]
    Unreachable(#[source] reqwest::Error),
    /// The connection broke before the answer was there, twice.
    #[error("the execution client closed the connection: {0}")]
    Closed(#[source] reqwest::Error),
    /// The client is too slow.
    #[error("the execution client did not answer {method} within {limit:?}")]
    TimedOut {
        /// The method.
        method: &'static str,
        /// Its limit.
        limit: Duration,
    },
    /// The secrets differ, or the clocks do by more than a minute.
    #[error(
        "the execution client does not accept the JWT: compare engine.jwt_secret with the client's file, and the clocks ({0})"
    )]
    Unauthorized(String),
    /// The client failed below JSON-RPC.
    #[error("the execution client answered with HTTP status {status}: {text}")]
    Http {
        /// The status.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// More than any right answer takes. What follows was not read.
    #[error("the execution client's answer to {method} is longer than {limit} bytes")]
    TooLong {
        /// The method.
        method: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Not JSON-RPC, or another answer than the method has.
    #[error("the execution client's answer to {method} makes no sense: {reason}")]
    Incomprehensible {
        /// The method.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The client refuses the call.
    #[error("the execution client refuses {method}: {error}")]
    Rpc {
        /// The method.
        method: &'static str,
        /// Its words.
        error: RpcError,
    },
    /// The client does not have a method without which import is not possible.
    #[error("the execution client does not have {0}, which this chain needs")]
    LacksMethod(&'static str),
    /// The call could not be made. Our own fault.
    #[error("{method} cannot be called: {source}")]
    Request {
        /// The method.
        method: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This node is shutting down.
    #[error("the node is shutting down")]
    Stopping,
}

impl EngineApiError {
    /// What sort of failure it is.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Unreachable(_) | Self::Closed(_) => Trouble::Unreachable,
            Self::TimedOut { .. } => Trouble::TimedOut,
            Self::Unauthorized(_) => Trouble::Unauthorized,
            Self::Http { .. } => Trouble::Failing,
            Self::TooLong { .. } | Self::Incomprehensible { .. } => Trouble::Incomprehensible,
            Self::Rpc { error, .. } => error.code.trouble(),
            Self::LacksMethod(_) => Trouble::Refusing,
            Self::Request { .. } | Self::Stopping => Trouble::Stopping,
        }
    }

    /// Whether the client says that it does not know the method.
    #[must_use]
    pub fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Rpc { error: RpcError { code: RpcCode::MethodNotFound, .. }, .. })
    }

    /// Name of the outcome in metrics.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Closed(_) => "closed",
            Self::TimedOut { .. } => "timed_out",
            Self::Unauthorized(_) => "unauthorized",
            Self::Http { .. } => "http_error",
            Self::TooLong { .. } => "too_long",
            Self::Incomprehensible { .. } => "incomprehensible",
            Self::Rpc { .. } => "rpc_error",
            Self::LacksMethod(_) => "lacks_method",
            Self::Request { .. } | Self::Stopping => "not_called",
        }
    }
}

impl From<EngineApiError> for Unavailability {
    fn from(error: EngineApiError) -> Self {
        Self::Client { trouble: error.trouble(), source: Box::new(error) }
    }
}

/// An error object of JSON-RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// What it is.
    pub code: RpcCode,
    /// For people; cut.
    pub message: String,
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.code.number(), self.message)
    }
}

/// Codes of JSON-RPC and of the Engine API
/// (<https://github.com/ethereum/execution-apis/blob/main/src/engine/common.md#errors>).
///
/// Clients differ: a version of a method that is not for the payload's fork is `InvalidParams` in some and
/// `UnsupportedFork` in others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RpcCode {
    /// -32700.
    Parse,
    /// -32600.
    InvalidRequest,
    /// -32601.
    MethodNotFound,
    /// -32602.
    InvalidParams,
    /// -32603, and -32000, which is the client's own failure as well.
    Internal(i64),
    /// -38001.
    UnknownPayload,
    /// -38002.
    InvalidForkchoice,
    /// -38003.
    InvalidAttributes,
    /// -38004.
    TooLarge,
    /// -38005.
    UnsupportedFork,
    /// -38006.
    TooDeepReorg,
    /// Any other.
    Other(i64),
}

impl From<i64> for RpcCode {
    fn from(code: i64) -> Self {
        match code {
            -32700 => Self::Parse,
            -32600 => Self::InvalidRequest,
            -32601 => Self::MethodNotFound,
            -32602 => Self::InvalidParams,
            -32603 | -32000 => Self::Internal(code),
            -38001 => Self::UnknownPayload,
            -38002 => Self::InvalidForkchoice,
            -38003 => Self::InvalidAttributes,
            -38004 => Self::TooLarge,
            -38005 => Self::UnsupportedFork,
            -38006 => Self::TooDeepReorg,
            other => Self::Other(other),
        }
    }
}

impl RpcCode {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::UnknownPayload => -38001,
            Self::InvalidForkchoice => -38002,
            Self::InvalidAttributes => -38003,
            Self::TooLarge => -38004,
            Self::UnsupportedFork => -38005,
            Self::TooDeepReorg => -38006,
            Self::Internal(code) | Self::Other(code) => code,
        }
    }

    fn trouble(self) -> Trouble {
        match self {
            Self::Internal(_) | Self::Other(_) => Trouble::Failing,
            Self::Parse
            | Self::InvalidRequest
            | Self::MethodNotFound
            | Self::InvalidParams
            | Self::UnknownPayload
            | Self::InvalidForkchoice
            | Self::InvalidAttributes
            | Self::TooLarge
            | Self::UnsupportedFork
            | Self::TooDeepReorg => Trouble::Refusing,
        }
    }
}

impl fmt::Display for RpcCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parse => "parse error",
            Self::InvalidRequest => "invalid request",
            Self::MethodNotFound => "unknown method",
            Self::InvalidParams => "invalid parameters",
            Self::Internal(_) => "internal error",
            Self::UnknownPayload => "unknown payload",
            Self::InvalidForkchoice => "invalid forkchoice state",
            Self::InvalidAttributes => "invalid payload attributes",
            Self::TooLarge => "too large request",
            Self::UnsupportedFork => "unsupported fork",
            Self::TooDeepReorg => "too deep reorg",
            Self::Other(_) => "error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_as_it_is_written() {
        for number in (-32_700..=-32_000).chain(-38_010..=-38_000).chain([0, 1, i64::MIN, i64::MAX]) {
            assert_eq!(RpcCode::from(number).number(), number);
        }
        for number in -38_006..=-38_001 {
            assert!(!matches!(RpcCode::from(number), RpcCode::Other(_)), "{number}");
        }
    }

    #[test]
    fn both_families_of_a_wrong_version_are_a_refusal_and_a_failure_is_not() {
        assert_eq!(RpcCode::from(-32_602).trouble(), Trouble::Refusing);
        assert_eq!(RpcCode::from(-38_005).trouble(), Trouble::Refusing);
        assert_eq!(RpcCode::from(-32_000).trouble(), Trouble::Failing);
    }
}
