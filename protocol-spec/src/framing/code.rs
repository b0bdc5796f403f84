//! The result byte of a response chunk.

use std::fmt;

/// The result byte of a chunk that carries an item.
pub(super) const SUCCESS: u8 = 0;

const INVALID_REQUEST: u8 = 1;
const SERVER_ERROR: u8 = 2;
const RESOURCE_UNAVAILABLE: u8 = 3;
const RATE_LIMITED: u8 = 139;

/// Why a responder did not (or not fully) answer: a result byte that is not zero.
///
/// 1 to 3 and 139 have the meaning that Ethereum's consensus clients give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 1: the request is malformed or breaks a rule of its method.
    InvalidRequest,
    /// 2: the responder failed; the request may be fine.
    ServerError,
    /// 3: the responder does not hold what was asked for.
    ResourceUnavailable,
    /// 139: too many streams at once.
    RateLimited,
    /// Any other result byte: an error of which nothing more is known.
    Unknown(UnknownCode),
}

/// A result byte without a meaning in this version: neither success nor any named code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnknownCode(u8);

impl UnknownCode {
    /// The byte as it was on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.0
    }
}

impl ErrorCode {
    /// The meaning of a result byte; `None` for success.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            SUCCESS => None,
            INVALID_REQUEST => Some(Self::InvalidRequest),
            SERVER_ERROR => Some(Self::ServerError),
            RESOURCE_UNAVAILABLE => Some(Self::ResourceUnavailable),
            RATE_LIMITED => Some(Self::RateLimited),
            other => Some(Self::Unknown(UnknownCode(other))),
        }
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::InvalidRequest => INVALID_REQUEST,
            Self::ServerError => SERVER_ERROR,
            Self::ResourceUnavailable => RESOURCE_UNAVAILABLE,
            Self::RateLimited => RATE_LIMITED,
            Self::Unknown(code) => code.byte(),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest => f.write_str("invalid request"),
            Self::ServerError => f.write_str("server error"),
            Self::ResourceUnavailable => f.write_str("resource unavailable"),
            Self::RateLimited => f.write_str("rate limited"),
            Self::Unknown(code) => write!(f, "unknown error {}", code.byte()),
        }
    }
}
