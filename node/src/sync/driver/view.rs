//! What the outside is told.

use std::time::{Duration, Instant};

use super::{SyncEngine, SyncView};

/// Time between two looks at what each peer delivers.
const CAPACITIES: Duration = Duration::from_millis(500);

impl SyncEngine {
    pub(super) fn tell(&mut self) {
        let target = self.scheduler.target();
        let blocked = self.scheduler.blocked();
        let watermarks = self.parts.feed.current();
        let now = Instant::now();
        let stall = self.progress.stall(watermarks, target, blocked, self.scheduler.in_flight(), now);
        let view = SyncView {
            target,
            peers: self.scheduler.peers(),
            archives: self.archives.len(),
            buffered_bytes: self.scheduler.buffered_bytes(),
            in_flight: self.scheduler.in_flight(),
            verifying: self.pipeline.entrance.is_verifying(),
            is_pool_open: self.scheduler.is_pool_open(),
            stall,
            seconds_without_progress: self.progress.without(now).as_secs(),
            is_stuck: self.progress.is_stuck(now),
        };
        self.parts.metrics.sync.view(&view);
        let stats = self.scheduler.stats();
        self.parts.metrics.sync.counted(&self.counted, &stats);
        self.counted = stats;
        self.tell_capacities();
        self.parts.view.send_if_modified(|old| {
            let changed = *old != view;
            let kind = |view: &SyncView| view.stall.as_ref().map(std::mem::discriminant);
            if kind(old) != kind(&view) {
                match &view.stall {
                    Some(reason) => tracing::warn!(?reason, available = watermarks.available, target, "no progress"),
                    None => tracing::info!(available = watermarks.available, target, "progress again"),
                }
            }
            *old = view;
            changed
        });
    }

    /// For people, who look now and then.
    fn tell_capacities(&mut self) {
        let now = Instant::now();
        if self.capacities_told.is_none_or(|told| now.saturating_duration_since(told) >= CAPACITIES) {
            self.capacities_told = Some(now);
            self.parts.capacities.send_replace(self.scheduler.capacities());
        }
    }
}
