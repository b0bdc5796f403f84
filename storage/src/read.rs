//! Reading from a snapshot. Everything that leaves here has passed its checksum.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use lapis_protocol_spec::{
    Blob, BlobSidecar, Bytes32, DecidedValue, Height, IdentifiedValue, PayloadEnvelope, ValidatorSet, Value, decode,
    versioned_hash,
};
use redb::{ReadTransaction, ReadableTable};

use crate::{
    BlobStatus, Store, StoreError, TableName,
    error::{Damage, guarded},
    lifecycle::load_engine_head,
    pieces::{self, StoredBlob, StoredPayload},
    ranges::{RangeKind, in_ranges},
    rows::ValueState,
    state::Chain,
    store::load_validator_set,
    tables::{ReadTables, Tables},
    values::{Place, decided_number, find, highest_place, load_decided, load_state, load_value, phase},
};

/// A snapshot of the store. See [`Store::reader`].
pub struct Reader {
    tables: ReadTables,
    chain: Chain,
    /// The value read last: serving a height asks for it once per blob.
    last_value: Mutex<Option<(u64, Arc<Value>)>>,
}

/// A complete height, as the importer takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForImport {
    /// The value and its certificate.
    pub decided: DecidedValue,
    /// Its payload.
    pub payload: PayloadEnvelope,
}

