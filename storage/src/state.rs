//! The state of the chain: what `meta` and `ranges` hold, in memory as of the last commit. Owns the invariant
//! `pruned <= imported <= available <= decided`.

use std::ops::RangeInclusive;

use lapis_protocol_spec::{Bytes32, ChainLink, Genesis, Height, HeightRanges};
use redb::ReadableTable;

use crate::{
    StoreError, TableName, Watermarks,
    error::Damage,
    ranges::{DamagedRange, RangeKind, RangeRows, clear_ranges, derive_gaps, persist_ranges},
    rows::{Fields, seal, unseal},
    status::{PhaseTallies, Tallies, Tally},
    tables::{Tables, WriteTables},
};

/// Row of `meta` that holds the [`Chain`].
const CHAIN: &str = "chain";

/// Everything of fixed size: one row, written by every transaction that changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// What the lowest value held attaches to: genesis or a trusted checkpoint.
    pub(crate) base: ChainLink,
    /// The highest decided value.
    pub(crate) tip: ChainLink,
    /// Watermark.
    pub(crate) available: Height,
    /// Watermark.
    pub(crate) imported: Height,
    /// Lowest height whose blobs are wanted and served.
    pub(crate) blob_floor: Height,
    /// Lowest height whose blob rows have not been deleted; at most `blob_floor`.
    pub(crate) blob_swept: Height,
    /// Lowest height whose payload is wanted and served.
    pub(crate) payload_floor: Height,
    /// Lowest height whose payload rows have not been deleted; at most `payload_floor`.
    pub(crate) payload_swept: Height,
    /// Number of the next value.
    pub(crate) next_value: u64,
    /// Number of the next blob.
    pub(crate) next_blob: u64,
    /// Counts by phase.
    pub(crate) tallies: Tallies,
}

/// [`Chain`] and the sets of heights that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) chain: Chain,
    /// Decided heights at and above the payload floor whose payload is not held.
    pub(crate) payload_gaps: HeightRanges,
    /// Decided heights at and above the blob floor of whose blobs some are not held.
    pub(crate) blob_gaps: HeightRanges,
    /// Archived heights.
    pub(crate) archived: HeightRanges,
}

impl Chain {
    /// A chain without values that starts after `base`.
    pub(crate) fn starting_at(base: ChainLink) -> Self {
        let first = base.height.saturating_add(1);
        Self {
            base,
            tip: base,
            available: base.height,
            imported: base.height,
            blob_floor: first,
            blob_swept: first,
            payload_floor: first,
            payload_swept: first,
            next_value: 1,
            next_blob: 1,
            tallies: Tallies::default(),
        }
    }

    /// Height of the tip.
    pub(crate) fn decided(&self) -> Height {
        self.tip.height
    }

    /// Whether `height` holds a decided value.
    pub(crate) fn is_decided(&self, height: Height) -> bool {
        height > self.base.height && height <= self.tip.height
    }

    /// Whether all rows below the floors are deleted. Above the tip there are none, wherever the floors are.
    pub(crate) fn is_swept(&self) -> bool {
        let end = self.decided().saturating_add(1);
        self.blob_swept >= self.blob_floor.min(end) && self.payload_swept >= self.payload_floor.min(end)
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(512);
        for link in [&self.base, &self.tip] {
            row.extend_from_slice(&link.height.to_le_bytes());
            row.extend_from_slice(link.value_id.as_slice());
            row.extend_from_slice(link.next_validators_root.as_slice());
            row.extend_from_slice(link.block_hash.as_slice());
            row.extend_from_slice(&link.timestamp.to_le_bytes());
        }
        let heights = [
            self.available,
            self.imported,
            self.blob_floor,
            self.blob_swept,
            self.payload_floor,
            self.payload_swept,
            self.next_value,
            self.next_blob,
        ];
        heights.iter().for_each(|number| row.extend_from_slice(&number.to_le_bytes()));
        let Tallies { values_decided, values_undecided, blobs, payloads } = self.tallies;
        let of = |phases: PhaseTallies| [phases.undecided, phases.decided, phases.archived, phases.pruned];
        for tally in [values_decided, values_undecided].into_iter().chain(of(blobs)).chain(of(payloads)) {
            row.extend_from_slice(&tally.count.to_le_bytes());
            row.extend_from_slice(&tally.bytes.to_le_bytes());
        }
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut fields = Fields(row);
        let chain = Self {
            base: link(&mut fields)?,
            tip: link(&mut fields)?,
            available: fields.u64()?,
            imported: fields.u64()?,
            blob_floor: fields.u64()?,
            blob_swept: fields.u64()?,
            payload_floor: fields.u64()?,
            payload_swept: fields.u64()?,
            next_value: fields.u64()?,
            next_blob: fields.u64()?,
            tallies: Tallies {
                values_decided: tally(&mut fields)?,
                values_undecided: tally(&mut fields)?,
                blobs: phases(&mut fields)?,
                payloads: phases(&mut fields)?,
            },
        };
        fields.end(chain)
    }

