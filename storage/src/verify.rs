//! A whole store gone through, row by row. Owns the division of the work among threads; changes nothing.

use std::{
    num::NonZeroUsize,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
};

use lapis_protocol_spec::{Height, Kzg};
use redb::{ReadableTable, ReadableTableMetadata};

use crate::{
    Reader, Store, StoreError, TableName,
    check::{Check, Findings},
    error::{Damage, guarded},
    ranges::{DamagedRange, RangeRows},
    recount::recount,
    tables::{ReadTables, Tables},
    values::{load_state, load_value, unless_damaged},
};

/// How to verify a store.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions<'a> {
    /// Verify proofs and digests, not only checksums and that rows agree with each other.
    pub deep: Option<&'a Kzg>,
    /// Heights that are looked at side by side.
    pub threads: NonZeroUsize,
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        Self { deep: None, threads: NonZeroUsize::MIN }
    }
}

/// How far verifying has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Decided heights looked at.
    pub heights: u64,
    /// Decided heights that there are.
    pub of: u64,
    /// Damages found.
    pub damages: u64,
    /// Blobs whose proofs could not be verified, through no fault of theirs.
    pub unchecked: u64,
}

/// Findings that wait for the caller.
const QUEUE: usize = 16;

impl Store {
    /// Looks at every row. Calls `progress` after every height, and `found` for each damage; returns the last progress.
    ///
    /// Rows that opening the store found damaged and mended are reported first, once.
    ///
    /// Damage of height 0 belongs to no height: its table has rows that nothing names, or counts that are wrong. The
    /// store may be used meanwhile; it is seen height by height.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read at all, [`StoreError::Fatal`] among them if its trees are damaged. A row
    /// that is damaged is no error.
    pub fn verify(
        &self,
        options: VerifyOptions<'_>,
        mut progress: impl FnMut(VerifyProgress),
        mut found: impl FnMut(Damage),
    ) -> Result<VerifyProgress, StoreError> {
        let mended = self.take_mended();
        let mut at = VerifyProgress { damages: mended.len() as u64, ..VerifyProgress::default() };
        mended.into_iter().for_each(|(damage, _)| found(damage));
        let mut places = 0;
        self.verify_heights(options, &mut at, |at, findings| {
            places += findings.places;
            progress(at);
            findings.damages.into_iter().for_each(&mut found);
            Ok(())
        })?;
        let rest = guarded(|| self.verify_rest(options.deep, places))?;
        at.unchecked += rest.unchecked;
        let rest = rest.damages;
        at.damages += rest.len() as u64;
        rest.into_iter().for_each(found);
        progress(at);
        Ok(at)
    }

    /// Looks at what belongs to no decided height. At those there are `places` rows of `places`.
    fn verify_rest(&self, deep: Option<&Kzg>, mut places: u64) -> Result<Findings, StoreError> {
        let mut rest = Findings::default();
        let reader = self.reader()?;
        for (height, number) in undecided(reader.read_tables())? {
            let findings = reader.check(height, deep).undecided(number)?;
            places += findings.places;
            rest.unchecked += findings.unchecked;
            rest.damages.extend(findings.damages);
        }
        rest.damages.extend(reader.orphan_places(places)?);
        let ranges = RangeRows::load(reader.read_tables())?;
        let counted = recount(reader.read_tables(), reader.chain(), &ranges.archived)?;
        // Without knowing what is archived, what was counted as such is no damage of its own.
        let is_known = !ranges.damaged.iter().any(DamagedRange::is_of_archived);
        rest.damages.extend(counted.damages.into_iter().filter(|damage| is_known || damage.table != TableName::Meta));
        rest.damages.extend(ranges.damaged.iter().map(DamagedRange::damage));
        Ok(rest)
    }

    /// Looks at all decided heights, from a few threads; gives what is found to `each`, in no order.
    pub(crate) fn verify_heights(
        &self,
        options: VerifyOptions<'_>,
        at: &mut VerifyProgress,
        mut each: impl FnMut(VerifyProgress, Findings) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let chain = self.committed().chain;
        let (first, last) = (chain.base.height.saturating_add(1), chain.decided());
        at.of = last.saturating_sub(chain.base.height);
        let next = AtomicU64::new(first);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (sender, findings) = mpsc::sync_channel(QUEUE);
            for _ in 0..options.threads.get() {
                let (sender, next, stop) = (sender.clone(), &next, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let height = next.fetch_add(1, Ordering::Relaxed);
                        if height > last || sender.send(self.verify_height(height, options.deep)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let result = findings.iter().try_for_each(|findings| {
                let findings = findings?;
                at.heights += 1;
                at.damages += findings.damages.len() as u64;
                at.unchecked += findings.unchecked;
                each(*at, findings)
            });
            // Whoever waits to send is let go with the receiver.
            stop.store(true, Ordering::Relaxed);
            drop(findings);
            result
        })
    }

    fn verify_height(&self, height: Height, deep: Option<&Kzg>) -> Result<Findings, StoreError> {
        guarded(|| self.reader()?.check(height, deep).decided())
    }
}

impl Reader {
    pub(crate) fn check<'a>(&'a self, height: Height, kzg: Option<&'a Kzg>) -> Check<'a, ReadTables> {
        Check { tables: self.read_tables(), chain: self.chain(), kzg, height, findings: Findings::default() }
    }

    /// Rows of `places` that no value has, looked for only if there are other than `expected` rows.
    fn orphan_places(&self, expected: u64) -> Result<Vec<Damage>, StoreError> {
        let tables = self.read_tables();
        let mut orphans = Vec::new();
        if tables.places.len()? == expected {
            return Ok(orphans);
        }
        for row in tables.places.iter()? {
            let (key, _) = row?;
            let (hash, height, number, index) = key.value();
            if !is_place(tables, hash, height, number, index)? {
                orphans.push(Damage { table: TableName::Places, height: 0, index: u64::from(index) });
            }
        }
        Ok(orphans)
    }
}

/// Whether a row of `places` belongs to a value. If that is damaged, nothing can be said against it.
pub(crate) fn is_place(
    tables: &impl Tables,
    hash: &[u8; 32],
    height: Height,
    number: u64,
    index: u16,
) -> Result<bool, StoreError> {
    if tables.states().get(number)?.is_none() && tables.values().get(number)?.is_none() {
        return Ok(false);
    }
    if unless_damaged(load_state(tables, number, height))?.is_some_and(|state| state.height != height) {
        return Ok(false);
    }
    let Some(value) = unless_damaged(load_value(tables, number, height))? else { return Ok(true) };
    let commitment = value.commitment(u64::from(index));
    Ok(commitment.is_some_and(|commitment| lapis_protocol_spec::versioned_hash(commitment).0 == *hash))
}

/// Height and number of each undecided value.
pub(crate) fn undecided(tables: &impl Tables) -> Result<Vec<(Height, u64)>, StoreError> {
    let mut values = Vec::new();
    for row in tables.rounds().iter()? {
        let (height, _, number) = row?.0.value();
        values.push((height, number));
    }
    values.sort_unstable();
    values.dedup();
    Ok(values)
}
