//! Stage two: payloads and blobs.

use std::ops::Range;

use lapis_protocol_spec::{BlobSidecar, Bytes32, Height, Kzg, Matched, PayloadEnvelope, PayloadFault, Verified};
use redb::ReadableTable;

use crate::{
    Conflict, Store, StoreError, TableName, Watermarks,
    error::Damage,
    pieces,
    rows::seal,
    status::{BLOB_BYTES, Phase},
    store::{Safe, Writer},
    values::{load_state, number_of, unless_damaged},
};

/// Verified data of decided values, or of undecided ones that the store knows.
#[derive(Debug, Default)]
pub struct Batch {
    /// Payloads.
    pub payloads: Vec<Verified<PayloadEnvelope>>,
    /// Blobs.
    pub blobs: Vec<Verified<BlobSidecar>>,
}

/// What an insertion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Watermarks after it.
    pub watermarks: Watermarks,
    /// Heights that the `available` watermark has passed.
    pub newly_available: Range<Height>,
    /// Payloads written.
    pub payloads: u64,
    /// Blobs written. One blob fills all its places.
    pub blobs: u64,
    /// Bytes of those payloads and blobs.
    pub bytes: u64,
    /// Items that were held already.
    pub duplicates: u64,
    /// Items that are below the floors: not kept, not wanted again.
    pub below_floor: u64,
}

/// What [`Store::verify_and_store`] found. What is not faulty is stored.
#[derive(Debug, Default)]
pub struct VerifyOutcome {
    /// What was stored.
    pub inserted: Inserted,
    /// Height and index of each blob whose proof does not verify.
    pub faulty_blobs: Vec<(Height, u64)>,
    /// Height of each payload that is not the certified one, and how it differs.
    pub faulty_payloads: Vec<(Height, PayloadFault)>,
    /// Height and index of each blob that could not be checked, through no fault of its sender's, and is not stored.
    pub unchecked_blobs: Vec<(Height, u64)>,
}

impl Store {
    /// Writes verified data. Durable, one transaction: once this returns, everything in the batch is safe.
    ///
    /// Duplicates are harmless. A batch of some dozens of blobs costs a third per blob of what single ones do.
    ///
    /// # Errors
    /// [`Conflict::UnknownValue`] or [`Conflict::UnknownPlace`] naming the first item that belongs nowhere,
    /// [`StoreError::UndecidedFull`]; nothing of the batch is kept then.
    pub fn insert(&self, batch: Batch) -> Result<Inserted, StoreError> {
        let mut inserted = self.write(Safe::Durable, |writer| {
            let mut inserted = Inserted::default();
            for payload in &batch.payloads {
                writer.insert_payload(payload, &mut inserted)?;
            }
            for blob in &batch.blobs {
                writer.insert_blob(blob, &mut inserted)?;
            }
            let before = writer.state.chain.available;
            writer.state.advance();
            inserted.newly_available = before.saturating_add(1)..writer.state.chain.available.saturating_add(1);
            inserted.watermarks = writer.state.watermarks();
            Ok(inserted)
        })?;
        if inserted.newly_available.is_empty() {
            inserted.newly_available = Range::default();
        }
        Ok(inserted)
    }

    /// Verifies data that is what was asked for, names what is faulty, and stores the rest as [`Store::insert`] does.
    ///
    /// # Errors
    /// As [`Store::insert`]. Faulty items are no error: they are somebody else's fault, and named.
    pub fn verify_and_store(
        &self,
        kzg: &Kzg,
        payloads: Vec<Matched<PayloadEnvelope>>,
        blobs: Vec<Matched<BlobSidecar>>,
    ) -> Result<VerifyOutcome, StoreError> {
        self.check_known(&payloads, &blobs)?;
        let mut outcome = VerifyOutcome::default();
        let mut batch = Batch::default();
        for payload in payloads {
            let height = payload.height;
            match payload.verify() {
                Ok(verified) => batch.payloads.push(verified),
                Err(fault) => outcome.faulty_payloads.push((height, fault)),
            }
        }
        let checked = kzg.verify_batch(blobs.into_iter().map(|blob| ((), blob)).collect());
        batch.blobs = checked.verified.into_iter().map(|((), blob)| blob).collect();
        outcome.faulty_blobs = checked.faulty.iter().map(|((), blob)| (blob.height, blob.index)).collect();
        outcome.unchecked_blobs = checked.unchecked.iter().map(|((), blob)| (blob.height, blob.index)).collect();
        outcome.inserted = self.insert(batch)?;
        Ok(outcome)
    }

