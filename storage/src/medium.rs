//! What a store lies on: opened once at the start and again after a failure.

use std::{
    fmt::{self, Debug, Display},
    fs::{File, Metadata, OpenOptions},
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, StorageBackend, backends::FileBackend};

use crate::OpenError;

/// What a store lies on, and how it is called in messages. The usual one is a file, [`DiskFile`]; tests bring disks that
/// fail and lose writes.
pub trait Medium: Debug + Display + Send + Sync + 'static {
    /// Opens it, creating it empty if there is nothing yet. Called again after each failure of the one before, which is
    /// closed by then.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot be opened; the store is as unusable as before, and asks again with the next call.
    fn open(&self) -> Result<Box<dyn StorageBackend>, OpenError>;

    /// Whether there is a store, or something else, to open. If not, opening creates it.
    fn exists(&self) -> bool {
        self.size().is_ok()
    }

    /// The room that it takes.
    ///
    /// # Errors
    /// Those of the medium.
    fn size(&self) -> io::Result<MediumSize>;
}

/// The room that a medium takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediumSize {
    /// Length in bytes; it may have holes.
    pub length: u64,
    /// Bytes of disk allocated to it.
    pub allocated: u64,
}

/// A file of the operating system.
#[derive(Clone, Debug)]
pub struct DiskFile {
    path: PathBuf,
}

impl DiskFile {
    /// The file at `path`, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Display for DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.path.display(), f)
    }
}

impl Medium for DiskFile {
    fn open(&self) -> Result<Box<dyn StorageBackend>, OpenError> {
        let file = options().open(&self.path).map_err(OpenError::Io)?;
        Ok(Box::new(FileBackend::new(file)?))
    }

    fn size(&self) -> io::Result<MediumSize> {
        let file = std::fs::metadata(&self.path)?;
        Ok(MediumSize { length: file.len(), allocated: allocated(&file) })
    }
}

fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options
}

#[cfg(unix)]
fn allocated(file: &Metadata) -> u64 {
    // POSIX counts `st_blocks` in units of 512 bytes, whatever the file system's block size.
    std::os::unix::fs::MetadataExt::blocks(file).saturating_mul(512)
}

#[cfg(not(unix))]
fn allocated(file: &Metadata) -> u64 {
    file.len()
}

/// A medium that notes when reading fails: the database refuses everything after that, and has to be opened again.
///
/// Failed writes are noted by the transactions that they fail: those which only make room in the cache fail nothing.
#[derive(Debug)]
pub(crate) struct Watched {
    backend: Box<dyn StorageBackend>,
    broken: Arc<AtomicBool>,
}

impl Watched {
    pub(crate) fn new(backend: Box<dyn StorageBackend>, broken: Arc<AtomicBool>) -> Self {
        Self { backend, broken }
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.broken.store(true, Ordering::Release);
        }
        result
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.note(self.backend.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.backend.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}
