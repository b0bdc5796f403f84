//! Rows that belong to nothing: what a damaged row no longer names. Finds some at a time and changes nothing.

use redb::{ReadableTable, ReadableTableMetadata};

use crate::{
    Reader, StoreError,
    recount::{blob_phase, is_dangling, owner},
    rows::{BlobRow, seal_key, unseal},
    tables::ReadTables,
    verify::is_place,
};
use lapis_protocol_spec::{Bytes32, HeightRanges};

/// Most rows of each table that are found, and deleted in one transaction.
const MOST_ROWS: usize = 512;
/// Numbers of blobs that are looked at together, a byte each.
const WINDOW: usize = 1 << 23;

/// Keys of rows that belong to nothing.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Rows of `places`.
    pub(crate) places: Vec<([u8; 32], u64, u64, u16)>,
    /// Blobs that no place names, at or above what is swept.
    pub(crate) blobs: Vec<[u8; 32]>,
    /// Ids of values that are not held.
    pub(crate) value_ids: Vec<[u8; 32]>,
    /// Values that are neither decided nor proposed.
    pub(crate) values: Vec<u64>,
    /// Payloads, or only pieces of them, of values that are not held.
    pub(crate) payloads: Vec<u64>,
    /// Pieces of blobs that are not held.
    pub(crate) blob_pieces: Vec<u64>,
}

impl Orphans {
    /// Some of what belongs to nothing. What depends on other orphans shows when those are gone.
    pub(crate) fn find(reader: &Reader) -> Result<Self, StoreError> {
        let mut orphans = Self::default();
        orphans.find_values(reader)?;
        orphans.find_places(reader.read_tables())?;
        if orphans.is_empty() {
            orphans.find_blobs(reader)?;
            orphans.find_payloads(reader)?;
        }
        if orphans.is_empty() {
            orphans.find_blob_pieces(reader)?;
        }
        Ok(orphans)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Rows that they are, those of several pieces counted once.
    pub(crate) fn count(&self) -> u64 {
        let hashes = self.places.len() + self.blobs.len() + self.value_ids.len();
        (hashes + self.values.len() + self.payloads.len() + self.blob_pieces.len()) as u64
    }

    fn find_values(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let tables = reader.read_tables();
        for row in tables.values.iter()? {
            let number = row?.0.value();
            if self.values.len() >= MOST_ROWS {
                break;
            }
            if owner(tables, reader.chain(), number)?.is_none() {
                self.values.push(number);
            }
        }
        for row in tables.value_ids.iter()? {
            let (id, number) = row?;
            if self.value_ids.len() >= MOST_ROWS {
                break;
            }
            if is_dangling(tables, id.value(), number.value())? {
                self.value_ids.push(*id.value());
            }
        }
        Ok(())
    }

    fn find_places(&mut self, tables: &ReadTables) -> Result<(), StoreError> {
        for row in tables.places.iter()? {
            let (key, _) = row?;
            let (hash, height, number, index) = key.value();
            if self.places.len() >= MOST_ROWS {
                break;
            }
            if !is_place(tables, hash, height, number, index)? {
                self.places.push((*hash, height, number, index));
            }
        }
        Ok(())
    }

    fn find_blobs(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let tables = reader.read_tables();
        // Whether a height is archived does not decide whether a blob has one.
        let any = HeightRanges::new();
        for row in tables.blobs.iter()? {
            let hash = *row?.0.value();
            if self.blobs.len() >= MOST_ROWS {
                break;
            }
            if blob_phase(tables, reader.chain(), &any, &Bytes32::from(hash))?.is_none() {
                self.blobs.push(hash);
            }
        }
        Ok(())
    }

    fn find_payloads(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let tables = reader.read_tables();
        for row in tables.payloads.iter()? {
            let number = row?.0.value();
            if self.payloads.len() < MOST_ROWS && owner(tables, reader.chain(), number)?.is_none() {
                self.payloads.push(number);
            }
        }
        let mut from = 0;
        // One look per payload: its first piece, then past its last.
        while let Some(row) = tables.payload_pieces.range((from, 0)..)?.next() {
            let number = row?.0.value().0;
            if self.payloads.len() < MOST_ROWS && tables.payloads.get(number)?.is_none() {
                self.payloads.push(number);
            }
            match number.checked_add(1) {
                Some(next) if next > from => from = next,
                // The last one, or keys out of order: a damaged tree.
                Some(_) | None => break,
            }
        }
        Ok(())
    }

    fn find_blob_pieces(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let tables = reader.read_tables();
        if tables.blob_pieces.len()? == 2 * tables.blobs.len()? {
            return Ok(());
        }
        let mut from = 0;
        while let Some(row) = tables.blob_pieces.range((from, 0)..)?.next() {
            let first = row?.0.value().0;
            if first < from {
                break;
            }
            let live = live_numbers(tables, first)?;
            let end = first.saturating_add(live.len() as u64);
            let mut last = None;
            for row in tables.blob_pieces.range((first, 0)..(end, 0))? {
                let number = row?.0.value().0;
                let is_live = usize::try_from(number - first).ok().and_then(|at| live.get(at)).copied().unwrap_or(true);
                if !is_live && last != Some(number) {
                    self.blob_pieces.push(number);
                    last = Some(number);
                }
                if self.blob_pieces.len() >= MOST_ROWS {
                    return Ok(());
                }
            }
            if end == from {
                break;
            }
            from = end;
        }
        Ok(())
    }
}

/// Which numbers, from `first` on, are those of blobs that are held.
fn live_numbers(tables: &ReadTables, first: u64) -> Result<Vec<bool>, StoreError> {
    let mut live = vec![false; WINDOW];
    for row in tables.blobs.iter()? {
        let (hash, row) = row?;
        let blob = unseal(row.value(), seal_key(hash.value())).and_then(BlobRow::decode);
        let at = blob.and_then(|blob| usize::try_from(blob.number.checked_sub(first)?).ok());
        if let Some(is_live) = at.and_then(|at| live.get_mut(at)) {
            *is_live = true;
        }
    }
    Ok(live)
}
