//! Killed in the middle: a child process writes and says what was acknowledged; the parent kills it and looks.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use lapis_storage::{PruneOptions, Store, StoreConfig, Watermarks};

use crate::fixture::{Chain, Proposal, assert_in_order, at};

/// Tells the child where its store is.
const STORE: &str = "LAPIS_STORE_CRASH_TEST";
const RETENTION: u64 = 8;

/// What the chain has at the height after its tip; parent and child agree on it.
fn proposal(chain: &Chain) -> Proposal {
    let height = chain.tip.height + 1;
    chain.propose(&[3 * height, 3 * height + 1, 3 * (height / 2)], 2_000)
}

/// The writer: does nothing unless it is run as the child of the test below.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let mut chain = Chain::new();
    let store = Store::open(&path, &chain.genesis, StoreConfig::default()).unwrap();
    let start = store.watermarks();
    while chain.tip.height < 10_000 {
        let next = proposal(&chain);
        let height = next.height();
        let decided = chain.decide(&next);
        if height <= start.available {
            continue;
        }
        if height > start.decided {
            store.insert_undecided(0, &next.value, at(0)).unwrap();
            if height.is_multiple_of(3) {
                store.insert(next.batch()).unwrap();
                println!("\nack stored {height}");
            }
            store.mark_decided(&[decided]).unwrap();
            println!("\nack decided {height}");
        }
        store.insert(next.batch()).unwrap();
        println!("\nack available {height}");
        for height in store.watermarks().imported + 1..=height {
            store.mark_imported(height, Some(&height.to_le_bytes())).unwrap();
        }
        store.mark_archived(height..height + 1).unwrap();
        store.prune_below(height.saturating_sub(RETENTION), PruneOptions::default()).unwrap();
        println!("\nack pruned {}", height.saturating_sub(RETENTION));
    }
}

/// What the child said before it was killed.
#[derive(Debug, Default)]
struct Acknowledged {
    decided: u64,
    available: u64,
}

/// Runs the writer, kills it after `lines` acknowledgements, and returns them.
fn run_and_kill(path: &Path, lines: usize) -> Acknowledged {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writer", "--nocapture", "--test-threads=1"])
        .env(STORE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let acks = output.by_ref().map_while(Result::ok).filter(|line| line.starts_with("ack ")).take(lines);
    let mut seen: Vec<String> = acks.collect();
    assert_eq!(seen.len(), lines, "the writer ended by itself");
    child.kill().unwrap();
    // What was written to the pipe before the kill was acknowledged, too.
    seen.extend(output.map_while(Result::ok).filter(|line| line.starts_with("ack ")));
    child.wait().unwrap();
    let mut acknowledged = Acknowledged::default();
    for line in &seen {
        // A last line may be cut off by the kill, but then its number is shorter, that is, smaller.
        let mut words = line.split(' ').skip(1);
        let (Some(what), Some(height)) = (words.next(), words.next().and_then(|word| word.parse::<u64>().ok())) else {
            continue;
        };
        match what {
            "decided" => acknowledged.decided = acknowledged.decided.max(height),
            "available" => acknowledged.available = acknowledged.available.max(height),
            _ => {}
        }
    }
    acknowledged
}

/// Opening after a kill costs the same whatever the size of the file: redb has nothing to scan.
fn assert_opens_without_repair(path: &Path) {
    let scanned = std::sync::Arc::new(AtomicBool::new(false));
    let seen = scanned.clone();
    let database =
        redb::Database::builder().set_repair_callback(move |_| seen.store(true, Ordering::SeqCst)).open(path);
    drop(database.unwrap());
    assert!(!scanned.load(Ordering::SeqCst), "the file was scanned");
}

/// Everything at and above the floor is whole and right, and the counts are those of a recount.
fn examine(store: &Store, history: &[Proposal], marks: &Watermarks) {
    let reader = store.reader().unwrap();
    let mut distinct = std::collections::BTreeSet::new();
    for proposal in history.iter().filter(|proposal| proposal.height() <= marks.decided) {
        let height = proposal.height();
        assert_eq!(reader.identified_value(height).unwrap().as_ref(), Some(&proposal.value));
        if height > marks.available {
            continue;
        }
        assert_eq!(reader.payload(height).unwrap().as_ref(), Some(&proposal.envelope));
        if height <= marks.pruned {
            continue;
        }
        assert!(reader.has_height_whole(height).unwrap(), "height {height} of {marks:?}");
        for (index, sidecar) in (0..).zip(&proposal.sidecars) {
            assert_eq!(reader.sidecar(height, index).unwrap().as_ref(), Some(sidecar));
            distinct.insert(sidecar.kzg_commitment);
        }
    }
    let tallies = store.stats().unwrap().tallies;
    assert_eq!(tallies.values_decided.count, marks.decided);
    if marks.available == marks.decided && tallies.values_undecided.count == 0 {
        assert_eq!(tallies.blobs.held().count, distinct.len() as u64);
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_everything_is_in_order_after_a_kill() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let mut chain = Chain::new();
    let mut history = Vec::new();
    let genesis = chain.genesis.clone();
    let mut before = Watermarks::default();
    for cycle in 0..12_usize {
        let acknowledged = run_and_kill(&path, 2 + (cycle * 7) % 11);
        assert_opens_without_repair(&path);
        let store = Store::open(&path, &genesis, StoreConfig::default()).unwrap();
        let marks = store.watermarks();
        assert_in_order(&store);
        assert!(marks.decided >= acknowledged.decided.max(before.decided), "{marks:?}, {acknowledged:?}");
        assert!(marks.available >= acknowledged.available.max(before.available), "{marks:?}, {acknowledged:?}");
        while chain.tip.height < marks.decided {
            let next = proposal(&chain);
            chain.decide(&next);
            history.push(next);
        }
        let head = store.engine_head().unwrap();
        assert_eq!(head, (marks.imported > 0).then(|| marks.imported.to_le_bytes().to_vec()), "head and watermark");
        examine(&store, &history, &marks);
        before = marks;
    }
    assert!(before.pruned > 0, "the writer got as far as pruning");
}
