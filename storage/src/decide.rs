//! Stage one: decided values.

use lapis_protocol_spec::{ChainLink, DecidedValue, Height, Verified, encode};
use redb::ReadableTable;

use crate::{
    Conflict, Dropped, Store, StoreError, Watermarks, pieces,
    rows::{ValueState, seal},
    status::{BLOB_BYTES, Phase},
    store::{Safe, Writer},
    values::{ROUND_BYTES, distinct_hashes, load_state, number_of},
};

/// What [`Store::mark_decided`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Watermarks after it.
    pub watermarks: Watermarks,
    /// Values that were held as undecided, and went on with whatever was held of their data.
    pub promoted: u64,
    /// What went with the values that lost.
    pub dropped: Dropped,
}

/// Most blobs whose places are written in one transaction, unless a single value has more: four of the largest heights.
const MAX_PLACES: usize = 16_384;

impl Store {
    /// Takes decided values, in order, starting after the tip. Durable, in one transaction unless they have very many
    /// blobs; then a failure of the disk may leave the first of them decided.
    ///
    /// Data that is held for such a value as undecided becomes decided data: rows of metadata only, no blob is copied.
    /// Other values at those heights are dropped with all data that nothing else needs. Heights that are complete by
    /// that become available at once.
    ///
    /// # Errors
    /// [`Conflict::NotNext`] if a value does not attach to its predecessor; nothing of the batch is kept then.
    pub fn mark_decided(&self, values: &[Verified<DecidedValue>]) -> Result<Decided, StoreError> {
        if values.is_empty() {
            return Ok(Decided { watermarks: self.watermarks(), ..Decided::default() });
        }
        check_links(&self.committed().chain.tip, values)?;
        let mut decided = Decided::default();
        let mut rest = values;
        while let Some((batch, more)) = rest.split_at_checked(batch_len(rest)).filter(|(batch, _)| !batch.is_empty()) {
            self.write(Safe::Durable, |writer| {
                for value in batch {
                    writer.decide(value, &mut decided)?;
                }
                writer.state.advance();
                Ok(())
            })?;
            rest = more;
        }
        decided.watermarks = self.watermarks();
        Ok(decided)
    }
}

/// Finds a value that does not attach before anything is written.
fn check_links(tip: &ChainLink, values: &[Verified<DecidedValue>]) -> Result<(), Conflict> {
    let mut tip = *tip;
    for decided in values {
        let height = decided.value.height;
        decided.value.check_link(&tip).map_err(|fault| Conflict::NotNext { height, fault })?;
        tip = ChainLink::after(&decided.value, *decided.value_id());
    }
    Ok(())
}

/// How many of `values` go into one transaction: those of so many blobs, at least one.
fn batch_len(values: &[Verified<DecidedValue>]) -> usize {
    let mut blobs = 0_usize;
    let fitting = values.iter().take_while(|decided| {
        blobs = blobs.saturating_add(decided.value.blob_kzg_commitments.len());
        blobs <= MAX_PLACES
    });
    fitting.count().max(1).min(values.len())
}

impl Writer<'_> {
    fn decide(&mut self, decided: &Verified<DecidedValue>, report: &mut Decided) -> Result<(), StoreError> {
        let value = &decided.value;
        let height = value.height;
        value.check_link(&self.state.chain.tip).map_err(|fault| Conflict::NotNext { height, fault })?;
        let known = match number_of(&self.tables, decided.value_id())? {
            Some(number) => self.mend_value(number, decided.value_id(), value)?,
            None => None,
        };
        let number = match known {
            Some(number) => number,
            None => self.register(decided.value_id(), value, 0)?.0,
        };
        self.drop_losers(height, number, &mut report.dropped)?;
        let mut state = load_state(&self.tables, number, height)?;
        if known.is_some() {
            report.promoted += 1;
            self.state.chain.tallies.values_undecided.remove(encode(value).len() as u64);
            state.inserted_at = 0;
            self.store_state(number, &state)?;
        }
        self.tables.heights.insert(height, number)?;
        self.tables.certificates.insert(height, seal(encode(&decided.certificate), height).as_slice())?;
        self.move_tip(decided, number, &state)
    }

    /// From here on the value counts as decided, and so does its data.
    fn move_tip(
        &mut self,
        decided: &Verified<DecidedValue>,
        number: u64,
        state: &ValueState,
    ) -> Result<(), StoreError> {
        let value = &decided.value;
        let height = value.height;
        for hash in distinct_hashes(value) {
            if self.holds_blob(&hash)? {
                let before = self.blob_phase(&hash)?;
                self.state.chain.tallies.blobs.shift(before, Some(Phase::Decided), BLOB_BYTES);
            }
        }
        let payload = self.promoted_payload(number, height)?;
        if let Some(size) = payload {
            self.state.chain.tallies.payloads.shift(Some(Phase::Undecided), Some(Phase::Decided), size);
        }
        self.state.chain.tallies.values_decided.add(encode(value).len() as u64);
        self.state.chain.tip = ChainLink::after(value, *decided.value_id());
        if payload.is_none() && height >= self.state.chain.payload_floor {
            self.state.payload_gaps.insert_one(height);
        }
        if state.missing > 0 && height >= self.state.chain.blob_floor {
            self.state.blob_gaps.insert_one(height);
        }
        Ok(())
    }

    /// The bytes of the payload that is held of a value that becomes decided. If its row is damaged, it is missing.
    fn promoted_payload(&mut self, number: u64, height: Height) -> Result<Option<u64>, StoreError> {
        match pieces::payload_row(&self.tables, number, height) {
            Ok(row) => Ok(row.map(|row| row.size)),
            Err(StoreError::Damaged(_)) => {
                let size = self.take_payload(number, height)?.unwrap_or_default();
                self.state.chain.tallies.payloads.undecided.remove(size);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Drops every round of `height`, and every value there but `winner`.
    fn drop_losers(&mut self, height: Height, winner: u64, dropped: &mut Dropped) -> Result<(), StoreError> {
        let mut rounds = Vec::new();
        for row in self.tables.rounds.range((height, 0, 0)..=(height, u64::MAX, u64::MAX))? {
            rounds.push(row?.0.value());
        }
        let mut losers: Vec<u64> = rounds.iter().map(|(_, _, number)| *number).filter(|n| *n != winner).collect();
        losers.sort_unstable();
        losers.dedup();
        for round in rounds {
            self.drop_round_row(round)?;
        }
        for number in losers {
            self.drop_value(number, height, dropped)?;
        }
        Ok(())
    }

    pub(crate) fn drop_round_row(&mut self, round: (u64, u64, u64)) -> Result<(), StoreError> {
        if self.tables.rounds.remove(round)?.is_some() {
            let bytes = &mut self.state.chain.tallies.values_undecided.bytes;
            *bytes = bytes.saturating_sub(ROUND_BYTES);
        }
        Ok(())
    }
}
