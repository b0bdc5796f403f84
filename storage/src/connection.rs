//! The database behind a store. Owns opening it, noticing that it refuses to go on, and opening it again in place.
//!
//! After one failed read, write or sync redb answers nothing any more, not even reads, since it cannot know what reached
//! the disk. What was committed durably is on the disk all the same; so the database is closed, which ends its snapshots,
//! and opened again. Nothing is scanned, as after a kill.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicBool, Ordering},
};

use lapis_protocol_spec::Genesis;
use redb::{Database, ReadTransaction, ReadableDatabase, StorageBackend, WriteTransaction};

use crate::{
    Fate, OpenError, StoreConfig, StoreError, creation,
    error::{Damage, guarded},
    medium::{Medium, Watched},
    open,
    state::State,
};

/// The database of a store, open or in need of it.
pub(crate) struct Connection {
    medium: Arc<dyn Medium>,
    genesis: Genesis,
    cache_bytes: usize,
    opened: RwLock<Option<Opened>>,
}

struct Opened {
    database: Database,
    /// Whether it refuses everything from now on.
    broken: Arc<AtomicBool>,
}

/// What opening the database found.
pub(crate) struct Found {
    /// The state as of the last durable transaction.
    pub(crate) state: State,
    /// Damaged rows that opening has dealt with.
    pub(crate) mended: Vec<(Damage, Fate)>,
}

impl Connection {
    /// Opens the store on `medium` and reads its state.
    pub(crate) fn open(
        medium: Arc<dyn Medium>,
        genesis: &Genesis,
        config: &StoreConfig,
    ) -> Result<(Self, Found), OpenError> {
        let cache_bytes = config.cache_bytes;
        let (opened, found) = Opened::new(&*medium, genesis, cache_bytes)?;
        let opened = RwLock::new(Some(opened));
        Ok((Self { medium, genesis: genesis.clone(), cache_bytes, opened }, found))
    }

    pub(crate) fn medium(&self) -> &dyn Medium {
        &*self.medium
    }

    /// Whether it must be opened again before anything else.
    pub(crate) fn is_broken(&self) -> bool {
        self.opened().as_ref().is_none_or(Opened::is_broken)
    }

    /// Notes that the database failed.
    pub(crate) fn mark_broken(&self) {
        if let Some(opened) = self.opened().as_ref() {
            opened.broken.store(true, Ordering::Release);
        }
    }

    /// A snapshot; `None` if the database must be opened again first.
    pub(crate) fn begin_read(&self) -> Result<Option<ReadTransaction>, StoreError> {
        let opened = self.opened();
        let Some(opened) = opened.as_ref().filter(|opened| !opened.is_broken()) else { return Ok(None) };
        Ok(Some(opened.database.begin_read()?))
    }

    /// A writing transaction; `None` if the database must be opened again first. The caller is the only writer.
    pub(crate) fn begin_write(&self) -> Result<Option<WriteTransaction>, StoreError> {
        let opened = self.opened();
        let Some(opened) = opened.as_ref().filter(|opened| !opened.is_broken()) else { return Ok(None) };
        Ok(Some(opened.database.begin_write()?))
    }

    /// Closes the database if it is open, opens it and reads its state. The caller is the only writer and has no
    /// transaction open. Snapshots end: what they are asked from then on is refused.
    pub(crate) fn reopen(&self) -> Result<Found, OpenError> {
        let mut slot = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        // The file is locked until the old database is gone.
        drop(slot.take());
        let (opened, found) = Opened::new(&*self.medium, &self.genesis, self.cache_bytes)?;
        *slot = Some(opened);
        Ok(found)
    }

    /// Closes the database, runs `body` on what it lies on, and opens the database again, whatever came of that. The caller
    /// is the only writer and has no transaction open. Snapshots end.
    pub(crate) fn while_closed<T>(
        &self,
        body: impl FnOnce(Box<dyn StorageBackend>) -> Result<T, StoreError>,
    ) -> Result<(Result<T, StoreError>, Found), OpenError> {
        let mut slot = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        drop(slot.take());
        let result = self.medium.open().map_err(StoreError::from).and_then(body);
        let (opened, found) = Opened::new(&*self.medium, &self.genesis, self.cache_bytes)?;
        *slot = Some(opened);
        Ok((result, found))
    }

    /// Runs `body` on the database while nobody else can begin anything. The caller is the only writer, has no transaction
    /// open, and has seen to it that the database is open.
    pub(crate) fn exclusively<T>(
        &self,
        body: impl FnOnce(&mut Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut slot = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        match slot.as_mut().filter(|opened| !opened.is_broken()) {
            Some(opened) => body(&mut opened.database),
            None => Err(redb::Error::PreviousIo.into()),
        }
    }

    fn opened(&self) -> RwLockReadGuard<'_, Option<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    fn new(medium: &dyn Medium, genesis: &Genesis, cache_bytes: usize) -> Result<(Self, Found), OpenError> {
        let broken = Arc::new(AtomicBool::new(false));
        let backend = Watched::new(medium.open()?, broken.clone());
        creation::undo_unfinished(&backend)?;
        let open::Opened { database, state, mended } = guarded(|| open::open(backend, genesis, cache_bytes))?;
        Ok((Self { database, broken }, Found { state, mended }))
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }
}
