//! Bounds on connections, exchanges and rates: configuration and its checks. Acting on them is elsewhere.

mod error;
mod quota;

use std::{num::NonZeroU32, time::Duration};

use lapis_protocol_spec::{BlobSidecar, MAX_CONCURRENT_REQUESTS, Method};

pub use error::LimitsError;
pub use quota::Quota;

/// Bytes in the unit that byte quotas are counted in: `governor`'s cells are 32 bits wide.
pub const KIB: u32 = 1024;

/// KiB of the largest fixed-size item, a blob sidecar, rounded up: no byte quota may be smaller.
pub const LARGEST_FIXED_ITEM_KIB: u32 = small(BlobSidecar::BYTES.div_ceil(KIB as usize));

/// Everything that bounds what peers can make this node do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// How many exchanges there may be.
    pub exchanges: ExchangeLimits,
    /// How fast requests are taken and bytes are moved.
    pub rates: RateLimits,
    /// Received announcements that wait for the node; the oldest is dropped for the next.
    pub queued_announcements: QueueLength,
    /// Peers that are remembered while they are not connected: scores, last faults, bans.
    pub remembered_peers: RememberedPeers,
}

/// Length of a queue, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLength(pub NonZeroU32);

impl Default for QueueLength {
    fn default() -> Self {
        Self(nonzero(50))
    }
}

/// Number of peers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedPeers(pub NonZeroU32);

impl Default for RememberedPeers {
    fn default() -> Self {
        Self(nonzero(4096))
    }
}

/// Numbers of connections, held by libp2p's own behaviours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Established ones in both directions.
    pub total: u32,
    /// Established ones that others opened.
    pub inbound: u32,
    /// Established ones that this node opened.
    pub outbound: u32,
    /// Established ones of the same peer.
    pub per_peer: u32,
    /// Those that others opened from the same IP address, or from the same /64 of IPv6, handshakes under way included.
    pub per_ip: u32,
    /// Whether connections within this machine count as those of one address.
    pub loopback: Loopback,
    /// Handshakes of others that are under way; of one address a 32nd part, at least 2.
    pub pending_inbound: u32,
    /// Dials that are under way.
    pub pending_outbound: u32,
    /// No new connection while the process uses more of the machine's memory than this, in percent.
    pub memory_percent: u8,
    /// Streams that a connection may have open. What a peer opens beyond is reset; this node waits.
    pub streams: u32,
    /// Received bytes that a connection may hold for streams that are not read, beyond the 256 KiB of each stream.
    pub receive_window: u32,
    /// The same for all connections over TCP together. Windows stay at 256 KiB while it is used up.
    pub receive_windows: u32,
}

/// How connections from a loopback address are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// Not by address: many nodes of one machine may connect to one of them.
    Exempt,
    /// Like those of any address.
    Counted,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 128,
            inbound: 96,
            outbound: 64,
            per_peer: 4,
            per_ip: 16,
            loopback: Loopback::Exempt,
            pending_inbound: 128,
            pending_outbound: 16,
            memory_percent: 90,
            streams: 64,
            receive_window: 16 * 1024 * 1024,
            receive_windows: 64 * 1024 * 1024,
        }
    }
}

/// Numbers of exchanges that are served. A share of them is kept for requests near the head: see [`NearHead`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeLimits {
    /// Served at a time to all peers together. Each holds at most one item in memory.
    pub inbound: u32,
    /// Served at a time to one peer on one protocol; the protocol allows `MAX_CONCURRENT_REQUESTS`.
    pub inbound_per_protocol: u32,
}

impl Default for ExchangeLimits {
    fn default() -> Self {
        Self { inbound: 256, inbound_per_protocol: small(MAX_CONCURRENT_REQUESTS) }
    }
}

