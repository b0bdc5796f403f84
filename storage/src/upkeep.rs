//! What an operator asks of a whole store: what its tables take, whether its pages are as they were written, and its
//! file cut to what it needs.

use redb::{Database, ReadableTableMetadata, TableStats};

use crate::{Conflict, OpenError, Store, StoreError, error::guarded, overlay::Overlay, tables::ReadTables};

/// How closely [`Store::tables`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableDetail {
    /// Rows only: takes no time, whatever the size of the store.
    Rows,
    /// Pages too: reads the whole store.
    Pages,
}

/// What one table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Its name.
    pub name: &'static str,
    /// Its rows.
    pub rows: u64,
    /// Its pages, with [`TableDetail::Pages`].
    pub pages: Option<PageUse>,
}

/// How a table uses its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageUse {
    /// Bytes of keys and values.
    pub stored_bytes: u64,
    /// Bytes of branches, offsets and checksums.
    pub metadata_bytes: u64,
    /// Bytes of pages that hold nothing.
    pub unused_bytes: u64,
}

impl From<TableStats> for PageUse {
    fn from(stats: TableStats) -> Self {
        Self {
            stored_bytes: stats.stored_bytes(),
            metadata_bytes: stats.metadata_bytes(),
            unused_bytes: stats.fragmented_bytes(),
        }
    }
}

impl TableSize {
    pub(crate) fn of(
        name: &'static str,
        table: &impl ReadableTableMetadata,
        detail: TableDetail,
    ) -> Result<Self, StoreError> {
        let pages = match detail {
            TableDetail::Rows => None,
            TableDetail::Pages => Some(table.stats()?.into()),
        };
        Ok(Self { name, rows: table.len()?, pages })
    }
}

impl Store {
    /// What each table takes, in one snapshot.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn tables(&self, detail: TableDetail) -> Result<Vec<TableSize>, StoreError> {
        ReadTables::open(&self.begin_read()?)?.sizes(detail)
    }

    /// Whether every page of the database has the checksum that the page above it says, and the free ones are known.
    /// Changes nothing on the disk. Reads the whole file; nothing else is done meanwhile, and all snapshots end.
    ///
    /// Rows have checksums of their own, and [`Store::repair`] mends them, by which their pages are written anew; this is
    /// about the trees that hold them. redb's own check is not run on the file: it takes the last transaction back if one
    /// page of it is damaged, which would lose what was acknowledged for a single row that can be fetched again.
    ///
    /// # Errors
    /// [`StoreError`] if the disk fails.
    pub fn verify_pages(&self) -> Result<bool, StoreError> {
        self.while_closed(|backend, cache_bytes| {
            let overlay = Overlay::new(backend)?;
            let checked = guarded(|| {
                let database = Database::builder().set_cache_size(cache_bytes).create_with_backend(overlay);
                let checked = database.and_then(|mut database| database.check_integrity());
                checked.map_err(|error| OpenError::from(error).into())
            });
            match checked {
                Err(StoreError::Fatal(error)) if matches!(*error, redb::Error::Corrupted(_)) => Ok(false),
                checked => checked,
            }
        })
    }

    /// Moves pages to the front of the file and cuts off what is free; `false` if there was nothing to win. May take
    /// long; nothing else is done meanwhile.
    ///
    /// # Errors
    /// [`Conflict::InUse`] while there are snapshots; [`StoreError`] if the disk fails.
    pub fn compact(&self) -> Result<bool, StoreError> {
        self.exclusively(|database| {
            database.compact().map_err(|error| match error {
                redb::CompactionError::TransactionInProgress => Conflict::InUse.into(),
                error => redb::Error::from(error).into(),
            })
        })
    }
}
