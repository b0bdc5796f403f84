//! `lapis verify` and `lapis db`.

use std::{fs, path::Path};

use lapis_protocol_spec::encode;
use lapis_storage::{Batch, PruneOptions};

use crate::{
    chain::{CHAIN, line_of},
    place::{Place, lapis},
};

/// Standard output of a command that ends with `code`.
fn said(words: &[&str], code: i32) -> String {
    let output = lapis(words).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{words:?}: {out}{err}");
    assert_eq!(err.lines().count(), usize::from(code != 0), "{words:?}: {err}");
    out
}

/// Flips a bit in every copy of `needle` in the store of `dir`; there may be stale ones beside the live one.
fn flip(dir: &str, needle: &[u8]) {
    let path = format!("{dir}/store.redb");
    let mut bytes = fs::read(&path).unwrap();
    let starts: Vec<_> = bytes.windows(16).enumerate().filter(|(_, window)| *window == &needle[..16]).collect();
    let found: Vec<_> = starts.into_iter().map(|(at, _)| at).filter(|at| bytes[*at..].starts_with(needle)).collect();
    assert!(!found.is_empty(), "the file holds what is to be damaged");
    found.into_iter().for_each(|at| bytes[at + needle.len() / 2] ^= 4);
    fs::write(&path, bytes).unwrap();
}

/// A directory in which blob 1 of height 4 and the payload of height 2 are damaged.
fn damaged(place: &Place) -> String {
    let dir = CHAIN.filled(place, "node", 5, 5);
    flip(&dir, &CHAIN.blocks[3].blobs[1].blob.as_ref()[1000..1200]);
    flip(&dir, &CHAIN.blocks[1].payload.payload[..200]);
    dir
}

const BLOB: &str = "damaged row in table blobs, height 4, index 1";
const PAYLOAD: &str = "damaged row in table payloads, height 2, index 0";

#[test]
fn a_whole_store_is_whole() {
    let place = Place::new();
    let dir = CHAIN.filled(&place, "node", 5, 3);
    for words in [&["verify", "--dir", &dir][..], &["verify", "--dir", &dir, "--deep"]] {
        let out = said(words, 0);
        assert_eq!(out, "heights  5\ndamaged  0\n");
    }
    let out = said(&["verify", "--dir", &dir, "--repair"], 0);
    assert!(out.contains("dropped     0\n") && out.contains("left        0\n"), "{out}");
    CHAIN.assert_held(&dir, 3);
}

#[test]
fn damage_is_told_with_table_height_and_index() {
    let place = Place::new();
    let dir = damaged(&place);
    for words in [&["verify", "--dir", &dir][..], &["verify", "--dir", &dir, "--deep"]] {
        let out = said(words, 1);
        let found: Vec<_> = out.lines().filter(|line| line.starts_with("damaged row")).collect();
        assert_eq!(found.len(), 2, "{out}");
        assert!(found.contains(&BLOB) && found.contains(&PAYLOAD), "{out}");
    }
}

#[test]
fn what_is_repaired_is_missing_and_can_be_brought_back() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 5, 5);
    let archive = place.path("a.lapis");
    place.succeed(&["export", "--dir", &from, "--range", "1..5", "--out", &archive]);
    let dir = damaged(&place);
    let line = line_of(&["export", "--dir", &dir, "--range", "1..5", "--out", &place.path("b.lapis")], 1);
    assert!(line.contains(PAYLOAD) && line.contains("nothing was written"), "{line}");
    assert!(!Path::new(&place.path("b.lapis")).exists());

    let out = said(&["verify", "--dir", &dir, "--repair"], 0);
    for damage in [BLOB, PAYLOAD] {
        assert!(out.contains(&format!("{damage}: dropped, to be fetched again\n")), "{out}");
    }
    assert!(out.contains("dropped     2\n"), "{out}");
    said(&["verify", "--dir", &dir, "--deep"], 0);
    let stats = stats(&dir, &[]);
    assert_eq!(stats["incomplete"], serde_json::json!([[2, 2], [4, 4]]));

    let out = place.succeed(&["import", "--dir", &dir, &archive]);
    assert!(out.contains("new payloads   1\n") && out.contains("new blobs      1\n"), "{out}");
    CHAIN.assert_held(&dir, 5);
}

#[test]
fn values_and_certificates_come_back_from_an_archive() {
    let place = Place::new();
    let from = CHAIN.filled(&place, "from", 5, 5);
    let archive = place.path("a.lapis");
    place.succeed(&["export", "--dir", &from, "--range", "1..5", "--out", &archive]);
    let dir = CHAIN.filled(&place, "node", 5, 5);
    flip(&dir, &encode(&CHAIN.blocks[0].decided.value)[100..200]);
    flip(&dir, &encode(&CHAIN.blocks[2].decided.value)[100..200]);
    flip(&dir, &encode(&CHAIN.blocks[3].decided.certificate)[100..200]);

    let out = said(&["verify", "--dir", &dir], 1);
    for (table, height) in [("values", 1), ("values", 3), ("certificates", 4)] {
        assert!(out.contains(&format!("damaged row in table {table}, height {height}, index 0")), "{out}");
    }
    let out = said(&["verify", "--dir", &dir, "--repair"], 1);
    assert!(out.contains("left        3\n"), "{out}");

    let out = place.succeed(&["import", "--dir", &dir, &archive]);
    assert!(out.contains("mended values  3\n") && out.contains("new values     0\n"), "{out}");
    said(&["verify", "--dir", &dir, "--deep"], 0);
    CHAIN.assert_held(&dir, 5);
}

