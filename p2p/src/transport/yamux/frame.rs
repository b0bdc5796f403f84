//! The headers of frames, and what a peer can do wrong. Pure.
//!
//! A frame is a header of 12 bytes, big endian: version (1 byte), type (1), flags (2), stream (4), length (4). In a data
//! frame as many bytes as the length says follow; in others the length is a number that goes with the type.

/// Bytes of a header.
pub(super) const HEADER: usize = 12;

const VERSION: u8 = 0;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of a stream.
    Data,
    /// More bytes of a stream may be sent; how many is in the length.
    WindowUpdate,
    /// A sign of life; the length is any number, which comes back.
    Ping,
    /// No further streams are taken; the length says why.
    GoAway,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::WindowUpdate => 1,
            Self::Ping => 2,
            Self::GoAway => 3,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Data),
            1 => Some(Self::WindowUpdate),
            2 => Some(Self::Ping),
            3 => Some(Self::GoAway),
            _ => None,
        }
    }
}

/// Flags of a frame. Bits that the specification does not name are kept and mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(pub(super) u16);

impl Flags {
    pub(super) const NONE: Self = Self(0);
    /// Opens a stream; in a ping, asks for an answer.
    pub(super) const SYN: Self = Self(1);
    /// Takes a stream; in a ping, is the answer.
    pub(super) const ACK: Self = Self(2);
    /// Ends one direction of a stream.
    pub(super) const FIN: Self = Self(4);
    /// Breaks a stream off, both ways.
    pub(super) const RST: Self = Self(8);

    pub(super) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Why a side takes no further streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    Normal,
    ProtocolError,
}

impl Farewell {
    pub(super) const fn code(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::ProtocolError => 1,
        }
    }
}

/// What stands before each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: Flags,
    pub(super) stream: u32,
    pub(super) length: u32,
}

impl Header {
    pub(super) const fn data(stream: u32, flags: Flags, length: u32) -> Self {
        Self { kind: Kind::Data, flags, stream, length }
    }

    /// A data frame without data that breaks `stream` off.
    pub(super) const fn reset(stream: u32) -> Self {
        Self::data(stream, Flags::RST, 0)
    }

    pub(super) const fn window_update(stream: u32, flags: Flags, bytes: u32) -> Self {
        Self { kind: Kind::WindowUpdate, flags, stream, length: bytes }
    }

    /// The answer to a ping.
    pub(super) const fn pong(number: u32) -> Self {
        Self { kind: Kind::Ping, flags: Flags::ACK, stream: 0, length: number }
    }

    pub(super) const fn go_away(farewell: Farewell) -> Self {
        Self { kind: Kind::GoAway, flags: Flags::NONE, stream: 0, length: farewell.code() }
    }

    pub(super) const fn encode(self) -> [u8; HEADER] {
        let [f0, f1] = self.flags.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [VERSION, self.kind.code(), f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// # Errors
    /// [`Violation::Version`] and [`Violation::Kind`].
    pub(super) fn decode(bytes: [u8; HEADER]) -> Result<Self, Violation> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        if version != VERSION {
            return Err(Violation::Version(version));
        }
        Ok(Self {
            kind: Kind::from_code(kind).ok_or(Violation::Kind(kind))?,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

/// What a peer has done against the protocol. It ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("a frame of version {0}")]
    Version(u8),
    #[error("a frame of unknown type {0}")]
    Kind(u8),
    #[error("a frame of stream 0 that must be of another")]
    NoStream,
    #[error("stream {0} opened by the side that may not")]
    WrongSide(u32),
    #[error("stream {0} opened twice")]
    OpenedTwice(u32),
    #[error("a frame of stream {0}, which was not opened")]
    NotOpened(u32),
    #[error("{bytes} bytes on stream {stream}, more than its window")]
    BeyondWindow { stream: u32, bytes: u32 },
    #[error("bytes behind the end of stream {0}")]
    BehindEnd(u32),
    #[error("a window of stream {0} of more than 4 GiB")]
    WindowOverflow(u32),
    #[error("streams beyond the limit are opened faster than they can be reset")]
    Refusals,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes: [u8; HEADER], kind in 0_u8..6, version in 0_u8..3) {
            let mut bytes = bytes;
            (bytes[0], bytes[1]) = (version, kind);
            match Header::decode(bytes) {
                Ok(header) => {
                    prop_assert!(version == 0 && kind < 4);
                    prop_assert_eq!(header.encode(), bytes);
                }
                Err(Violation::Version(found)) => prop_assert!(found == version && version != 0),
                Err(Violation::Kind(found)) => prop_assert!(found == kind && kind > 3 && version == 0),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    /// Bytes as the specification has them.
    #[test]
    fn headers_are_those_of_the_specification() {
        assert_eq!(Header::data(1, Flags::SYN, 7).encode(), [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7]);
        assert_eq!(Header::data(0x0102_0304, Flags::FIN, 0).encode(), [0, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0]);
        assert_eq!(Header::reset(3).encode(), [0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 0]);
        assert_eq!(Header::window_update(2, Flags::ACK, 0x4_0000).encode(), [0, 1, 0, 2, 0, 0, 0, 2, 0, 4, 0, 0]);
        assert_eq!(Header::pong(9).encode(), [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(Header::go_away(Farewell::Normal).encode(), [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Header::go_away(Farewell::ProtocolError).encode(), [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