/// A value that is not decided, and what is held of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// The value.
    pub value: IdentifiedValue,
    /// Rounds in which it was proposed, ascending.
    pub rounds: Vec<u64>,
    /// Its payload, if that is held.
    pub payload: Option<PayloadEnvelope>,
    /// Indices of its blobs that are not held, ascending.
    pub missing_blobs: Vec<u64>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("decided", &self.chain.decided()).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        let tables = ReadTables::open(transaction)?;
        let chain = Chain::load(&tables)?;
        Ok(Self { tables, chain, last_value: Mutex::new(None) })
    }

    /// The decided value at `height` with its certificate.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn decided_value(&self, height: Height) -> Result<Option<DecidedValue>, StoreError> {
        let Some(number) = guarded(|| decided_number(&self.tables, height))? else { return Ok(None) };
        guarded(|| load_decided(&self.tables, number, height)).map(Some)
    }

    /// The decided value at `height` with its id, which is computed from it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its row is.
    pub fn identified_value(&self, height: Height) -> Result<Option<IdentifiedValue>, StoreError> {
        let Some(number) = guarded(|| decided_number(&self.tables, height))? else { return Ok(None) };
        Ok(Some(IdentifiedValue::new(self.value(number, height)?)))
    }

    /// The height of a value, decided or not.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its row is.
    pub fn value_height(&self, value_id: &Bytes32) -> Result<Option<Height>, StoreError> {
        Ok(find(&self.tables, value_id)?.map(|(_, state)| state.height))
    }

    /// The payload of the decided value at `height`, if it is held.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn payload(&self, height: Height) -> Result<Option<PayloadEnvelope>, StoreError> {
        self.stored_payload(height)?.map(|payload| envelope(&payload, height)).transpose()
    }

    /// The payload of the value `value_id`, decided or not, if it is held.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn payload_by_id(&self, value_id: &Bytes32) -> Result<Option<PayloadEnvelope>, StoreError> {
        let Some((number, ValueState { height, .. })) = find(&self.tables, value_id)? else { return Ok(None) };
        if height < self.chain.payload_floor {
            return Ok(None);
        }
        let stored = pieces::read_payload(&self.tables, number, height)?;
        stored.map(|payload| envelope(&payload, height)).transpose()
    }

    /// Whether the payload and all blobs of the decided value at `height` are held, so that it can be served.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be told.
    pub fn has_height_whole(&self, height: Height) -> Result<bool, StoreError> {
        let payload = height >= self.chain.payload_floor && !in_ranges(&self.tables, RangeKind::PayloadGaps, height)?;
        Ok(payload && self.has_blobs_whole(height)?)
    }

    /// Whether all blobs of the decided value at `height` are held.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be told.
    pub fn has_blobs_whole(&self, height: Height) -> Result<bool, StoreError> {
        let wanted = self.chain.is_decided(height) && height >= self.chain.blob_floor;
        Ok(wanted && !in_ranges(&self.tables, RangeKind::BlobGaps, height)?)
    }

    /// Blob `index` of the decided value at `height`, if it is held.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn sidecar(&self, height: Height, index: u64) -> Result<Option<BlobSidecar>, StoreError> {
        let Some(hash) = self.decided_hash(height, index)? else { return Ok(None) };
        let Some(stored) = self.stored_blob(&hash, height, index)? else { return Ok(None) };
        let damage = Damage { table: TableName::Blobs, height, index };
        let blob = Blob::from_bytes(stored.slices().concat().into()).ok_or(damage)?;
        let (kzg_commitment, kzg_proof) = (stored.row.commitment, stored.row.proof);
        Ok(Some(BlobSidecar { height, index, kzg_commitment, kzg_proof, blob }))
    }

    /// Gives the SSZ encoding of blob `index` at `height` to `body`, in pieces that lie in the database's pages.
    ///
    /// The pieces are checked and not copied. `None` if it is not held, and `body` is not called.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn with_sidecar<R>(
        &self,
        height: Height,
        index: u64,
        body: impl FnOnce(&[&[u8]]) -> R,
    ) -> Result<Option<R>, StoreError> {
        let Some(hash) = self.decided_hash(height, index)? else { return Ok(None) };
        let stored = self.stored_blob(&hash, height, index)?;
        Ok(stored.map(|stored| with_encoding(&stored, height, index, body)))
    }

    /// Gives the SSZ encoding of the blob with this versioned hash to `body`, with one of its places: the highest decided
    /// one, else one of an undecided value.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn with_sidecar_by_hash<R>(
        &self,
        hash: &Bytes32,
        body: impl FnOnce(Height, u64, &[&[u8]]) -> R,
    ) -> Result<Option<R>, StoreError> {
        let Some(Place { height, index, .. }) = self.served_place(hash)? else { return Ok(None) };
        let index = u64::from(index);
        let stored = self.stored_blob(hash, height, index)?;
        Ok(stored.map(|stored| with_encoding(&stored, height, index, |pieces| body(height, index, pieces))))
    }

    /// The place under which the blob with this versioned hash is served, as (height, index); it need not be held.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn place_of(&self, hash: &Bytes32) -> Result<Option<(Height, u64)>, StoreError> {
        Ok(self.served_place(hash)?.map(|place| (place.height, u64::from(place.index))))
    }

    /// Gives the SSZ encoding of the payload envelope at `height` to `body`, in pieces.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn with_payload<R>(&self, height: Height, body: impl FnOnce(&[&[u8]]) -> R) -> Result<Option<R>, StoreError> {
        let stored = self.stored_payload(height)?;
        Ok(stored.map(|payload| body(&payload.slices().collect::<Vec<_>>())))
    }

    /// Bytes of the SSZ payload envelope at `height`, if it is held: what serving it costs, without reading it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its row is.
    pub fn payload_size(&self, height: Height) -> Result<Option<u64>, StoreError> {
        let Some(number) = self.wanted_payload(height)? else { return Ok(None) };
        Ok(pieces::payload_row(&self.tables, number, height)?.map(|row| row.size))
    }

    /// What is known of a versioned hash.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be told.
    pub fn blob_status(&self, hash: &Bytes32) -> Result<BlobStatus, StoreError> {
        if highest_place(&self.tables, hash, 0..=Height::MAX)?.is_none() {
            return Ok(BlobStatus::Unknown);
        }
        let is_archived = |height| in_ranges(&self.tables, RangeKind::Archived, height);
        let Some(phase) = phase(&self.tables, &self.chain, hash, self.chain.blob_floor, is_archived)? else {
            return Ok(BlobStatus::Pruned);
        };
        let held = self.tables.blobs.get(&hash.0)?.is_some();
        Ok(if held { phase.into() } else { BlobStatus::Awaited })
    }

    /// The validator set with this root.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its row is.
    pub fn validator_set(&self, root: &Bytes32) -> Result<Option<ValidatorSet>, StoreError> {
        load_validator_set(&self.tables, root)
    }

    pub(crate) fn engine_head(&self) -> Result<Option<Vec<u8>>, StoreError> {
        load_engine_head(&self.tables)
    }

    /// Whether the payload of the decided value at `height` is held.
    pub(crate) fn holds_payload(&self, height: Height) -> Result<bool, StoreError> {
        let Some(number) = guarded(|| decided_number(&self.tables, height))? else { return Ok(false) };
        Ok(self.tables.payloads.get(number)?.is_some())
    }

    /// Indices of the blobs of `value` that are not held.
    pub(crate) fn missing_indices(&self, value: &Value) -> Result<Vec<u64>, StoreError> {
        let mut missing = Vec::new();
        for (index, hash) in (0_u64..).zip(value.versioned_hashes()) {
            if self.tables.blobs.get(&hash.0)?.is_none() {
                missing.push(index);
            }
        }
        Ok(missing)
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    pub(crate) fn read_tables(&self) -> &ReadTables {
        &self.tables
    }

    fn value(&self, number: u64, height: Height) -> Result<Arc<Value>, StoreError> {
        let mut last = self.last_value.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = last.as_ref().filter(|(known, _)| *known == number) {
            return Ok(value.clone());
        }
        let value = guarded(|| load_value(&self.tables, number, height))?;
        if value.height != height {
            return Err(Damage { table: TableName::Heights, height, index: 0 }.into());
        }
        let value = Arc::new(value);
        *last = Some((number, value.clone()));
        Ok(value)
    }

    fn decided_hash(&self, height: Height, index: u64) -> Result<Option<Bytes32>, StoreError> {
        if height < self.chain.blob_floor {
            return Ok(None);
        }
        let Some(number) = guarded(|| decided_number(&self.tables, height))? else { return Ok(None) };
        Ok(self.value(number, height)?.commitment(index).map(versioned_hash))
    }

    fn served_place(&self, hash: &Bytes32) -> Result<Option<Place>, StoreError> {
        let (floor, decided) = (self.chain.blob_floor, self.chain.decided());
        guarded(|| match highest_place(&self.tables, hash, floor..=decided)? {
            Some(place) => Ok(Some(place)),
            None => highest_place(&self.tables, hash, floor..=Height::MAX),
        })
    }

    /// A blob that is not held although its height is whole has been lost: damage like any other.
    fn stored_blob(&self, hash: &Bytes32, height: Height, index: u64) -> Result<Option<StoredBlob<'_>>, StoreError> {
        let stored = guarded(|| pieces::read_blob(&self.tables, hash, height, index))?;
        if stored.is_none() && self.has_blobs_whole(height)? {
            return Err(Damage { table: TableName::Blobs, height, index }.into());
        }
        Ok(stored)
    }

    /// Number of the decided value at `height` if its payload is wanted. `heights` has no seal: the state must agree.
    fn wanted_payload(&self, height: Height) -> Result<Option<u64>, StoreError> {
        if height < self.chain.payload_floor {
            return Ok(None);
        }
        let Some(number) = guarded(|| decided_number(&self.tables, height))? else { return Ok(None) };
        if load_state(&self.tables, number, height)?.height != height {
            return Err(Damage { table: TableName::Heights, height, index: 0 }.into());
        }
        Ok(Some(number))
    }

    fn stored_payload(&self, height: Height) -> Result<Option<StoredPayload<'_>>, StoreError> {
        let Some(number) = guarded(|| self.wanted_payload(height))? else { return Ok(None) };
        let stored = guarded(|| pieces::read_payload(&self.tables, number, height))?;
        if stored.is_none() && !in_ranges(&self.tables, RangeKind::PayloadGaps, height)? {
            return Err(Damage { table: TableName::Payloads, height, index: 0 }.into());
        }
        Ok(stored)
    }
}

