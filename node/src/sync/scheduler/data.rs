//! The data stage: payloads and blobs of decided heights, item by item, within a byte budget.
//!
//! A window of incomplete heights is loaded from the store. Each item is missing, in flight, or received (in
//! verification or on its way to the store). Bytes are reserved when an item is asked for and released when it is stored
//! or lost, so that the sum of all that is received and not yet stored never exceeds the budget.

mod parts;
mod work;

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use lapis_protocol_spec::{
    BlobSidecar, Height, HeightRanges, MAX_REQUEST_HASHES, MAX_REQUEST_HEIGHTS, matching::IdentifiedValue,
};

use self::work::{Slot, Work};
use super::{
    action::{Fetch, Item, RequestId},
    claims::Kind,
    config::Report,
};

/// What one height lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The decided value.
    pub value: IdentifiedValue,
    /// Whether the payload is missing.
    pub payload: bool,
    /// Indices of the missing blobs, ascending.
    pub blobs: Vec<u64>,
}

/// Bytes of one sidecar.
pub const SIDECAR_BYTES: u64 = BlobSidecar::BYTES as u64;

/// A request that could be made for a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    /// What to ask for.
    pub(super) fetch: Fetch,
    /// The items it covers.
    pub(super) items: Vec<Item>,
    /// Bytes it reserves.
    pub(super) bytes: u64,
}

/// State of the data stage.
#[derive(Debug)]
pub(super) struct DataLane {
    works: BTreeMap<Height, Work>,
    /// Heights of the window without blobs: a range request may run over them.
    blobless: HeightRanges,
    loaded_to: Height,
    /// Blobs below are not wanted.
    waived: Height,
    /// Heights of which something is missing that is not asked for.
    wanting: BTreeSet<Height>,
    reserved: u64,
    /// Bytes that are asked for a second time.
    hedged: u64,
}

impl DataLane {
    /// Nothing loaded up to `loaded_to`.
    pub(super) fn new(loaded_to: Height) -> Self {
        Self {
            works: BTreeMap::new(),
            blobless: HeightRanges::new(),
            loaded_to,
            waived: 0,
            wanting: BTreeSet::new(),
            reserved: 0,
            hedged: 0,
        }
    }

    /// Bytes asked for or received and not yet stored, what is asked for a second time apart.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Bytes asked for a second time.
    pub(super) fn hedged(&self) -> u64 {
        self.hedged
    }

    /// Heights in the window.
    pub(super) fn len(&self) -> usize {
        self.works.len()
    }

    /// Up to here the window has been loaded.
    pub(super) fn loaded_to(&self) -> Height {
        self.loaded_to
    }

    /// Heights of which something is missing that is not asked for, ascending.
    pub(super) fn wanting(&self) -> Vec<Height> {
        self.wanting.iter().copied().collect()
    }

    /// The lowest of them, and of what kind the missing is.
    pub(super) fn first_wanting(&self) -> Option<(Kind, Height)> {
        let height = *self.wanting.first()?;
        let payload = self.works.get(&height)?.slot_of(Item::Payload(height));
        Some((if payload == Some(Slot::Missing) { Kind::Payloads } else { Kind::Blobs }, height))
    }

    /// Adds what the store says is missing in the heights up to `loaded_to`.
    pub(super) fn load(&mut self, missing: Vec<Missing>, loaded_to: Height) {
        self.loaded_to = self.loaded_to.max(loaded_to);
        let first = self.works.first_key_value().map_or(self.loaded_to, |(height, _)| *height);
        self.blobless.remove(0..first);
        for missing in missing {
            let height = missing.value.value().height;
            if missing.value.value().blob_count() == 0 {
                self.blobless.insert_one(height);
            }
            let work = Work::new(missing);
            match self.works.entry(height) {
                Entry::Vacant(entry) if !work.is_done() => {
                    entry.insert(work);
                }
                Entry::Vacant(_) => {}
                // Looked at again: what has been lost since is missing again, what is on its way stays so.
                Entry::Occupied(mut entry) => entry.get_mut().merge(work),
            }
            self.look_at(height);
        }
    }

    /// Something changed at `height`.
    fn look_at(&mut self, height: Height) {
        if self.works.get(&height).is_some_and(Work::is_wanting) {
            self.wanting.insert(height);
        } else {
            self.wanting.remove(&height);
        }
    }

    /// Puts `item` there. Gives where it was.
    fn put(&mut self, item: Item, slot: Slot) -> Option<Slot> {
        let before = self.works.get_mut(&item.height())?.put(item, slot);
        self.look_at(item.height());
        before
    }

    fn slot(&self, item: Item) -> Option<Slot> {
        self.works.get(&item.height())?.slot_of(item)
    }

