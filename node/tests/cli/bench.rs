//! `lapis bench`, whole and very small: that it measures everything and leaves nothing behind, not how fast anything is.

use std::{collections::BTreeMap, fs, process::Stdio};

use serde_json::Value;

use crate::place::{Place, lapis};

/// The figures of a bench that succeeds; standard output must be one line of JSON.
fn figures(place: &Place, words: &[&str]) -> BTreeMap<String, Value> {
    let dir = place.path("bench");
    fs::create_dir(&dir).unwrap();
    let mut all = vec!["bench", "--json", "--quick", "--dir", &dir];
    all.extend(words);
    let output = place.succeed(&all);
    assert_eq!(output.lines().count(), 1, "{output}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "something is left in {dir}");
    serde_json::from_str(&output).unwrap()
}

#[test]
fn every_part_of_a_bench_has_its_figures() {
    let place = Place::new();
    let figures =
        figures(&place, &["--heights", "4", "--blobs", "2", "--only", "ceilings,serving,sync,baselines,link,faults"]);
    for (key, value) in &figures {
        // The only one that a system may not tell.
        if key == "version" || (key == "peak_rss_mib" && !cfg!(target_os = "linux")) {
            continue;
        }
        let figure = value.as_f64().unwrap_or_else(|| panic!("{key} is {value}"));
        assert!(figure.is_finite(), "{key} is {value}");
        assert!(figure > 0.0 || key.ends_with("_loss") || key.starts_with("wasted"), "{key} is {value}");
    }
    for key in ["kzg_ceiling_blobs_per_s", "sync_over_kzg_ceiling", "serve_over_stream", "over_fixed_pacing_baseline"] {
        assert!(figures.contains_key(key), "{key}");
    }
}

#[test]
fn a_part_alone_leaves_the_others_out() {
    let place = Place::new();
    let figures = figures(&place, &["--heights", "2", "--blobs", "1", "--only", "sync"]);
    assert!(figures["sync_blobs_per_s"].is_number() && figures["disk_over_data"].is_number());
    for key in ["sha256_mib_per_s", "serve_over_stream", "over_whole_height_baseline", "link_share", "slow_peer_loss"] {
        assert!(figures[key].is_null(), "{key}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_refused() {
    let place = Place::new();
    let nowhere = place.path("nowhere");
    let line = place.refused(&["bench", "--only", "sync", "--dir", &nowhere]);
    assert!(line.contains("cannot use") && line.contains("nowhere"), "{line}");
}

#[test]
fn more_data_than_is_made_is_refused() {
    let line = Place::new().refused(&["bench", "--heights", "10000", "--blobs", "4096"]);
    assert!(line.contains("10000 heights of 4096 blobs"), "{line}");
}

#[test]
fn a_process_of_the_bench_ends_with_its_input() {
    let mut command = lapis(&["bench-worker"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("it ended without an answer"), "{line}");
}
