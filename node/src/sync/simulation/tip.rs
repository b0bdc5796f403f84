//! How soon each height of a growing chain is complete, and how soon it has to be.
//!
//! The time of a height begins when somebody who has its data, stays and answers has told of it, or when the height before
//! it is complete, whichever is later. From then it may take what [`bound`] says.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use lapis_protocol_spec::{Height, PayloadEnvelope};

use super::{
    exchange::window_opens,
    machine::over,
    peer::{Conduct, Holds, PeerPlan, Presence},
    plan::Plan,
};
use crate::sync::scheduler::{SIDECAR_BYTES, Scheduler};

/// Exchanges one after the other that a height may take: for the set that signed it, for its value, and for its data.
const EXCHANGES: u32 = 3;
/// What an exchange with a liar may cost, and one with anybody that brings less than it was for: who is late is outrun
/// by then.
pub const TROUBLE: Duration = Duration::from_secs(2);

/// Moments, while a run goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    heard: BTreeMap<Height, Duration>,
    complete: Vec<Duration>,
    troubles: BTreeMap<Height, usize>,
}

/// How long a height took, and how long it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Which.
    pub height: Height,
    /// From when it could be had until it was complete.
    pub took: Duration,
    /// How long that may be.
    pub bound: Duration,
    /// Exchanges about it with liars, and others that did not bring what they were for.
    pub troubles: usize,
}

/// Whether `peer` is one on whom one can rely for a height.
fn counts(peer: &PeerPlan, height: Height) -> bool {
    let holds = match peer.holds {
        Holds::All => true,
        Holds::From(first) => first <= height,
        Holds::Part { .. } => false,
    };
    peer.conduct == Conduct::Honest && peer.presence() == Presence::Always && holds
}

impl Watch {
    /// The peer at `place` told of `heights`, which it has.
    pub(super) fn heard(&mut self, plan: &Plan, place: usize, heights: RangeInclusive<Height>, now: Duration) {
        let Some(growth) = &plan.growth else { return };
        let Some(peer) = plan.peers.get(place) else { return };
        for height in *heights.start().max(&growth.from)..=*heights.end() {
            if counts(peer, height) {
                self.heard.entry(height).or_insert(now);
            }
        }
    }

    /// Nothing is lacking up to `available`.
    pub(super) fn complete(&mut self, available: Height, now: Duration) {
        while (self.complete.len() as u64) < available {
            self.complete.push(now);
        }
    }

    /// An exchange about `heights` is with a liar, or has not brought what it was for.
    pub(super) fn trouble(&mut self, heights: RangeInclusive<Height>) {
        for height in heights {
            // What comes to light later did not keep the height from being complete.
            if self.complete.len() as u64 >= height {
                continue;
            }
            *self.troubles.entry(height).or_insert(0) += 1;
        }
    }

    /// How long each height took that was decided while the node followed.
    pub(super) fn delays(&self, plan: &Plan) -> Vec<Delay> {
        let Some(growth) = &plan.growth else { return Vec::new() };
        let complete = |height: Height| {
            let place = usize::try_from(height).ok()?.checked_sub(1)?;
            self.complete.get(place).copied()
        };
        let delay = |height: Height| {
            let (heard, done) = (*self.heard.get(&height)?, complete(height)?);
            let start = heard.max(complete(height - 1).unwrap_or_default());
            let troubles = self.troubles.get(&height).copied().unwrap_or(0);
            let bound = bound(plan, height, troubles);
            Some(Delay { height, took: done.saturating_sub(start), bound, troubles })
        };
        (growth.from + 1..=plan.head()).filter_map(delay).collect()
    }
}

/// How long `height` may take from when it can be had, if so many exchanges were in vain: [`EXCHANGES`] with the farthest
/// honest peer, and until a stream of it takes the whole height; the data from the slowest, with one item of another
/// height before it; our own machine's work; a look at the clock after each step; and [`TROUBLE`] for each exchange in
/// vain.
pub(super) fn bound(plan: &Plan, height: Height, troubles: usize) -> Duration {
    let honest = || plan.peers.iter().filter(|peer| peer.conduct.is_honest());
    let latency = honest().map(|peer| peer.latency).max().unwrap_or_default();
    let rate = honest().map(|peer| peer.rate).min().unwrap_or(1).min(plan.machine.line);
    let block = plan.block(height);
    let bytes = block.payload_bytes + PayloadEnvelope::FIXED_BYTES as u64 + block.blobs * SIDECAR_BYTES;
    let transfer = over(bytes + SIDECAR_BYTES, rate);
    let blobs = u32::try_from(block.blobs).unwrap_or(u32::MAX);
    // The value, the payload and the blobs, each perhaps after another transaction.
    let machine = plan.machine.commit * 6 + plan.machine.verify * blobs + over(2 * bytes, plan.machine.disk);
    let round_trip = latency * 2;
    let exchange = match plan.machine.first_window {
        Some(_) => round_trip * 2,
        None => round_trip,
    };
    let opens = plan.machine.first_window.map(|window| window_opens(bytes, window, round_trip));
    let steps = (exchange + Scheduler::TICK) * EXCHANGES + opens.unwrap_or_default();
    steps + transfer + machine + TROUBLE * u32::try_from(troubles).unwrap_or(u32::MAX)
}
