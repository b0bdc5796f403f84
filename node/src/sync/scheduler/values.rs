//! The metadata stage: which ranges of decided values to ask for.
//!
//! A few ranges are in flight or held by the driver at a time; they are committed in order. What to ask for next is set
//! subtraction: the first heights above the decided one that are neither.

use std::{collections::BTreeMap, ops::Range, time::Instant};

use lapis_protocol_spec::{Height, HeightRanges, MAX_REQUEST_HEIGHTS, Method};
use rand::Rng;

use super::{
    action::{RequestId, SourceId},
    claims::Kind,
    sources::{Need, SourceBook, Wanted},
};

/// Ranges in flight or held.
const MAX_RANGES: usize = 4;
/// Bytes that one range should take, by the size of the values seen so far.
const TARGET_BYTES: u64 = 1024 * 1024;
/// Bytes of a value before any was seen.
const ASSUMED_VALUE_BYTES: u64 = 64 * 1024;

/// What is to be asked for when values from `start` on are. Metadata is small: it does not wait for the window that data
/// is held to.
pub(super) fn wanted(start: Height, except: Option<SourceId>, exploration_room: u64) -> Wanted {
    let method = Method::DecidedValuesByRange;
    Wanted { kind: Kind::Values, height: start, method, bytes: 0, except, exploration_room, need: Need::Usual }
}

/// State of the metadata stage.
#[derive(Debug)]
pub(super) struct ValuesLane {
    decided: Height,
    flights: BTreeMap<RequestId, Range<Height>>,
    /// Fetched and not yet committed, as the driver says.
    held: Vec<Range<Height>>,
    value_bytes: u64,
    /// A range that is asked for twice: by these two.
    hedge: Option<(RequestId, RequestId)>,
}

impl ValuesLane {
    /// Starts above `decided`.
    pub(super) fn new(decided: Height) -> Self {
        Self { decided, flights: BTreeMap::new(), held: Vec::new(), value_bytes: ASSUMED_VALUE_BYTES, hedge: None }
    }

    /// Highest decided height that is committed.
    pub(super) fn decided(&self) -> Height {
        self.decided
    }

    /// The decided watermark moved.
    pub(super) fn set_decided(&mut self, decided: Height) {
        self.decided = self.decided.max(decided);
    }

    /// What the driver holds and has not committed yet.
    pub(super) fn set_held(&mut self, held: Vec<Range<Height>>) {
        self.held = held;
    }

    /// Bytes expected of a range of `count` values.
    pub(super) fn expected_bytes(&self, count: u64) -> u64 {
        count.saturating_mul(self.value_bytes)
    }

    fn covered(&self) -> HeightRanges {
        self.flights.values().chain(&self.held).cloned().collect()
    }

    /// The next range to ask for and whom, if any.
    pub(super) fn next(
        &self,
        book: &SourceBook,
        exploration_room: u64,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Option<(SourceId, Range<Height>)> {
        let in_flight = self.flights.len() - usize::from(self.hedge.is_some());
        if in_flight + self.held.len() >= MAX_RANGES {
            return None;
        }
        let covered = self.covered();
        let start = covered.contiguous_from(self.decided.checked_add(1)?).checked_add(1)?;
        let source = book.choose(&wanted(start, None, exploration_room), now, rng)?;
        let claimed = book.source(source)?.claims.last_value(start);
        let count = (TARGET_BYTES / self.value_bytes.max(1)).clamp(1, MAX_REQUEST_HEIGHTS);
        let mut end = start.saturating_add(count).min(claimed.saturating_add(1));
        if let Some(next) = covered.iter().map(|range| range.start).find(|covered| *covered > start) {
            end = end.min(next);
        }
        if !source.is_peer() {
            end = (start..end).find(|height| !book.may_serve(source, Kind::Values, *height, now)).unwrap_or(end);
        }
        (start < end).then_some((source, start..end))
    }

    /// The range that holds up the order, with the request for it that was made last.
    pub(super) fn holding_up(&self) -> Option<(RequestId, Range<Height>)> {
        let next = self.decided.checked_add(1)?;
        let mut lowest = self.flights.iter().filter(|(_, heights)| heights.start <= next);
        lowest.next_back().map(|(id, heights)| (*id, heights.clone()))
    }

    /// The range of `first` is asked for a second time.
    pub(super) fn hedged(&mut self, first: RequestId, second: RequestId, heights: Range<Height>) {
        self.flights.insert(second, heights);
        self.hedge = Some((first, second));
    }

    /// A range was asked for.
    pub(super) fn started(&mut self, id: RequestId, heights: Range<Height>) {
        self.flights.insert(id, heights);
    }

    /// Whether nothing is asked for, and nothing waits to be committed.
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.held.is_empty()
    }

    /// First height of the range that `id` is for.
    pub(super) fn in_flight(&self, id: RequestId) -> Option<Height> {
        self.flights.get(&id).map(|heights| heights.start)
    }

    /// An exchange ended after `served` values of `bytes` bytes. Gives the range, unless another request has brought it,
    /// and the request that has become needless.
    pub(super) fn finished(
        &mut self,
        id: RequestId,
        served: u64,
        bytes: u64,
    ) -> Option<(Range<Height>, Option<RequestId>)> {
        if let Some(each) = bytes.checked_div(served) {
            self.value_bytes = each.max(1);
        }
        let heights = self.flights.remove(&id)?;
        let hedge = self.hedge.take_if(|(first, second)| *first == id || *second == id);
        let rival = hedge.map(|(first, second)| if first == id { second } else { first });
        let needless = rival.filter(|rival| served > 0 && self.flights.remove(rival).is_some());
        Some((heights, needless))
    }

    /// Whether a value that came unasked for, by announcement, is the next one and not here already. One that is asked for
    /// as well is not waited for: what is here is here.
    pub(super) fn wants(&self, height: Height) -> bool {
        self.decided.checked_add(1) == Some(height) && !self.held.iter().any(|held| held.contains(&height))
    }
}
