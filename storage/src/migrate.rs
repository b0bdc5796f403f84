//! Steps from each schema to the next. Owns the shapes that tables had before.

use lapis_protocol_spec::HeightRanges;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::{
    StoreError,
    ranges::RangeKind,
    state::{Chain, State},
    tables::WriteTables,
};

/// A step from a schema to the next. All steps that a store needs run in one durable transaction, which also writes the
/// new version, so that a store is never between two.
type Migration = fn(&WriteTransaction) -> Result<(), StoreError>;

/// The first one leads from schema 1 to 2. A schema that changes what an earlier step writes leaves that step a copy of
/// what it was.
pub(crate) const MIGRATIONS: &[Migration] = &[seal_ranges];

/// Schema 1: an end without a seal.
const UNSEALED_RANGES: TableDefinition<'_, (u8, u64), u64> = TableDefinition::new("ranges");

/// From 1 to 2: rows of `ranges` get a seal.
///
/// Until now nothing told a damaged row. Gaps are therefore told from other rows anew, and heights count as archived only
/// if there are as many of them as payloads were counted as archived, in the row of the chain, which has a seal.
fn seal_ranges(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let archived = unsealed_archived(transaction)?;
    transaction.delete_table(UNSEALED_RANGES)?;
    let mut tables = WriteTables::open(transaction)?;
    let chain = Chain::load(&tables)?;
    let before = State { archived, ..State::of(chain) };
    let mut state = before.within_bounds();
    state.derive_gaps(&tables)?;
    if state.archived != before.archived || !archived_as_counted(&state) {
        state.forget_archived();
    }
    state.persist(&mut tables, Some(&State::of(chain)))
}

fn unsealed_archived(transaction: &WriteTransaction) -> Result<HeightRanges, StoreError> {
    let ranges = transaction.open_table(UNSEALED_RANGES)?;
    let mut archived = HeightRanges::new();
    for row in ranges.iter()? {
        let (key, end) = row?;
        let (kind, start) = key.value();
        if kind == RangeKind::Archived as u8 {
            archived.insert(start..end.value());
        }
    }
    Ok(archived)
}

/// Whether as many payloads of archived heights are held as are counted. Below what is swept there are none, nor anything
/// else that pruning could take.
fn archived_as_counted(state: &State) -> bool {
    let mut held = state.archived.clone();
    held.remove(0..state.chain.payload_swept);
    state.payload_gaps.iter().for_each(|gap| held.remove(gap));
    held.count() == state.chain.tallies.payloads.archived.count
}
