//! How long a decided height takes until an execution client has it.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use lapis_protocol_spec::Height;
use lapis_storage::Watermarks;
use tokio::{sync::watch, task::JoinHandle};

use super::consensus::Progress;

/// Heights of which one moment is known and not yet the other. A client that is further behind than this is not at the
/// head, and what it takes longer for is not measured.
const MOST_PENDING: usize = 1024;
/// Most samples kept, so that a run of a day stays small; the first ones count.
const MOST_SAMPLES: usize = 100_000;

/// Times from decision to import, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Heights measured.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of the heights, in percent, did not exceed; `None` without heights.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = self.0.len().saturating_mul(percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |percent| self.percentile(percent).unwrap_or_default().as_secs_f64() * 1e3;
        write!(f, "p50 {:.1} ms, p99 {:.1} ms of {} heights", millis(50), millis(99), self.count())
    }
}

/// Pairs the two moments of each height.
#[derive(Debug, Default)]
struct Pairing {
    decided: BTreeMap<Height, Instant>,
    imported: BTreeMap<Height, Instant>,
    /// Highest height that is known to be imported.
    head: Height,
    samples: Vec<Duration>,
}

impl Pairing {
    fn decided(&mut self, height: Height, at: Instant) {
        match self.imported.remove(&height) {
            Some(imported) => self.sample(imported.saturating_duration_since(at)),
            None if height > self.head => keep(&mut self.decided, height, at),
            None => {}
        }
    }

    /// Everything up to `head` is imported at `now`.
    fn imported(&mut self, head: Height, now: Instant) {
        let newest = MOST_PENDING as u64;
        for height in self.head.max(head.saturating_sub(newest)) + 1..=head {
            match self.decided.remove(&height) {
                Some(decided) => self.sample(now.saturating_duration_since(decided)),
                None => keep(&mut self.imported, height, now),
            }
        }
        self.head = self.head.max(head);
    }

    fn sample(&mut self, took: Duration) {
        if self.samples.len() < MOST_SAMPLES {
            self.samples.push(took);
        }
    }

    fn finish(mut self) -> Latencies {
        self.samples.sort_unstable();
        Latencies(self.samples)
    }
}

fn keep(moments: &mut BTreeMap<Height, Instant>, height: Height, at: Instant) {
    moments.insert(height, at);
    if moments.len() > MOST_PENDING {
        moments.pop_first();
    }
}

/// A measurement under way.
#[derive(Debug)]
pub(super) struct Watch {
    /// The node.
    pub(super) name: String,
    stop: watch::Sender<()>,
    task: JoinHandle<Latencies>,
}

impl Watch {
    /// Measures a node by what consensus and the node's store publish.
    pub(super) fn start(
        name: String,
        mut progress: watch::Receiver<Progress>,
        mut watermarks: watch::Receiver<Watermarks>,
    ) -> Self {
        let (stop, mut stopped) = watch::channel(());
        let task = tokio::spawn(async move {
            let mut pairing = Pairing::default();
            loop {
                tokio::select! {
                    _ = stopped.changed() => break,
                    changed = watermarks.changed() => {
                        let now = Instant::now();
                        if changed.is_err() {
                            break;
                        }
                        pairing.imported(watermarks.borrow_and_update().imported, now);
                    }
                    Ok(()) = progress.changed() => {
                        let Progress { decided_height, decided_at, .. } = *progress.borrow_and_update();
                        decided_at.into_iter().for_each(|at| pairing.decided(decided_height, at));
                    }
                }
            }
            pairing.finish()
        });
        Self { name, stop, task }
    }

    /// Ends it; empty if it failed.
    pub(super) async fn finish(self) -> (String, Latencies) {
        drop(self.stop);
        (self.name, self.task.await.unwrap_or_default())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_height_counts_once_whichever_moment_is_heard_of_first() {
        let start = Instant::now();
        let mut pairing = Pairing::default();
        pairing.decided(1, start);
        pairing.imported(1, start + 5 * MS);
        pairing.imported(2, start + 9 * MS);
        pairing.decided(2, start + 8 * MS);
        pairing.decided(2, start + 8 * MS);
        pairing.imported(2, start + 20 * MS);
        assert_eq!(pairing.finish(), Latencies(vec![MS, 5 * MS]));
    }

    #[test]
    fn what_is_imported_together_was_decided_apart() {
        let start = Instant::now();
        let mut pairing = Pairing::default();
        (1..=3).for_each(|height| pairing.decided(height, start + u32::try_from(height).unwrap() * MS));
        pairing.imported(3, start + 10 * MS);
        assert_eq!(pairing.finish(), Latencies(vec![7 * MS, 8 * MS, 9 * MS]));
    }

    #[test]
    fn a_node_far_behind_costs_no_memory() {
        let start = Instant::now();
        let mut pairing = Pairing::default();
        (1..=10_000).for_each(|height| pairing.decided(height, start));
        assert_eq!(pairing.decided.len(), MOST_PENDING);
        pairing.imported(u64::MAX, start);
        assert!(pairing.imported.len() <= MOST_PENDING);
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let latencies = Latencies((1..=100).map(|number| number * MS).collect());
        assert_eq!((latencies.percentile(50), latencies.percentile(99)), (Some(50 * MS), Some(99 * MS)));
        assert_eq!(Latencies(vec![MS]).percentile(99), Some(MS));
        assert_eq!(Latencies::default().percentile(50), None);
    }
}
