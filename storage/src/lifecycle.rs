//! What happens to complete heights: import, archiving, pruning.

use std::{num::NonZeroU64, ops::Range};

use lapis_protocol_spec::{Height, HeightRanges, Value};
use redb::ReadableTable;

use crate::{
    Conflict, Store, StoreError, TableName, Watermarks,
    error::Damage,
    pieces,
    recount::blob_phase,
    rows::{seal, unseal},
    state::{Chain, State},
    status::{BLOB_BYTES, Phase},
    store::{Safe, Writer},
    tables::Tables,
    values::{decided_number, distinct_hashes, load_value, unless_damaged},
};

/// Most heights noted as archived in one transaction, a row and some look-ups each.
const MAX_ARCHIVED_HEIGHTS: usize = 1024;
/// Most blobs of heights noted as archived in one transaction, some look-ups each, unless a single height has more.
const MAX_ARCHIVED_BLOBS: usize = 1024;

/// Row of `meta` that holds what the engine asked to be kept.
pub(crate) const ENGINE_HEAD: &str = "engine_head";

/// What pruning takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneKind {
    /// Blobs; payloads stay.
    Blobs,
    /// Blobs and payloads; values and certificates stay.
    BlobsAndPayloads,
}

/// How pruning goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneOptions {
    /// What goes.
    pub kind: PruneKind,
    /// Which heights may go.
    pub allow: PruneAllow,
    /// Most heights deleted in one transaction.
    pub max_heights: NonZeroU64,
    /// Most blobs deleted in one transaction.
    pub max_blobs: NonZeroU64,
}

/// Which heights may be pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneAllow {
    /// Those that are imported.
    Imported,
    /// Those that are imported and archived.
    Archived,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            kind: PruneKind::Blobs,
            allow: PruneAllow::Imported,
            max_heights: NonZeroU64::new(64).unwrap_or(NonZeroU64::MIN),
            max_blobs: NonZeroU64::new(128).unwrap_or(NonZeroU64::MIN),
        }
    }
}

/// What one step of pruning did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Heights gone through.
    pub heights: u64,
    /// Blobs deleted.
    pub blobs: u64,
    /// Payloads deleted.
    pub payloads: u64,
    /// Bytes of those blobs and payloads.
    pub bytes: u64,
    /// Heights whose value is damaged, so that nothing says which blobs are theirs; [`Store::repair`] finds those.
    pub skipped: u64,
    /// Whether nothing is left to delete below the floor.
    pub done: bool,
}

impl Store {
    /// Moves the `imported` watermark up to `height`, over one height or several, together with whatever the engine wants
    /// kept. Eventual: after a power loss the watermark and the head may be an earlier pair, never a mixed one.
    ///
    /// # Errors
    /// [`Conflict::NotNextImport`] if it is below the next height; [`Conflict::NotAvailable`] unless all heights up to it are
    /// complete.
    pub fn mark_imported(&self, height: Height, engine_head: Option<&[u8]>) -> Result<Watermarks, StoreError> {
        self.write(Safe::Eventual, |writer| {
            let chain = &writer.state.chain;
            let expected = chain.imported.saturating_add(1);
            if height < expected {
                return Err(Conflict::NotNextImport { height, expected }.into());
            }
            if height > chain.available || !writer.state.are_complete(expected..=height) {
                return Err(Conflict::NotAvailable { height, available: chain.available }.into());
            }
            writer.state.chain.imported = height;
            if let Some(head) = engine_head {
                writer.tables.meta.insert(ENGINE_HEAD, seal(head.to_vec(), 0).as_slice())?;
            }
            Ok(writer.state.watermarks())
        })
    }

