//! The node's own side: verification, the store, import, and the order in which they come.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    time::Duration,
};

use lapis_protocol_spec::Height;

use super::{chain::Values, peer::item_bytes, plan::Plan};
use crate::sync::scheduler::{Item, Missing};

/// Bytes of one transaction, as nodes have it.
const TRANSACTION_BYTES: u64 = 8 * 1024 * 1024;
/// Time that a payload takes in verification.
const PAYLOAD_TIME: Duration = Duration::from_micros(100);
/// Time that a signature of a certificate takes, all of a value together.
const VALUE_TIME: Duration = Duration::from_micros(200);

/// An item in verification.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivered {
    /// Place of the peer that it came from.
    pub(super) peer: usize,
    pub(super) item: Item,
    pub(super) is_good: bool,
}

/// Values that wait to be committed.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) peer: usize,
    pub(super) heights: Range<Height>,
    /// The first that is not certified.
    pub(super) wrong: Option<Height>,
}

/// The machine's state.
#[derive(Debug)]
pub(super) struct Machine {
    /// Between arrival and the store.
    inside: BTreeSet<Item>,
    inside_bytes: u64,
    verifier_free: Duration,
    /// Verified, to be written.
    proven: VecDeque<Item>,
    is_writing: bool,
    /// What each incomplete height that is decided lacks.
    lacking: BTreeMap<Height, BTreeSet<Item>>,
    pub(super) decided: Height,
    pub(super) imported: Height,
    is_importing: bool,
    /// By first height.
    fetched: BTreeMap<Height, Fetched>,
    committing: Option<Fetched>,
    /// Validator sets that are in the store.
    sets: BTreeSet<u64>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            inside: BTreeSet::new(),
            inside_bytes: 0,
            verifier_free: Duration::ZERO,
            proven: VecDeque::new(),
            is_writing: false,
            lacking: BTreeMap::new(),
            decided: 0,
            imported: 0,
            is_importing: false,
            fetched: BTreeMap::new(),
            committing: None,
            sets: BTreeSet::from([0]),
        }
    }

    /// Bytes received and not stored.
    pub(super) fn inside_bytes(&self) -> u64 {
        self.inside_bytes
    }

    /// Up to here nothing is lacking.
    pub(super) fn available(&self) -> Height {
        self.lacking.first_key_value().map_or(self.decided, |(height, _)| height.saturating_sub(1))
    }

    /// An item arrived. When it will be verified; `None` if it is inside already.
    pub(super) fn enter(&mut self, plan: &Plan, item: Item, now: Duration) -> Option<Duration> {
        if !self.inside.insert(item) {
            return None;
        }
        self.inside_bytes += item_bytes(plan, item);
        let time = if item.is_payload() { PAYLOAD_TIME } else { plan.machine.verify };
        self.verifier_free = self.verifier_free.max(now) + time;
        Some(self.verifier_free)
    }

    /// An item leaves, one way or the other.
    pub(super) fn leave(&mut self, plan: &Plan, item: Item) {
        if self.inside.remove(&item) {
            self.inside_bytes -= item_bytes(plan, item);
        }
    }

    /// An item is verified.
    pub(super) fn proven(&mut self, item: Item) {
        self.proven.push_back(item);
    }

    /// The next transaction, if there is anything to write and nothing is written: what, and how long it takes.
    pub(super) fn write(&mut self, plan: &Plan) -> Option<(Vec<Item>, Duration)> {
        if self.is_writing || self.proven.is_empty() {
            return None;
        }
        let (mut items, mut bytes) = (Vec::new(), 0);
        while bytes < TRANSACTION_BYTES
            && let Some(item) = self.proven.pop_front()
        {
            bytes += item_bytes(plan, item);
            items.push(item);
        }
        self.is_writing = true;
        Some((items, plan.machine.commit + over(bytes, plan.machine.disk)))
    }

    /// A transaction is done. Gives how many bytes were not there before.
    pub(super) fn stored(&mut self, plan: &Plan, items: &[Item]) -> u64 {
        self.is_writing = false;
        let mut news = 0;
        for item in items {
            self.leave(plan, *item);
            let Some(lacking) = self.lacking.get_mut(&item.height()) else { continue };
            if lacking.remove(item) {
                news += item_bytes(plan, *item);
            }
            if lacking.is_empty() {
                self.lacking.remove(&item.height());
            }
        }
        news
    }

    /// The height to import next, if it is there and none is being imported.
    pub(super) fn import(&mut self) -> Option<Height> {
        let next = self.imported + 1;
        if self.is_importing || next > self.available() {
            return None;
        }
        self.is_importing = true;
        Some(next)
    }

    /// A height is imported.
    pub(super) fn imported(&mut self, height: Height) {
        self.is_importing = false;
        self.imported = height;
    }

    /// Values came.
    pub(super) fn fetched(&mut self, fetched: Fetched) {
        self.fetched.insert(fetched.heights.start, fetched);
    }

    /// Ranges of values that are here and not committed.
    pub(super) fn held_values(&self) -> Vec<Range<Height>> {
        self.committing.iter().chain(self.fetched.values()).map(|fetched| fetched.heights.clone()).collect()
    }

    /// Begins to commit the range that attaches, if any: how long that takes.
    pub(super) fn commit(&mut self, plan: &Plan) -> Option<Duration> {
        if self.committing.is_some() || !self.knows_signers(plan, self.decided + 1) {
            return None;
        }
        let entry = self.fetched.first_entry().filter(|entry| *entry.key() <= self.decided + 1)?;
        let fetched = entry.remove();
        let count = u32::try_from(fetched.heights.end - fetched.heights.start).unwrap_or(u32::MAX);
        self.committing = Some(fetched);
        Some(plan.machine.commit + VALUE_TIME * count)
    }

    /// Whether the set that signs `height` is in the store.
    pub(super) fn knows_signers(&self, plan: &Plan, height: Height) -> bool {
        plan.growth.as_ref().is_none_or(|growth| self.sets.contains(&growth.set_of(height)))
    }

    /// A validator set is in the store.
    pub(super) fn learn_set(&mut self, set: u64) {
        self.sets.insert(set);
    }

    /// The range is committed as far as it is certified by sets that are known; the rest waits. Gives whom it came from,
    /// and the height that is not certified if that is what it ended at.
    pub(super) fn committed(&mut self, plan: &Plan) -> Option<(usize, Option<Height>)> {
        let Fetched { peer, heights, wrong } = self.committing.take()?;
        let known = (self.decided + 1..heights.end).find(|height| !self.knows_signers(plan, *height));
        let end = wrong.unwrap_or(heights.end).min(known.unwrap_or(heights.end));
        if let Some(start) = known.filter(|known| *known == end) {
            self.fetched(Fetched { peer, heights: start..heights.end, wrong });
        }
        for height in self.decided + 1..end {
            let blobs = (0..plan.block(height).blobs).map(|index| Item::Blob(height, index));
            self.lacking.insert(height, blobs.chain([Item::Payload(height)]).collect());
        }
        self.decided = self.decided.max(end.saturating_sub(1));
        Some((peer, wrong.filter(|wrong| *wrong == end)))
    }

    /// What the heights of `range` lack, of `most` of them.
    pub(super) fn missing(&self, plan: &Plan, values: &mut Values, range: Range<Height>, most: usize) -> Vec<Missing> {
        let gaps = self.lacking.range(range).take(most);
        gaps.filter_map(|(height, lacking)| {
            let value = values.value(*height, plan.block(*height))?;
            let blobs = lacking.iter().filter_map(|item| match item {
                Item::Blob(_, index) => Some(*index),
                Item::Payload(_) => None,
            });
            Some(Missing { value, payload: lacking.contains(&Item::Payload(*height)), blobs: blobs.collect() })
        })
        .collect()
    }
}

/// How long `bytes` take at so many per second.
pub(super) fn over(bytes: u64, per_second: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / per_second.max(1))
}
