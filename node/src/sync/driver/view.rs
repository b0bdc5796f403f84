//! What the outside is told.

use std::time::Instant;

use super::{SyncEngine, SyncView};

impl SyncEngine {
    pub(super) fn tell(&mut self) {
        let target = self.scheduler.target();
        let blocked = self.scheduler.blocked();
        let watermarks = self.parts.feed.current();
        let stall = self.progress.stall(watermarks, target, blocked, Instant::now());
        let view = SyncView {
            target,
            peers: self.scheduler.peers(),
            archives: self.archives.len(),
            buffered_bytes: self.scheduler.buffered_bytes(),
            in_flight: self.scheduler.in_flight(),
            verifying: self.pipeline.entrance.is_verifying(),
            stall,
        };
        self.parts.metrics.sync.view(&view);
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
}
