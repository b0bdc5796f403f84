//! The first stage: reads, follows the chain from the store's tip on, and matches items with certified values.

use std::{io::Read, mem, sync::mpsc::SyncSender};

use lapis_protocol_spec::{
    BlobSidecar, Bytes32, ChainLink, DecidedValue, IdentifiedValue, Matched, PayloadEnvelope, ValidatorSet, Verified,
    archive::{Event, Header},
};
use lapis_storage::{Damage, Store, StoreError};

use super::{Group, ImportError, ItemFault};
use crate::{archive::ArchiveReader, chain::Chain};

pub(super) struct Intake<'a> {
    store: &'a Store,
    chain: &'a Chain,
    /// What the next new value attaches to: the store's tip, and then what was verified here.
    tip: ChainLink,
    /// The set that signs next, once it is known.
    signers: Option<(Bytes32, ValidatorSet)>,
    /// Sets of the record that is being read; nothing is known of them.
    offered: Vec<ValidatorSet>,
    /// The value of the record that is being read, and what is wanted of it.
    current: Option<Current>,
    group: Group,
    group_bytes: usize,
}

struct Current {
    value: IdentifiedValue,
    wants: Wants,
}

/// What is wanted of a height.
struct Wants {
    payload: bool,
    blobs: WantedBlobs,
}

enum WantedBlobs {
    All,
    /// Ascending.
    These(Vec<u64>),
}

impl Wants {
    const NOTHING: Self = Self { payload: false, blobs: WantedBlobs::These(Vec::new()) };
}

impl WantedBlobs {
    fn contains(&self, index: u64) -> bool {
        match self {
            Self::All => true,
            Self::These(indices) => indices.binary_search(&index).is_ok(),
        }
    }
}

impl<'a> Intake<'a> {
    /// Checks that an archive with this header fits the store.
    pub(super) fn new(
        store: &'a Store,
        chain: &'a Chain,
        header: &Header,
        group_bytes: usize,
    ) -> Result<Self, ImportError> {
        if header.genesis_id() != chain.id() {
            return Err(ImportError::OtherChain { found: *header.genesis_id(), expected: *chain.id() });
        }
        let tip = store.tip()?;
        if header.first() > tip.height.saturating_add(1) {
            return Err(ImportError::Detached { first: header.first(), tip: tip.height });
        }
        let (signers, offered, current, group) = (None, Vec::new(), None, Group::default());
        Ok(Self { store, chain, tip, signers, offered, current, group, group_bytes })
    }

    /// Reads to the end, or to the first thing that is wrong. What was read before that is sent on in either case.
    pub(super) fn run<R: Read>(
        mut self,
        mut archive: ArchiveReader<R>,
        groups: &SyncSender<Group>,
    ) -> Result<(), ImportError> {
        let result = self.read(&mut archive, groups);
        // A stage that has stopped says why itself.
        let _ = groups.send(self.group);
        result
    }

