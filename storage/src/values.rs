//! Values, their numbers and places, and the phase of a blob: what every call that writes has in common.

use std::collections::BTreeSet;

use lapis_protocol_spec::{Bytes32, CommitCertificate, DecidedValue, Height, PayloadEnvelope, Value, decode, encode};
use redb::ReadableTable;

use crate::{
    StoreError, TableName,
    error::Damage,
    pieces,
    recount::blob_phase,
    rows::{SEAL_BYTES, ValueState, seal, unseal},
    state::{Chain, State},
    status::{BLOB_BYTES, Phase},
    store::Writer,
    tables::Tables,
};

/// Bytes that a round of an undecided value is charged with: its row.
pub(crate) const ROUND_BYTES: u64 = 64;

/// What was deleted with values that were not decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Undecided values.
    pub values: u64,
    /// Payloads of theirs.
    pub payloads: u64,
    /// Blobs that no other value needs.
    pub blobs: u64,
    /// Bytes of those values, payloads and blobs.
    pub bytes: u64,
}

/// A place of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) height: Height,
    /// Number of the value.
    pub(crate) number: u64,
    pub(crate) index: u16,
}

/// The number of a value that is held, as `value_ids` has it.
pub(crate) fn number_of(tables: &impl Tables, value_id: &Bytes32) -> Result<Option<u64>, StoreError> {
    Ok(tables.value_ids().get(&value_id.0)?.map(|number| number.value()))
}

/// The number and state of a value that is held. `value_ids` has no seal: the state, which has one, must name the value.
pub(crate) fn find(tables: &impl Tables, value_id: &Bytes32) -> Result<Option<(u64, ValueState)>, StoreError> {
    let Some(number) = number_of(tables, value_id)? else { return Ok(None) };
    match load_state(tables, number, 0) {
        Ok(state) if state.id == *value_id => Ok(Some((number, state))),
        Ok(_) => Err(Damage { table: TableName::ValueIds, height: 0, index: 0 }.into()),
        Err(StoreError::Damaged(damage)) => {
            let height = load_value(tables, number, 0).map_or(0, |value| value.height);
            Err(Damage { height, ..damage }.into())
        }
        Err(error) => Err(error),
    }
}

/// The number of the decided value at `height`.
pub(crate) fn decided_number(tables: &impl Tables, height: Height) -> Result<Option<u64>, StoreError> {
    Ok(tables.heights().get(height)?.map(|number| number.value()))
}

/// What is held of a value. `height` is only for the report of damage.
pub(crate) fn load_state(tables: &impl Tables, number: u64, height: Height) -> Result<ValueState, StoreError> {
    let damage = Damage { table: TableName::States, height, index: 0 };
    let row = tables.states().get(number)?.ok_or(damage)?;
    Ok(unseal(row.value(), number).and_then(ValueState::decode).ok_or(damage)?)
}

/// A value. `height` is only for the report of damage.
pub(crate) fn load_value(tables: &impl Tables, number: u64, height: Height) -> Result<Value, StoreError> {
    let damage = Damage { table: TableName::Values, height, index: 0 };
    let row = tables.values().get(number)?.ok_or(damage)?;
    let value: Value = unseal(row.value(), number).and_then(|row| decode(row).ok()).ok_or(damage)?;
    Ok(value)
}

/// The decided value at `height`, whose number is `number`, with its certificate.
pub(crate) fn load_decided(tables: &impl Tables, number: u64, height: Height) -> Result<DecidedValue, StoreError> {
    let value = load_value(tables, number, height)?;
    if value.height != height {
        return Err(Damage { table: TableName::Heights, height, index: 0 }.into());
    }
    let damage = Damage { table: TableName::Certificates, height, index: 0 };
    let row = tables.certificates().get(height)?.ok_or(damage)?;
    let certificate: CommitCertificate = unseal(row.value(), height).and_then(|row| decode(row).ok()).ok_or(damage)?;
    Ok(DecidedValue { value, certificate })
}

/// The highest place of a blob in `heights`.
pub(crate) fn highest_place(
    tables: &impl Tables,
    hash: &Bytes32,
    heights: std::ops::RangeInclusive<Height>,
) -> Result<Option<Place>, StoreError> {
    if heights.is_empty() {
        return Ok(None);
    }
    let (from, to) = heights.into_inner();
    let range = (&hash.0, from, 0, 0)..=(&hash.0, to, u64::MAX, u16::MAX);
    let last = tables.places().range(range)?.next_back().transpose()?;
    Ok(last.map(|(key, _)| place(&key.value())))
}

fn place(key: &(&[u8; 32], u64, u64, u16)) -> Place {
    Place { height: key.1, number: key.2, index: key.3 }
}

/// Where a blob stands if `from` is the lowest height whose places count: that of its highest decided place, else
/// undecided, else `None`.
pub(crate) fn phase(
    tables: &impl Tables,
    chain: &Chain,
    hash: &Bytes32,
    from: Height,
    is_archived: impl FnOnce(Height) -> Result<bool, StoreError>,
) -> Result<Option<Phase>, StoreError> {
    if let Some(place) = highest_place(tables, hash, from..=chain.decided())? {
        return Ok(Some(if is_archived(place.height)? { Phase::Archived } else { Phase::Decided }));
    }
    let above = from.max(chain.decided().saturating_add(1));
    Ok(highest_place(tables, hash, above..=Height::MAX)?.map(|_| Phase::Undecided))
}

