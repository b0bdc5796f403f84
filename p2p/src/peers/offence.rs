//! The one list of what peers can do wrong, and the one place that prices it.

/// Something that a peer did, or that happened with it. "Does not have it" is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Offence {
    /// A proof, commitment, digest, certificate or signature that does not hold: cannot be an accident.
    InvalidData,
    /// An announcement whose certificate does not hold, or that is no decided value at all.
    InvalidAnnouncement,
    /// An item that was not asked for, came twice or out of order.
    Unrequested,
    /// Bytes that no correct writer produces.
    Malformed,
    /// An item larger than its type allows.
    Oversized,
    /// More items than were asked for.
    TooManyChunks,
    /// A request that breaks the rules of its method.
    InvalidRequest,
    /// More exchanges of a protocol at a time than allowed, or more questions to Kademlia than anybody has. Once is a
    /// race, again and again is not.
    TooManyStreams,
    /// More announcements than there can be heights, however old or new they are.
    TooManyAnnouncements,
    /// Read an answer slower than the minimum rate.
    SlowReader,
    /// No status within the time for it.
    NoHandshake,
    /// No progress for too long.
    Timeout,
    /// A stream or connection that broke.
    Reset,
    /// A stream that ended within a chunk.
    Truncated,
}

impl Offence {
    /// Every offence, for metrics and tests.
    pub const ALL: [Self; 14] = [
        Self::InvalidData,
        Self::InvalidAnnouncement,
        Self::Unrequested,
        Self::Malformed,
        Self::Oversized,
        Self::TooManyChunks,
        Self::InvalidRequest,
        Self::TooManyStreams,
        Self::TooManyAnnouncements,
        Self::SlowReader,
        Self::NoHandshake,
        Self::Timeout,
        Self::Reset,
        Self::Truncated,
    ];

    /// Points that it takes from a score, which starts at 0.
    ///
    /// With the default [`super::ScoreRules`]: 100 is a ban at once, 60 a disconnection at once and a ban at the second
    /// time within five minutes, 20 and 10 allow for a few within the half-life, 2 only count when they are the rule.
    #[must_use]
    pub const fn price(self) -> f64 {
        match self {
            Self::InvalidData => 100.0,
            Self::InvalidAnnouncement | Self::Unrequested | Self::Malformed => 60.0,
            Self::Oversized | Self::TooManyChunks => 20.0,
            Self::InvalidRequest => 10.0,
            Self::TooManyStreams | Self::TooManyAnnouncements | Self::SlowReader | Self::NoHandshake => 5.0,
            Self::Timeout | Self::Reset | Self::Truncated => 2.0,
        }
    }

    /// Whether it may as well be the doing of the network between, or of this node when it hangs up.
    #[must_use]
    pub const fn is_unclear(self) -> bool {
        matches!(self, Self::Timeout | Self::Reset | Self::Truncated)
    }

    /// Whether it is a matter of speed alone. Slow is not malicious: it may cost the connection, but never bans.
    #[must_use]
    pub const fn is_delay(self) -> bool {
        matches!(self, Self::Timeout | Self::SlowReader | Self::NoHandshake)
    }

    /// Name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidData => "invalid_data",
            Self::InvalidAnnouncement => "invalid_announcement",
            Self::Unrequested => "unrequested",
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::TooManyChunks => "too_many_chunks",
            Self::InvalidRequest => "invalid_request",
            Self::TooManyStreams => "too_many_streams",
            Self::TooManyAnnouncements => "too_many_announcements",
            Self::SlowReader => "slow_reader",
            Self::NoHandshake => "no_handshake",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
        }
    }
}
