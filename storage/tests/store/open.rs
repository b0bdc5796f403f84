//! Opening: what is refused, each with a line of its own.

use std::sync::Arc;

use lapis_protocol_spec::{Validator, ValidatorSet};
use lapis_storage::{Conflict, OpenError, Store, StoreConfig, StoreError};
use redb::{Database, TableDefinition};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    faulty::{Disk, Event, apply},
    fixture::{Bench, Chain},
};

#[test]
fn another_chain_is_refused() {
    let bench = Bench::new();
    let path = bench.path();
    let other = Chain::named("another").genesis;
    drop(bench.store);
    let error = Store::open(&path, &other, StoreConfig::default()).unwrap_err();
    let OpenError::OtherChain { found, expected } = error else { panic!("{error}") };
    assert_eq!((found, expected), (bench.chain.genesis.id(), other.id()));
    Store::open(&path, &bench.chain.genesis, StoreConfig::default()).unwrap();
}

#[test]
fn a_store_is_open_once() {
    let bench = Bench::new();
    let again = Store::open(&bench.path(), &bench.chain.genesis, StoreConfig::default());
    assert!(matches!(again, Err(OpenError::Locked)), "{again:?}");
}

#[test]
fn a_newer_schema_is_refused() {
    let bench = Bench::new();
    let genesis = bench.chain.genesis.clone();
    let path = bench.path();
    drop(bench.store);
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let row = 3_u64.to_le_bytes();
    let row = [row, xxh3_64_with_seed(&row, 0).to_le_bytes()].concat();
    let meta: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    transaction.open_table(meta).unwrap().insert("schema", row.as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Store::open(&path, &genesis, StoreConfig::default()).unwrap_err();
    assert_eq!(error.to_string(), "the store has schema 3, this version supports up to 2");
}

#[test]
fn files_that_are_no_store_are_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let genesis = Chain::new().genesis;
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to be looked at".repeat(400)).unwrap();
    let before = std::fs::read(&text).unwrap();
    let error = Store::open(&text, &genesis, StoreConfig::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore), "{error:?}");
    assert_eq!(std::fs::read(&text).unwrap(), before);
    let foreign = directory.path().join("foreign.redb");
    let database = Database::create(&foreign).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Store::open(&foreign, &genesis, StoreConfig::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore), "{error:?}");
    let nowhere = directory.path().join("no/such/directory/store.redb");
    assert!(matches!(Store::open(&nowhere, &genesis, StoreConfig::default()), Err(OpenError::Io(_))));
}

#[test]
fn validator_sets_are_kept_by_root_and_checked() {
    let bench = Bench::new();
    let set = ValidatorSet::new(vec![Validator { public_key: [3; 32].into(), power: 5 }]).unwrap();
    bench.store.insert_validator_set(&set).unwrap();
    bench.store.insert_validator_set(&set).unwrap();
    let bench = bench.reopen_after(|_| ());
    assert_eq!(bench.store.validator_set(&set.root()).unwrap(), Some(set));
    let empty = bench.store.insert_validator_set(&ValidatorSet::default());
    assert!(matches!(empty, Err(StoreError::Conflict(Conflict::ValidatorSet(_)))));
}

#[test]
fn clones_share_the_store_and_keep_it_open() {
    let mut bench = Bench::new();
    let clone = bench.store.clone();
    bench.whole(&[1]);
    assert_eq!(clone.watermarks().available, 1);
    let reader = clone.reader().unwrap();
    drop((bench.store, clone));
    assert!(reader.sidecar(1, 0).unwrap().is_some());
}

#[test]
fn a_store_can_go_to_other_threads() {
    fn assert_send_sync<T: Send + Sync + 'static>() {}
    assert_send_sync::<Store>();
    assert_send_sync::<lapis_storage::Reader>();
}

#[test]
fn a_creation_that_is_killed_at_any_point_can_be_made_again() {
    let chain = Chain::new();
    let disk = Disk::recording();
    let open = |disk: &Disk| Store::open_on(Arc::new(disk.clone()), &chain.genesis, StoreConfig::default());
    drop(open(&disk).unwrap());
    let journal = disk.journal();
    let mut bytes = Vec::new();
    for event in &journal {
        match event {
            Event::SetLen(length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
            Event::Write(offset, data) => apply(&mut bytes, *offset, data),
            _ => {}
        }
        let store = open(&Disk::holding(bytes.clone())).unwrap();
        assert_eq!(store.watermarks().decided, 0);
    }
    assert!(journal.len() > 4);
}

#[test]
fn a_file_that_is_no_store_is_not_taken_for_one_that_was_never_finished() {
    let chain = Chain::new();
    let mut other = vec![0; 2 * 1024 * 1024];
    other[1024 * 1024] = 7;
    for bytes in [other, b"text".to_vec(), vec![0; 64 * 1024 * 1024]] {
        let disk = Disk::holding(bytes.clone());
        let refused = Store::open_on(Arc::new(disk.clone()), &chain.genesis, StoreConfig::default());
        assert!(matches!(refused, Err(OpenError::NotAStore)), "{refused:?}");
        assert!(disk.bytes() == bytes, "it was changed");
    }
}
