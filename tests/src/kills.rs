//! The real program, killed with SIGKILL in the middle of a sync again and again, and looked at each time.
//!
//! Owns what must hold after a kill: `lapis verify` finds nothing, no watermark is below what the program had said, and
//! nothing is gone that was there before.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lapis_protocol_spec::{BlobSidecar, Height};
use lapis_storage::Watermarks;

use crate::{Program, ScriptedPeer, TestChain, assert_holds, held_blobs, patiently, peer::Log};

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Kill {
    /// When so many more blobs have been sent to it, whatever it has done with them.
    Sent(usize),
    /// When it tells others that it has stored so many more heights.
    Stored(Height),
    /// When it has been seen to write to its store so many times: in the middle of a transaction, most likely.
    Written(usize),
}

impl Kill {
    /// Blobs that a run is sent at most, so that it is killed before the sync is done.
    fn allowance(self) -> usize {
        match self {
            Self::Sent(blobs) => blobs + MORE,
            // Heights are fetched side by side, so that many blobs may come before so many heights are whole.
            Self::Stored(heights) => usize::try_from(heights).unwrap() * MORE,
            Self::Written(_) => 2 * MORE,
        }
    }
}

/// Blobs that a run is sent beyond what is waited for.
const MORE: usize = 40;
/// As little memory as may be configured.
const SETTINGS: [(&str, &str); 1] = [("LAPIS_SYNC__MAX_BUFFERED_BYTES", "32 MiB")];
/// Blobs that are on their way at most: those that fit into that.
const IN_FLIGHT: usize = 32 * 1024 * 1024 / BlobSidecar::BYTES;
/// What a crash takes back of the imports at most: the store says so.
const MOST_IMPORTS_LOST: Height = 64;
/// How often the store's file is looked at for writes.
const GLANCE: Duration = Duration::from_micros(100);

/// A run that was killed.
#[derive(Debug)]
pub struct Killed {
    /// When.
    pub kill: Kill,
    /// Blobs that were in the store then.
    pub held: HashSet<(Height, u64)>,
    /// Blobs that had been sent until then, in all runs.
    pub sent: usize,
    /// Blobs sent in this run that were not in the store afterwards: the kill hit between their arrival and a commit.
    pub lost: usize,
    /// Whether it came right after a write to the store was seen.
    pub in_writing: bool,
    /// Whether it had answered to `GET /status` before.
    pub had_answered: bool,
}

/// One directory, from `lapis init` until it holds the whole chain.
#[derive(Debug)]
pub struct Life {
    chain: Arc<TestChain>,
    peer: ScriptedPeer,
    program: Program,
    /// As of the last look.
    marks: Watermarks,
    kills: Vec<Killed>,
}

impl Life {
    /// An empty directory, and a peer that has the chain.
    pub async fn begin(chain: &Arc<TestChain>) -> Self {
        let peer = ScriptedPeer::honest(chain).await;
        let (chain, program) = (Arc::clone(chain), Program::init(chain));
        Self { chain, peer, program, marks: Watermarks::default(), kills: Vec::new() }
    }

    /// The runs that were killed.
    pub fn kills(&self) -> &[Killed] {
        &self.kills
    }

    /// Whether nothing is left to be synced.
    pub fn is_done(&self) -> bool {
        self.marks.available == self.chain.last()
    }

    /// Runs the program until `kill` says, or until it has everything, kills it, and looks at what it leaves.
    ///
    /// # Panics
    /// If anything is not as it must be.
    pub async fn run_and_kill(&mut self, kill: Kill) {
        let sent = self.peer.log().now().sidecars().count();
        self.peer.allow_more_sidecars(kill.allowance());
        let process = self.program.run(&[self.peer.address()], &SETTINGS).await;
        let statuses = process.statuses();
        let in_writing = self.reached(kill, sent).await;
        // What it has said is heard before it is killed, and it is not waited for.
        let told = self.peer.log().now().told_available();
        let said = statuses.borrow().clone();
        process.kill();
        let what = format!("{kill:?} at {:?}", self.marks);
        let found = self.look(&what);
        let before = std::mem::replace(&mut self.marks, found);
        let had_answered = said.is_some();
        let (decided, available, imported) =
            said.map_or((0, 0, 0), |said| (said.decided_height, said.available_height, said.imported_height));
        let marks = self.marks;
        assert!(marks.decided >= decided.max(before.decided), "{what}: {marks:?}, said {decided}");
        assert!(marks.available >= available.max(told).max(before.available), "{what}: {marks:?}, {available}, {told}");
        let least = imported.max(before.imported).saturating_sub(MOST_IMPORTS_LOST);
        assert!(marks.imported >= least, "{what}: {marks:?}, said {imported}");
        let (held, lost, sent) = self.blobs(sent, &what);
        self.kills.push(Killed { kill, held, sent, lost, in_writing, had_answered });
    }

