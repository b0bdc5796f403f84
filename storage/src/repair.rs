//! A damaged store made whole, or ready to be: rows that can be made again are, damaged data goes so that it is fetched
//! again, and what belongs to nothing goes for good.

use lapis_protocol_spec::Bytes32;
use redb::ReadableTable;

use crate::{
    Store, StoreError, TableName, VerifyOptions, VerifyProgress,
    damage::Evidence,
    error::{Damage, guarded},
    orphans::Orphans,
    pieces,
    recount::recount,
    store::{Safe, Writer},
    verify::undecided,
};

/// What repairing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Rows that were made again.
    pub made_again: u64,
    /// Payloads and blobs that were dropped, to be fetched again.
    pub dropped: u64,
    /// Damages that are left: rows that only [`Store::mend_decided`], or nothing, brings back.
    pub left: u64,
    /// Rows that belonged to nothing and are gone.
    pub orphans: u64,
}

/// What became of a damaged row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was made again from other rows.
    MadeAgain,
    /// It was dropped and is missing: to be fetched again, or archived again where it said that heights are.
    Dropped,
    /// It is as it was.
    Left,
}

impl Repaired {
    fn note(&mut self, damage: Damage, fate: Fate, mended: &mut impl FnMut(Damage, Fate)) {
        match fate {
            Fate::MadeAgain => self.made_again += 1,
            Fate::Dropped => self.dropped += 1,
            Fate::Left => self.left += 1,
        }
        mended(damage, fate);
    }
}

impl Store {
    /// Looks at every row as [`Store::verify`] does, and mends what it finds: in many transactions, each of them whole, so
    /// that it can be stopped and started again. Calls `mended` for every damage that belongs to a height. Durable.
    ///
    /// Rows that belong to nothing are deleted, and what is counted is counted again.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read or written at all.
    pub fn repair(
        &self,
        options: VerifyOptions<'_>,
        mut progress: impl FnMut(VerifyProgress),
        mut mended: impl FnMut(Damage, Fate),
    ) -> Result<Repaired, StoreError> {
        let mut repaired = Repaired::default();
        let mended_by_opening = self.take_mended();
        let mut at = VerifyProgress { damages: mended_by_opening.len() as u64, ..VerifyProgress::default() };
        mended_by_opening.into_iter().for_each(|(damage, fate)| repaired.note(damage, fate, &mut mended));
        for damage in guarded(|| self.write(Safe::Durable, |writer| writer.rewrite_damaged_ranges()))? {
            at.damages += 1;
            repaired.note(damage, Fate::MadeAgain, &mut mended);
        }
        self.verify_heights(options, &mut at, |at, findings| {
            progress(at);
            self.mend_all(findings.damages, &mut repaired, &mut mended)
        })?;
        let damages = guarded(|| self.verify_undecided(options))?;
        at.damages += damages.len() as u64;
        self.mend_all(damages, &mut repaired, &mut mended)?;
        progress(at);
        repaired.orphans = guarded(|| self.delete_orphans())?;
        guarded(|| self.write(Safe::Durable, |writer| writer.count_again()))?;
        Ok(repaired)
    }

    fn verify_undecided(&self, options: VerifyOptions<'_>) -> Result<Vec<Damage>, StoreError> {
        let reader = self.reader()?;
        let mut damages = Vec::new();
        for (height, number) in undecided(reader.read_tables())? {
            damages.extend(reader.check(height, options.deep).undecided(number)?.damages);
        }
        Ok(damages)
    }

    fn mend_all(
        &self,
        damages: Vec<Damage>,
        repaired: &mut Repaired,
        mended: &mut impl FnMut(Damage, Fate),
    ) -> Result<(), StoreError> {
        for damage in damages {
            repaired.note(damage, self.mend(&damage)?, mended);
        }
        Ok(())
    }

    fn mend(&self, damage: &Damage) -> Result<Fate, StoreError> {
        let fate = match damage.table {
            TableName::Blobs | TableName::Payloads => Fate::Dropped,
            TableName::Heights | TableName::States | TableName::ValueIds | TableName::Places | TableName::Ranges => {
                Fate::MadeAgain
            }
            TableName::Meta | TableName::ValidatorSets | TableName::Values | TableName::Certificates => {
                return Ok(Fate::Left);
            }
        };
        match guarded(|| self.write(Safe::Durable, |writer| writer.discard(damage, Evidence::Report))) {
            Ok(_) => Ok(fate),
            // The value itself is damaged, too.
            Err(StoreError::Damaged(_)) => Ok(Fate::Left),
            Err(error) => Err(error),
        }
    }

    /// Deletes what belongs to nothing, some rows at a time.
    fn delete_orphans(&self) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let orphans = Orphans::find(&self.reader()?)?;
            if orphans.is_empty() {
                return Ok(deleted);
            }
            let gone = self.write(Safe::Durable, |writer| writer.delete_orphans(&orphans))?;
            deleted += gone;
            if gone == 0 {
                // Trees so damaged that a row which is there cannot be found by its key.
                return Ok(deleted);
            }
        }
    }
}

impl Writer<'_> {
    /// Makes counts and sets of gaps agree with the rows.
    fn count_again(&mut self) -> Result<(), StoreError> {
        let counted = recount(&self.tables, &self.state.chain, &self.state.archived)?;
        if counted.unreadable == 0 {
            self.state.chain.tallies = counted.tallies;
        }
        self.state = self.state.within_bounds();
        self.state.advance();
        Ok(())
    }

    /// Deletes rows that belong to nothing; returns how many were there.
    fn delete_orphans(&mut self, orphans: &Orphans) -> Result<u64, StoreError> {
        let mut gone = 0_u64;
        let mut count = |was_there: bool| gone += u64::from(was_there);
        for (hash, height, number, index) in &orphans.places {
            count(self.tables.places.remove((hash, *height, *number, *index))?.is_some());
        }
        for hash in &orphans.blobs {
            count(self.tables.blobs.get(hash)?.is_some());
            pieces::delete_blob(&mut self.tables, &Bytes32::from(*hash))?;
        }
        for id in &orphans.value_ids {
            count(self.tables.value_ids.remove(id)?.is_some());
        }
        for number in &orphans.values {
            count(self.tables.values.remove(number)?.is_some());
            self.tables.states.remove(number)?;
        }
        for number in &orphans.payloads {
            let range = (*number, 0)..=(*number, u16::MAX);
            count(
                self.tables.payloads.get(number)?.is_some()
                    || self.tables.payload_pieces.range(range)?.next().is_some(),
            );
            pieces::delete_payload(&mut self.tables, *number)?;
        }
        for number in &orphans.blob_pieces {
            let range = (*number, 0)..=(*number, u8::MAX);
            count(self.tables.blob_pieces.range(range.clone())?.next().is_some());
            self.tables.blob_pieces.retain_in(range, |_, _| false)?;
        }
        Ok(gone)
    }
}
