//! A database that failed is opened again in place.

use std::sync::Arc;

use lapis_storage::{Batch, DiskFile, Medium, MediumSize, OpenError, StorageBackend, Store, StoreConfig, StoreError};

use crate::{
    faulty::{Disk, Fault},
    fixture::{Bench, Chain},
};

fn store_on(disk: &Disk, chain: &Chain) -> Store {
    // No cache: whatever is read comes from the disk.
    let config = StoreConfig { cache_bytes: 0, ..StoreConfig::default() };
    Store::open_on(Arc::new(disk.clone()), &chain.genesis, config).unwrap()
}

#[test]
fn a_failed_read_ends_snapshots_and_the_next_one_is_fresh() {
    let disk = Disk::default();
    let mut chain = Chain::new();
    let store = store_on(&disk, &chain);
    let (proposal, decided) = chain.next(&[1]);
    store.mark_decided(&[decided]).unwrap();
    store.insert(proposal.batch()).unwrap();
    let (first, second) = (store.reader().unwrap(), store.reader().unwrap());
    disk.set(Fault::Once(disk.operations() + 1));
    let error = first.sidecar(1, 0).unwrap_err();
    assert!(matches!(error, StoreError::Io(_)), "{error:?}");
    assert!(store.needs_reopen());
    let error = second.sidecar(1, 0).unwrap_err();
    assert!(error.may_pass(), "{error:?}");
    assert_eq!(store.reader().unwrap().sidecar(1, 0).unwrap().as_ref(), Some(&proposal.sidecars[0]));
    assert!(!store.needs_reopen());
    let error = second.sidecar(1, 0).unwrap_err();
    assert!(error.may_pass(), "{error:?}");
    store.insert(Batch::default()).unwrap();
}

#[test]
fn a_failure_while_opening_again_is_reported_and_tried_again() {
    let disk = Disk::default();
    let chain = Chain::new();
    let store = store_on(&disk, &chain);
    disk.set(Fault::From(disk.operations() + 1));
    assert!(matches!(store.flush(), Err(StoreError::Io(_))));
    assert!(store.needs_reopen());
    assert!(matches!(store.reader(), Err(StoreError::Io(_))));
    assert!(matches!(store.reopen(), Err(StoreError::Io(_))));
    disk.heal();
    store.flush().unwrap();
    assert!(!store.needs_reopen());
}

/// A file whose writes fail once, when it is told to.
#[derive(Debug)]
struct FailingFile(DiskFile, Disk);

#[derive(Debug)]
struct FailingBackend(Box<dyn StorageBackend>, Disk);

impl std::fmt::Display for FailingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl Medium for FailingFile {
    fn open(&self) -> Result<Box<dyn StorageBackend>, OpenError> {
        Ok(Box::new(FailingBackend(self.0.open()?, self.1.clone())))
    }

    fn size(&self) -> std::io::Result<MediumSize> {
        self.0.size()
    }
}

impl StorageBackend for FailingBackend {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.1.sync_data()?;
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }
}

#[test]
fn a_file_is_opened_again_in_place() {
    let bench = Bench::new();
    let (path, mut chain) = (bench.directory.path().join("other.redb"), Chain::new());
    let faults = Disk::default();
    let medium = FailingFile(DiskFile::new(&path), faults.clone());
    let store = Store::open_on(Arc::new(medium), &chain.genesis, StoreConfig::default()).unwrap();
    let (proposal, decided) = chain.next(&[1]);
    faults.set(Fault::Once(faults.operations() + 1));
    let reader = store.reader().unwrap();
    assert!(matches!(store.mark_decided(std::slice::from_ref(&decided)), Err(StoreError::Io(_))));
    assert_eq!(store.watermarks().decided, 0);
    store.mark_decided(&[decided]).unwrap();
    store.insert(proposal.batch()).unwrap();
    drop(reader);
    drop(store);
    let store = Store::open(&path, &chain.genesis, StoreConfig::default()).unwrap();
    assert_eq!(store.watermarks().available, 1);
    let again = Store::open(&path, &chain.genesis, StoreConfig::default());
    assert!(matches!(again, Err(OpenError::Locked)), "{again:?}");
}
