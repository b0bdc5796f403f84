//! The data stage: payloads and blobs of decided heights, item by item, within a byte budget.
//!
//! A window of incomplete heights is loaded from the store. Each item is missing, in flight, or received (in
//! verification or on its way to the store). Bytes are reserved when an item is asked for and released when it is stored
//! or lost, so that the sum of all that is received and not yet stored never exceeds the budget.

use std::collections::{BTreeMap, HashSet, btree_map::Entry};

use lapis_protocol_spec::{
    BlobSidecar, Bytes48, Height, HeightRanges, MAX_REQUEST_HASHES, MAX_REQUEST_HEIGHTS, PayloadEnvelope,
    matching::IdentifiedValue,
};

use super::action::{Fetch, Item, RequestId};

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

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Missing,
    InFlight(RequestId),
    Received,
}

#[derive(Debug)]
struct Work {
    value: IdentifiedValue,
    payload: Option<Slot>,
    blobs: BTreeMap<u64, Slot>,
    /// Asked for as a whole height and not got: peers may hold parts of it, which are served by hash only.
    in_parts: bool,
}

impl Work {
    fn new(missing: Missing) -> Self {
        // A blob that occurs twice in a height is fetched once: the store fills all its places.
        let mut seen: HashSet<Bytes48> = HashSet::new();
        let commitments = &missing.value.value().blob_kzg_commitments;
        let wanted = missing.blobs.into_iter().filter(|index| {
            let commitment = usize::try_from(*index).ok().and_then(|index| commitments.get(index));
            commitment.is_some_and(|commitment| seen.insert(*commitment))
        });
        let blobs = wanted.map(|index| (index, Slot::Missing)).collect();
        Self { payload: missing.payload.then_some(Slot::Missing), blobs, in_parts: false, value: missing.value }
    }

    fn merge(&mut self, again: Self) {
        self.payload = self.payload.or(again.payload);
        for (index, slot) in again.blobs {
            self.blobs.entry(index).or_insert(slot);
        }
    }

    fn slot(&mut self, item: Item) -> Option<&mut Slot> {
        match item {
            Item::Payload(_) => self.payload.as_mut(),
            Item::Blob(_, index) => self.blobs.get_mut(&index),
        }
    }

    fn slot_of(&self, item: Item) -> Option<Slot> {
        match item {
            Item::Payload(_) => self.payload,
            Item::Blob(_, index) => self.blobs.get(&index).copied(),
        }
    }

    fn is_done(&self) -> bool {
        self.payload.is_none() && self.blobs.is_empty()
    }

    fn missing_blobs(&self) -> impl Iterator<Item = u64> + '_ {
        self.blobs.iter().filter(|(_, slot)| **slot == Slot::Missing).map(|(index, _)| *index)
    }

    /// Whether every blob of the value is missing, so that the height can be asked for as a whole.
    fn is_whole(&self) -> bool {
        !self.in_parts
            && self.blobs.len() == self.value.value().blob_count()
            && !self.blobs.is_empty()
            && self.blobs.values().all(|slot| *slot == Slot::Missing)
    }

    fn payload_bytes(&self) -> u64 {
        // A certified size beyond what the protocol can carry is never delivered; it must not upset the sums.
        let size = self.value.value().payload_size.min(PayloadEnvelope::MAX_BYTES as u64);
        size + PayloadEnvelope::FIXED_BYTES as u64
    }
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
    reserved: u64,
}

impl DataLane {
    /// Nothing loaded up to `loaded_to`.
    pub(super) fn new(loaded_to: Height) -> Self {
        Self { works: BTreeMap::new(), blobless: HeightRanges::new(), loaded_to, waived: 0, reserved: 0 }
    }

    /// Bytes asked for or received and not yet stored.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Heights in the window.
    pub(super) fn len(&self) -> usize {
        self.works.len()
    }

    /// Up to here the window has been loaded.
    pub(super) fn loaded_to(&self) -> Height {
        self.loaded_to
    }

    /// Lowest height of the window.
    pub(super) fn first(&self) -> Option<Height> {
        self.works.first_key_value().map(|(height, _)| *height)
    }

