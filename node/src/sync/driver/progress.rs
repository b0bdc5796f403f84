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
    /// Why nothing moves, if nothing has moved for a while.
    pub stall: Option<Blocked>,
}

/// Watches the watermarks.
#[derive(Debug)]
pub(super) struct Progress {
    last: Watermarks,
    moved: Instant,
    /// The last reason since something moved: between two attempts there is none, and the old one still holds.
    reason: Option<Blocked>,
}

impl Progress {
    pub(super) fn new(watermarks: Watermarks, now: Instant) -> Self {
        Self { last: watermarks, moved: now, reason: None }
    }

    /// Something was stored or committed, whether or not a watermark moved.
    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = now;
        self.reason = None;
    }

    /// The reason to show, if there has been no progress for too long.
    pub(super) fn stall(
        &mut self,
        watermarks: Watermarks,
        target: Height,
        blocked: Option<&Blocked>,
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
        let stalled = now.saturating_duration_since(self.moved) >= STALL_AFTER;
        // A peer may claim any height, the highest number included.
        let wanted = || watermarks.available.saturating_add(1)..target.saturating_add(1);
        stalled.then(|| self.reason.clone().unwrap_or_else(|| Blocked::NobodyHas(wanted())))
    }
}