    /// Waits for the moment to kill; whether that is one at which the store was seen to be written.
    async fn reached(&self, kill: Kill, sent: usize) -> bool {
        let (available, last) = (self.marks.available, self.chain.last());
        let wanted = move |log: &Log| match kill {
            _ if log.told_available() == last => true,
            Kill::Sent(more) => log.sidecars().count() >= sent + more,
            Kill::Stored(more) => log.told_available() >= available + more,
            Kill::Written(_) => false,
        };
        let writes = async {
            match kill {
                Kill::Written(times) => Writes::watch(self.program.store_path(), times).seen().await,
                Kill::Sent(_) | Kill::Stored(_) => std::future::pending().await,
            }
        };
        let what = format!("{kill:?}");
        tokio::select! {
            () = writes => true,
            _ = self.peer.log().until(&what, wanted) => false,
            () = self.peer.has_sent_all_it_may() => false,
        }
    }

    /// What is there while the program does not run.
    fn look(&self, what: &str) -> Watermarks {
        let verified = self.program.verify();
        assert!(verified.status.success(), "{what}: {verified:?}");
        let marks = self.program.store().watermarks();
        let order = [marks.pruned, marks.imported, marks.available, marks.decided];
        assert!(order.is_sorted(), "{what}: {marks:?}");
        marks
    }

    /// The blobs that are held, how many of those sent since `sent_before` are not, and how many were sent in all.
    fn blobs(&self, sent_before: usize, what: &str) -> (HashSet<(Height, u64)>, usize, usize) {
        let log: Vec<_> = self.peer.log().now().sidecars().collect();
        let held = held_blobs(&self.program.store(), self.chain.blocks());
        if let Some(last) = self.kills.last() {
            assert!(last.held.is_subset(&held), "{what}: blobs are gone");
        }
        let lost = log[sent_before..].iter().filter(|place| !held.contains(place)).count();
        (held, lost, log.len())
    }

    /// Lets the program catch up, stops it in order, and looks at everything.
    ///
    /// # Panics
    /// If anything is missing or was fetched again although it was stored before a kill.
    pub async fn finish(self) -> Vec<Killed> {
        let Self { chain, peer, program, kills, .. } = self;
        peer.allow_sidecars(usize::MAX);
        let process = program.run(&[peer.address()], &SETTINGS).await;
        peer.log().until("the whole chain", |log| log.told_available() == chain.last()).await;
        process.stop().await;
        assert_holds(&program.store(), chain.blocks());
        let verified = program.verify();
        assert!(verified.status.success(), "{verified:?}");
        let log: Vec<_> = peer.log().now().sidecars().collect();
        for Killed { held, sent, .. } in &kills {
            let again: Vec<_> = log[*sent..].iter().filter(|place| held.contains(place)).collect();
            assert!(again.is_empty(), "stored before a kill and fetched after it: {again:?}");
        }
        let most = chain.blob_count() + kills.len() * IN_FLIGHT;
        assert!(log.len() <= most, "{} blobs were sent, of {}", log.len(), chain.blob_count());
        kills
    }
}

/// Somebody who watches a file for writes.
struct Writes {
    watcher: tokio::task::JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Writes {
    /// Watches `path` until it has changed `times`.
    fn watch(path: PathBuf, times: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watcher = tokio::task::spawn_blocking(move || {
            let look = || fs::metadata(&path).and_then(|file| file.modified()).ok();
            let (mut last, mut seen) = (look(), 0);
            while seen < times && !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(GLANCE);
                let now = look();
                seen += usize::from(now != last);
                last = now;
            }
        });
        Self { watcher, stop }
    }

    async fn seen(mut self) {
        patiently("the store is written", &mut self.watcher).await.unwrap();
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