    /// Reads the chain of a snapshot.
    pub(crate) fn load(tables: &impl Tables) -> Result<Self, StoreError> {
        let damage = Damage { table: TableName::Meta, height: 0, index: 0 };
        let row = tables.meta().get(CHAIN)?.ok_or(damage)?;
        let chain = unseal(row.value(), 0).and_then(Self::decode).ok_or(damage)?;
        Ok(chain)
    }
}

fn link(fields: &mut Fields<'_>) -> Option<ChainLink> {
    Some(ChainLink {
        height: fields.u64()?,
        value_id: Bytes32::from(fields.array()?),
        next_validators_root: Bytes32::from(fields.array()?),
        block_hash: Bytes32::from(fields.array()?),
        timestamp: fields.u64()?,
    })
}

fn tally(fields: &mut Fields<'_>) -> Option<Tally> {
    Some(Tally { count: fields.u64()?, bytes: fields.u64()? })
}

fn phases(fields: &mut Fields<'_>) -> Option<PhaseTallies> {
    Some(PhaseTallies {
        undecided: tally(fields)?,
        decided: tally(fields)?,
        archived: tally(fields)?,
        pruned: tally(fields)?,
    })
}

impl State {
    /// The state of a store that holds nothing of the chain of `genesis`.
    pub(crate) fn genesis(genesis: &Genesis) -> Self {
        Self::starting_at(ChainLink::genesis(genesis))
    }

    /// The state of a store that holds nothing and starts after `base`.
    pub(crate) fn starting_at(base: ChainLink) -> Self {
        Self::of(Chain::starting_at(base))
    }

    /// A state without sets.
    pub(crate) fn of(chain: Chain) -> Self {
        Self { chain, payload_gaps: HeightRanges::new(), blob_gaps: HeightRanges::new(), archived: HeightRanges::new() }
    }

    /// Reads the state of a snapshot. What damaged rows of `ranges` say is not in it.
    pub(crate) fn load(tables: &impl Tables) -> Result<(Self, Vec<DamagedRange>), StoreError> {
        let chain = Chain::load(tables)?;
        let RangeRows { payload_gaps, blob_gaps, archived, damaged } = RangeRows::load(tables)?;
        Ok((Self { chain, payload_gaps, blob_gaps, archived }, damaged))
    }

    /// Makes up for damaged rows of `ranges`. Gaps follow from other rows. That a height is archived does not, and it is
    /// better archived twice than pruned and gone: then no height counts as archived any more.
    pub(crate) fn mend_ranges(&mut self, damaged: &[DamagedRange], tables: &impl Tables) -> Result<(), StoreError> {
        if damaged.iter().any(DamagedRange::is_of_gaps) {
            self.derive_gaps(tables)?;
        }
        if damaged.iter().any(DamagedRange::is_of_archived) {
            self.forget_archived();
        }
        Ok(())
    }

    /// Tells the gaps from all other rows.
    pub(crate) fn derive_gaps(&mut self, tables: &impl Tables) -> Result<(), StoreError> {
        (self.payload_gaps, self.blob_gaps) = derive_gaps(tables, &self.chain)?;
        let next = self.chain.imported.saturating_add(1);
        if let Some(gap) = self.gaps().iter().find(|gap| gap.end > next) {
            self.retreat(gap.start.max(next));
        }
        self.advance();
        Ok(())
    }

    /// From here on no height counts as archived.
    pub(crate) fn forget_archived(&mut self) {
        self.archived = HeightRanges::new();
        let Tallies { blobs, payloads, .. } = &mut self.chain.tallies;
        for phases in [blobs, payloads] {
            let Tally { count, bytes } = std::mem::take(&mut phases.archived);
            phases.decided.count = phases.decided.count.saturating_add(count);
            phases.decided.bytes = phases.decided.bytes.saturating_add(bytes);
        }
    }

