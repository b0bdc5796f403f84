//! The metadata stage: which ranges of decided values to ask for.
//!
//! A few ranges are in flight at a time; they are committed in order. `covered` are the heights that are in flight or
//! fetched and not yet committed, so that what to ask next is set subtraction.

use std::{collections::BTreeMap, ops::Range, time::Instant};

use lapis_protocol_spec::{Height, HeightRanges, MAX_REQUEST_HEIGHTS, Method};
use libp2p::PeerId;
use rand::Rng;

use super::{
    action::RequestId,
    peers::{Kind, PeerBook},
};

/// Ranges in flight or waiting for their turn.
const MAX_RANGES: usize = 4;
/// Bytes that one range should take, by the size of the values seen so far.
const TARGET_BYTES: u64 = 1024 * 1024;
/// Bytes of a value before any was seen.
const ASSUMED_VALUE_BYTES: u64 = 64 * 1024;

/// State of the metadata stage.
#[derive(Debug)]
pub(super) struct ValuesLane {
    decided: Height,
    covered: HeightRanges,
    flights: BTreeMap<RequestId, (PeerId, Range<Height>)>,
    /// Ranges fetched and not yet committed.
    waiting: usize,
    value_bytes: u64,
}

impl ValuesLane {
    /// Starts above `decided`.
    pub(super) fn new(decided: Height) -> Self {
        Self {
            decided,
            covered: HeightRanges::new(),
            flights: BTreeMap::new(),
            waiting: 0,
            value_bytes: ASSUMED_VALUE_BYTES,
        }
    }

    /// Highest decided height that is committed.
    pub(super) fn decided(&self) -> Height {
        self.decided
    }

    /// Bytes reserved for a range of `count` values.
    pub(super) fn expected_bytes(&self, count: u64) -> u64 {
        count.saturating_mul(self.value_bytes)
    }

    /// The next range to ask for and whom, if any.
    pub(super) fn next(&self, book: &PeerBook, now: Instant, rng: &mut impl Rng) -> Option<(PeerId, Range<Height>)> {
        if self.flights.len() + self.waiting >= MAX_RANGES {
            return None;
        }
        let start = self.covered.contiguous_from(self.decided.checked_add(1)?).checked_add(1)?;
        let method = Method::DecidedValuesByRange;
        let peer = book.choose(Kind::Values, start, method, self.value_bytes, now, rng)?;
        let claimed = book.peer(&peer)?.decided();
        let count = (TARGET_BYTES / self.value_bytes.max(1)).clamp(1, MAX_REQUEST_HEIGHTS);
        let mut end = start.saturating_add(count).min(claimed.saturating_add(1));
        if let Some(next_covered) = self.covered.iter().map(|range| range.start).find(|covered| *covered > start) {
            end = end.min(next_covered);
        }
        (start < end).then_some((peer, start..end))
    }

    /// A range was asked for.
    pub(super) fn started(&mut self, id: RequestId, peer: PeerId, heights: Range<Height>) {
        self.covered.insert(heights.clone());
        self.flights.insert(id, (peer, heights));
    }

    /// An exchange ended after `served` values of `bytes` bytes. Returns who was asked, and the range.
    pub(super) fn finished(&mut self, id: RequestId, served: u64, bytes: u64) -> Option<(PeerId, Range<Height>)> {
        let (peer, heights) = self.flights.remove(&id)?;
        let fetched = heights.start..heights.start.saturating_add(served).min(heights.end);
        self.covered.remove(fetched.end..heights.end);
        if !fetched.is_empty() {
            self.waiting += 1;
            self.value_bytes = (bytes / served.max(1)).max(1);
        }
        Some((peer, heights))
    }

    /// A value at the height after `decided` came by announcement; whether it is wanted.
    pub(super) fn offer(&mut self, height: Height) -> bool {
        let wanted = self.decided.checked_add(1) == Some(height) && !self.covered.contains(height);
        if wanted {
            self.covered.insert_one(height);
            self.waiting += 1;
        }
        wanted
    }

    /// A fetched range was committed up to `decided`; what was not is to be asked for again.
    pub(super) fn committed(&mut self, heights: Range<Height>, decided: Height) {
        self.waiting = self.waiting.saturating_sub(1);
        self.decided = self.decided.max(decided);
        self.covered.remove(heights);
        self.covered.remove(0..self.decided.saturating_add(1));
    }

    /// The store's decided watermark moved by other means than this lane.
    pub(super) fn set_decided(&mut self, decided: Height) {
        self.decided = self.decided.max(decided);
        self.covered.remove(0..self.decided.saturating_add(1));
    }
}
