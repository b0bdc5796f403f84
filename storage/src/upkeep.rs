//! What an operator asks of a whole store: what its tables take, whether its pages are as they were written, and its
//! file cut to what it needs.

use redb::{ReadableTableMetadata, TableStats};

use crate::{Conflict, OpenError, Store, StoreError, tables::ReadTables};

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

    /// Verifies the checksum of every page of the database, and mends what can be told from the rest; `false` if there
    /// was something to mend. Reads the whole file; nothing else is done meanwhile.
    ///
    /// Rows have checksums of their own, see [`Store::verify`]; this one is about the trees that hold them.
    ///
    /// # Errors
    /// [`Conflict::InUse`] while there are snapshots; [`StoreError::Fatal`] if the trees are beyond mending.
    pub fn verify_pages(&self) -> Result<bool, StoreError> {
        self.exclusively(|database| {
            database.check_integrity().map_err(|error| match error {
                redb::DatabaseError::TransactionInProgress => Conflict::InUse.into(),
                error => OpenError::from(error).into(),
            })
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