    /// Finds items that could not be stored before anything is spent on verifying them.
    fn check_known(
        &self,
        payloads: &[Matched<PayloadEnvelope>],
        blobs: &[Matched<BlobSidecar>],
    ) -> Result<(), StoreError> {
        let reader = self.reader()?;
        let payloads = payloads.iter().map(|payload| (payload.height, *payload.value_id()));
        let mut last = None;
        for (height, value_id) in payloads.chain(blobs.iter().map(|blob| (blob.height, *blob.value_id()))) {
            if last != Some(value_id) && number_of(reader.read_tables(), &value_id)?.is_none() {
                return Err(Conflict::UnknownValue { height, value_id }.into());
            }
            last = Some(value_id);
        }
        Ok(())
    }
}

impl Writer<'_> {
    /// The number of a value that is known. Its state is made again if it is damaged.
    fn known(&mut self, height: Height, value_id: &Bytes32) -> Result<u64, StoreError> {
        let unknown = Conflict::UnknownValue { height, value_id: *value_id };
        let number = number_of(&self.tables, value_id)?.ok_or(unknown)?;
        let state = match unless_damaged(load_state(&self.tables, number, height))? {
            Some(state) => state,
            None => self.recount(number, height)?,
        };
        if state.id != *value_id || state.height != height {
            return Err(Damage { table: TableName::ValueIds, height, index: 0 }.into());
        }
        Ok(number)
    }

    fn insert_payload(
        &mut self,
        payload: &Verified<PayloadEnvelope>,
        inserted: &mut Inserted,
    ) -> Result<(), StoreError> {
        let height = payload.height;
        let number = self.known(height, payload.value_id())?;
        if self.tables.payloads.get(number)?.is_some() {
            inserted.duplicates += 1;
            return Ok(());
        }
        if height < self.state.chain.payload_floor {
            inserted.below_floor += 1;
            return Ok(());
        }
        let phase = self.payload_phase(height);
        if phase == Phase::Undecided {
            let requests = payload.execution_requests.iter().map(|request| 4 + request.len());
            self.check_cap((PayloadEnvelope::FIXED_BYTES + payload.payload.len() + requests.sum::<usize>()) as u64)?;
        }
        let bytes = pieces::write_payload(&mut self.tables, number, payload)?;
        self.state.chain.tallies.payloads.shift(None, Some(phase), bytes);
        self.state.payload_gaps.remove_one(height);
        inserted.payloads += 1;
        inserted.bytes += bytes;
        Ok(())
    }

    fn insert_blob(&mut self, blob: &Verified<BlobSidecar>, inserted: &mut Inserted) -> Result<(), StoreError> {
        let number = self.known(blob.height, blob.value_id())?;
        let hash = blob.versioned_hash();
        if !self.is_place(&hash, blob, number)? {
            let BlobSidecar { height, index, .. } = **blob;
            return Err(Conflict::UnknownPlace { height, value_id: *blob.value_id(), index }.into());
        }
        if self.holds_blob(&hash)? {
            inserted.duplicates += 1;
            return Ok(());
        }
        let floor = self.state.chain.blob_floor;
        let first = (&hash.0, floor, 0, 0);
        let wanted = self.tables.places.range(first..=(&hash.0, Height::MAX, u64::MAX, u16::MAX))?.next().is_some();
        let Some(phase) = self.blob_phase(&hash)?.filter(|_| wanted) else {
            inserted.below_floor += 1;
            return Ok(());
        };
        if phase == Phase::Undecided {
            self.check_cap(BLOB_BYTES)?;
        }
        let blob_number = self.state.chain.next_blob;
        self.state.chain.next_blob += 1;
        pieces::write_blob(&mut self.tables, blob_number, &hash, blob)?;
        self.state.chain.tallies.blobs.shift(None, Some(phase), BLOB_BYTES);
        self.fill_places(&hash)?;
        inserted.blobs += 1;
        inserted.bytes += BLOB_BYTES;
        Ok(())
    }

    fn is_place(&self, hash: &Bytes32, blob: &BlobSidecar, number: u64) -> Result<bool, StoreError> {
        let Ok(index) = u16::try_from(blob.index) else { return Ok(false) };
        Ok(self.tables.places.get((&hash.0, blob.height, number, index))?.is_some())
    }

    /// Takes a blob that is held now off what each of its values misses.
    fn fill_places(&mut self, hash: &Bytes32) -> Result<(), StoreError> {
        let first = (&hash.0, self.state.chain.blob_floor, 0, 0);
        let last = (&hash.0, Height::MAX, u64::MAX, u16::MAX);
        let mut damaged = Vec::new();
        for row in self.tables.places.range(first..=last)? {
            let (key, _) = row?;
            let (_, height, number, _) = key.value();
            let Some(mut state) = unless_damaged(load_state(&self.tables, number, height))? else {
                damaged.push((number, height));
                continue;
            };
            state.missing = state.missing.saturating_sub(1);
            self.tables.states.insert(number, seal(state.encode(), number).as_slice())?;
            if state.missing == 0 {
                self.state.blob_gaps.remove_one(height);
            }
        }
        for (number, height) in damaged {
            // The value may be damaged, too; that is not this blob's matter.
            unless_damaged(self.recount(number, height))?;
        }
        Ok(())
    }
}
