//! Damaged rows: discarded or made again, so that what they held is there, or missing and can be fetched again.

use lapis_protocol_spec::{Bytes32, DecidedValue, Height, Value, Verified, encode, versioned_hash};
use redb::ReadableTable;

use crate::{
    Conflict, Store, StoreError, TableName,
    error::Damage,
    pieces,
    ranges::{DamagedRange, RangeRows},
    rows::{ValueState, seal},
    status::BLOB_BYTES,
    store::{Safe, Writer},
    values::{decided_number, load_decided, load_state, load_value, number_of, unless_damaged},
};

impl Store {
    /// Deletes the payload or blob that `damage` names, or makes the row again that can be made from others, if it still
    /// is damaged; whether it was. Durable.
    ///
    /// A payload or blob then is missing at every place it had, so that [`Store::gaps`] and [`Store::missing`] name it.
    /// The `available` watermark goes back below it, though not below `imported`.
    ///
    /// # Errors
    /// The damage itself if the row can neither be fetched nor made again; values and certificates come back with
    /// [`Store::mend_decided`]. [`StoreError`] if the store fails.
    pub fn discard_damaged(&self, damage: &Damage) -> Result<bool, StoreError> {
        match damage.table {
            TableName::Blobs
            | TableName::Payloads
            | TableName::States
            | TableName::ValueIds
            | TableName::Heights
            | TableName::Places
            | TableName::Ranges => {}
            TableName::Meta | TableName::ValidatorSets | TableName::Values | TableName::Certificates => {
                return Err((*damage).into());
            }
        }
        self.write(Safe::Durable, |writer| writer.discard(damage, Evidence::Checksum))
    }

    /// Writes the value and the certificate of a height again whose rows are damaged; whether they were. Durable.
    ///
    /// # Errors
    /// [`Conflict::UnknownValue`] unless it is the value that is decided at its height.
    pub fn mend_decided(&self, decided: &Verified<DecidedValue>) -> Result<bool, StoreError> {
        self.write(Safe::Durable, |writer| writer.mend_decided(decided))
    }
}

/// What makes a row damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It fails its checksum, or is gone.
    Checksum,
    /// It was looked at closely.
    Report,
}

