//! The store itself: one database, one writer at a time, the state as of the last commit.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use lapis_protocol_spec::{Bytes32, ChainLink, Genesis, Height, HeightRanges, ValidatorSet, decode, encode};
use redb::{Database, Durability, ReadTransaction, ReadableTable, StorageBackend, WriteTransaction};

use crate::{
    Conflict, Fate, OpenError, Reader, StoreConfig, StoreError, StoreStats, TableName, Watermarks,
    connection::{Connection, Found},
    error::{Damage, guarded},
    lifecycle::ENGINE_HEAD,
    medium::{DiskFile, Medium},
    rows::{seal, seal_key, unseal},
    state::State,
    tables::{Tables, WriteTables},
};

/// A store. Clones share it; it closes when the last clone and the last [`Reader`] are gone.
///
/// Calls block: they wait for the disk, and writing calls for each other. Keep them off async threads.
///
/// Every writing call is one transaction, undone as a whole when it fails. Those marked *durable* survive a power loss
/// once they have returned; those marked *eventual* survive with the next durable one, which comes after 64 eventual ones
/// at the latest. What a crash takes back are the last of them, never one in between.
///
/// When the disk fails or is full, the call that meets it says so, and the database is opened again in place: a failure
/// costs what was eventual and not yet durable, so that watermarks may go back that far, and every [`Reader`] of before,
/// which then is refused. As long as the disk can be read, reading goes on; writing does when there is room again.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Connection,
    config: StoreConfig,
    /// Held by the one writer, from reading the state to publishing its successor, and while the database is opened
    /// again. Counts the eventual transactions since the last durable one. Taken before the lock of `connection`, and
    /// that before `committed`.
    writer: Mutex<u32>,
    /// Held while waiting for `writer`: whoever waits comes before the one who has just had it, so that work of many
    /// transactions lets others in between each two.
    next_writer: Mutex<()>,
    /// The state as of the last commit.
    committed: RwLock<Arc<State>>,
    /// Damaged rows that opening has dealt with and that nobody was told of yet.
    mended: Mutex<Vec<(Damage, Fate)>>,
}

/// Most rows mended by opening again and again that are remembered.
const MOST_MENDED: usize = 1024;

/// Most eventual transactions in a row: bounds what a crash takes back, and the pages that redb keeps for it.
const MAX_EVENTUAL: u32 = 64;

/// A writing transaction: its tables and the state that it will leave.
pub(crate) struct Writer<'t> {
    pub(crate) tables: WriteTables<'t>,
    pub(crate) state: State,
    /// The state that the tables had when the transaction began.
    pub(crate) committed: &'t State,
    pub(crate) config: &'t StoreConfig,
}

/// When a transaction's effects are safe from a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safe {
    /// Before the call returns.
    Durable,
    /// With the next durable transaction.
    Eventual,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("medium", &self.inner.connection.medium())
            .field("watermarks", &self.watermarks())
            .finish()
    }
}

