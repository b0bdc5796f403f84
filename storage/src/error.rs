//! What can go wrong, and whose fault it is. None of it is ever a peer's: what peers send is checked before it gets here.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
};

use lapis_protocol_spec::{Bytes32, CertificateFault, Height};

use crate::TableName;

/// Why a store cannot be opened. One clear line each; nothing on disk has changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read or written.
    #[error("cannot open the store: {0}")]
    Io(#[source] io::Error),
    /// A process (this one or another) has it open.
    #[error("the store is already open")]
    Locked,
    /// Written by a newer version of this program.
    #[error("the store has schema {found}, this version supports up to {supported}")]
    NewerSchema {
        /// Version in the file.
        found: u64,
        /// Highest version that can be read.
        supported: u64,
    },
    /// The store belongs to another chain.
    #[error("the store is of the chain with genesis {found}, expected {expected}")]
    OtherChain {
        /// Genesis id in the file.
        found: Bytes32,
        /// Genesis id of the configured chain.
        expected: Bytes32,
    },
    /// The file is something else.
    #[error("the file is not a store")]
    NotAStore,
    /// A store whose own records contradict each other.
    #[error("the store cannot be read: {0}")]
    Damaged(#[source] StoreError),
    /// The database refused for another reason.
    #[error("cannot open the store: {0}")]
    Database(#[source] Box<redb::Error>),
}

/// A row that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("damaged row in table {table}, height {height}, index {index}")]
pub struct Damage {
    /// Table of the row.
    pub table: TableName,
    /// Height of the value it belongs to; 0 for rows that belong to none.
    pub height: Height,
    /// Index of the blob, 0 for rows without one.
    pub index: u64,
}

/// A call that does not fit the state of the store: the caller's mistake, nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A decided value does not attach to the tip.
    #[error("the value at height {height} does not attach to the tip: {fault}")]
    NotNext {
        /// Height of the value.
        height: Height,
        /// How it does not attach.
        fault: CertificateFault,
    },
    /// Data of a value that is neither decided nor known as undecided.
    #[error("value {value_id} at height {height} is not known")]
    UnknownValue {
        /// Height of the item.
        height: Height,
        /// Value it names.
        value_id: Bytes32,
    },
    /// A blob for a place at which its value has another one or none.
    #[error("value {value_id} at height {height} has no such blob at index {index}")]
    UnknownPlace {
        /// Height of the item.
        height: Height,
        /// Value it names.
        value_id: Bytes32,
        /// Index it names.
        index: u64,
    },
    /// An undecided value at a height where another one is decided, or at no height of a chain.
    #[error("height {height} cannot take an undecided value, the tip is {decided}")]
    NotUndecided {
        /// Height of the value.
        height: Height,
        /// Height of the tip.
        decided: Height,
    },
    /// The height is not complete.
    #[error("height {height} is not available, heights up to {available} are")]
    NotAvailable {
        /// Height asked for.
        height: Height,
        /// Watermark.
        available: Height,
    },
    /// It is imported already.
    #[error("height {height} cannot be imported next, expected {expected} or above")]
    NotNextImport {
        /// Height given.
        height: Height,
        /// Lowest height that is not imported.
        expected: Height,
    },
    /// A starting point can only be set on a store without values.
    #[error("the store already holds values, it cannot start elsewhere")]
    NotEmpty,
    /// The call needs the store for itself, and there are snapshots of it.
    #[error("the store is being read")]
    InUse,
    /// A validator set that no value could name.
    #[error("not a validator set: {0}")]
    ValidatorSet(#[from] lapis_protocol_spec::ValidatorSetFault),
    /// Another set than the one with this root, which the starting point names.
    #[error("not the validator set {0}")]
    OtherSet(Bytes32),
}

/// Why a call on an open store failed. Its transaction, if any, is undone as a whole.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk.
    #[error("no room on the disk: {0}")]
    Full(#[source] io::Error),
    /// The disk or file system failed.
    #[error("the disk failed: {0}")]
    Io(#[source] io::Error),
    /// A row is damaged. It was not returned as data; [`crate::Store::discard_damaged`] lets it be fetched again.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The caller's mistake.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Undecided data is at its cap: busy, later it may succeed.
    #[error("undecided data takes {held} bytes, {wanted} more are over the cap of {cap}")]
    UndecidedFull {
        /// Bytes held.
        held: u64,
        /// Bytes that would be added.
        wanted: u64,
        /// The configured cap.
        cap: u64,
    },
    /// The database cannot go on: it must be opened again.
    #[error("the database cannot go on: {0}")]
    Fatal(#[source] Box<redb::Error>),
}

impl StoreError {
    /// Whether the database is or was in trouble: it must be opened again, as the store's next call does.
    ///
    /// After a failed read or write the database refuses further ones, since it cannot know what reached the disk.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Full(_) | Self::Io(_) | Self::Fatal(_) => true,
            Self::Damaged(_) | Self::Conflict(_) | Self::UndecidedFull { .. } => false,
        }
    }
}

impl StoreError {
    /// Whether the same call may succeed later without anybody's mending the store: the disk is full or failed, or a
    /// snapshot ended because the database was opened again.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Full(_) | Self::Io(_) | Self::UndecidedFull { .. } => true,
            Self::Fatal(error) => matches!(**error, redb::Error::PreviousIo | redb::Error::DatabaseClosed),
            Self::Damaged(_) | Self::Conflict(_) => false,
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if is_full(&error) => Self::Full(error),
            redb::Error::Io(error) => Self::Io(error),
            error => Self::Fatal(Box::new(error)),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::SetDurabilityError);

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(error) | StoreError::Io(error) => Self::Io(error),
            StoreError::Fatal(error) => Self::Database(error),
            error @ (StoreError::Damaged(_) | StoreError::Conflict(_) | StoreError::UndecidedFull { .. }) => {
                Self::Damaged(error)
            }
        }
    }
}

/// Opening a second time what was open before: the same medium, the same chain.
impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => error.into(),
            OpenError::Database(error) => Self::Fatal(error),
            OpenError::Damaged(error) => error,
            OpenError::Locked => redb::Error::DatabaseAlreadyOpen.into(),
            error @ (OpenError::NewerSchema { .. } | OpenError::OtherChain { .. } | OpenError::NotAStore) => {
                io::Error::new(io::ErrorKind::InvalidData, error).into()
            }
        }
    }
}

impl From<redb::DatabaseError> for OpenError {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            redb::DatabaseError::Storage(redb::StorageError::Io(error)) => match error.kind() {
                // redb's answer to a file that does not begin as its files do.
                io::ErrorKind::InvalidData => Self::NotAStore,
                _ => Self::Io(error),
            },
            error => Self::Database(Box::new(error.into())),
        }
    }
}

/// Runs what goes through trees that may be damaged. redb verifies no page when it reads it, and on some that are not as
/// it wrote them it panics: a damaged file is an error here, and no more.
pub(crate) fn guarded<T, E: From<StoreError>>(body: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let corrupted =
        || StoreError::from(redb::Error::Corrupted("a page does not have the shape that it should".to_owned()));
    // What unwinds drops its transaction, which undoes it; nothing of `body` is used after that.
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err(corrupted().into()))
}