/// The distinct versioned hashes of a value.
pub(crate) fn distinct_hashes(value: &Value) -> BTreeSet<Bytes32> {
    value.versioned_hashes().collect()
}

/// `None` for what is damaged.
pub(crate) fn unless_damaged<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::Damaged(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Writer<'_> {
    /// The phase in which a blob is counted, whether it is held or not.
    pub(crate) fn blob_phase(&self, hash: &Bytes32) -> Result<Option<Phase>, StoreError> {
        let State { chain, archived, .. } = &self.state;
        blob_phase(&self.tables, chain, archived, hash)
    }

    /// The phase in which the payload of a value at `height` is counted.
    pub(crate) fn payload_phase(&self, height: Height) -> Phase {
        if height > self.state.chain.decided() {
            Phase::Undecided
        } else if self.state.archived.contains(height) {
            Phase::Archived
        } else {
            Phase::Decided
        }
    }

    pub(crate) fn holds_blob(&self, hash: &Bytes32) -> Result<bool, StoreError> {
        Ok(self.tables.blobs.get(&hash.0)?.is_some())
    }

    pub(crate) fn store_state(&mut self, number: u64, state: &ValueState) -> Result<(), StoreError> {
        self.tables.states.insert(number, seal(state.encode(), number).as_slice())?;
        Ok(())
    }

    /// Writes a value that is not known, with its places. Returns its number and the bytes of its row.
    pub(crate) fn register(&mut self, id: &Bytes32, value: &Value, inserted_at: u64) -> Result<(u64, u64), StoreError> {
        let number = self.state.chain.next_value;
        self.state.chain.next_value += 1;
        let row = encode(value);
        let bytes = row.len() as u64;
        self.tables.values.insert(number, seal(row, number).as_slice())?;
        self.tables.value_ids.insert(&id.0, number)?;
        let mut missing = 0_u16;
        for (index, hash) in (0_u16..).zip(value.versioned_hashes()) {
            self.tables.places.insert((&hash.0, value.height, number, index), ())?;
            if !self.holds_blob(&hash)? {
                missing += 1;
            }
        }
        self.store_state(number, &ValueState { id: *id, height: value.height, inserted_at, missing })?;
        Ok((number, bytes))
    }

    /// Deletes an undecided value, and of its data what no other value needs. Its rounds are the caller's.
    ///
    /// Damaged rows go like others: a proposal that lost must never hold up a decision. Rows that nothing readable names
    /// any more are left to [`crate::Store::repair`].
    pub(crate) fn drop_value(&mut self, number: u64, height: Height, dropped: &mut Dropped) -> Result<(), StoreError> {
        if let Some(size) = self.take_payload(number, height)? {
            self.state.chain.tallies.payloads.undecided.remove(size);
            dropped.payloads += 1;
            dropped.bytes += size;
        }
        let value = unless_damaged(load_value(&self.tables, number, height))?;
        let id = match unless_damaged(load_state(&self.tables, number, height))? {
            Some(state) => Some(state.id),
            None => value.clone().map(|value| value.id()),
        };
        if let Some(value) = value {
            self.drop_places(number, &value, dropped)?;
        }
        if let Some(id) = id
            && number_of(&self.tables, &id)? == Some(number)
        {
            self.tables.value_ids.remove(&id.0)?;
        }
        self.tables.states.remove(number)?;
        let row_bytes = self.tables.values.remove(number)?.map_or(0, |row| row.value().len());
        let bytes = row_bytes.saturating_sub(SEAL_BYTES) as u64;
        self.state.chain.tallies.values_undecided.remove(bytes);
        dropped.values += 1;
        dropped.bytes += bytes;
        Ok(())
    }

    fn drop_places(&mut self, number: u64, value: &Value, dropped: &mut Dropped) -> Result<(), StoreError> {
        for (index, hash) in (0_u16..).zip(value.versioned_hashes()) {
            self.tables.places.remove((&hash.0, value.height, number, index))?;
        }
        for hash in distinct_hashes(value) {
            if self.holds_blob(&hash)? && self.blob_phase(&hash)?.is_none() {
                pieces::delete_blob(&mut self.tables, &hash)?;
                self.state.chain.tallies.blobs.undecided.remove(BLOB_BYTES);
                dropped.blobs += 1;
                dropped.bytes += BLOB_BYTES;
            }
        }
        Ok(())
    }

    /// Deletes the payload of a value, damaged or not; the bytes that it is counted with, or `None` if it is not held.
    pub(crate) fn take_payload(&mut self, number: u64, height: Height) -> Result<Option<u64>, StoreError> {
        if self.tables.payloads.get(number)?.is_none() {
            return Ok(None);
        }
        let size = match unless_damaged(pieces::payload_row(&self.tables, number, height))?.flatten() {
            Some(row) => row.size,
            // The row that says it is damaged. Without execution requests this is exact.
            None => {
                let value = unless_damaged(load_value(&self.tables, number, height))?;
                PayloadEnvelope::FIXED_BYTES as u64 + value.map_or(0, |value| value.payload_size)
            }
        };
        pieces::delete_payload(&mut self.tables, number)?;
        Ok(Some(size))
    }

    /// Refuses `wanted` more bytes of undecided data above the cap.
    pub(crate) fn check_cap(&self, wanted: u64) -> Result<(), StoreError> {
        let held = self.state.chain.tallies.undecided_bytes();
        let cap = self.config.undecided_bytes;
        if held.saturating_add(wanted) > cap {
            return Err(StoreError::UndecidedFull { held, wanted, cap });
        }
        Ok(())
    }
}