    /// What [`Store::mark_imported`] kept for the engine last.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn engine_head(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.reader()?.engine_head()
    }

    /// Notes that `heights` are archived elsewhere. Durable, in ascending order and in transactions of bounded size, between
    /// which others write: if one fails, those before it have been noted, and the same call can be made again.
    ///
    /// # Errors
    /// [`Conflict::NotAvailable`] naming the first height that is not complete; none is noted then.
    pub fn mark_archived(&self, heights: Range<Height>) -> Result<Watermarks, StoreError> {
        self.committed().check_archivable(&heights)?;
        let mut rest = heights;
        while !self.committed().archived.missing(rest.clone()).is_empty() {
            rest.start = self.write(Safe::Durable, |writer| writer.archive_some(rest.clone()))?;
        }
        Ok(self.watermarks())
    }

    /// Takes the note back that `heights` are archived, as far as their blobs are still held: what lay elsewhere is not
    /// there any more. Durable, in transactions of bounded size like [`Store::mark_archived`].
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn forget_archived(&self, heights: Range<Height>) -> Result<Watermarks, StoreError> {
        let mut rest = heights;
        while rest.start < rest.end {
            rest.start = self.write(Safe::Durable, |writer| writer.forget_some(rest.clone()))?;
        }
        Ok(self.watermarks())
    }

    /// Gives up blobs (and payloads) below `floor`. Durable, and bounded: call it until `done`.
    ///
    /// The first call moves the floor, from when on nothing below is served or wanted; each call deletes some of the rows
    /// below. The floor never passes what is imported (and archived, where that is asked), nor goes back. Values and
    /// certificates stay, so that what was pruned is told from what was never seen.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn prune_below(&self, floor: Height, options: PruneOptions) -> Result<Pruned, StoreError> {
        let state = self.committed();
        let chain = &state.chain;
        let both = options.kind == PruneKind::BlobsAndPayloads;
        let blobs = state.prune_limit(floor, options.allow, chain.blob_floor);
        let payloads = if both { state.prune_limit(floor, options.allow, chain.payload_floor) } else { 0 };
        if blobs <= chain.blob_floor && payloads <= chain.payload_floor && chain.is_swept() {
            return Ok(Pruned { done: true, ..Pruned::default() });
        }
        self.write(Safe::Durable, |writer| {
            writer.raise_blob_floor(blobs);
            let State { chain, payload_gaps, .. } = &mut writer.state;
            chain.payload_floor = chain.payload_floor.max(payloads);
            payload_gaps.remove(0..chain.payload_floor);
            writer.state.advance();
            writer.sweep(&options)
        })
    }

    /// Stops wanting blobs below `floor` although they were never held, because no peer has them any more. Durable.
    ///
    /// Those heights become available, and importable, with their payload alone. Rows of theirs that are held go with
    /// the next [`Store::prune_below`].
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn waive_blobs_below(&self, floor: Height) -> Result<Watermarks, StoreError> {
        self.write(Safe::Durable, |writer| {
            writer.raise_blob_floor(floor);
            writer.state.advance();
            Ok(writer.state.watermarks())
        })
    }
}

impl State {
    /// The height up to which (not included) pruning may go, from the floor where it is now: what is below was given up
    /// already and can never be archived.
    fn prune_limit(&self, wanted: Height, allow: PruneAllow, floor: Height) -> Height {
        let imported = self.chain.imported.saturating_add(1);
        let archived = match allow {
            PruneAllow::Imported => Height::MAX,
            PruneAllow::Archived => self.archived.contiguous_from(floor).saturating_add(1),
        };
        wanted.min(imported).min(archived)
    }

    fn check_archivable(&self, heights: &Range<Height>) -> Result<(), StoreError> {
        let available = self.chain.available;
        let conflict = |height| Err(Conflict::NotAvailable { height, available }.into());
        if heights.is_empty() {
            return Ok(());
        }
        if heights.start <= self.chain.base.height {
            return conflict(heights.start);
        }
        if heights.end > available.saturating_add(1) {
            return conflict(heights.start.max(available.saturating_add(1)));
        }
        let gap = self
            .gaps()
            .iter()
            .map(|gap| gap.start.max(heights.start)..gap.end.min(heights.end))
            .find(|gap| !gap.is_empty());
        gap.map_or(Ok(()), |gap| conflict(gap.start))
    }
}

