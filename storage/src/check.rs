//! One value and everything that belongs to it, read and compared with what the value certifies. Owns no state and
//! changes nothing.

use lapis_protocol_spec::{
    Blob, BlobSidecar, Bytes32, Height, IdentifiedValue, Kzg, Matched, PayloadEnvelope, Value, decode, versioned_hash,
};
use redb::ReadableTable;

use crate::{
    StoreError, TableName,
    error::Damage,
    pieces,
    ranges::{RangeKind, in_ranges},
    rows::ValueState,
    state::Chain,
    tables::Tables,
    values::{decided_number, load_decided, load_state, load_value, unless_damaged},
};

/// Blobs whose proofs are verified together.
const BATCH: usize = 16;

/// What a look at one height found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) damages: Vec<Damage>,
    /// Rows of `places` that its values have.
    pub(crate) places: u64,
    /// Blobs whose proofs could not be verified, for want of memory or the like.
    pub(crate) unchecked: u64,
}

/// A look at the values of one height.
pub(crate) struct Check<'a, T> {
    pub(crate) tables: &'a T,
    pub(crate) chain: &'a Chain,
    pub(crate) kzg: Option<&'a Kzg>,
    pub(crate) height: Height,
    pub(crate) findings: Findings,
}

impl<T: Tables> Check<'_, T> {
    fn note(&mut self, table: TableName, index: u64) {
        self.findings.damages.push(Damage { table, height: self.height, index });
    }

    /// Notes what is damaged.
    fn keep<R>(&mut self, result: Result<R, StoreError>) -> Result<Option<R>, StoreError> {
        match result {
            Err(StoreError::Damaged(damage)) => {
                self.findings.damages.push(damage);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Whether the height is in a set of gaps; `None` if the row that would say is damaged, which the set's own check notes.
    fn is_gap(&self, kind: RangeKind) -> Result<Option<bool>, StoreError> {
        unless_damaged(in_ranges(self.tables, kind, self.height))
    }

    /// The decided value of the height.
    pub(crate) fn decided(mut self) -> Result<Findings, StoreError> {
        let Some(number) = decided_number(self.tables, self.height)? else {
            self.note(TableName::Heights, 0);
            return Ok(self.findings);
        };
        let decided = load_decided(self.tables, number, self.height);
        if let Some(decided) = self.keep(decided)? {
            let certificate = &decided.certificate;
            if (certificate.height, certificate.value_id) != (self.height, decided.value.id()) {
                self.note(TableName::Certificates, 0);
            }
        }
        let value = unless_damaged(load_value(self.tables, number, self.height))?;
        let Some(value) = value.filter(|value| value.height == self.height) else { return Ok(self.findings) };
        let value = IdentifiedValue::new(value.into());
        self.links(&value)?;
        let state = self.rows(number, &value)?;
        self.payload(number, &value)?;
        if self.height >= self.chain.blob_floor {
            let absent = self.blobs(&value)?;
            self.accounts(state, absent)?;
        }
        Ok(self.findings)
    }

    /// An undecided value of the height.
    pub(crate) fn undecided(mut self, number: u64) -> Result<Findings, StoreError> {
        let value = load_value(self.tables, number, self.height);
        let Some(value) = self.keep(value)? else { return Ok(self.findings) };
        let value = IdentifiedValue::new(value.into());
        let state = self.rows(number, &value)?;
        self.payload(number, &value)?;
        if self.height >= self.chain.blob_floor {
            let absent = self.blobs(&value)?;
            if state.is_some_and(|state| u64::from(state.missing) != absent) {
                self.note(TableName::States, 0);
            }
        }
        Ok(self.findings)
    }

    /// The value attaches to the one before, and is the tip if it is the last.
    fn links(&mut self, value: &IdentifiedValue) -> Result<(), StoreError> {
        let (base, tip) = (&self.chain.base, &self.chain.tip);
        let is_last_other = self.height == tip.height && tip.value_id != *value.id();
        let parent = self.height.saturating_sub(1);
        let parent_id = if parent == base.height {
            Some(base.value_id)
        } else {
            match decided_number(self.tables, parent)? {
                Some(number) => unless_damaged(load_state(self.tables, number, parent))?
                    .filter(|state| state.height == parent)
                    .map(|state| state.id),
                None => None,
            }
        };
        // What is wrong with the parent is noted at its height.
        if is_last_other || parent_id.is_some_and(|id| id != value.value().parent_value_id) {
            self.note(TableName::Values, 0);
        }
        Ok(())
    }

    /// The rows that follow from the value. Returns its state if that is right.
    fn rows(&mut self, number: u64, value: &IdentifiedValue) -> Result<Option<ValueState>, StoreError> {
        let named = self.tables.value_ids().get(&value.id().0)?.map(|row| row.value());
        if named != Some(number) {
            self.note(TableName::ValueIds, 0);
        }
        let state = load_state(self.tables, number, self.height);
        let state = self.keep(state)?;
        if state.is_some_and(|state| (state.id, state.height) != (*value.id(), self.height)) {
            self.note(TableName::States, 0);
        }
        for (index, hash) in (0_u16..).zip(value.value().versioned_hashes()) {
            if self.tables.places().get((&hash.0, self.height, number, index))?.is_none() {
                self.note(TableName::Places, u64::from(index));
            }
            self.findings.places += 1;
        }
        Ok(state)
    }

    fn payload(&mut self, number: u64, value: &IdentifiedValue) -> Result<(), StoreError> {
        let is_held = self.tables.payloads().get(number)?.is_some();
        let is_wanted = self.chain.is_decided(self.height) && self.height >= self.chain.payload_floor;
        match self.is_gap(RangeKind::PayloadGaps)? {
            Some(true) if is_held || !is_wanted => self.note(TableName::Ranges, 0),
            Some(false) if is_wanted && !is_held => self.note(TableName::Payloads, 0),
            Some(_) | None => {}
        }
        if self.height < self.chain.payload_floor || !is_held {
            return Ok(());
        }
        let stored = pieces::read_payload(self.tables, number, self.height);
        let Some(Some(stored)) = self.keep(stored)? else { return Ok(()) };
        let bytes = stored.slices().collect::<Vec<_>>().concat();
        if !is_payload_of(&bytes, value, self.kzg.is_some()) {
            self.note(TableName::Payloads, 0);
        }
        Ok(())
    }

    /// Verifies the blobs that are held; returns how many places lack theirs. Of a decided height without a gap none does:
    /// it was lost.
    fn blobs(&mut self, value: &IdentifiedValue) -> Result<u64, StoreError> {
        let is_gap = self.is_gap(RangeKind::BlobGaps)?;
        let is_whole = self.chain.is_decided(self.height) && is_gap == Some(false);
        let mut absent = 0;
        let mut unproven = Vec::new();
        for (index, hash) in (0_u64..).zip(value.value().versioned_hashes()) {
            match self.blob(value.value(), &hash, index) {
                Ok(None) if is_whole => self.note(TableName::Blobs, index),
                Ok(None) => absent += 1,
                Ok(Some(sidecar)) if self.kzg.is_some() => unproven.push(sidecar),
                Ok(Some(_)) => {}
                Err(StoreError::Damaged(damage)) => self.findings.damages.push(damage),
                Err(error) => return Err(error),
            }
            if unproven.len() >= BATCH {
                self.prove(value, std::mem::take(&mut unproven));
            }
        }
        self.prove(value, unproven);
        Ok(absent)
    }

    fn blob(&self, value: &Value, hash: &Bytes32, index: u64) -> Result<Option<BlobSidecar>, StoreError> {
        let height = self.height;
        let damage = Damage { table: TableName::Blobs, height, index };
        let Some(stored) = pieces::read_blob(self.tables, hash, height, index)? else { return Ok(None) };
        let (kzg_commitment, kzg_proof) = (stored.row.commitment, stored.row.proof);
        if value.commitment(index) != Some(&kzg_commitment) || versioned_hash(&kzg_commitment) != *hash {
            return Err(damage.into());
        }
        let blob = Blob::from_bytes(stored.slices().concat().into()).ok_or(damage)?;
        Ok(Some(BlobSidecar { height, index, kzg_commitment, kzg_proof, blob }))
    }

    fn prove(&mut self, value: &IdentifiedValue, sidecars: Vec<BlobSidecar>) {
        let Some(kzg) = self.kzg else { return };
        let mut batch = Vec::with_capacity(sidecars.len());
        for sidecar in sidecars {
            let index = sidecar.index;
            match Matched::blob(sidecar, value, index) {
                Ok(matched) => batch.push((index, matched)),
                Err(_) => self.note(TableName::Blobs, index),
            }
        }
        let outcome = kzg.verify_batch(batch);
        self.findings.unchecked += outcome.unchecked.len() as u64;
        for (index, _) in outcome.faulty {
            self.note(TableName::Blobs, index);
        }
    }

    /// What is known to be missing is what is missing.
    fn accounts(&mut self, state: Option<ValueState>, absent: u64) -> Result<(), StoreError> {
        let is_gap = self.is_gap(RangeKind::BlobGaps)?;
        if state.is_some_and(|state| u64::from(state.missing) != absent) {
            self.note(TableName::States, 0);
        } else if is_gap.is_some_and(|is_gap| is_gap != (absent > 0)) {
            self.note(TableName::Ranges, 0);
        }
        Ok(())
    }
}

/// Whether `bytes` are the payload that `value` certifies; if `deep`, down to its digests.
fn is_payload_of(bytes: &[u8], value: &IdentifiedValue, deep: bool) -> bool {
    let Ok(envelope) = decode::<PayloadEnvelope>(bytes) else { return false };
    match Matched::payload(envelope, value) {
        Ok(matched) => !deep || matched.verify().is_ok(),
        Err(_) => false,
    }
}
