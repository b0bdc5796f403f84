//! The archives of the node: the way to each, and news of what they cover.

use std::sync::Arc;

use futures::future::select_all;
use lapis_protocol_spec::HeightRanges;
use tokio::sync::watch;

use crate::sync::archive::{Archive, ArchiveId};

/// One archive.
#[derive(Debug)]
struct Known {
    archive: Arc<dyn Archive>,
    /// `None` once its other end is gone.
    coverage: Option<watch::Receiver<HeightRanges>>,
}

/// All archives, in the order in which they are configured.
#[derive(Debug)]
pub(super) struct Archives(Vec<Known>);

impl Archives {
    /// Every coverage counts as news at first.
    pub(super) fn new(archives: Vec<Arc<dyn Archive>>) -> Self {
        let known = |archive: Arc<dyn Archive>| {
            let mut coverage = archive.coverage();
            coverage.mark_changed();
            Known { archive, coverage: Some(coverage) }
        };
        Self(archives.into_iter().map(known).collect())
    }

    /// Archives that may be asked.
    pub(super) fn len(&self) -> usize {
        self.0.iter().filter(|known| known.coverage.is_some()).count()
    }

    /// One archive.
    pub(super) fn get(&self, ArchiveId(place): ArchiveId) -> Option<Arc<dyn Archive>> {
        self.0.get(place).map(|known| Arc::clone(&known.archive))
    }

    /// Waits until an archive covers other heights than before; `None` instead of these if it is gone. Cancel-safe.
    pub(super) async fn changed(&mut self) -> (ArchiveId, Option<HeightRanges>) {
        let place = {
            let open = self.0.iter_mut().enumerate();
            let waiting: Vec<_> = open
                .filter_map(|(place, known)| known.coverage.as_mut().map(|coverage| (place, coverage)))
                .map(|(place, coverage)| {
                    Box::pin(async move {
                        // Whether there is news or the other end is gone is looked at below.
                        let _ = coverage.changed().await;
                        place
                    })
                })
                .collect();
            if waiting.is_empty() {
                return std::future::pending().await;
            }
            select_all(waiting).await.0
        };
        (ArchiveId(place), self.held(place))
    }

    /// What the archive at `place` covers now.
    fn held(&mut self, place: usize) -> Option<HeightRanges> {
        let known = self.0.get_mut(place)?;
        let coverage = known.coverage.as_mut()?;
        let is_open = coverage.has_changed().is_ok();
        let held = coverage.borrow_and_update().clone();
        if !is_open {
            known.coverage = None;
            return None;
        }
        Some(held)
    }
}