impl Writer<'_> {
    fn raise_blob_floor(&mut self, floor: Height) {
        let State { chain, blob_gaps, .. } = &mut self.state;
        chain.blob_floor = chain.blob_floor.max(floor);
        blob_gaps.remove(0..chain.blob_floor);
    }

    /// Notes as many of `heights` as fit into one transaction, from the lowest on; returns the first that is left.
    fn archive_some(&mut self, heights: Range<Height>) -> Result<Height, StoreError> {
        self.state.check_archivable(&heights)?;
        let wanted = self.state.archived.missing(heights.clone());
        self.change_archived(&wanted, heights.end, HeightRanges::insert_one)
    }

    /// The opposite of [`Writer::archive_some`], for what is not given up.
    fn forget_some(&mut self, heights: Range<Height>) -> Result<Height, StoreError> {
        let floor = self.state.chain.blob_floor;
        let within = heights.start.max(floor)..heights.end.max(floor);
        let noted = self.state.archived.missing(within.clone()).missing(within);
        self.change_archived(&noted, heights.end, HeightRanges::remove_one)
    }

    /// Changes the set of archived heights at `heights`, as many as fit into one transaction; returns the first that is
    /// left, or `end`.
    fn change_archived(
        &mut self,
        heights: &HeightRanges,
        end: Height,
        change: fn(&mut HeightRanges, Height),
    ) -> Result<Height, StoreError> {
        let mut blobs = 0;
        for (changed, height) in heights.iter().flatten().enumerate() {
            if changed >= MAX_ARCHIVED_HEIGHTS || blobs >= MAX_ARCHIVED_BLOBS {
                return Ok(height);
            }
            blobs += self.change_archived_at(height, change)?;
        }
        Ok(end)
    }

    /// Changes the set at `height`, and the tallies with it; returns how many blobs the height has.
    fn change_archived_at(
        &mut self,
        height: Height,
        change: fn(&mut HeightRanges, Height),
    ) -> Result<usize, StoreError> {
        let (number, value) = self.decided_at(height)?;
        let hashes = distinct_hashes(&value);
        let blobs = hashes.len();
        let mut held = Vec::with_capacity(hashes.len());
        for hash in hashes {
            if self.holds_blob(&hash)? {
                held.push((hash, self.blob_phase(&hash)?));
            }
        }
        let payload = pieces::payload_row(&self.tables, number, height)?;
        let payload_before = self.payload_phase(height);
        change(&mut self.state.archived, height);
        for (hash, before) in held {
            let after = self.blob_phase(&hash)?;
            self.state.chain.tallies.blobs.shift(before, after, BLOB_BYTES);
        }
        if let Some(payload) = payload {
            let (before, after) = (Some(payload_before), Some(self.payload_phase(height)));
            self.state.chain.tallies.payloads.shift(before, after, payload.size);
        }
        Ok(blobs)
    }

    fn decided_at(&self, height: Height) -> Result<(u64, Value), StoreError> {
        let damage = Damage { table: TableName::Heights, height, index: 0 };
        let number = decided_number(&self.tables, height)?.ok_or(damage)?;
        Ok((number, load_value(&self.tables, number, height)?))
    }

    /// Deletes rows below the floors, within the limits of one transaction.
    fn sweep(&mut self, options: &PruneOptions) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let within =
            |pruned: &Pruned| pruned.heights < options.max_heights.get() && pruned.blobs < options.max_blobs.get();
        // Above the tip there are no rows to sweep; the floor may be there when blobs have been waived.
        let end = self.state.chain.decided().saturating_add(1);
        while self.state.chain.blob_swept < self.state.chain.blob_floor.min(end) && within(&pruned) {
            self.sweep_blobs(&mut pruned, options.max_blobs.get())?;
        }
        while self.state.chain.payload_swept < self.state.chain.payload_floor.min(end) && within(&pruned) {
            self.sweep_payload(&mut pruned)?;
            pruned.heights += 1;
        }
        pruned.done = self.state.chain.is_swept();
        Ok(pruned)
    }

    /// Deletes the blobs of the lowest height that has not been swept, up to `max_blobs` in this transaction. If there are
    /// more, the height stays unswept, and the next transaction goes on with what is still held.
    fn sweep_blobs(&mut self, pruned: &mut Pruned, max_blobs: u64) -> Result<(), StoreError> {
        let height = self.state.chain.blob_swept;
        let swept = Chain { blob_swept: height.saturating_add(1), ..self.state.chain };
        let value = unless_damaged(self.decided_at(height))?;
        pruned.skipped += u64::from(value.is_none());
        let mut kept = Vec::new();
        for hash in value.iter().flat_map(|(_, value)| distinct_hashes(value)) {
            if !self.holds_blob(&hash)? {
                continue;
            }
            let before = self.blob_phase(&hash)?;
            let after = blob_phase(&self.tables, &swept, &self.state.archived, &hash)?;
            if after.is_some() {
                kept.push((before, after));
                continue;
            }
            if pruned.blobs >= max_blobs {
                return Ok(());
            }
            pieces::delete_blob(&mut self.tables, &hash)?;
            self.state.chain.tallies.blobs.shift(before, Some(Phase::Pruned), BLOB_BYTES);
            pruned.blobs += 1;
            pruned.bytes += BLOB_BYTES;
        }
        self.state.chain.blob_swept = swept.blob_swept;
        pruned.heights += 1;
        for (before, after) in kept {
            self.state.chain.tallies.blobs.shift(before, after, BLOB_BYTES);
        }
        Ok(())
    }

    fn sweep_payload(&mut self, pruned: &mut Pruned) -> Result<(), StoreError> {
        let height = self.state.chain.payload_swept;
        self.state.chain.payload_swept = height.saturating_add(1);
        let Some(number) = decided_number(&self.tables, height)? else {
            pruned.skipped += 1;
            return Ok(());
        };
        let phase = self.payload_phase(height);
        if let Some(size) = self.take_payload(number, height)? {
            self.state.chain.tallies.payloads.shift(Some(phase), Some(Phase::Pruned), size);
            pruned.payloads += 1;
            pruned.bytes += size;
        }
        Ok(())
    }
}

/// Reads what the engine asked to be kept.
pub(crate) fn load_engine_head(tables: &impl Tables) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(row) = tables.meta().get(ENGINE_HEAD)? else { return Ok(None) };
    let damage = Damage { table: TableName::Meta, height: 0, index: 0 };
    Ok(Some(unseal(row.value(), 0).ok_or(damage)?.to_vec()))
}
