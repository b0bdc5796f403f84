//! A disk that fills up.

use std::{fmt, io, path::Path, sync::Arc};

use lapis_storage::{DiskFile, Medium, MediumSize, OpenError, StorageBackend};
use tokio::sync::watch;

/// A file on a disk on which there is no more room than a test says. What the file takes already can be written again;
/// anything beyond that fails as on a full disk, for as long as the test says so. It begins empty. Clones are the same
/// disk.
#[derive(Clone, Debug)]
pub struct SmallDisk {
    file: DiskFile,
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Whether there is no room.
    full: bool,
    /// Where what was ever written ends.
    used: u64,
    /// Writes that failed.
    refused: u64,
}

impl SmallDisk {
    pub(crate) fn new(path: &Path) -> Self {
        Self { file: DiskFile::new(path), state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// From now on there is no room.
    pub fn fill(&self) {
        self.state.send_modify(|state| state.full = true);
    }

    /// From now on there is room again.
    pub fn free(&self) {
        self.state.send_modify(|state| state.full = false);
    }

    /// Waits until `writes` more have been refused.
    pub async fn refuses(&self, writes: u64) {
        let mut state = self.state.subscribe();
        let until = state.borrow().refused + writes;
        crate::patiently("writes to a full disk", state.wait_for(|state| state.refused >= until)).await.unwrap();
    }
}

impl fmt::Display for SmallDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl Medium for SmallDisk {
    fn open(&self) -> Result<Box<dyn StorageBackend>, OpenError> {
        let backend = self.file.open()?;
        Ok(Box::new(Backend { backend, state: Arc::clone(&self.state) }))
    }

    fn size(&self) -> io::Result<MediumSize> {
        self.file.size()
    }
}

#[derive(Debug)]
struct Backend {
    backend: Box<dyn StorageBackend>,
    state: Arc<watch::Sender<State>>,
}

impl Backend {
    /// Takes the room up to `end`.
    fn take(&self, end: u64) -> io::Result<()> {
        let mut result = Ok(());
        self.state.send_modify(|state| {
            if state.full && end > state.used {
                state.refused += 1;
                result = Err(io::ErrorKind::StorageFull.into());
            } else {
                state.used = state.used.max(end);
            }
        });
        result
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // Files have holes: length takes no room.
        self.backend.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.take(offset + data.len() as u64)?;
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }
}