    /// Starts over: the store lost something below `loaded_to` that is to be fetched again.
    pub(super) fn reload_from(&mut self, height: Height) {
        self.loaded_to = self.loaded_to.min(height.saturating_sub(1));
    }

    /// Stops wanting blobs below `floor`; what is in flight of them is ignored when it comes.
    pub(super) fn waive_blobs_below(&mut self, floor: Height) {
        if floor <= self.waived {
            return;
        }
        self.waived = floor;
        let mut released = 0;
        let below: Vec<Height> = self.works.range(..floor).map(|(height, _)| *height).collect();
        for height in below {
            if let Some(work) = self.works.get_mut(&height) {
                released += work.give_up_blobs() * SIDECAR_BYTES;
                if work.is_done() {
                    self.works.remove(&height);
                }
            }
            self.look_at(height);
        }
        self.reserved = self.reserved.saturating_sub(released);
    }

    fn item_bytes(work: &Work, item: Item) -> u64 {
        match item {
            Item::Payload(_) => work.payload_bytes(),
            Item::Blob(..) => SIDECAR_BYTES,
        }
    }

    /// The payload request that starts at `height`, over contiguous heights, of at most `max_bytes`.
    pub(super) fn propose_payloads(&self, height: Height, max_bytes: u64) -> Option<Proposal> {
        let mut values = Vec::new();
        let mut items = Vec::new();
        let mut bytes = 0_u64;
        for (next, work) in (height..).zip(self.works.range(height..)) {
            let (at, work) = (*work.0, work.1);
            let fits = bytes == 0 || bytes.saturating_add(work.payload_bytes()) <= max_bytes;
            if at != next
                || work.slot_of(Item::Payload(at)) != Some(Slot::Missing)
                || !fits
                || values.len() as u64 >= MAX_REQUEST_HEIGHTS
            {
                break;
            }
            bytes = bytes.saturating_add(work.payload_bytes());
            values.push(work.value.clone());
            items.push(Item::Payload(at));
        }
        (!items.is_empty()).then_some(Proposal { fetch: Fetch::Payloads(values), items, bytes })
    }

    /// The blob request that starts at `height`, of at most `max_bytes` (but at least one blob): whole contiguous heights
    /// where that fits, single blobs otherwise.
    pub(super) fn propose_blobs(&self, height: Height, max_bytes: u64) -> Option<Proposal> {
        let work = self.works.get(&height)?;
        let whole_bytes = work.blobs.len() as u64 * SIDECAR_BYTES;
        if work.is_whole() && whole_bytes <= max_bytes {
            Some(self.propose_whole_heights(height, max_bytes))
        } else {
            self.propose_blobs_from(height, 0, max_bytes)
        }
    }

    fn propose_whole_heights(&self, height: Height, max_bytes: u64) -> Proposal {
        let mut values = Vec::new();
        let mut items = Vec::new();
        let mut bytes = 0_u64;
        for at in height..height.saturating_add(MAX_REQUEST_HEIGHTS) {
            if self.blobless.contains(at) {
                continue;
            }
            let Some(work) = self.works.get(&at).filter(|work| work.is_whole()) else { break };
            let more = work.blobs.len() as u64 * SIDECAR_BYTES;
            if bytes + more > max_bytes {
                break;
            }
            bytes += more;
            values.push(work.value.clone());
            items.extend(work.missing_blobs().map(|index| Item::Blob(at, index)));
        }
        Proposal { fetch: Fetch::WholeHeights(values), items, bytes }
    }

    /// Marks the items of a request as asked for and reserves their bytes.
    pub(super) fn start(&mut self, id: RequestId, items: &[Item]) {
        for item in items {
            self.put(*item, Slot::InFlight(id));
        }
        self.reserved += items.iter().map(|item| self.bytes_of(*item)).sum::<u64>();
    }

    /// The lowest height of which not everything is here: what is above waits for it.
    fn front(&self) -> Option<(Height, &Work)> {
        self.works.iter().map(|(height, work)| (*height, work)).find(|(_, work)| !work.is_here())
    }

    /// Whether everything of the heights below `height` is here.
    pub(super) fn is_at_front(&self, height: Height) -> bool {
        self.front().is_none_or(|(front, _)| front >= height)
    }

    /// What is on its way of the lowest height that is not here, by the request that was made last for it.
    pub(super) fn holding_up(&self) -> BTreeMap<RequestId, Vec<Item>> {
        let mut waiting: BTreeMap<RequestId, Vec<Item>> = BTreeMap::new();
        let Some((height, work)) = self.front() else { return waiting };
        for (item, slot) in work.slots(height) {
            if let Slot::InFlight(id) | Slot::Hedged { second: id, .. } = slot {
                waiting.entry(id).or_default().push(item);
            }
        }
        waiting
    }