impl Writer<'_> {
    /// Discards or makes again what `damage` names; whether there was something to do.
    pub(crate) fn discard(&mut self, damage: &Damage, evidence: Evidence) -> Result<bool, StoreError> {
        let height = damage.height;
        // Of several values at an undecided height, a report does not say which.
        let evidence = if self.state.chain.is_decided(height) { evidence } else { Evidence::Checksum };
        let mut discarded = match damage.table {
            TableName::Heights => self.place_again(height)?,
            TableName::Ranges => !self.rewrite_damaged_ranges()?.is_empty(),
            _ => false,
        };
        for number in self.values_at(height)? {
            discarded |= match damage.table {
                TableName::Payloads => self.discard_payload(number, height, evidence)?,
                TableName::Blobs => self.discard_blob(number, damage, evidence)?,
                _ => self.make_again(number, height)?,
            };
        }
        Ok(discarded)
    }

    /// Writes the rows of `ranges` again if some are damaged, and returns which. What they said is in memory, where they
    /// were valid when they were read or written.
    pub(crate) fn rewrite_damaged_ranges(&mut self) -> Result<Vec<Damage>, StoreError> {
        let damaged = RangeRows::load(&self.tables)?.damaged;
        if !damaged.is_empty() {
            self.committed.rewrite_ranges(&mut self.tables)?;
        }
        Ok(damaged.iter().map(DamagedRange::damage).collect())
    }

    /// Numbers of the values at `height`: the decided one, or all that are proposed.
    pub(crate) fn values_at(&self, height: Height) -> Result<Vec<u64>, StoreError> {
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

    fn discard_payload(&mut self, number: u64, height: Height, evidence: Evidence) -> Result<bool, StoreError> {
        let is_wanted = self.state.chain.is_decided(height) && height >= self.state.chain.payload_floor;
        match unless_damaged(pieces::read_payload(&self.tables, number, height))? {
            Some(Some(_)) if evidence == Evidence::Checksum => return Ok(false),
            // Not held, and known to be missing or not wanted.
            Some(None) if !is_wanted || self.state.payload_gaps.contains(height) => return Ok(false),
            Some(_) | None => {}
        }
        let phase = self.payload_phase(height);
        if let Some(size) = self.take_payload(number, height)? {
            self.state.chain.tallies.payloads.shift(Some(phase), None, size);
        }
        if is_wanted {
            self.state.payload_gaps.insert_one(height);
            self.state.retreat(height);
        }
        Ok(true)
    }

    fn discard_blob(&mut self, number: u64, damage: &Damage, evidence: Evidence) -> Result<bool, StoreError> {
        let value = load_value(&self.tables, number, damage.height)?;
        let Some(commitment) = value.commitment(damage.index) else { return Ok(false) };
        let hash = versioned_hash(commitment);
        match unless_damaged(pieces::read_blob(&self.tables, &hash, damage.height, damage.index))? {
            Some(Some(_)) if evidence == Evidence::Checksum => return Ok(false),
            Some(None) if !self.is_lost(number, &value)? => return Ok(false),
            Some(_) | None => {}
        }
        let phase = self.blob_phase(&hash)?;
        pieces::delete_blob(&mut self.tables, &hash)?;
        self.state.chain.tallies.blobs.shift(phase, None, BLOB_BYTES);
        self.recount_places(&hash)?;
        Ok(true)
    }

    /// Whether a value lacks more blobs than it is known to.
    fn is_lost(&self, number: u64, value: &Value) -> Result<bool, StoreError> {
        let known = unless_damaged(load_state(&self.tables, number, value.height))?.map_or(0, |state| state.missing);
        Ok(value.height >= self.state.chain.blob_floor && self.absent(value)? > known)
    }

    /// Counts again what each value misses that names `hash`.
    fn recount_places(&mut self, hash: &Bytes32) -> Result<(), StoreError> {
        let first = (&hash.0, self.state.chain.blob_floor, 0, 0);
        let last = (&hash.0, Height::MAX, u64::MAX, u16::MAX);
        let mut values = Vec::new();
        for row in self.tables.places.range(first..=last)? {
            let (key, _) = row?;
            let (_, height, number, _) = key.value();
            values.push((number, height));
        }
        values.dedup();
        for (number, height) in values {
            // A value that is damaged itself waits for its own repair.
            unless_damaged(self.recount(number, height))?;
        }
        Ok(())
    }

    /// Places of `value` whose blobs are not held.
    fn absent(&self, value: &Value) -> Result<u16, StoreError> {
        let mut absent = 0_u16;
        for hash in value.versioned_hashes() {
            if !self.holds_blob(&hash)? {
                absent = absent.saturating_add(1);
            }
        }
        Ok(absent)
    }

    /// Counts again what a value misses and makes its state and its height's gap agree with it. A damaged state is made
    /// anew; of an undecided value it then counts as old.
    pub(crate) fn recount(&mut self, number: u64, height: Height) -> Result<ValueState, StoreError> {
        let value = load_value(&self.tables, number, height)?;
        if value.height != height {
            return Err(Damage { table: TableName::Heights, height, index: 0 }.into());
        }
        let missing = self.absent(&value)?;
        let state = match unless_damaged(load_state(&self.tables, number, height))? {
            Some(state) => ValueState { missing, ..state },
            None => ValueState { id: value.id(), height, inserted_at: 0, missing },
        };
        self.store_state(number, &state)?;
        if self.state.chain.is_decided(height) && height >= self.state.chain.blob_floor {
            if missing == 0 {
                self.state.blob_gaps.remove_one(height);
            } else {
                self.state.blob_gaps.insert_one(height);
                self.state.retreat(height);
            }
        }
        Ok(state)
    }

    /// Makes every row of a value again that follows from the value itself; whether one was not as it should be.
    fn make_again(&mut self, number: u64, height: Height) -> Result<bool, StoreError> {
        let value = load_value(&self.tables, number, height)?;
        let before = unless_damaged(load_state(&self.tables, number, height))?;
        let gap = self.state.blob_gaps.contains(height);
        let mut changed = before != Some(self.recount(number, height)?);
        changed |= gap != self.state.blob_gaps.contains(height);
        for (index, hash) in (0_u16..).zip(value.versioned_hashes()) {
            changed |= self.tables.places.insert((&hash.0, height, number, index), ())?.is_none();
        }
        let id = value.id();
        changed |= self.tables.value_ids.insert(&id.0, number)?.map(|row| row.value()) != Some(number);
        changed |= self.regap_payload(number, height)?;
        self.state.advance();
        Ok(changed)
    }

    /// Finds the decided value of `height`, the only one there is of it, and writes its row of `heights` again.
    fn place_again(&mut self, height: Height) -> Result<bool, StoreError> {
        let damage = Damage { table: TableName::Heights, height, index: 0 };
        if !self.state.chain.is_decided(height) {
            return Ok(false);
        }
        let mut found = Vec::new();
        for row in self.tables.states.iter()? {
            let number = row?.0.value();
            let state = unless_damaged(load_state(&self.tables, number, height))?;
            if state.is_some_and(|state| state.height == height) {
                found.push(number);
            }
        }
        let &[number] = found.as_slice() else { return Err(damage.into()) };
        Ok(self.tables.heights.insert(height, number)?.map(|row| row.value()) != Some(number))
    }

    /// Makes the payload's gap agree with whether it is held.
    fn regap_payload(&mut self, number: u64, height: Height) -> Result<bool, StoreError> {
        if !self.state.chain.is_decided(height) || height < self.state.chain.payload_floor {
            return Ok(false);
        }
        let held = self.tables.payloads.get(number)?.is_some();
        if held != self.state.payload_gaps.contains(height) {
            return Ok(false);
        }
        if held {
            self.state.payload_gaps.remove_one(height);
        } else {
            self.state.payload_gaps.insert_one(height);
            self.state.retreat(height);
        }
        Ok(true)
    }

    /// Writes the value `number` again if its row is damaged, and its state if that is; `None` if the number is another
    /// value's, since `value_ids` or `heights` led astray. Nothing of that one is touched.
    pub(crate) fn mend_value(&mut self, number: u64, id: &Bytes32, value: &Value) -> Result<Option<u64>, StoreError> {
        let held = unless_damaged(load_value(&self.tables, number, value.height))?;
        let state = unless_damaged(load_state(&self.tables, number, value.height))?;
        if held.as_ref().is_some_and(|held| held != value) || state.is_some_and(|state| state.id != *id) {
            return Ok(None);
        }
        if held.is_none() {
            self.tables.values.insert(number, seal(encode(value), number).as_slice())?;
        }
        if state.is_none() {
            self.recount(number, value.height)?;
        }
        Ok(Some(number))
    }

    fn mend_decided(&mut self, decided: &Verified<DecidedValue>) -> Result<bool, StoreError> {
        let (height, id) = (decided.value.height, decided.value_id());
        let unknown = Conflict::UnknownValue { height, value_id: *id };
        if !self.state.chain.is_decided(height) {
            return Err(unknown.into());
        }
        let named = number_of(&self.tables, id)?;
        let placed = decided_number(&self.tables, height)?;
        let is_placed = match placed.map(|number| load_state(&self.tables, number, height)) {
            Some(Ok(state)) => state.id == *id,
            Some(Err(StoreError::Damaged(_))) | None => false,
            Some(Err(error)) => return Err(error),
        };
        let number = placed.filter(|_| is_placed).or(named).ok_or(unknown)?;
        if placed == Some(number) && unless_damaged(load_decided(&self.tables, number, height))?.is_some() {
            return Ok(false);
        }
        if self.mend_value(number, id, &decided.value)?.is_none() {
            return Err(Damage { table: TableName::ValueIds, height, index: 0 }.into());
        }
        self.tables.heights.insert(height, number)?;
        self.tables.certificates.insert(height, seal(encode(&decided.certificate), height).as_slice())?;
        self.make_again(number, height)?;
        Ok(true)
    }
}
