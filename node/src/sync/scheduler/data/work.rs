//! One height of the window: where each of its items is.

use std::collections::{BTreeMap, HashSet};

use lapis_protocol_spec::{Bytes48, Height, PayloadEnvelope, matching::IdentifiedValue};

use super::Missing;
use crate::sync::scheduler::action::{Item, RequestId};

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Missing,
    InFlight(RequestId),
    /// Asked for twice: whoever brings it first.
    Hedged {
        first: RequestId,
        second: RequestId,
    },
    /// In verification, or on its way to the store.
    Received,
}

impl Slot {
    /// Whether the request `id` is to bring it.
    pub(super) fn is_asked_of(self, id: RequestId) -> bool {
        match self {
            Self::InFlight(asked) => asked == id,
            Self::Hedged { first, second } => first == id || second == id,
            Self::Missing | Self::Received => false,
        }
    }

    /// The request that is to bring it beside `id`.
    pub(super) fn rival_of(self, id: RequestId) -> Option<RequestId> {
        match self {
            Self::Hedged { first, second } => Some(if first == id { second } else { first }),
            Self::Missing | Self::InFlight(_) | Self::Received => None,
        }
    }
}

/// One height of the window.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) value: IdentifiedValue,
    payload: Option<Slot>,
    pub(super) blobs: BTreeMap<u64, Slot>,
    /// How many of the blobs are missing.
    missing_blobs: usize,
    /// Asked for as a whole height and not got: peers may hold parts of it, which are served by hash only.
    pub(super) in_parts: bool,
}

impl Work {
    pub(super) fn new(missing: Missing) -> Self {
        // A blob that occurs twice in a height is fetched once: the store fills all its places.
        let mut seen: HashSet<Bytes48> = HashSet::new();
        let commitments = &missing.value.value().blob_kzg_commitments;
        let wanted = missing.blobs.into_iter().filter(|index| {
            let commitment = usize::try_from(*index).ok().and_then(|index| commitments.get(index));
            commitment.is_some_and(|commitment| seen.insert(*commitment))
        });
        let blobs: BTreeMap<u64, Slot> = wanted.map(|index| (index, Slot::Missing)).collect();
        let payload = missing.payload.then_some(Slot::Missing);
        Self { payload, missing_blobs: blobs.len(), blobs, in_parts: false, value: missing.value }
    }

    /// Takes what `again` lacks and this does not know of.
    pub(super) fn merge(&mut self, again: Self) {
        self.payload = self.payload.or(again.payload);
        for (index, slot) in again.blobs {
            self.blobs.entry(index).or_insert_with(|| {
                self.missing_blobs += usize::from(slot == Slot::Missing);
                slot
            });
        }
    }

    pub(super) fn slot_of(&self, item: Item) -> Option<Slot> {
        match item {
            Item::Payload(_) => self.payload,
            Item::Blob(_, index) => self.blobs.get(&index).copied(),
        }
    }

    /// Every item that is not stored.
    pub(super) fn slots(&self, height: Height) -> impl Iterator<Item = (Item, Slot)> + '_ {
        let blobs = self.blobs.iter().map(move |(index, slot)| (Item::Blob(height, *index), *slot));
        self.payload.iter().map(move |slot| (Item::Payload(height), *slot)).chain(blobs)
    }

    /// Puts an item of this height there, unless it is stored. Gives where it was.
    pub(super) fn put(&mut self, item: Item, slot: Slot) -> Option<Slot> {
        let place = match item {
            Item::Payload(_) => self.payload.as_mut()?,
            Item::Blob(_, index) => self.blobs.get_mut(&index)?,
        };
        let before = std::mem::replace(place, slot);
        if !item.is_payload() {
            self.missing_blobs += usize::from(slot == Slot::Missing);
            self.missing_blobs -= usize::from(before == Slot::Missing);
        }
        Some(before)
    }

    /// An item is stored. Gives where it was.
    pub(super) fn take(&mut self, item: Item) -> Option<Slot> {
        match item {
            Item::Payload(_) => self.payload.take(),
            Item::Blob(_, index) => {
                let slot = self.blobs.remove(&index);
                self.missing_blobs -= usize::from(slot == Some(Slot::Missing));
                slot
            }
        }
    }

    /// Blobs are not wanted any more. Gives how many of them are on their way or here.
    pub(super) fn give_up_blobs(&mut self) -> u64 {
        self.missing_blobs = 0;
        let blobs = std::mem::take(&mut self.blobs);
        blobs.into_values().filter(|slot| *slot != Slot::Missing).count() as u64
    }

    pub(super) fn is_done(&self) -> bool {
        self.payload.is_none() && self.blobs.is_empty()
    }

    /// Whether everything has come, though not all of it is stored.
    pub(super) fn is_here(&self) -> bool {
        self.payload.iter().chain(self.blobs.values()).all(|slot| *slot == Slot::Received)
    }

    /// Whether something is missing that is not asked for.
    pub(super) fn is_wanting(&self) -> bool {
        self.payload == Some(Slot::Missing) || self.missing_blobs > 0
    }

    pub(super) fn missing_blobs(&self) -> impl Iterator<Item = u64> + '_ {
        self.blobs.iter().filter(|(_, slot)| **slot == Slot::Missing).map(|(index, _)| *index)
    }

    /// Whether every blob of the value is missing, so that the height can be asked for as a whole.
    pub(super) fn is_whole(&self) -> bool {
        let count = self.value.value().blob_count();
        !self.in_parts && count > 0 && self.missing_blobs == count && self.blobs.len() == count
    }

    pub(super) fn payload_bytes(&self) -> u64 {
        // A certified size beyond what the protocol can carry is never delivered; it must not upset the sums.
        let size = self.value.value().payload_size.min(PayloadEnvelope::MAX_BYTES as u64);
        size + PayloadEnvelope::FIXED_BYTES as u64
    }
}