impl Store {
    /// The decided value at `height` with its certificate.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn get_decided(&self, height: Height) -> Result<Option<DecidedValue>, StoreError> {
        self.reader()?.decided_value(height)
    }

    /// An undecided value, and what is held of it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn get_undecided(&self, value_id: &Bytes32) -> Result<Option<Undecided>, StoreError> {
        let reader = self.reader()?;
        let Some((number, ValueState { height, .. })) = find(&reader.tables, value_id)? else { return Ok(None) };
        if height <= reader.chain.decided() {
            return Ok(None);
        }
        let mut rounds = Vec::new();
        for row in reader.tables.rounds().range((height, 0, 0)..=(height, u64::MAX, u64::MAX))? {
            let (_, round, of) = row?.0.value();
            if of == number {
                rounds.push(round);
            }
        }
        let value = reader.value(number, height)?;
        let payload = pieces::read_payload(&reader.tables, number, height)?;
        Ok(Some(Undecided {
            missing_blobs: reader.missing_indices(&value)?,
            payload: payload.map(|payload| envelope(&payload, height)).transpose()?,
            value: IdentifiedValue::new(value),
            rounds,
        }))
    }

    /// The height, if it is complete: payload held, and all blobs at and above the blob floor.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its rows are.
    pub fn get_for_import(&self, height: Height) -> Result<Option<ForImport>, StoreError> {
        let reader = self.reader()?;
        if in_ranges(&reader.tables, RangeKind::BlobGaps, height)? {
            return Ok(None);
        }
        let Some(payload) = reader.payload(height)? else { return Ok(None) };
        let Some(decided) = reader.decided_value(height)? else { return Ok(None) };
        Ok(Some(ForImport { decided, payload }))
    }

    /// What is known of a versioned hash.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be told.
    pub fn blob_status(&self, hash: &Bytes32) -> Result<BlobStatus, StoreError> {
        self.reader()?.blob_status(hash)
    }
}

fn with_encoding<R>(stored: &StoredBlob<'_>, height: Height, index: u64, body: impl FnOnce(&[&[u8]]) -> R) -> R {
    let header = BlobSidecar::header(height, index, &stored.row.commitment, &stored.row.proof);
    let [first, second, tail] = stored.slices();
    body(&[&header, first, second, tail])
}

fn envelope(payload: &StoredPayload<'_>, height: Height) -> Result<PayloadEnvelope, StoreError> {
    let damage = Damage { table: TableName::Payloads, height, index: 0 };
    let mut bytes = Vec::with_capacity(usize::try_from(payload.size()).map_err(|_| damage)?);
    payload.slices().for_each(|slice| bytes.extend_from_slice(slice));
    Ok(decode(&bytes).map_err(|_| damage)?)
}
