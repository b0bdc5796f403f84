//! What is wanted of somebody, and how much has to be known of whoever is asked for it.

use std::time::Instant;

use lapis_protocol_spec::{Height, Method};

use crate::sync::scheduler::{action::SourceId, claims::Kind, source::Source};

/// Whoever is expected to take so many times longer than the best is not among those that are drawn from...
const MUCH_LONGER: f64 = 4.0;
/// ...nor are these where memory is scarce, what is asked of them would keep it from those who are faster, nor where
/// the order waits.
const SLIGHTLY_LONGER: f64 = 1.2;

/// What somebody is to be asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::sync::scheduler) struct Wanted {
    pub(in crate::sync::scheduler) kind: Kind,
    pub(in crate::sync::scheduler) height: Height,
    pub(in crate::sync::scheduler) method: Method,
    /// Room that there must be for it.
    pub(in crate::sync::scheduler) bytes: u64,
    /// Not from this one.
    pub(in crate::sync::scheduler) except: Option<SourceId>,
    /// Bytes that may be in flight to sources of which nothing is known.
    pub(in crate::sync::scheduler) exploration_room: u64,
    /// What it is wanted for.
    pub(in crate::sync::scheduler) need: Need,
}

/// What somebody is wanted for, and so how choosy to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sync::scheduler) enum Need {
    /// Something that others wait for no more than for all else.
    Usual,
    /// The same, while more than half of the memory is taken by what is under way.
    MemoryScarce,
    /// What everything else waits for. Who is busy is asked as well, if it is soon done with what it is asked for. One that
    /// is not may well wait for our own line, and more requests would make that longer.
    Urgent,
}

impl Need {
    /// Whoever is expected to take so many times longer than the best is not among those that are drawn from.
    pub(super) fn much_longer(self) -> f64 {
        match self {
            Self::Usual => MUCH_LONGER,
            Self::MemoryScarce | Self::Urgent => SLIGHTLY_LONGER,
        }
    }
}

impl Wanted {
    /// Whether enough is known of `source` to ask it without finding anything out. Where nothing is to be found out at
    /// all, it is enough that something has ever come: at the head, where heights are small, hours may pass in which no
    /// rate is measured.
    pub(super) fn is_content_with(&self, source: &Source, now: Instant) -> bool {
        let has_shown_itself = || source.pace().is_measured() || source.pace().has_delivered();
        source.is_known(now) || (self.exploration_room == 0 && has_shown_itself())
    }
}
