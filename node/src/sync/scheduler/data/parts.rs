//! Parts of heights: single blobs, and what is wanted of some heights only.

use std::ops::Range;

use lapis_protocol_spec::{Height, MAX_REQUEST_HASHES};

use super::{DataLane, Proposal, SIDECAR_BYTES, Slot};
use crate::sync::scheduler::{
    action::{Fetch, Item},
    claims::Kind,
};

impl DataLane {
    /// Heights within `heights` of which something is missing that is not asked for, ascending.
    pub(in crate::sync::scheduler) fn wanting_within(
        &self,
        heights: Range<Height>,
    ) -> impl Iterator<Item = Height> + '_ {
        // An inverted range is an empty one.
        let end = heights.end.max(heights.start);
        self.wanting.range(heights.start..end).copied()
    }

    /// The request for single blobs of `height` from index `from` on, of at most `max_bytes` (but at least one blob).
    pub(in crate::sync::scheduler) fn propose_blobs_from(
        &self,
        height: Height,
        from: u64,
        max_bytes: u64,
    ) -> Option<Proposal> {
        let work = self.works.get(&height)?;
        let fit = usize::try_from(max_bytes / SIDECAR_BYTES).unwrap_or(usize::MAX).clamp(1, MAX_REQUEST_HASHES);
        let indices: Vec<u64> = work.missing_blobs().skip_while(|index| *index < from).take(fit).collect();
        if indices.is_empty() {
            return None;
        }
        let items: Vec<Item> = indices.iter().map(|index| Item::Blob(height, *index)).collect();
        let bytes = items.len() as u64 * SIDECAR_BYTES;
        Some(Proposal { fetch: Fetch::Blobs(vec![(work.value.clone(), indices)]), items, bytes })
    }

    /// The request by root for what is missing of `kind` at `height`, of at most `max_bytes` (but at least one item).
    pub(in crate::sync::scheduler) fn propose_by_root(
        &self,
        kind: Kind,
        height: Height,
        max_bytes: u64,
    ) -> Option<Proposal> {
        match kind {
            Kind::Payloads => {
                let item = Item::Payload(height);
                let work = self.works.get(&height).filter(|work| work.slot_of(item) == Some(Slot::Missing))?;
                let fetch = Fetch::PayloadsByRoot(vec![work.value.clone()]);
                Some(Proposal { fetch, items: vec![item], bytes: work.payload_bytes() })
            }
            Kind::Blobs => self.propose_blobs_from(height, 0, max_bytes),
            Kind::Values => None,
        }
    }
}