/// Token buckets. A request or chunk over its quota waits and is not refused; announcements have nobody to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests of one peer.
    pub requests_per_peer: Quota,
    /// Requests of all peers.
    pub requests: Quota,
    /// New announcements that one peer passes on. What is over this is ignored, and costs the peer.
    pub announcements_per_peer: Quota,
    /// KiB sent to one peer in answers.
    pub egress_kib_per_peer: Quota,
    /// KiB sent to all peers in answers.
    pub egress_kib: Quota,
    /// Our requests to one peer: what it is known to take without delay, so that its own limits are not reached.
    pub own_requests_per_peer: Quota,
    /// Our requests to all peers.
    pub own_requests: Quota,
    /// KiB taken from one peer in answers to our requests; reading pauses while it is used up.
    pub ingress_kib_per_peer: Quota,
    /// KiB taken from all peers in answers to our requests.
    pub ingress_kib: Quota,
    /// What is kept for those who follow the chain.
    pub near_head: NearHead,
}

/// The share of everything that is kept for requests near the head, so that peers that catch up cannot starve those that
/// follow the chain. Nothing is lost by it: who catches up has all that others leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearHead {
    /// How many of the newest decided heights are near the head.
    pub heights: u64,
    /// Their share of the quotas of all peers together, and of the exchanges that are served at a time, in percent.
    pub share_percent: u8,
}

impl Default for NearHead {
    fn default() -> Self {
        Self { heights: 64, share_percent: 25 }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        let mib = 1024;
        Self {
            requests_per_peer: quota(64, 128),
            requests: quota(1024, 2048),
            announcements_per_peer: quota(32, 256),
            egress_kib_per_peer: quota(512 * mib, 512 * mib),
            egress_kib: quota(2048 * mib, 2048 * mib),
            own_requests_per_peer: quota(64, 64),
            own_requests: quota(1024, 1024),
            ingress_kib_per_peer: quota(2048 * mib, 2048 * mib),
            ingress_kib: quota(2048 * mib, 2048 * mib),
            near_head: NearHead::default(),
        }
    }
}

/// Time limits. Those of an exchange look at its progress, never at its whole length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Connecting: transport, encryption, multiplexing.
    pub connect: Duration,
    /// From a connection to statuses exchanged both ways.
    pub handshake: Duration,
    /// Waiting for one of our own permits for a peer and protocol.
    pub permit: Duration,
    /// How long an exchange beyond a peer's share waits for one of its others to end before it is refused: an exchange
    /// that a client has given up is noticed a moment later.
    pub overlap: Duration,
    /// Opening a stream and writing, or reading, a request.
    pub request: Duration,
    /// From a request to the first byte of the first chunk.
    pub first_byte: Duration,
    /// Without any byte: between two chunks, and within one. A responder over its quota withholds chunks, so this is
    /// to be generous.
    pub idle: Duration,
    /// What a chunk may take beyond its size over `minimum_rate`.
    pub grace: Duration,
    /// Bytes per second below which a reader or a writer of a chunk is cut off.
    pub minimum_rate: NonZeroU32,
    /// Saying goodbye.
    pub goodbye: Duration,
    /// Exchanges that are under way when the node stops.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            permit: Duration::from_secs(30),
            overlap: Duration::from_secs(2),
            request: Duration::from_secs(10),
            first_byte: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            minimum_rate: nonzero(16 * 1024),
            goodbye: Duration::from_secs(2),
            drain: Duration::from_secs(5),
        }
    }
}

/// Streams that a conforming connection has at most: exchanges of all methods both ways, and a dozen for libp2p's own
/// protocols. With less, requests would be reset.
const CONFORMING_STREAMS: u32 = 2 * small(MAX_CONCURRENT_REQUESTS * Method::ALL.len()) + 12;

impl Limits {
    /// Checks that the limits leave room for at least one legal use of everything.
    ///
    /// # Errors
    /// The first [`LimitsError`] found.
    pub fn check(&self) -> Result<(), LimitsError> {
        self.connections.check()?;
        self.exchanges.check()?;
        self.rates.check()
    }
}

