//! A damaged store made whole, or ready to be: rows that can be made again are, damaged data goes so that it is fetched
//! again, and what belongs to nothing goes for good.

use lapis_protocol_spec::Bytes32;

use crate::{
    Store, StoreError, TableName, VerifyOptions, VerifyProgress,
    damage::Evidence,
    error::Damage,
    orphans::Orphans,
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
    /// It was dropped and is missing: to be fetched again.
    Dropped,
    /// It is as it was.
    Left,
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
        let mut at = VerifyProgress::default();
        self.verify_heights(options, &mut at, |at, findings| {
            progress(at);
            self.mend_all(findings.damages, &mut repaired, &mut mended)
        })?;
        let reader = self.reader()?;
        for (height, number) in undecided(reader.read_tables())? {
            let damages = reader.check(height, options.deep).undecided(number)?.damages;
            at.damages += damages.len() as u64;
            self.mend_all(damages, &mut repaired, &mut mended)?;
        }
        drop(reader);
        progress(at);
        repaired.orphans = self.delete_orphans()?;
        self.write(Safe::Durable, |writer| writer.count_again())?;
        Ok(repaired)
    }

    fn mend_all(
        &self,
        damages: Vec<Damage>,
        repaired: &mut Repaired,
        mended: &mut impl FnMut(Damage, Fate),
    ) -> Result<(), StoreError> {
        for damage in damages {
            let fate = self.mend(&damage)?;
            match fate {
                Fate::MadeAgain => repaired.made_again += 1,
                Fate::Dropped => repaired.dropped += 1,
                Fate::Left => repaired.left += 1,
            }
            mended(damage, fate);
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
        match self.write(Safe::Durable, |writer| writer.discard(damage, Evidence::Report)) {
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
            deleted += orphans.count();
            self.write(Safe::Durable, |writer| writer.delete_orphans(&orphans))?;
        }
    }
}

impl Writer<'_> {
    /// Makes counts and sets of gaps agree with the rows.
    fn count_again(&mut self) -> Result<(), StoreError> {
        let counted = recount(&self.tables, &self.state.chain)?;
        if counted.unreadable == 0 {
            self.state.chain.tallies = counted.tallies;
        }
        let end = self.state.chain.decided().saturating_add(1);
        self.state.blob_gaps.remove(0..self.state.chain.blob_floor);
        self.state.payload_gaps.remove(0..self.state.chain.payload_floor);
        self.state.blob_gaps.remove(end..u64::MAX);
        self.state.payload_gaps.remove(end..u64::MAX);
        self.state.advance();
        Ok(())
    }

    fn delete_orphans(&mut self, orphans: &Orphans) -> Result<(), StoreError> {
        for (hash, height, number, index) in &orphans.places {
            self.tables.places.remove((hash, *height, *number, *index))?;
        }
        for hash in &orphans.blobs {
            crate::pieces::delete_blob(&mut self.tables, &Bytes32::from(*hash))?;
        }
        for id in &orphans.value_ids {
            self.tables.value_ids.remove(id)?;
        }
        for number in &orphans.values {
            self.tables.values.remove(number)?;
            self.tables.states.remove(number)?;
        }
        for number in &orphans.payloads {
            crate::pieces::delete_payload(&mut self.tables, *number)?;
        }
        for number in &orphans.blob_pieces {
            self.tables.blob_pieces.retain_in((*number, 0)..=(*number, u8::MAX), |_, _| false)?;
        }
        Ok(())
    }
}
