//! All tables gone through: what they hold is counted, what belongs to nothing is found. Changes nothing.

use lapis_protocol_spec::{Bytes32, Height, HeightRanges};
use redb::{ReadableTable, ReadableTableMetadata};

use crate::{
    StoreError, TableName,
    error::Damage,
    pieces::{payload_pieces, payload_row},
    rows::{BlobRow, SEAL_BYTES, seal_key, unseal},
    state::Chain,
    status::{BLOB_BYTES, Phase, Tallies},
    store::load_validator_set,
    tables::Tables,
    values::{ROUND_BYTES, decided_number, load_state, load_value, phase, unless_damaged},
};

/// What the tables hold.
#[derive(Debug, Default)]
pub(crate) struct Recount {
    /// Counts by phase; `pruned` cannot be counted and is taken over.
    pub(crate) tallies: Tallies,
    /// Damage that no height shows.
    pub(crate) damages: Vec<Damage>,
    blob_pieces: u64,
    payload_pieces: u64,
    /// Rows that cannot be counted since they are damaged; their heights show it.
    pub(crate) unreadable: u64,
}

/// Most damages that are listed: a store with more is beyond row by row.
const MOST_DAMAGES: usize = 10_000;

/// Goes through all tables but `ranges`; `archived` is what that says of archived heights.
pub(crate) fn recount(tables: &impl Tables, chain: &Chain, archived: &HeightRanges) -> Result<Recount, StoreError> {
    let mut recount = Recount::default();
    recount.tallies.blobs.pruned = chain.tallies.blobs.pruned;
    recount.tallies.payloads.pruned = chain.tallies.payloads.pruned;
    recount.values(tables, chain)?;
    recount.blobs(tables, chain, archived)?;
    recount.payloads(tables, chain, archived)?;
    recount.validator_sets(tables)?;
    if recount.unreadable > 0 {
        return Ok(recount);
    }
    if tables.blob_pieces().len()? != recount.blob_pieces {
        recount.note(TableName::Blobs, 0, 0);
    }
    if tables.payload_pieces().len()? != recount.payload_pieces {
        recount.note(TableName::Payloads, 0, 0);
    }
    if recount.tallies != chain.tallies {
        recount.note(TableName::Meta, 0, 0);
    }
    Ok(recount)
}

impl Recount {
    fn note(&mut self, table: TableName, height: Height, index: u64) {
        if self.damages.len() < MOST_DAMAGES {
            self.damages.push(Damage { table, height, index });
        }
    }

    fn values(&mut self, tables: &impl Tables, chain: &Chain) -> Result<(), StoreError> {
        for row in tables.values().iter()? {
            let (number, row) = row?;
            let number = number.value();
            let bytes = row.value().len().saturating_sub(SEAL_BYTES) as u64;
            match owner(tables, chain, number)? {
                Some(Owner::Decided) => self.tallies.values_decided.add(bytes),
                Some(Owner::Undecided) => self.tallies.values_undecided.add(bytes),
                Some(Owner::Unreadable) => self.unreadable += 1,
                None => self.note(TableName::Values, 0, number),
            }
        }
        self.tallies.values_undecided.bytes += ROUND_BYTES * tables.rounds().len()?;
        for row in tables.value_ids().iter()? {
            let (id, number) = row?;
            if is_dangling(tables, id.value(), number.value())? {
                self.note(TableName::ValueIds, 0, number.value());
            }
        }
        Ok(())
    }

    fn blobs(&mut self, tables: &impl Tables, chain: &Chain, archived: &HeightRanges) -> Result<(), StoreError> {
        for row in tables.blobs().iter()? {
            let (hash, row) = row?;
            let hash = Bytes32::from(*hash.value());
            let blob = unseal(row.value(), seal_key(&hash.0)).and_then(BlobRow::decode);
            match blob_phase(tables, chain, archived, &hash)? {
                Some(phase) => self.tallies.blobs.shift(None, Some(phase), BLOB_BYTES),
                None => self.note(TableName::Blobs, 0, blob.map_or(0, |blob| blob.number)),
            }
            match blob {
                Some(_) => self.blob_pieces += 2,
                None => self.unreadable += 1,
            }
        }
        Ok(())
    }

    fn payloads(&mut self, tables: &impl Tables, chain: &Chain, archived: &HeightRanges) -> Result<(), StoreError> {
        for row in tables.payloads().iter()? {
            let number = row?.0.value();
            let Some(size) = unless_damaged(payload_row(tables, number, 0))?.flatten().map(|row| row.size) else {
                self.unreadable += 1;
                continue;
            };
            self.payload_pieces += payload_pieces(size);
            let Some(owner) = owner(tables, chain, number)? else {
                self.note(TableName::Payloads, 0, number);
                continue;
            };
            let height = unless_damaged(load_state(tables, number, 0))?.map_or(0, |state| state.height);
            let phase = match owner {
                Owner::Undecided => Phase::Undecided,
                Owner::Decided if archived.contains(height) => Phase::Archived,
                Owner::Decided => Phase::Decided,
                Owner::Unreadable => continue,
            };
            self.tallies.payloads.shift(None, Some(phase), size);
        }
        Ok(())
    }

    fn validator_sets(&mut self, tables: &impl Tables) -> Result<(), StoreError> {
        for row in tables.validator_sets().iter()? {
            let root = Bytes32::from(*row?.0.value());
            if unless_damaged(load_validator_set(tables, &root))?.is_none() {
                self.note(TableName::ValidatorSets, 0, 0);
            }
        }
        Ok(())
    }
}

/// To which kind of value a number belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Decided,
    Undecided,
    /// What would say it is damaged.
    Unreadable,
}

/// Whether a row of `value_ids` names a number that is not the value's.
pub(crate) fn is_dangling(tables: &impl Tables, id: &[u8; 32], number: u64) -> Result<bool, StoreError> {
    match unless_damaged(load_state(tables, number, 0))? {
        Some(state) => Ok(state.id.0 != *id),
        // A row that is there and damaged says nothing.
        None => Ok(tables.states().get(number)?.is_none()),
    }
}

/// Whether `number` is that of a decided value, or of one that has a round.
pub(crate) fn owner(tables: &impl Tables, chain: &Chain, number: u64) -> Result<Option<Owner>, StoreError> {
    let height = match unless_damaged(load_state(tables, number, 0))? {
        Some(state) => state.height,
        None => match unless_damaged(load_value(tables, number, 0))? {
            Some(value) => value.height,
            None => {
                let is_there = tables.states().get(number)?.is_some() || tables.values().get(number)?.is_some();
                return Ok(is_there.then_some(Owner::Unreadable));
            }
        },
    };
    if chain.is_decided(height) {
        let Some(decided) = decided_number(tables, height)? else { return Ok(Some(Owner::Unreadable)) };
        let state = unless_damaged(load_state(tables, decided, height))?;
        return Ok(match state {
            Some(state) if state.height == height => (decided == number).then_some(Owner::Decided),
            Some(_) | None => Some(Owner::Unreadable),
        });
    }
    for row in tables.rounds().range((height, 0, 0)..=(height, u64::MAX, u64::MAX))? {
        if row?.0.value().2 == number {
            return Ok(Some(Owner::Undecided));
        }
    }
    Ok(None)
}

/// The phase in which a blob is counted.
pub(crate) fn blob_phase(
    tables: &impl Tables,
    chain: &Chain,
    archived: &HeightRanges,
    hash: &Bytes32,
) -> Result<Option<Phase>, StoreError> {
    phase(tables, chain, hash, chain.blob_swept, |height| Ok(archived.contains(height)))
}
