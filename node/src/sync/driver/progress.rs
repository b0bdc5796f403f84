//! Is the node getting on, and if not, why?

use std::time::{Duration, Instant};

use lapis_protocol_spec::Height;
use lapis_storage::Watermarks;

use crate::sync::scheduler::Blocked;

/// Without progress for this long while behind, the node says why.
const STALL_AFTER: Duration = Duration::from_secs(5);

/// What the sync engine tells the outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncView {
    /// The height that the network seems to have reached.
    pub target: Height,
    /// Peers that finished the handshake.
    pub peers: usize,
    /// Archives that may be asked.
    pub archives: usize,
    /// Bytes asked for or received and not yet stored.
    pub buffered_bytes: u64,
    /// Exchanges in flight.
    pub in_flight: usize,
    /// Whether received data waits for verification or is in it.
    pub verifying: bool,
    /// Whether the execution client's pool is asked for blobs of new heights.
    pub is_pool_open: bool,
    /// Why nothing moves, if nothing has moved for a while.
    pub stall: Option<Blocked>,
    /// Whole seconds since something moved, while behind.
    pub seconds_without_progress: u64,
    /// Nothing has moved for so long that other peers have been tried in vain.
    pub is_stuck: bool,
}

/// When the watchdog acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchdogConfig {
    /// Without progress for so long other peers are tried, and again each time that this has passed.
    pub rotate_after: Duration,
    /// Without progress for so long the node says that it is stuck.
    pub stuck_after: Duration,
}

impl Default for WatchdogConfig {
    fn default() -> Self {
        Self { rotate_after: Duration::from_secs(10), stuck_after: Duration::from_secs(30) }
    }
}

/// Watches the watermarks.
#[derive(Debug)]
pub(super) struct Progress {
    config: WatchdogConfig,
    last: Watermarks,
    moved: Instant,
    /// When other peers were last asked for, since something moved.
    rotated: Option<Instant>,
    /// The last reason since something moved: between two attempts there is none, and the old one still holds.
    reason: Option<Blocked>,
}

impl Progress {
    pub(super) fn new(config: WatchdogConfig, watermarks: Watermarks, now: Instant) -> Self {
        Self { config, last: watermarks, moved: now, rotated: None, reason: None }
    }

    /// Something was stored or committed, whether or not a watermark moved.
    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = now;
        self.rotated = None;
        self.reason = None;
    }

    /// How long nothing has moved while behind.
    pub(super) fn without(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.moved)
    }

    /// Whether nothing has moved for so long that other peers have been tried in vain.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.without(now) >= self.config.stuck_after
    }

    /// Whether other peers are to be tried now: those that there are do not deliver, and have not for a while. What is
    /// not for peers to mend costs nobody its place.
    pub(super) fn wants_rotation(&mut self, now: Instant) -> bool {
        let is_for_peers = self.reason.as_ref().is_none_or(Blocked::is_for_other_peers);
        let since = self.rotated.unwrap_or(self.moved);
        let is_due = is_for_peers && now.saturating_duration_since(since) >= self.config.rotate_after;
        if is_due {
            self.rotated = Some(now);
        }
        is_due
    }

    /// The reason to show, if there has been no progress for too long, with so many exchanges in flight.
    pub(super) fn stall(
        &mut self,
        watermarks: Watermarks,
        target: Height,
        blocked: Option<&Blocked>,
        in_flight: usize,
        now: Instant,
    ) -> Option<Blocked> {
        if watermarks != self.last {
            self.last = watermarks;
            self.moved(now);
        }
        let behind = watermarks.available < target.max(watermarks.decided);
        if !behind {
            self.moved(now);
        }
        if let Some(blocked) = blocked {
            self.reason = Some(blocked.clone());
        }
        let stalled = self.without(now) >= STALL_AFTER;
        // A peer may claim any height, the highest number included.
        let wanted = watermarks.available.saturating_add(1)..target.saturating_add(1);
        // All that is missing is asked for, and nobody answers; or nothing is to be asked for.
        let otherwise = if in_flight > 0 { Blocked::PeersBusy(wanted) } else { Blocked::NobodyHas(wanted) };
        stalled.then(|| self.reason.clone().unwrap_or(otherwise))
    }
}

#[cfg(test)]
mod tests;
