//! What is wanted of somebody, and how much has to be known of whoever is asked for it.

use std::time::Instant;

use lapis_protocol_spec::{Height, Method};

use crate::sync::scheduler::{action::SourceId, claims::Kind, source::Source};

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
    /// More than half of the memory is taken by what is under way.
    pub(in crate::sync::scheduler) is_memory_scarce: bool,
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
