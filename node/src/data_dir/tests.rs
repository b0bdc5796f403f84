#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::config::Config;

/// Every file below `root` with its content.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.insert(path.clone(), Vec::new());
            files.extend(snapshot(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// A place with a valid genesis file in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let genesis = place.path().join("chain.json");
    let json = json!({
        "chain_id": "example-1",
        "genesis_time": 1,
        "max_blobs_per_block": 6,
        "blob_retention_heights": 1000,
        "validators": [{ "public_key": "11".repeat(32), "power": 1 }],
        "execution_block_hash": "ab".repeat(32),
        "cancun_time": 0,
        "prague_time": 0,
    });
    fs::write(&genesis, json.to_string()).unwrap();
    (place, genesis)
}

#[test]
fn what_init_makes_can_be_opened_and_read() {
    let (place, genesis) = place();
    let root = place.path().join("deep/node");
    let made = DataDir::init(&root, &genesis).unwrap();
    let opened = DataDir::open(&root).unwrap();
    assert_eq!(made, opened);
    assert_eq!(opened.genesis().unwrap(), genesis_file::load(&genesis).unwrap());
    opened.key().unwrap();
    let names: Vec<_> = snapshot(&root).into_keys().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, [CONFIG, GENESIS, KEY]);
    let text = fs::read_to_string(opened.config_path()).unwrap();
    assert_eq!(
        crate::config::Layers::new().file_text(CONFIG, &text).unwrap().finish().unwrap().config,
        Config::default()
    );
}

#[test]
fn init_refuses_what_it_has_made_and_changes_nothing() {
    let (place, genesis) = place();
    let root = place.path().join("node");
    DataDir::init(&root, &genesis).unwrap();
    let before = snapshot(place.path());
    assert!(matches!(DataDir::init(&root, &genesis), Err(DataDirError::Initialised(_))));
    assert_eq!(snapshot(place.path()), before);
}

#[test]
fn init_refuses_a_directory_in_use_and_changes_nothing() {
    let (place, genesis) = place();
    let root = place.path().join("node");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("thesis.txt"), "years of work").unwrap();
    let before = snapshot(place.path());
    let error = DataDir::init(&root, &genesis).unwrap_err();
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    assert_eq!(snapshot(place.path()), before);
}

#[test]
fn a_bad_genesis_leaves_no_trace() {
    let (place, genesis) = place();
    fs::write(&genesis, "{").unwrap();
    let before = snapshot(place.path());
    let error = DataDir::init(&place.path().join("node"), &genesis).unwrap_err();
    assert!(matches!(error, DataDirError::Genesis(GenesisFileError::Content { .. })));
    assert_eq!(snapshot(place.path()), before);
}

#[test]
fn a_failure_half_way_is_taken_back() {
    let (place, genesis) = place();
    let root = place.path().join("node");
    fs::create_dir(&root).unwrap();
    // A file where the staging directory belongs makes `populate` fail after the checks.
    fs::write(root.join(STAGING), "").unwrap();
    let error = DataDir::init(&root, &genesis).unwrap_err();
    assert!(matches!(error, DataDirError::Io { .. }), "{error}");
    for name in [CONFIG, GENESIS, KEY] {
        assert!(!root.join(name).exists(), "{name} was left behind");
    }
}

#[test]
fn init_goes_on_after_one_that_was_killed() {
    let (place, genesis) = place();
    let root = place.path().join("node");
    fs::create_dir_all(root.join(STAGING)).unwrap();
    fs::write(root.join(STAGING).join(KEY), "half a k").unwrap();
    DataDir::init(&root, &genesis).unwrap();
    assert!(!root.join(STAGING).exists());
}

#[test]
fn init_takes_the_root_of_a_new_file_system() {
    let (place, genesis) = place();
    let root = place.path().join("volume");
    fs::create_dir_all(root.join(LOST_AND_FOUND)).unwrap();
    DataDir::init(&root, &genesis).unwrap();
}

#[test]
fn open_tells_missing_foreign_and_unfinished_apart() {
    let (place, genesis) = place();
    assert!(matches!(DataDir::open(&place.path().join("nowhere")), Err(DataDirError::Missing(_))));
    assert!(matches!(DataDir::open(&genesis), Err(DataDirError::NotADirectory(_))));
    assert!(matches!(DataDir::open(place.path()), Err(DataDirError::NotInitialised(_))));
}
