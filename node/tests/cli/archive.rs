//! `lapis export` and `lapis import`.

use std::{fs, process::Stdio};

use crate::{
    chain::{CHAIN, OTHER, line_of},
    place::{Place, lapis},
};

/// Exports all of the chain from the store in `dir`; the archive's path.
fn export(place: &Place, dir: &str, compression: &str) -> String {
    let out = place.path(&format!("{compression}.lapis"));
    let said = place.succeed(&["export", "--dir", dir, "--range", "1..5", "--out", &out, "--compression", compression]);
    assert!(said.contains("1..5") && said.contains(&out), "{said}");
    out
}

/// Names in the place itself.
fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path("")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_exported_is_imported() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 5, 5);
    for compression in ["zstd", "none"] {
        let archive = export(&place, &from, compression);
        let to = CHAIN.init(&place, compression);
        let said = place.succeed(&["import", "--dir", &to, &archive]);
        assert!(said.contains("new blobs      8\n") && said.contains("available      5\n"), "{said}");
        CHAIN.assert_held(&to, 5);
        let again = place.succeed(&["import", "--dir", &to, &archive]);
        assert!(again.contains("new blobs      0\n"), "{again}");
    }
    assert!(!names(&place).iter().any(|name| name.contains("partial")), "{:?}", names(&place));
}

#[test]
fn an_export_replaces_nothing() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 2, 2);
    let out = place.path("thesis.txt");
    fs::write(&out, "years of work").unwrap();
    let line = line_of(&["export", "--dir", &from, "--range", "1..2", "--out", &out], 2);
    assert!(line.contains("thesis.txt exists already"), "{line}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "years of work");
    let out = place.path("nowhere/a.lapis");
    let line = line_of(&["export", "--dir", &from, "--range", "1..2", "--out", &out], 2);
    assert!(line.contains("nowhere") && line.contains("No such file"), "{line}");
}

#[test]
fn a_range_that_is_not_whole_is_bad_input() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 4, 2);
    let out = place.path("a.lapis");
    let before = names(&place);
    for (range, part) in [("1..5", "height 3: its payload"), ("5..9", "height 5: it is not decided here, the tip is 4")]
    {
        let line = line_of(&["export", "--dir", &from, "--range", range, "--out", &out], 2);
        assert!(line.contains(range) && line.contains(part), "{line}");
    }
    assert_eq!(names(&place), before);
}

#[test]
fn a_store_that_is_not_there_cannot_be_exported() {
    let place = Place::new();
    let dir = CHAIN.init(&place, "node");
    let out = place.path("a.lapis");
    let line = place.refused(&["export", "--dir", &dir, "--range", "1..2", "--out", &out]);
    assert!(line.contains("no store yet") && line.contains("store.redb"), "{line}");
}

#[test]
fn a_store_in_use_is_left_alone() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 5, 5);
    let archive = export(&place, &from, "zstd");
    let store = CHAIN.store(&from);
    let out = place.path("a.lapis");
    for words in
        [&["export", "--dir", &from, "--range", "1..5", "--out", &out][..], &["import", "--dir", &from, &archive]]
    {
        let line = place.refused(words);
        assert!(line.contains("already open") && line.contains("stop the node"), "{line}");
    }
    drop(store);
}

#[test]
fn what_is_no_archive_is_bad_input() {
    let place = Place::new();
    let dir = CHAIN.init(&place, "node");
    let line = place.refused(&["import", "--dir", &dir, &place.path("nowhere.lapis")]);
    assert!(line.contains("nowhere.lapis") && line.contains("No such file"), "{line}");
    let line = place.refused(&["import", "--dir", &dir, &place.path("chain.json")]);
    assert!(line.contains("chain.json") && line.contains("not an archive"), "{line}");
}

#[test]
fn the_archive_of_another_chain_is_bad_input() {
    let place = Place::new();
    let from = OTHER.filled(&place, "from", 1, 1);
    let archive = place.path("other.lapis");
    place.succeed(&["export", "--dir", &from, "--range", "1..1", "--out", &archive]);
    let dir = CHAIN.init(&place, "node");
    let line = place.refused(&["import", "--dir", &dir, &archive]);
    assert!(line.contains(&OTHER.genesis().id().to_string()), "{line}");
}

#[test]
fn an_archive_that_does_not_attach_is_bad_input() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 5, 5);
    let archive = place.path("late.lapis");
    place.succeed(&["export", "--dir", &from, "--range", "4..5", "--out", &archive]);
    let dir = CHAIN.init(&place, "node");
    let line = place.refused(&["import", "--dir", &dir, &archive]);
    assert!(line.contains("begins at height 4, the store's tip is 0"), "{line}");
    let behind = CHAIN.filled(&place, "behind", 2, 2);
    let line = line_of(&["import", "--dir", &behind, &archive], 2);
    assert!(line.contains("begins at height 4, the store's tip is 2"), "{line}");
    let ready = CHAIN.filled(&place, "ready", 3, 3);
    place.succeed(&["import", "--dir", &ready, &archive]);
    CHAIN.assert_held(&ready, 5);
}

#[test]
fn a_damaged_archive_keeps_its_good_prefix() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 5, 5);
    let archive = export(&place, &from, "none");
    let mut bytes = fs::read(&archive).unwrap();
    // Inside the last blob of the last height.
    let position = bytes.len() - 60_000;
    bytes[position] ^= 1;
    let damaged = place.path("damaged.lapis");
    fs::write(&damaged, &bytes).unwrap();
    let dir = CHAIN.init(&place, "node");
    let line = line_of(&["import", "--dir", &dir, &damaged], 1);
    assert!(line.contains("damaged.lapis") && line.contains("height 5"), "{line}");
    assert!(line.contains("kept what came before: 5 new values, 5 payloads, 7 blobs"), "{line}");
    CHAIN.assert_held(&dir, 4);
    place.succeed(&["import", "--dir", &dir, &archive]);
    CHAIN.assert_held(&dir, 5);
}

#[test]
fn an_archive_that_is_cut_off_is_told_and_continued() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 5, 5);
    for compression in ["zstd", "none"] {
        let archive = export(&place, &from, compression);
        let bytes = fs::read(&archive).unwrap();
        let cut = place.path("cut.lapis");
        fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
        let dir = CHAIN.init(&place, compression);
        let line = line_of(&["import", "--dir", &dir, &cut], 1);
        assert!(line.contains("cut.lapis") && line.contains("height 4: the archive is cut off"), "{line}");
        CHAIN.assert_held(&dir, 3);
        place.succeed(&["import", "--dir", &dir, &archive]);
        CHAIN.assert_held(&dir, 5);
    }
}

#[test]
fn an_import_that_is_killed_is_continued() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 5, 5);
    let archive = export(&place, &from, "zstd");
    let dir = CHAIN.init(&place, "node");
    for _ in 0..3 {
        let mut import = lapis(&["import", "--dir", &dir, &archive]).stdout(Stdio::null()).spawn().unwrap();
        // Wherever it is by then: the next one goes on.
        import.kill().unwrap();
        import.wait().unwrap();
    }
    place.succeed(&["import", "--dir", &dir, &archive]);
    CHAIN.assert_held(&dir, 5);
}