impl ConnectionLimits {
    fn check(&self) -> Result<(), LimitsError> {
        for (name, value) in [
            ("connections.total", self.total),
            ("connections.per_peer", self.per_peer),
            ("connections.per_ip", self.per_ip),
            ("connections.pending_inbound", self.pending_inbound),
            ("connections.pending_outbound", self.pending_outbound),
        ] {
            at_least_one(name, value)?;
        }
        let total = ("connections.total", self.total);
        let windows = ("connections.receive_windows", self.receive_windows);
        for (name, part, (whole_name, whole)) in [
            ("connections.inbound", self.inbound, total),
            ("connections.outbound", self.outbound, total),
            ("connections.receive_window", self.receive_window, windows),
        ] {
            if part > whole {
                return Err(LimitsError::PartAboveWhole { name, part, whole_name, whole });
            }
        }
        if self.streams < CONFORMING_STREAMS {
            return Err(LimitsError::TooFewStreams { value: self.streams, minimum: CONFORMING_STREAMS });
        }
        let (name, value) = ("connections.memory_percent", self.memory_percent);
        if (1..=100).contains(&value) { Ok(()) } else { Err(LimitsError::Percent { name, value }) }
    }
}

impl ExchangeLimits {
    fn check(&self) -> Result<(), LimitsError> {
        at_least_one("exchanges.inbound", self.inbound)?;
        at_least_one("exchanges.inbound_per_protocol", self.inbound_per_protocol)?;
        if self.inbound_per_protocol > self.inbound {
            return Err(LimitsError::PartAboveWhole {
                name: "exchanges.inbound_per_protocol",
                part: self.inbound_per_protocol,
                whole_name: "exchanges.inbound",
                whole: self.inbound,
            });
        }
        Ok(())
    }
}

impl RateLimits {
    /// Requests and bytes at rates that no machine reaches, for measuring what else there is. Announcements stay limited.
    #[must_use]
    pub fn ample() -> Self {
        let cells = NonZeroU32::MAX;
        let ample = Quota { per_second: cells, burst: cells };
        Self {
            requests_per_peer: ample,
            requests: ample,
            egress_kib_per_peer: ample,
            egress_kib: ample,
            own_requests_per_peer: ample,
            own_requests: ample,
            ingress_kib_per_peer: ample,
            ingress_kib: ample,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), LimitsError> {
        for (name, quota) in [
            ("rates.egress_kib_per_peer", self.egress_kib_per_peer),
            ("rates.egress_kib", self.egress_kib),
            ("rates.ingress_kib_per_peer", self.ingress_kib_per_peer),
            ("rates.ingress_kib", self.ingress_kib),
        ] {
            let burst = quota.burst.get();
            if burst < LARGEST_FIXED_ITEM_KIB {
                return Err(LimitsError::QuotaBelowItem { name, burst });
            }
        }
        let (name, value) = ("rates.near_head.share_percent", self.near_head.share_percent);
        if (1..=99).contains(&value) { Ok(()) } else { Err(LimitsError::Share { name, value }) }
    }
}

impl Timeouts {
    /// Checks that nothing is given no time at all.
    ///
    /// # Errors
    /// [`LimitsError::NoTime`].
    pub fn check(&self) -> Result<(), LimitsError> {
        for (name, value) in [
            ("timeouts.connect", self.connect),
            ("timeouts.handshake", self.handshake),
            ("timeouts.permit", self.permit),
            ("timeouts.overlap", self.overlap),
            ("timeouts.request", self.request),
            ("timeouts.first_byte", self.first_byte),
            ("timeouts.idle", self.idle),
            ("timeouts.grace", self.grace),
            ("timeouts.goodbye", self.goodbye),
            ("timeouts.drain", self.drain),
        ] {
            check_time(name, value)?;
        }
        Ok(())
    }
}

/// Longest time that may be configured: a year. Clocks must be able to add it.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Checks a configured duration.
pub(crate) fn check_time(name: &'static str, value: Duration) -> Result<(), LimitsError> {
    if value.is_zero() {
        Err(LimitsError::NoTime { name })
    } else if value > LONGEST {
        Err(LimitsError::TooMuchTime { name })
    } else {
        Ok(())
    }
}

const fn at_least_one(name: &'static str, value: u32) -> Result<(), LimitsError> {
    if value == 0 { Err(LimitsError::Zero { name }) } else { Ok(()) }
}

/// `value`, or 1 in place of 0; for constants.
const fn nonzero(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}

/// A number of the protocol in 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "used for small constants only")]
const fn small(value: usize) -> u32 {
    value as u32
}

const fn quota(per_second: u32, burst: u32) -> Quota {
    Quota { per_second: nonzero(per_second), burst: nonzero(burst) }
}

#[cfg(test)]
mod tests;
