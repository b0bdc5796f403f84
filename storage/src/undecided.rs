//! Values that are proposed and not decided: kept by content, bounded in bytes and time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapis_protocol_spec::{Bytes32, Height, IdentifiedValue};
use redb::ReadableTable;

use crate::{
    Conflict, Dropped, Store, StoreError,
    store::{Safe, Writer},
    values::{ROUND_BYTES, load_state, number_of, unless_damaged},
};

impl Store {
    /// Keeps a proposed value, so that its data can be stored. Durable.
    ///
    /// A value may be proposed in several rounds, and a round may have several values; data is kept by value id, so none
    /// of them takes another's place. A value that is decided already changes nothing. `now` starts its time to live,
    /// each time it is proposed. If the cap is reached, expired values go first.
    ///
    /// # Errors
    /// [`Conflict::NotUndecided`] for a height that has another decided value; [`StoreError::UndecidedFull`] at the cap.
    pub fn insert_undecided(&self, round: u64, value: &IdentifiedValue, now: SystemTime) -> Result<(), StoreError> {
        let now = seconds(now);
        self.write(Safe::Durable, |writer| match writer.propose(round, value, now) {
            Err(StoreError::UndecidedFull { .. }) => {
                writer.expire(now)?;
                writer.propose(round, value, now)
            }
            result => result,
        })
    }

    /// Gives up a round that did not decide: its values, unless another round has them too, and of their data what no
    /// other value needs. Eventual: after a power loss the round may be there again.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn drop_round(&self, height: Height, round: u64) -> Result<Dropped, StoreError> {
        self.write(Safe::Eventual, |writer| {
            let mut dropped = Dropped::default();
            let mut rows = Vec::new();
            for row in writer.tables.rounds.range((height, round, 0)..=(height, round, u64::MAX))? {
                rows.push(row?.0.value());
            }
            for row in rows {
                writer.drop_round_row(row)?;
                if !writer.in_other_round(height, row.2)? {
                    writer.drop_value(row.2, height, &mut dropped)?;
                }
            }
            Ok(dropped)
        })
    }

    /// Drops the undecided values whose time to live is over at `now`. Eventual.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn expire_undecided(&self, now: SystemTime) -> Result<Dropped, StoreError> {
        self.write(Safe::Eventual, |writer| writer.expire(seconds(now)))
    }
}

/// Whole seconds since the Unix epoch; times before it count as the epoch.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

impl Writer<'_> {
    fn propose(&mut self, round: u64, value: &IdentifiedValue, now: u64) -> Result<(), StoreError> {
        let height = value.value().height;
        let decided = self.state.chain.decided();
        let known = number_of(&self.tables, value.id())?;
        if height <= decided || height == Height::MAX {
            // Of the values at decided heights only the decided ones are left.
            let ok = known.is_some();
            return if ok { Ok(()) } else { Err(Conflict::NotUndecided { height, decided }.into()) };
        }
        let known = match known {
            Some(number) => self.mend_value(number, value.id(), value.value())?,
            None => None,
        };
        let number = match known {
            Some(number) => self.renew(number, height, now)?,
            None => self.register_undecided(value.id(), value, now)?,
        };
        if self.tables.rounds.get((height, round, number))?.is_none() {
            self.check_cap(ROUND_BYTES)?;
            self.tables.rounds.insert((height, round, number), ())?;
            self.state.chain.tallies.values_undecided.bytes += ROUND_BYTES;
        }
        Ok(())
    }

    fn renew(&mut self, number: u64, height: Height, now: u64) -> Result<u64, StoreError> {
        let mut state = load_state(&self.tables, number, height)?;
        state.inserted_at = state.inserted_at.max(now);
        self.store_state(number, &state)?;
        Ok(number)
    }

    fn register_undecided(&mut self, id: &Bytes32, value: &IdentifiedValue, now: u64) -> Result<u64, StoreError> {
        // The value's row is what it is charged with, so its size has to be known before anything is written.
        let bytes = lapis_protocol_spec::encode(&**value.value()).len() as u64;
        self.check_cap(bytes + ROUND_BYTES)?;
        let (number, bytes) = self.register(id, value.value(), now)?;
        self.state.chain.tallies.values_undecided.add(bytes);
        Ok(number)
    }

    fn in_other_round(&self, height: Height, number: u64) -> Result<bool, StoreError> {
        for row in self.tables.rounds.range((height, 0, 0)..=(height, u64::MAX, u64::MAX))? {
            if row?.0.value().2 == number {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn expire(&mut self, now: u64) -> Result<Dropped, StoreError> {
        let ttl = self.config.undecided_ttl.as_secs();
        let mut expired = Vec::new();
        for row in self.tables.rounds.iter()? {
            let (height, round, number) = row?.0.value();
            // What cannot be told any more goes, too.
            let state = unless_damaged(load_state(&self.tables, number, height))?;
            if state.is_none_or(|state| state.inserted_at.saturating_add(ttl) <= now) {
                expired.push((height, round, number));
            }
        }
        let mut dropped = Dropped::default();
        for row in &expired {
            self.drop_round_row(*row)?;
        }
        let mut values: Vec<(u64, Height)> = expired.iter().map(|(height, _, number)| (*number, *height)).collect();
        values.sort_unstable();
        values.dedup();
        for (number, height) in values {
            self.drop_value(number, height, &mut dropped)?;
        }
        Ok(dropped)
    }
}
