//! How long opening a large store takes after SIGKILL in the middle of writing.
//!
//! ```text
//! cargo run --release -p lapis-storage --example open_after_kill -- [GiB, 10] [kills, 10] [directory, that of the system]
//! ```
//!
//! The program starts itself as a child. That fills a store with distinct blobs in heights of 64, then goes on for ever:
//! decides, deletes what is too old, stores, imports. The parent kills it at a random moment of a call and opens the
//! store, every second time with none of the file in the system's cache. The directory needs the room, and is left empty.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../tests/store/fixture.rs"]
mod fixture;

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use fixture::{Chain, plain_sidecar};
use lapis_storage::{PruneOptions, Store, StoreConfig};

const GIB: u64 = 1 << 30;
/// Blobs of each height.
const BLOBS: u64 = 64;
/// What tells a child that it is one.
const WRITER: &str = "writer";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [kind, path, bytes] = arguments.as_slice()
        && kind == WRITER
    {
        return write(Path::new(path), bytes.parse().unwrap());
    }
    let number = |at: usize, default: u64| arguments.get(at).map_or(default, |number| number.parse().unwrap());
    let directory = arguments.get(2).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::TempDir::new_in(directory).unwrap();
    measure(&directory.path().join("store.redb"), number(0, 10) * GIB, number(1, 10));
}

/// The child: writes until it is killed, and says what it is about to do.
fn write(path: &Path, bytes: u64) {
    let mut chain = Chain::new();
    let store = open(path, &chain);
    chain.tip = store.tip().unwrap();
    let mut said = false;
    loop {
        let height = chain.tip.height + 1;
        let proposal = chain.propose_with((height * BLOBS..(height + 1) * BLOBS).map(plain_sidecar).collect(), 100_000);
        let batch = proposal.batch();
        let decided = chain.decide(&proposal);
        let is_full = store.stats().unwrap().tallies.blobs.held().bytes >= bytes;
        if is_full && !said {
            say("full");
            said = true;
        }
        if is_full {
            say("write");
        }
        store.mark_decided(&[decided]).unwrap();
        if is_full {
            let floor = store.blob_floor() + 1;
            while !store.prune_below(floor, PruneOptions::default()).unwrap().done {}
        }
        store.insert(batch).unwrap();
        complete(&store, &chain);
        for height in store.watermarks().imported + 1..=store.watermarks().available {
            store.mark_imported(height, Some(&height.to_le_bytes())).unwrap();
        }
    }
}

/// Brings what a kill has left incomplete.
fn complete(store: &Store, chain: &Chain) {
    for missing in store.missing(0..u64::MAX, 4).unwrap() {
        let height = missing.height;
        let value = missing.value.clone();
        let sidecars = (0..).zip((height * BLOBS..(height + 1) * BLOBS).map(plain_sidecar));
        let matched = sidecars.map(|(index, sidecar)| {
            let sidecar = lapis_protocol_spec::BlobSidecar { height, index, ..sidecar };
            lapis_protocol_spec::Matched::blob(sidecar, &value, index).unwrap()
        });
        let payload = missing.payload.then(|| chain.payload_again(&value, 100_000)).into_iter().collect();
        store.verify_and_store(&fixture::KZG, payload, matched.collect()).unwrap();
    }
}

fn say(word: &str) {
    println!("{word}");
    std::io::stdout().flush().unwrap();
}

fn open(path: &Path, chain: &Chain) -> Store {
    Store::open(path, &chain.genesis, StoreConfig::default()).unwrap()
}

/// A child that writes.
struct Writer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Writer {
    fn start(path: &Path, bytes: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([WRITER.as_ref(), path.as_os_str(), bytes.to_string().as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn says(&mut self, word: &str) {
        let said = self.lines.by_ref().map_while(Result::ok).any(|line| line == word);
        assert!(said, "the writer ended by itself");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn measure(path: &Path, bytes: u64, kills: u64) {
    let chain = Chain::new();
    let start = Instant::now();
    let mut writer = Writer::start(path, bytes);
    writer.says("full");
    println!("filled in {:.0?}", start.elapsed());
    let mut longest = Duration::ZERO;
    for kill in 0..kills {
        for _ in 0..3 + kill % 5 {
            writer.says("write");
        }
        // Somewhere in the some tens of milliseconds that a height takes to be written.
        std::thread::sleep(Duration::from_millis(kill * 37 % 50));
        writer.kill();
        let is_cold = kill % 2 == 1 && drop_from_cache(path);
        let start = Instant::now();
        let store = open(path, &chain);
        let took = start.elapsed();
        longest = longest.max(took);
        let stats = store.stats().unwrap();
        let (marks, held) = (stats.watermarks, stats.tallies.blobs.held());
        println!(
            "kill {kill}: opened in {took:.1?} ({}), {} blobs, {:.2} GiB allocated, decided {}, available {}, imported {}",
            if is_cold { "cold" } else { "in the system's cache" },
            held.count,
            gib(stats.allocated_bytes),
            marks.decided,
            marks.available,
            marks.imported
        );
        drop(store);
        writer = Writer::start(path, bytes);
        writer.says("full");
    }
    writer.kill();
    println!("longest: {longest:.1?}");
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

/// Asks the system to forget what it has of the file in memory; whether that could be asked.
fn drop_from_cache(path: &Path) -> bool {
    let mut of = std::ffi::OsString::from("of=");
    of.push(path);
    let dd = Command::new("dd").arg(of).args(["oflag=nocache", "conv=notrunc,fdatasync", "count=0"]).output();
    dd.is_ok_and(|output| output.status.success())
}
