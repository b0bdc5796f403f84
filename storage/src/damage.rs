//! Damaged rows: discarded, so that what they held is missing and can be fetched again.

use lapis_protocol_spec::{Bytes32, Height, versioned_hash};
use redb::ReadableTable;

use crate::{
    Store, StoreError, TableName,
    error::Damage,
    pieces,
    status::{BLOB_BYTES, Phase},
    store::{Safe, Writer},
    values::{decided_number, load_state, load_value},
};

impl Store {
    /// Deletes the payload or blob that `damage` names, if it still is damaged; whether it was. Durable.
    ///
    /// It then is missing at every place it had, so that [`Store::gaps`] and [`Store::missing`] name it. The
    /// `available` watermark goes back below it, though not below `imported`.
    ///
    /// # Errors
    /// The damage itself if it is in a table that no peer can mend; [`StoreError`] if the store fails.
    pub fn discard_damaged(&self, damage: &Damage) -> Result<bool, StoreError> {
        match damage.table {
            TableName::Blobs | TableName::Payloads => {}
            TableName::Meta
            | TableName::ValidatorSets
            | TableName::ValueIds
            | TableName::Heights
            | TableName::Values
            | TableName::States
            | TableName::Certificates
            | TableName::Places
            | TableName::Ranges => return Err((*damage).into()),
        }
        self.write(Safe::Durable, |writer| {
            let mut discarded = false;
            for number in writer.values_at(damage.height)? {
                discarded |= match damage.table {
                    TableName::Payloads => writer.discard_payload(number, damage.height)?,
                    _ => writer.discard_blob(number, damage)?,
                };
            }
            Ok(discarded)
        })
    }
}

impl Writer<'_> {
    /// Numbers of the values at `height`: the decided one, or all that are proposed.
    fn values_at(&self, height: Height) -> Result<Vec<u64>, StoreError> {
        if let Some(number) = decided_number(&self.tables, height)? {
            return Ok(vec![number]);
        }
        let mut numbers = Vec::new();
        for row in self.tables.rounds.range((height, 0, 0)..=(height, u64::MAX, u64::MAX))? {
            numbers.push(row?.0.value().2);
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    fn discard_payload(&mut self, number: u64, height: Height) -> Result<bool, StoreError> {
        if !is_damaged(pieces::read_payload(&self.tables, number, height))? {
            return Ok(false);
        }
        // A damaged row cannot say how much it held; what it was counted with is what the value certifies, at least.
        let size = pieces::payload_row(&self.tables, number, height).ok().flatten().map(|row| row.size);
        let size = match size {
            Some(size) => size,
            None => load_value(&self.tables, number, height)?.payload_size,
        };
        let phase = self.payload_phase(height);
        pieces::delete_payload(&mut self.tables, number)?;
        self.state.chain.tallies.payloads.shift(Some(phase), None, size);
        if phase != Phase::Undecided && height >= self.state.chain.payload_floor {
            self.state.payload_gaps.insert_one(height);
            self.state.retreat(height);
        }
        Ok(true)
    }

    fn discard_blob(&mut self, number: u64, damage: &Damage) -> Result<bool, StoreError> {
        let value = load_value(&self.tables, number, damage.height)?;
        let Some(commitment) = value.commitment(damage.index) else { return Ok(false) };
        let hash = versioned_hash(commitment);
        if !is_damaged(pieces::read_blob(&self.tables, &hash, damage.height, damage.index))? {
            return Ok(false);
        }
        let phase = self.blob_phase(&hash)?;
        pieces::delete_blob(&mut self.tables, &hash)?;
        self.state.chain.tallies.blobs.shift(phase, None, BLOB_BYTES);
        self.empty_places(&hash)?;
        Ok(true)
    }

    /// Adds a blob that is no longer held to what each of its values misses.
    fn empty_places(&mut self, hash: &Bytes32) -> Result<(), StoreError> {
        let first = (&hash.0, self.state.chain.blob_floor, 0, 0);
        let last = (&hash.0, Height::MAX, u64::MAX, u16::MAX);
        let mut places = Vec::new();
        for row in self.tables.places.range(first..=last)? {
            let (key, _) = row?;
            let (_, height, number, _) = key.value();
            places.push((height, number));
        }
        for (height, number) in places {
            let mut state = load_state(&self.tables, number, height)?;
            state.missing = state.missing.saturating_add(1);
            self.store_state(number, &state)?;
            if self.state.chain.is_decided(height) {
                self.state.blob_gaps.insert_one(height);
                self.state.retreat(height);
            }
        }
        Ok(())
    }
}

fn is_damaged<T>(read: Result<Option<T>, StoreError>) -> Result<bool, StoreError> {
    match read {
        Ok(_) => Ok(false),
        Err(StoreError::Damaged(_)) => Ok(true),
        Err(error) => Err(error),
    }
}