    /// The same with nothing in the sets that cannot be there: heights below the floors or above the tip.
    pub(crate) fn within_bounds(&self) -> Self {
        let mut state = self.clone();
        let end = self.chain.decided().saturating_add(1);
        state.payload_gaps.remove(0..self.chain.payload_floor);
        state.blob_gaps.remove(0..self.chain.blob_floor);
        state.archived.remove(0..self.chain.base.height.saturating_add(1));
        for set in [&mut state.payload_gaps, &mut state.blob_gaps, &mut state.archived] {
            set.remove(end..Height::MAX);
        }
        state
    }

    /// Writes every row of `ranges` again, whatever is there.
    pub(crate) fn rewrite_ranges(&self, tables: &mut WriteTables<'_>) -> Result<(), StoreError> {
        clear_ranges(tables)?;
        let none = HeightRanges::new();
        for (kind, set) in self.sets() {
            persist_ranges(tables, kind, &none, set)?;
        }
        Ok(())
    }

    fn sets(&self) -> [(RangeKind, &HeightRanges); 3] {
        [
            (RangeKind::PayloadGaps, &self.payload_gaps),
            (RangeKind::BlobGaps, &self.blob_gaps),
            (RangeKind::Archived, &self.archived),
        ]
    }

    /// Writes what differs from `before`, which is what the tables hold (`None`: nothing).
    pub(crate) fn persist(&self, tables: &mut WriteTables<'_>, before: Option<&Self>) -> Result<(), StoreError> {
        if before.is_none_or(|before| before.chain != self.chain) {
            tables.meta.insert(CHAIN, seal(self.chain.encode(), 0).as_slice())?;
        }
        let Some(before) = before else { return self.rewrite_ranges(tables) };
        for ((kind, before), (_, after)) in before.sets().into_iter().zip(self.sets()) {
            persist_ranges(tables, kind, before, after)?;
        }
        Ok(())
    }

    /// Heights that are decided, at or above the floors, and not complete.
    pub(crate) fn gaps(&self) -> HeightRanges {
        self.payload_gaps.iter().chain(self.blob_gaps.iter()).collect()
    }

    /// Heights up to the available one, at or above both floors, that are not archived.
    pub(crate) fn unarchived(&self) -> HeightRanges {
        let chain = &self.chain;
        let first = chain.blob_floor.max(chain.payload_floor).max(chain.base.height.saturating_add(1));
        self.archived.missing(first..chain.available.saturating_add(1))
    }

    /// Whether everything that is wanted of all `heights` is held.
    pub(crate) fn are_complete(&self, heights: RangeInclusive<Height>) -> bool {
        let (first, last) = heights.into_inner();
        let misses = |gaps: &HeightRanges| gaps.iter().any(|gap| gap.start <= last && first < gap.end);
        let are_decided = self.chain.is_decided(first) && self.chain.is_decided(last);
        are_decided && !misses(&self.payload_gaps) && !misses(&self.blob_gaps)
    }

    /// Moves the `available` watermark up to the next gap. Gaps below it, where damage was found, do not hold it back.
    pub(crate) fn advance(&mut self) {
        let next = self.chain.available.saturating_add(1);
        let gap_of = |gaps: &HeightRanges| gaps.iter().find(|gap| gap.end > next).map(|gap| gap.start.max(next));
        let first_gap = [gap_of(&self.payload_gaps), gap_of(&self.blob_gaps)].into_iter().flatten().min();
        self.chain.available = first_gap.map_or(self.chain.decided(), |gap| gap.saturating_sub(1));
    }

    /// Takes the `available` watermark back below `height`, which has become incomplete, unless it is imported already.
    pub(crate) fn retreat(&mut self, height: Height) {
        if height > self.chain.imported {
            self.chain.available = self.chain.available.min(height.saturating_sub(1));
        }
    }

    /// The watermarks, derived.
    pub(crate) fn watermarks(&self) -> Watermarks {
        let chain = &self.chain;
        let first = chain.base.height.saturating_add(1);
        let if_reached = |floor: Height, reached: Height| if floor <= reached { floor } else { 0 };
        Watermarks {
            decided: chain.decided(),
            available: chain.available,
            imported: chain.imported,
            archived: self.archived.contiguous_from(first),
            pruned: chain.blob_floor.saturating_sub(1).min(chain.imported),
            earliest_value: if_reached(first, chain.decided()),
            earliest_payload: if_reached(chain.payload_floor, chain.available),
            earliest_blob: if_reached(chain.blob_floor, chain.available),
        }
    }
}

#[cfg(test)]
mod tests;
