//! What is missing, height by height.

use std::ops::Range;

use lapis_protocol_spec::{Height, IdentifiedValue};

use crate::{
    Store, StoreError,
    ranges::{RangeKind, in_ranges},
    values::unless_damaged,
};

/// What is missing of one decided height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingData {
    /// The height.
    pub height: Height,
    /// The value decided there.
    pub value: IdentifiedValue,
    /// Whether its payload is missing.
    pub payload: bool,
    /// Indices of the blobs that are missing, ascending.
    pub blobs: Vec<u64>,
}

impl Store {
    /// What is missing of the lowest incomplete decided heights in `heights`, at most `max_heights` of them, ascending.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn missing(&self, heights: Range<Height>, max_heights: usize) -> Result<Vec<MissingData>, StoreError> {
        let gaps = self.committed().gaps();
        let within = gaps.iter().map(|gap| gap.start.max(heights.start)..gap.end.min(heights.end));
        let reader = self.reader()?;
        let mut missing = Vec::new();
        // The snapshot may be a commit newer than the gaps: a height that was completed since is left out.
        for height in within.flatten() {
            if missing.len() >= max_heights {
                break;
            }
            let Some(value) = reader.identified_value(height)? else { continue };
            let payload = height >= reader.chain().payload_floor && !reader.holds_payload(height)?;
            let is_gap = unless_damaged(in_ranges(reader.read_tables(), RangeKind::BlobGaps, height))?;
            // A damaged row says nothing: then every blob that is wanted is looked for.
            let blobs = if is_gap.unwrap_or(height >= reader.chain().blob_floor) {
                reader.missing_indices(value.value())?
            } else {
                Vec::new()
            };
            if payload || !blobs.is_empty() {
                missing.push(MissingData { height, value, payload, blobs });
            }
        }
        Ok(missing)
    }
}
