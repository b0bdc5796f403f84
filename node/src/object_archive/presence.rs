//! Whether archives are still there: asked before what they hold is given up here.

use std::ops::Range;

use futures::{StreamExt, TryStreamExt};
use lapis_protocol_spec::{Bytes32, Height, HeightRanges, archive::MAX_INDEX_HEIGHTS};

use super::{ArchiveName, ObjectArchive, ObjectError, Operation, catalog::MAX_LISTED, index::NoIndex};

impl ObjectArchive {
    /// The heights of all archives that have some of `heights` and are whole as far as can be told without reading them:
    /// an index that is one of this chain, and an archive that is as long as it says. Reads the indices of these archives,
    /// one at a time.
    ///
    /// # Errors
    /// [`ObjectError`] if it cannot be told.
    pub async fn present(&self, heights: Range<Height>, genesis_id: &Bytes32) -> Result<HeightRanges, ObjectError> {
        let mut present = HeightRanges::new();
        for name in self.names_in(heights).await? {
            if self.is_whole(&name, genesis_id).await? {
                present.insert(name.first..name.last + 1);
            }
        }
        Ok(present)
    }

    /// Archives that have some of `heights`, by their names.
    async fn names_in(&self, heights: Range<Height>) -> Result<Vec<ArchiveName>, ObjectError> {
        let failed = |source| ObjectError { operation: Operation::List, object: self.shown(&self.base), source };
        let lowest = ArchiveName::lowest_from(heights.start.saturating_sub(MAX_INDEX_HEIGHTS - 1));
        let objects = self.objects.list_with_offset(Some(&self.base), &self.path(lowest.index()));
        let mut objects = objects.take(MAX_LISTED);
        let mut names = Vec::new();
        // Names come in order from a service, but not from a directory. Archives of more writers than one are rare.
        let most = 16 * (heights.end.saturating_sub(heights.start)).saturating_add(MAX_INDEX_HEIGHTS);
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let name = object.location.filename().and_then(ArchiveName::of_index);
            match name {
                Some(name) if name.first < heights.end && name.last >= heights.start => names.push(name),
                Some(name) if name.first >= heights.end && self.lists_in_order() => break,
                Some(_) | None => {}
            }
            if names.len() as u64 > most {
                break;
            }
        }
        Ok(names)
    }

    async fn is_whole(&self, name: &ArchiveName, genesis_id: &Bytes32) -> Result<bool, ObjectError> {
        let index = match self.fetch_index(name, genesis_id).await {
            Ok((index, _)) => index,
            Err(NoIndex::Object(error)) if !error.is_missing() => return Err(error),
            Err(NoIndex::Object(_) | NoIndex::Long | NoIndex::Undecodable(_) | NoIndex::Other) => return Ok(false),
        };
        let end = index.records().last().map_or(0, |record| {
            record.sidecar_parts().last().map_or(record.payload_part().end, |(range, _)| range.end)
        });
        match self.archive_length(name).await {
            Ok(length) => Ok(length > end),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