fn stats(dir: &str, more: &[&str]) -> serde_json::Value {
    let words = [&["db", "stats", "--dir", dir, "--json"], more].concat();
    let out = said(&words, 0);
    assert_eq!(out.lines().count(), 1);
    serde_json::from_str(&out).unwrap()
}

#[test]
fn stats_tell_what_is_in_a_store() {
    let place = Place::new();
    let dir = CHAIN.filled(&place, "node", 5, 3);
    let stats = stats(&dir, &["--pages"]);
    assert_eq!(stats["watermarks"]["decided"], 5);
    assert_eq!(stats["watermarks"]["available"], 3);
    assert_eq!(stats["floors"], serde_json::json!({ "values": 1, "payloads": 1, "blobs": 1 }));
    assert_eq!(stats["incomplete"], serde_json::json!([[4, 5]]));
    assert_eq!(stats["blobs"]["decided"], serde_json::json!({ "count": 3, "bytes": 3 * 131_072 }));
    assert_eq!(stats["values"]["decided"]["count"], 5);
    let file = fs::metadata(format!("{dir}/store.redb")).unwrap().len();
    assert!(stats["file_bytes"].as_u64().unwrap() >= 3 * 131_072 && file >= 3 * 131_072);
    let tables = stats["tables"].as_array().unwrap();
    let blobs = tables.iter().find(|table| table["name"] == "blob_pieces").unwrap();
    assert_eq!(blobs["rows"], 6);
    assert!(blobs["stored_bytes"].as_u64().unwrap() >= 6 * 65_500);

    let text = said(&["db", "stats", "--dir", &dir], 0);
    for part in ["3 decided (384.0 KiB)", "2 heights: 4..5", "table of 6 rows"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// Bytes of the file of the store in `dir`.
fn file_bytes(dir: &str) -> u64 {
    fs::metadata(format!("{dir}/store.redb")).unwrap().len()
}

/// A directory of which the heights below 5 are imported and pruned.
fn pruned(place: &Place) -> String {
    let dir = CHAIN.filled(place, "node", 5, 5);
    let store = CHAIN.store(&dir);
    for height in 1..=5 {
        store.mark_imported(height, None).unwrap();
    }
    assert!(store.prune_below(5, PruneOptions::default()).unwrap().done);
    dir
}

#[test]
fn compaction_gives_space_back_and_keeps_everything() {
    let place = Place::new();
    let dir = pruned(&place);
    let before = file_bytes(&dir);
    let out = said(&["db", "compact", "--dir", &dir], 0);
    assert!(out.starts_with("before") && out.contains("\nafter"), "{out}");
    assert!(file_bytes(&dir) < before, "{} of {before}", file_bytes(&dir));
    said(&["verify", "--dir", &dir, "--deep"], 0);
    // It still takes data.
    let store = CHAIN.store(&dir);
    let inserted = store.insert(Batch { blobs: CHAIN.blocks[4].blobs.clone(), ..Batch::default() }).unwrap();
    assert_eq!(inserted.duplicates, 2);
}

#[test]
fn what_is_pruned_is_told_and_not_exported() {
    let place = Place::new();
    let dir = pruned(&place);
    let stats = stats(&dir, &[]);
    assert_eq!(stats["floors"]["blobs"], 5);
    assert_eq!(stats["blobs"]["pruned"], serde_json::json!({ "count": 6, "bytes": 6 * 131_072 }));
    let out = place.path("a.lapis");
    let line = line_of(&["export", "--dir", &dir, "--range", "4..5", "--out", &out], 2);
    assert!(line.contains("height 4: it is pruned, whole heights begin at 5"), "{line}");
    place.succeed(&["export", "--dir", &dir, "--range", "5..5", "--out", &out]);
}

#[test]
fn a_store_that_is_not_there_or_in_use_is_bad_input() {
    let place = Place::new();
    let dir = CHAIN.init(&place, "empty");
    let full = CHAIN.filled(&place, "full", 1, 1);
    let store = CHAIN.store(&full);
    for words in [&["verify"][..], &["verify", "--repair"], &["db", "stats"], &["db", "compact"]] {
        let line = place.refused(&[words, &["--dir", &dir]].concat());
        assert!(line.contains("no store yet"), "{line}");
        let line = place.refused(&[words, &["--dir", &full]].concat());
        assert!(line.contains("already open") && line.contains("stop the node"), "{line}");
    }
    drop(store);
}

#[test]
fn a_file_that_is_no_store_is_bad_input() {
    let place = Place::new();
    let dir = CHAIN.init(&place, "node");
    fs::write(format!("{dir}/store.redb"), "years of work, and none of it a database").unwrap();
    for words in [&["verify"][..], &["db", "stats"], &["db", "compact"]] {
        let line = place.refused(&[words, &["--dir", &dir]].concat());
        assert!(line.contains("store.redb: the file is not a store"), "{line}");
    }
}
