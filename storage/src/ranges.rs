//! Sets of heights, as rows of `ranges`. Owns their encoding, and what is still known when a row is damaged.

use lapis_protocol_spec::{Height, HeightRanges};
use redb::ReadableTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    StoreError, TableName,
    error::Damage,
    rows::{seal, unseal},
    state::Chain,
    tables::{Tables, WriteTables},
    values::{load_state, load_value, unless_damaged},
};

/// The sets of heights in `ranges`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RangeKind {
    PayloadGaps = 1,
    BlobGaps = 2,
    Archived = 3,
}

impl RangeKind {
    fn from_key(kind: u8) -> Option<Self> {
        [Self::PayloadGaps, Self::BlobGaps, Self::Archived].into_iter().find(|known| *known as u8 == kind)
    }
}

/// A row that is not what was written, so that what it said is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DamagedRange {
    /// The set that it is of; `None` if the key does not say.
    pub(crate) kind: Option<RangeKind>,
    /// Where it seems to begin.
    pub(crate) start: Height,
}

impl DamagedRange {
    /// Whether heights of the set of archived ones may be gone with it. That cannot be told from other rows.
    pub(crate) fn is_of_archived(&self) -> bool {
        self.kind.is_none_or(|kind| kind == RangeKind::Archived)
    }

    /// Whether gaps may be gone with it.
    pub(crate) fn is_of_gaps(&self) -> bool {
        self.kind.is_none_or(|kind| kind != RangeKind::Archived)
    }

    pub(crate) fn damage(&self) -> Damage {
        Damage { table: TableName::Ranges, height: self.start, index: 0 }
    }
}

/// All rows of `ranges`.
#[derive(Debug, Default)]
pub(crate) struct RangeRows {
    pub(crate) payload_gaps: HeightRanges,
    pub(crate) blob_gaps: HeightRanges,
    pub(crate) archived: HeightRanges,
    /// Rows that are in none of the sets.
    pub(crate) damaged: Vec<DamagedRange>,
}

impl RangeRows {
    /// Reads all rows of a snapshot.
    pub(crate) fn load(tables: &impl Tables) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        for row in tables.ranges().iter()? {
            let (key, row) = row?;
            let (code, start) = key.value();
            let kind = RangeKind::from_key(code);
            match (kind, decode_end(row.value(), code, start)) {
                (Some(RangeKind::PayloadGaps), Some(end)) => rows.payload_gaps.insert(start..end),
                (Some(RangeKind::BlobGaps), Some(end)) => rows.blob_gaps.insert(start..end),
                (Some(RangeKind::Archived), Some(end)) => rows.archived.insert(start..end),
                _ => rows.damaged.push(DamagedRange { kind, start }),
            }
        }
        Ok(rows)
    }
}

/// Both parts of the key seal a row, so that it is valid at no other.
fn seal_key(kind: u8, start: Height) -> u64 {
    xxh3_64_with_seed(&start.to_le_bytes(), u64::from(kind))
}

fn decode_end(row: &[u8], kind: u8, start: Height) -> Option<Height> {
    let end = unseal(row, seal_key(kind, start))?;
    Some(Height::from_le_bytes(end.try_into().ok()?)).filter(|end| *end > start)
}

fn insert(tables: &mut WriteTables<'_>, kind: u8, range: &std::ops::Range<Height>) -> Result<(), StoreError> {
    let row = seal(range.end.to_le_bytes().to_vec(), seal_key(kind, range.start));
    tables.ranges.insert((kind, range.start), row.as_slice())?;
    Ok(())
}

/// Writes the ranges that are new or changed and deletes those that are gone: costs what changed, and one pass over
/// both sets.
pub(crate) fn persist_ranges(
    tables: &mut WriteTables<'_>,
    kind: RangeKind,
    before: &HeightRanges,
    after: &HeightRanges,
) -> Result<(), StoreError> {
    if before == after {
        return Ok(());
    }
    let kind = kind as u8;
    for range in before.iter().filter(|range| after.range_of(range.start).is_none_or(|r| r.start != range.start)) {
        tables.ranges.remove((kind, range.start))?;
    }
    for range in after.iter().filter(|range| before.range_of(range.start).as_ref() != Some(range)) {
        insert(tables, kind, &range)?;
    }
    Ok(())
}

/// Deletes every row, damaged or not.
pub(crate) fn clear_ranges(tables: &mut WriteTables<'_>) -> Result<(), StoreError> {
    Ok(tables.ranges.retain(|_, _| false)?)
}

/// Whether `height` is in the set `kind` of a snapshot.
pub(crate) fn in_ranges(tables: &impl Tables, kind: RangeKind, height: Height) -> Result<bool, StoreError> {
    let kind = kind as u8;
    let below = tables.ranges().range((kind, 0)..=(kind, height))?.next_back().transpose()?;
    let Some((key, row)) = below else { return Ok(false) };
    let damage = Damage { table: TableName::Ranges, height, index: 0 };
    let end = decode_end(row.value(), kind, key.value().1).ok_or(damage)?;
    Ok(height < end)
}

/// The heights without their payload and those without all blobs, told from all other rows. Goes through all heights
/// above the floors.
pub(crate) fn derive_gaps(tables: &impl Tables, chain: &Chain) -> Result<(HeightRanges, HeightRanges), StoreError> {
    let (mut payload_gaps, mut blob_gaps) = (HeightRanges::new(), HeightRanges::new());
    let first = chain.payload_floor.min(chain.blob_floor);
    for row in tables.heights().range(first..)? {
        let (height, number) = row?;
        let (height, number) = (height.value(), number.value());
        if !chain.is_decided(height) {
            continue;
        }
        if height >= chain.payload_floor && tables.payloads().get(number)?.is_none() {
            payload_gaps.insert_one(height);
        }
        if height >= chain.blob_floor && lacks_blobs(tables, number, height)? {
            blob_gaps.insert_one(height);
        }
    }
    Ok((payload_gaps, blob_gaps))
}

fn lacks_blobs(tables: &impl Tables, number: u64, height: Height) -> Result<bool, StoreError> {
    if let Some(state) = unless_damaged(load_state(tables, number, height))?.filter(|state| state.height == height) {
        return Ok(state.missing > 0);
    }
    // A value that is damaged, too, waits for its repair.
    let Some(value) = unless_damaged(load_value(tables, number, height))? else { return Ok(false) };
    for hash in value.versioned_hashes() {
        if tables.blobs().get(&hash.0)?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_row_is_valid_with_its_own_key_alone_and_every_flipped_bit_shows() {
        let row = seal(700_u64.to_le_bytes().to_vec(), seal_key(3, 500));
        assert_eq!(decode_end(&row, 3, 500), Some(700));
        assert_eq!(decode_end(&row, 2, 500), None, "gaps are not archived");
        for bit in 0..64 {
            assert_eq!(decode_end(&row, 3, 500 ^ (1 << bit)), None, "start, bit {bit}");
        }
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_end(&flipped, 3, 500), None, "bit {bit}");
        }
        let empty = seal(500_u64.to_le_bytes().to_vec(), seal_key(3, 500));
        assert_eq!(decode_end(&empty, 3, 500), None);
    }
}
