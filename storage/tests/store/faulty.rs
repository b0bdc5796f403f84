//! A disk in memory that remembers what reached it and when, loses what was not synced, tears writes, fails and fills up.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
};

use lapis_storage::{Medium, MediumSize, OpenError, StorageBackend};

const BLOCK: u64 = 4096;

/// Something that happened to a disk.
#[derive(Debug)]
pub(crate) enum Event {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
    /// A call began that leads to the state of this number.
    Begun(usize),
    /// It returned.
    Ended(usize),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The operation of this number fails, and none after it.
    Once(u64),
    /// The operation of this number fails, and all after it.
    From(u64),
    /// From the operation of this number on, blocks that are not in use yet cannot be written.
    FullFrom(u64),
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    /// Blocks that have been written.
    blocks: BTreeSet<u64>,
    journal: Option<Vec<Event>>,
    operations: u64,
    fault: Option<Fault>,
    failures: u64,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    /// A disk that remembers.
    pub(crate) fn recording() -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().journal = Some(Vec::new());
        disk
    }

    /// The same with these bytes.
    pub(crate) fn recording_on(bytes: Vec<u8>) -> Self {
        let disk = Self::holding(bytes);
        disk.0.lock().unwrap().journal = Some(Vec::new());
        disk
    }

    /// A disk with these bytes, as after a restart.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let blocks = (0..(bytes.len() as u64).div_ceil(BLOCK)).collect();
        Self(Arc::new(Mutex::new(Inner { bytes, blocks, ..Inner::default() })))
    }

    /// A disk on which something will go wrong.
    pub(crate) fn with(fault: Fault) -> Self {
        let disk = Self::default();
        disk.set(fault);
        disk
    }

    /// Something will go wrong.
    pub(crate) fn set(&self, fault: Fault) {
        self.0.lock().unwrap().fault = Some(fault);
    }

    /// There is room again, and nothing fails any more.
    pub(crate) fn heal(&self) {
        self.0.lock().unwrap().fault = None;
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// Operations that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.0.lock().unwrap().failures
    }

    pub(crate) fn note(&self, event: Event) {
        if let Some(journal) = &mut self.0.lock().unwrap().journal {
            journal.push(event);
        }
    }

    /// Flips one bit of every copy of `needle`; returns how many there are.
    pub(crate) fn flip(&self, needle: &[u8]) -> usize {
        let bytes = &mut self.0.lock().unwrap().bytes;
        let places: Vec<usize> =
            (0..bytes.len() - needle.len()).filter(|at| bytes[*at..].starts_with(needle)).collect();
        places.iter().for_each(|at| bytes[at + 1] ^= 8);
        places.len()
    }

    /// What is on it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    /// How many times what was written was made durable so far.
    pub(crate) fn syncs(&self) -> usize {
        let inner = self.0.lock().unwrap();
        inner.journal.iter().flatten().filter(|event| matches!(event, Event::Sync)).count()
    }

    /// What happened so far.
    pub(crate) fn journal(&self) -> Vec<Event> {
        self.0.lock().unwrap().journal.take().unwrap()
    }
}

impl Inner {
    /// Counts an operation that needs the blocks of `range`.
    fn count(&mut self, range: std::ops::Range<u64>) -> io::Result<()> {
        self.operations += 1;
        let kind = match self.fault {
            Some(Fault::Once(number)) if number == self.operations => io::ErrorKind::Other,
            Some(Fault::From(number)) if number <= self.operations => io::ErrorKind::Other,
            Some(Fault::FullFrom(number))
                if self.operations >= number
                    && (range.start / BLOCK..range.end.div_ceil(BLOCK)).any(|block| !self.blocks.contains(&block)) =>
            {
                io::ErrorKind::StorageFull
            }
            _ => return Ok(()),
        };
        self.failures += 1;
        Err(kind.into())
    }

    fn note(&mut self, event: impl FnOnce() -> Event) {
        if let Some(journal) = &mut self.journal {
            journal.push(event());
        }
    }
}

impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a disk in memory")
    }
}

impl Medium for Disk {
    fn open(&self) -> Result<Box<dyn StorageBackend>, OpenError> {
        Ok(Box::new(self.clone()))
    }

    fn size(&self) -> io::Result<MediumSize> {
        let inner = self.0.lock().unwrap();
        Ok(MediumSize { length: inner.bytes.len() as u64, allocated: inner.blocks.len() as u64 * BLOCK })
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// Writes `data` at `offset`, as far as the disk is long.
pub(crate) fn apply(bytes: &mut [u8], offset: u64, data: &[u8]) {
    let end = (at(offset) + data.len()).min(bytes.len());
    if let Some(target) = bytes.get_mut(at(offset)..end) {
        target.copy_from_slice(&data[..target.len()]);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.count(0..0)?;
        let end = at(offset) + out.len();
        let found = inner.bytes.get(at(offset)..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.count(0..0)?;
        inner.bytes.resize(at(len), 0);
        inner.blocks.retain(|block| block * BLOCK < len);
        inner.note(|| Event::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.count(0..0)?;
        inner.note(|| Event::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let range = offset..offset + data.len() as u64;
        inner.count(range.clone())?;
        apply(&mut inner.bytes, offset, data);
        inner.blocks.extend(range.start / BLOCK..range.end.div_ceil(BLOCK));
        inner.note(|| Event::Write(offset, data.to_vec()));
        Ok(())
    }
}