    /// What to ask for to get `items`, which are of one height and one kind, a second time: as much as `room` takes.
    pub(super) fn propose_again(&self, items: &[Item], room: u64) -> Option<Proposal> {
        let height = items.first()?.height();
        let work = self.works.get(&height)?;
        let mut bytes = 0;
        let fits = |item: &&Item| {
            bytes += Self::item_bytes(work, **item);
            bytes <= room
        };
        let items: Vec<Item> = items.iter().take(MAX_REQUEST_HASHES).take_while(fits).copied().collect();
        let bytes = items.iter().map(|item| Self::item_bytes(work, *item)).sum();
        let indices = items.iter().filter_map(|item| match item {
            Item::Blob(_, index) => Some(*index),
            Item::Payload(_) => None,
        });
        let fetch = match items.first()? {
            Item::Payload(_) => Fetch::Payloads(vec![work.value.clone()]),
            Item::Blob(..) => Fetch::Blobs(vec![(work.value.clone(), indices.collect())]),
        };
        Some(Proposal { fetch, items, bytes })
    }

    /// The request `id` asks a second time for `items`, `bytes` in all.
    pub(super) fn start_hedge(&mut self, id: RequestId, items: &[Item], bytes: u64) {
        for item in items {
            if let Some(Slot::InFlight(first)) = self.slot(*item) {
                self.put(*item, Slot::Hedged { first, second: id });
            }
        }
        self.hedged += bytes;
    }

    /// A request that asked a second time, for `bytes`, ended.
    pub(super) fn end_hedge(&mut self, bytes: u64) {
        self.hedged = self.hedged.saturating_sub(bytes);
    }

    /// The first of `items` that is still asked for by the request `id`.
    pub(super) fn first_in_flight(&self, id: RequestId, items: &[Item]) -> Option<Item> {
        items.iter().copied().find(|item| self.slot(*item).is_some_and(|slot| slot.is_asked_of(id)))
    }

    /// An item of the request `id` arrived and goes into verification.
    pub(super) fn received(&mut self, id: RequestId, item: Item) -> Received {
        let Some(slot) = self.slot(item).filter(|slot| slot.is_asked_of(id)) else { return Received::Unwanted };
        self.put(item, Slot::Received);
        Received::Wanted { rival: slot.rival_of(id) }
    }

    /// Bytes that an item takes while it is not stored.
    pub(super) fn bytes_of(&self, item: Item) -> u64 {
        self.works.get(&item.height()).map_or(0, |work| Self::item_bytes(work, item))
    }

    /// Heights that were asked for as a whole and did not come: from now on by hash.
    pub(super) fn split(&mut self, heights: &[Height]) {
        for height in heights {
            if let Some(work) = self.works.get_mut(height) {
                work.in_parts = true;
            }
        }
    }

    /// The request `id` ended; `received` of its items arrived. Gives the heights of those that did not.
    pub(super) fn finish(&mut self, id: RequestId, items: &[Item], report: &Report) -> Vec<Height> {
        let mut lost = Vec::new();
        for item in items {
            let Some(slot) = self.slot(*item).filter(|slot| slot.is_asked_of(id)) else { continue };
            if report.received.contains(item) {
                self.put(*item, Slot::Received);
                continue;
            }
            match slot.rival_of(id) {
                Some(rival) => drop(self.put(*item, Slot::InFlight(rival))),
                None => {
                    self.put(*item, Slot::Missing);
                    self.reserved = self.reserved.saturating_sub(self.bytes_of(*item));
                }
            }
            if !report.duplicates.contains(item) {
                lost.push(item.height());
            }
        }
        lost.dedup();
        lost
    }

    /// An item that arrived is not usable (its proof is wrong, or the store could not take it): it is missing again.
    pub(super) fn lost(&mut self, item: Item) {
        if self.slot(item).is_some_and(|slot| slot != Slot::Missing) {
            self.put(item, Slot::Missing);
            self.reserved = self.reserved.saturating_sub(self.bytes_of(item));
        }
    }

    /// An item is in the store. Gives `true` if that completes its height.
    pub(super) fn stored(&mut self, item: Item) -> bool {
        let (height, bytes) = (item.height(), self.bytes_of(item));
        let Some(work) = self.works.get_mut(&height) else { return false };
        if work.take(item).is_some_and(|slot| slot != Slot::Missing) {
            self.reserved = self.reserved.saturating_sub(bytes);
        }
        let done = work.is_done();
        if done {
            self.works.remove(&height);
        }
        self.look_at(height);
        done
    }
}

/// What an item that arrived is to the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// It was waited for, and asked of `rival` as well.
    Wanted {
        /// The other request for it.
        rival: Option<RequestId>,
    },
    /// It is here already, or not wanted any more.
    Unwanted,
}