    /// Heights of the window, ascending.
    pub(super) fn heights(&self) -> Vec<Height> {
        self.works.keys().copied().collect()
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
        }
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
        self.works.retain(|height, work| {
            if *height < floor {
                let held = std::mem::take(&mut work.blobs).into_values().filter(|slot| *slot != Slot::Missing);
                released += held.count() as u64 * SIDECAR_BYTES;
            }
            !work.is_done()
        });
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
            if at != next || work.payload != Some(Slot::Missing) || !fits || values.len() as u64 >= MAX_REQUEST_HEIGHTS
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
            self.propose_single_blobs(height, max_bytes)
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

    fn propose_single_blobs(&self, height: Height, max_bytes: u64) -> Option<Proposal> {
        let work = self.works.get(&height)?;
        let fit = usize::try_from(max_bytes / SIDECAR_BYTES).unwrap_or(usize::MAX).clamp(1, MAX_REQUEST_HASHES);
        let indices: Vec<u64> = work.missing_blobs().take(fit).collect();
        if indices.is_empty() {
            return None;
        }
        let items: Vec<Item> = indices.iter().map(|index| Item::Blob(height, *index)).collect();
        let bytes = items.len() as u64 * SIDECAR_BYTES;
        Some(Proposal { fetch: Fetch::Blobs(vec![(work.value.clone(), indices)]), items, bytes })
    }

    /// Marks the items of a request as asked for and reserves their bytes.
    pub(super) fn start(&mut self, id: RequestId, items: &[Item]) {
        for item in items {
            if let Some(slot) = self.works.get_mut(&item.height()).and_then(|work| work.slot(*item)) {
                *slot = Slot::InFlight(id);
            }
        }
        self.reserved += items.iter().map(|item| self.bytes_of(*item)).sum::<u64>();
    }

    /// The first of `items` that is still asked for by the request `id`.
    pub(super) fn first_in_flight(&self, id: RequestId, items: &[Item]) -> Option<Item> {
        let slot = |item: Item| self.works.get(&item.height()).and_then(|work| work.slot_of(item));
        items.iter().copied().find(|item| slot(*item) == Some(Slot::InFlight(id)))
    }

    fn bytes_of(&self, item: Item) -> u64 {
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
    pub(super) fn finish(&mut self, id: RequestId, items: &[Item], received: &HashSet<Item>) -> Vec<Height> {
        let mut lost = Vec::new();
        for item in items {
            let bytes = self.bytes_of(*item);
            let Some(slot) = self.works.get_mut(&item.height()).and_then(|work| work.slot(*item)) else { continue };
            if *slot != Slot::InFlight(id) {
                continue;
            }
            if received.contains(item) {
                *slot = Slot::Received;
            } else {
                *slot = Slot::Missing;
                self.reserved = self.reserved.saturating_sub(bytes);
                lost.push(item.height());
            }
        }
        lost.dedup();
        lost
    }

    /// An item that arrived is not usable (its proof is wrong, or the store could not take it): it is missing again.
    pub(super) fn lost(&mut self, item: Item) {
        let bytes = self.bytes_of(item);
        if let Some(slot) = self.works.get_mut(&item.height()).and_then(|work| work.slot(item))
            && *slot != Slot::Missing
        {
            *slot = Slot::Missing;
            self.reserved = self.reserved.saturating_sub(bytes);
        }
    }

    /// An item is in the store. Gives `true` if that completes its height.
    pub(super) fn stored(&mut self, item: Item) -> bool {
        let bytes = self.bytes_of(item);
        let Some(work) = self.works.get_mut(&item.height()) else { return false };
        let slot = match item {
            Item::Payload(_) => work.payload.take(),
            Item::Blob(_, index) => work.blobs.remove(&index),
        };
        if slot.is_some_and(|slot| slot != Slot::Missing) {
            self.reserved = self.reserved.saturating_sub(bytes);
        }
        let done = work.is_done();
        if done {
            self.works.remove(&item.height());
        }
        done
    }
}
