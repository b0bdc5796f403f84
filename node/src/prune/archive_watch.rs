//! A last look at the archive before the only other copy goes.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Bytes32, Height, HeightRanges, archive::MAX_INDEX_HEIGHTS};
use lapis_storage::Store;

use super::{PruneError, unless_held_up};
use crate::object_archive::ObjectArchive;

/// How long it is believed that an archive that was there still is.
const BELIEVED: Duration = Duration::from_secs(600);
/// Most heights that are looked at in one go.
const AT_A_TIME: u64 = 1024;

/// Looks whether archives are still where they were written to.
#[derive(Debug)]
pub struct ArchiveWatch {
    archive: ObjectArchive,
    genesis_id: Bytes32,
    /// Heights that were there, and when that was seen.
    seen: Option<(HeightRanges, Instant)>,
}

impl ArchiveWatch {
    /// Looks at `archive`, for heights of the chain `genesis_id`.
    pub fn new(archive: ObjectArchive, genesis_id: Bytes32) -> Self {
        Self { archive, genesis_id, seen: None }
    }

    /// The floor up to which, at most `floor`, heights may be given up: what is below is noted as archived, and its
    /// archives are there. Of those that are gone the store forgets the note, so that they are written again.
    pub(super) async fn there_up_to(&mut self, store: &Store, floor: Height) -> Result<Height, PruneError> {
        let from = store.blob_floor().max(1);
        let above = store.watermarks().available.saturating_add(1);
        let noted = store.unarchived().first().unwrap_or(above);
        let wanted = from..floor.min(noted).min(from.saturating_add(AT_A_TIME)).max(from);
        if wanted.is_empty() {
            return Ok(from);
        }
        // The archive of the last one has further heights, which are gone with it.
        let looked_at = wanted.start..noted.min(wanted.end.saturating_add(MAX_INDEX_HEIGHTS));
        if !self.believes(&wanted) {
            match self.archive.present(looked_at.clone(), &self.genesis_id).await {
                Ok(present) => self.seen = Some((present, Instant::now())),
                Err(error) => {
                    tracing::warn!(%error, "pruning is held up: the archive cannot be looked at");
                    return Ok(from);
                }
            }
        }
        let Some(first) = self.missing(&wanted).first() else { return Ok(wanted.end) };
        self.forget(store, first..looked_at.end).await?;
        Ok(first)
    }

    /// Whether all of `heights` were there a moment ago.
    fn believes(&self, heights: &Range<Height>) -> bool {
        self.seen.as_ref().is_some_and(|(_, at)| at.elapsed() < BELIEVED) && self.missing(heights).is_empty()
    }

    fn missing(&self, heights: &Range<Height>) -> HeightRanges {
        let nothing = HeightRanges::new();
        self.seen.as_ref().map_or(&nothing, |(seen, _)| seen).missing(heights.clone())
    }

    async fn forget(&self, store: &Store, heights: Range<Height>) -> Result<(), PruneError> {
        for gone in self.missing(&heights).iter() {
            tracing::error!(
                first = gone.start,
                last = gone.end - 1,
                location = %self.archive.location(),
                "archived heights are not there any more; they are kept, and archived again"
            );
            let store = store.clone();
            unless_held_up(tokio::task::spawn_blocking(move || store.forget_archived(gone)).await?)?;
        }
        Ok(())
    }
}