impl Store {
    /// Opens the store in the file `path`, creating it for the chain of `genesis` if it does not exist.
    ///
    /// Takes milliseconds whatever the size of the store and however it was closed, unless the file is of an earlier
    /// schema or what is missing has to be found again, because rows that say so are damaged: then it visits all heights.
    ///
    /// A set of heights with a damaged row is mended at once: gaps are told from other rows, and that heights are
    /// archived is forgotten. [`Store::take_mended`] says so.
    ///
    /// # Errors
    /// [`OpenError`], one line each; nothing on disk has changed then.
    pub fn open(path: &Path, genesis: &Genesis, config: StoreConfig) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(DiskFile::new(path)), genesis, config)
    }

    /// Opens the store on `medium`, creating it for the chain of `genesis` if there is none.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(medium: Arc<dyn Medium>, genesis: &Genesis, config: StoreConfig) -> Result<Self, OpenError> {
        let (connection, found) = Connection::open(medium, genesis, &config)?;
        let (committed, mended) = (RwLock::new(Arc::new(found.state)), Mutex::new(found.mended));
        let (writer, next_writer) = (Mutex::new(0), Mutex::new(()));
        Ok(Self { inner: Arc::new(Inner { connection, config, writer, next_writer, committed, mended }) })
    }

    /// Makes an empty store start after `checkpoint`, a decided value trusted from elsewhere, with the set that signs the
    /// height after it and the state of an engine that is there, if that is known. One durable transaction.
    ///
    /// # Errors
    /// [`Conflict::NotEmpty`] if the store holds values, [`Conflict::OtherSet`] if `signers` is not the set that the
    /// checkpoint names.
    pub fn start_from(
        &self,
        checkpoint: &ChainLink,
        signers: &ValidatorSet,
        engine_head: Option<&[u8]>,
    ) -> Result<Watermarks, StoreError> {
        signers.check().map_err(Conflict::from)?;
        let root = checkpoint.next_validators_root;
        if signers.root() != root {
            return Err(Conflict::OtherSet(root).into());
        }
        self.write(Safe::Durable, |writer| {
            if writer.tables.values().first()?.is_some() {
                return Err(Conflict::NotEmpty.into());
            }
            let row = seal(encode(signers), seal_key(&root.0));
            writer.tables.validator_sets.insert(&root.0, row.as_slice())?;
            if let Some(head) = engine_head {
                writer.tables.meta.insert(ENGINE_HEAD, seal(head.to_vec(), 0).as_slice())?;
            }
            let numbers = (writer.state.chain.next_value, writer.state.chain.next_blob);
            writer.state = State::starting_at(*checkpoint);
            (writer.state.chain.next_value, writer.state.chain.next_blob) = numbers;
            Ok(())
        })?;
        Ok(self.watermarks())
    }

    /// How far each stage has come, as of the last commit. Does not touch the disk.
    pub fn watermarks(&self) -> Watermarks {
        self.committed().watermarks()
    }

    /// Lowest height whose blobs are wanted, as of the last commit; it may be above everything that is held. Does not
    /// touch the disk.
    pub fn blob_floor(&self) -> Height {
        self.committed().chain.blob_floor
    }

    /// What the next decided value attaches to, as of the last commit. Does not touch the disk.
    ///
    /// # Errors
    /// None at present; the tip is part of the state in memory.
    pub fn tip(&self) -> Result<ChainLink, StoreError> {
        Ok(self.committed().chain.tip)
    }

    /// Heights that are decided, at or above the floors, and not complete. Does not touch the disk.
    pub fn gaps(&self) -> HeightRanges {
        self.committed().gaps()
    }

    /// Heights up to the available one, at or above both floors, that are not archived: what there is to archive. Those
    /// in [`Store::gaps`] have to be mended first. Does not touch the disk.
    pub fn unarchived(&self) -> HeightRanges {
        self.committed().unarchived()
    }

    /// Counts and bytes by phase, and what the file takes.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the file cannot be examined.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let state = self.committed();
        let size = self.inner.connection.medium().size().map_err(StoreError::Io)?;
        Ok(StoreStats {
            tallies: state.chain.tallies,
            watermarks: state.watermarks(),
            file_bytes: size.length,
            allocated_bytes: size.allocated,
        })
    }

    /// A snapshot: it sees the last commit and nothing later.
    ///
    /// While it lives, space that is freed after it was taken is not used again: keep it for an item or an exchange, not
    /// for the life of a peer.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::new(&self.begin_read()?)
    }

    /// The set with this root, if it is held.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn validator_set(&self, root: &Bytes32) -> Result<Option<ValidatorSet>, StoreError> {
        self.reader()?.validator_set(root)
    }

    /// Keeps a validator set under its root. Durable.
    ///
    /// # Errors
    /// [`Conflict::ValidatorSet`] if it is not a legal one.
    pub fn insert_validator_set(&self, set: &ValidatorSet) -> Result<(), StoreError> {
        set.check().map_err(Conflict::from)?;
        let root = set.root();
        match self.validator_set(&root) {
            Ok(Some(_)) => return Ok(()),
            // A damaged row is written again: the root says that it is the same set.
            Ok(None) | Err(StoreError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        self.write(Safe::Durable, |writer| {
            let row = seal(encode(set), seal_key(&root.0));
            writer.tables.validator_sets.insert(&root.0, row.as_slice())?;
            Ok(())
        })
    }

    /// Makes everything that was written so far durable. Call it before a planned stop.
    ///
    /// # Errors
    /// [`StoreError`] if the disk fails.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.write(Safe::Durable, |_| Ok(()))
    }

    /// Whether the database has failed and is not open again yet. The next call that needs it tries to open it.
    pub fn needs_reopen(&self) -> bool {
        self.inner.connection.is_broken()
    }

    /// Opens the database again in place if it has failed; what was durable is there. Other calls do it by themselves.
    ///
    /// # Errors
    /// [`StoreError`] if the disk still fails; the next call tries once more.
    pub fn reopen(&self) -> Result<(), StoreError> {
        self.reopen_as_writer(&mut self.writer())
    }

    pub(crate) fn committed(&self) -> Arc<State> {
        self.inner.committed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn writer(&self) -> MutexGuard<'_, u32> {
        let _next = self.inner.next_writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A writer that panicked has published nothing and its transaction is gone: the lock protects no broken state.
        self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, state: State) {
        *self.inner.committed.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }

    fn take_over(&self, Found { state, mended }: Found) {
        self.publish(state);
        let mut known = self.inner.mended.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_MENDED.saturating_sub(known.len());
        known.extend(mended.into_iter().take(room));
    }

    /// Damaged rows that opening, the first time or again, has dealt with, and how. Each is told once, here or by
    /// [`Store::verify`] and [`Store::repair`].
    pub fn take_mended(&self) -> Vec<(Damage, Fate)> {
        std::mem::take(&mut *self.inner.mended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reopen_as_writer(&self, eventual: &mut u32) -> Result<(), StoreError> {
        // Whoever had the lock before may have done it.
        if self.inner.connection.is_broken() {
            self.take_over(self.inner.connection.reopen()?);
            *eventual = 0;
        }
        Ok(())
    }

    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        if let Some(transaction) = self.inner.connection.begin_read()? {
            return Ok(transaction);
        }
        self.reopen()?;
        self.inner.connection.begin_read()?.ok_or_else(|| redb::Error::PreviousIo.into())
    }

    fn begin_write(&self, eventual: &mut u32) -> Result<WriteTransaction, StoreError> {
        self.reopen_as_writer(eventual)?;
        self.inner.connection.begin_write()?.ok_or_else(|| redb::Error::PreviousIo.into())
    }

    /// Runs `body` as the one writer. What it did is committed, with the state it leaves, if it succeeds, and undone if
    /// it fails or panics.
    pub(crate) fn write<T>(
        &self,
        safe: Safe,
        body: impl FnOnce(&mut Writer<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut eventual = self.writer();
        let result = guarded(|| self.transact(&mut eventual, safe, body));
        self.after(&mut eventual, result)
    }

    /// Runs `body` on the database while nothing else is done with it.
    pub(crate) fn exclusively<T>(
        &self,
        body: impl FnOnce(&mut Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut eventual = self.writer();
        self.reopen_as_writer(&mut eventual)?;
        let result = guarded(|| self.inner.connection.exclusively(body));
        self.after(&mut eventual, result)
    }

    /// Makes everything durable, closes the database, gives what it lies on to `body`, with the size of a cache, and opens
    /// it again. Snapshots end.
    pub(crate) fn while_closed<T>(
        &self,
        body: impl FnOnce(Box<dyn StorageBackend>, usize) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut eventual = self.writer();
        let flushed = guarded(|| self.transact(&mut eventual, Safe::Durable, |_| Ok(())));
        self.after(&mut eventual, flushed)?;
        let (result, found) =
            self.inner.connection.while_closed(|backend| body(backend, self.inner.config.cache_bytes))?;
        self.take_over(found);
        result
    }

    /// Sees to it that a database which failed is opened again.
    fn after<T>(&self, eventual: &mut u32, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.as_ref().is_err_and(StoreError::is_fatal) {
            self.inner.connection.mark_broken();
            // At once, so that the state in memory is again that on the disk: the failed transaction may be there, and
            // eventual ones may not. If it fails, the next call tries again.
            let _ = self.reopen_as_writer(eventual);
        }
        result
    }

    fn transact<T>(
        &self,
        eventual: &mut u32,
        safe: Safe,
        body: impl FnOnce(&mut Writer<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut transaction = self.begin_write(eventual)?;
        let durable = safe == Safe::Durable || *eventual >= MAX_EVENTUAL;
        transaction.set_quick_repair(true);
        transaction.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
        let before = self.committed();
        let (result, state) = {
            let tables = WriteTables::open(&transaction)?;
            let mut writer =
                Writer { tables, state: State::clone(&before), committed: &before, config: &self.inner.config };
            let result = body(&mut writer)?;
            writer.state.persist(&mut writer.tables, Some(&before))?;
            (result, writer.state)
        };
        transaction.commit()?;
        *eventual = if durable { 0 } else { *eventual + 1 };
        self.publish(state);
        Ok(result)
    }
}

/// Reads the validator set with this root.
pub(crate) fn load_validator_set(tables: &impl Tables, root: &Bytes32) -> Result<Option<ValidatorSet>, StoreError> {
    let Some(row) = tables.validator_sets().get(&root.0)? else { return Ok(None) };
    let damage = Damage { table: TableName::ValidatorSets, height: 0, index: 0 };
    let row = unseal(row.value(), seal_key(&root.0)).ok_or(damage)?;
    Ok(Some(decode(row).map_err(|_| damage)?))
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        redb::Error::Io(error).into()
    }
}