    fn read<R: Read>(&mut self, archive: &mut ArchiveReader<R>, groups: &SyncSender<Group>) -> Result<(), ImportError> {
        while let Some(event) = archive.next_event()? {
            self.take(event)?;
            if self.group.bytes >= self.group_bytes && groups.send(mem::take(&mut self.group)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), ImportError> {
        match event {
            Event::Height(_) => {
                self.offered.clear();
                self.current = None;
                Ok(())
            }
            Event::ValidatorSet(set) => {
                self.offered.push(set);
                Ok(())
            }
            Event::Decided(decided) => {
                let is_known = decided.value.height <= self.tip.height;
                self.current = if is_known { self.known(*decided)? } else { Some(self.successor(*decided)?) };
                Ok(())
            }
            Event::Payload(payload) => self.payload(payload),
            Event::Sidecar(sidecar) => self.sidecar(sidecar),
            Event::HeightEnd(_) => {
                self.group.heights += 1;
                Ok(())
            }
            Event::End(_) => Ok(()),
        }
    }

    /// A value that should be in the store: compared, not verified. `None` if it is from before the store's beginning.
    fn known(&mut self, decided: DecidedValue) -> Result<Option<Current>, ImportError> {
        let height = decided.value.height;
        let reader = self.store.reader()?;
        match reader.decided_value(height) {
            Err(StoreError::Damaged(damage)) => self.mend(decided.clone(), damage)?,
            result => drop(result?),
        }
        let Some(value) = self.store.reader()?.identified_value(height)? else { return Ok(None) };
        if decided.value.id() != *value.id() {
            return Err(ImportError::Untrue { height, fault: ItemFault::OtherValue { held: *value.id() } });
        }
        let missing = self.store.missing(height..height.saturating_add(1), 1)?.pop();
        let wants = missing.map_or(Wants::NOTHING, |missing| Wants {
            payload: missing.payload,
            blobs: WantedBlobs::These(missing.blobs),
        });
        Ok(Some(Current { value, wants }))
    }

    /// A value or certificate whose row is damaged: written again, once the archive's has been verified against the value
    /// before it.
    fn mend(&mut self, decided: DecidedValue, damage: Damage) -> Result<(), ImportError> {
        let height = decided.value.height;
        let parent = height.saturating_sub(1);
        let tip = match self.store.reader()?.identified_value(parent)? {
            Some(value) => ChainLink::after(value.value(), *value.id()),
            None if parent == 0 => ChainLink::genesis(self.chain.genesis()),
            // The first value of a store that began elsewhere: what it attaches to is not held.
            None => return Err(StoreError::from(damage).into()),
        };
        let verified = self.verify(decided, &tip)?;
        self.group.mended += u64::from(self.store.mend_decided(&verified)?);
        Ok(())
    }

    /// A value that must attach to the tip.
    fn successor(&mut self, decided: DecidedValue) -> Result<Current, ImportError> {
        let (height, tip) = (decided.value.height, self.tip);
        let verified = self.verify(decided, &tip)?;
        self.tip = ChainLink::after(&verified.value, *verified.value_id());
        let value = IdentifiedValue::from(&verified);
        let blobs = if height < self.store.blob_floor() { WantedBlobs::These(Vec::new()) } else { WantedBlobs::All };
        self.group.bytes += verified.encoded_len();
        self.group.values.push(verified);
        Ok(Current { value, wants: Wants { payload: true, blobs } })
    }

    /// Verifies that a value attaches to `tip`, and looks for the set that signs the one after it.
    fn verify(&mut self, decided: DecidedValue, tip: &ChainLink) -> Result<Verified<DecidedValue>, ImportError> {
        let height = decided.value.height;
        let untrue = |fault| ImportError::Untrue { height, fault };
        let root = tip.next_validators_root;
        let Some(signers) = self.set(&root)? else { return Err(untrue(ItemFault::UnknownSet(root))) };
        let max_blobs = self.chain.genesis().max_blobs_per_block;
        let verified = decided.verify(self.chain.id(), max_blobs, tip, &signers);
        let verified = verified.map_err(|fault| untrue(fault.into()))?;
        let next = verified.value.next_validators_root;
        self.signers = if next == root { Some((root, signers)) } else { self.set(&next)?.map(|set| (next, set)) };
        Ok(verified)
    }

    /// The set with this root, which a certified value names: in the store, or offered by the archive.
    fn set(&mut self, root: &Bytes32) -> Result<Option<ValidatorSet>, StoreError> {
        if let Some((_, set)) = self.signers.take().filter(|(known, _)| known == root) {
            return Ok(Some(set));
        }
        if let Some(set) = self.store.validator_set(root)? {
            return Ok(Some(set));
        }
        let offered = self.offered.iter().find(|set| set.check_root(root).is_ok()).cloned();
        self.group.sets.extend(offered.clone());
        Ok(offered)
    }

    fn payload(&mut self, payload: PayloadEnvelope) -> Result<(), ImportError> {
        let Some(Current { value, wants }) = &self.current else { return Ok(()) };
        if wants.payload {
            let height = value.value().height;
            self.group.bytes += payload.payload.len();
            let payload = Matched::payload(payload, value);
            self.group.payloads.push(payload.map_err(|fault| ImportError::Untrue { height, fault: fault.into() })?);
        }
        Ok(())
    }

    fn sidecar(&mut self, sidecar: BlobSidecar) -> Result<(), ImportError> {
        let Some(Current { value, wants }) = &self.current else { return Ok(()) };
        let (height, index) = (value.value().height, sidecar.index);
        if wants.blobs.contains(index) {
            self.group.bytes += BlobSidecar::BYTES;
            let blob = Matched::blob(sidecar, value, index);
            self.group.blobs.push(blob.map_err(|fault| ImportError::Untrue { height, fault: fault.into() })?);
        }
        Ok(())
    }
}
