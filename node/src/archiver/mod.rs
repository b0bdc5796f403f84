//! The archiver: writes what is complete to an object store, and notes in the store what is there.
//!
//! What is pending is not kept in a list: it is what the store holds and has not noted as archived, so that a restart goes
//! on where the last note was made. At most one archive is written again after a crash.
//!
//! Nothing waits for this task but pruning, where the policy is to prune only what is archived. It reads by snapshots of
//! one height, takes the memory of a few transfers, and after a failure waits for longer and longer.

mod metrics;
mod plan;

use std::{
    io,
    num::NonZeroU64,
    ops::{ControlFlow, RangeInclusive},
    time::{Duration, Instant},
};

use lapis_protocol_spec::{
    Height,
    archive::{Compression, Header, Index},
};
use lapis_storage::{Store, StoreError};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinError};
use tokio_util::sync::CancellationToken;

pub use self::{metrics::ArchiverMetrics, plan::Pending};
use crate::{
    archive::{self, WriteError},
    back_off::BackOff,
    chain::Chain,
    feed::WatermarkFeed,
    metrics::Metrics,
    object_archive::{ArchiveName, Checksum, ObjectArchive, ObjectError, UploadError, Uploaded, WriterTag},
    repair::RepairRequests,
};

/// Wait after the first failure, about.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest wait. Outages of an object store end without us; finding out costs one request.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// How often to look for what has become whole without moving a watermark: heights that were damaged and are mended.
const LOOK: Duration = Duration::from_secs(5);

/// How archives are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiverConfig {
    /// Heights of one archive.
    pub heights_per_file: NonZeroU64,
    /// How archives are compressed.
    pub compression: Compression,
}

/// The archiving task.
#[derive(Debug)]
pub struct Archiver {
    /// How archives are written.
    pub config: ArchiverConfig,
    /// The chain.
    pub chain: Chain,
    /// What is archived.
    pub store: Store,
    /// Watermarks of the store.
    pub feed: WatermarkFeed,
    /// Where to.
    pub archive: ObjectArchive,
    /// Who writes.
    pub writer: WriterTag,
    /// Counters.
    pub metrics: Metrics,
    /// Where damaged rows are reported.
    pub repairs: RepairRequests,
    /// Where to tell how it goes.
    pub state: watch::Sender<ArchiverState>,
}

/// How archiving is going.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiverState {
    /// Heights that are complete and not archived yet.
    pub pending: u64,
    /// What is being written.
    pub writing: Option<RangeInclusive<Height>>,
    /// Why the last attempt failed, until one succeeds, and how many have failed in a row.
    pub failure: Option<(String, u32)>,
}

/// Why archiving ended. Always our own fault; object stores cannot end it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiverError {
    /// The store failed for good.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// A task panicked.
    #[error("an archiving task failed: {0}")]
    Task(#[from] JoinError),
}

/// Why one archive was not written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The archive could not be written or uploaded.
    #[error(transparent)]
    Upload(#[from] UploadError<WriteError>),
    /// The object store failed.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// What was read back is not what was written.
    #[error("it reads back as {found:?}, not as {written:?}")]
    Mismatch {
        /// What was written.
        written: Checksum,
        /// What was read.
        found: Checksum,
    },
    /// What was read back of the index is not what was written.
    #[error("its index does not read back as it was written")]
    Index,
    /// The store could not take the note.
    #[error("the store cannot note it: {0}")]
    Note(#[from] StoreError),
    /// A task panicked.
    #[error("a task failed: {0}")]
    Task(#[from] JoinError),
}

impl Failure {
    /// The same, if the node cannot go on with it.
    fn fatal(self) -> Result<Self, ArchiverError> {
        match self {
            Self::Upload(UploadError::Task(error)) | Self::Task(error) => Err(error.into()),
            Self::Note(error) | Self::Upload(UploadError::Source(WriteError::Store(error)))
                if error.is_fatal() && !error.may_pass() =>
            {
                Err(error.into())
            }
            Self::Upload(_) | Self::Object(_) | Self::Mismatch { .. } | Self::Index | Self::Note(_) => Ok(self),
        }
    }
}

impl Archiver {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// [`ArchiverError`] if the node cannot go on.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ArchiverError> {
        let mut watermarks = self.feed.subscribe();
        let mut back_off = BackOff::new(FIRST_RETRY, LONGEST_RETRY);
        let mut rng = StdRng::from_os_rng();
        while !shutdown.is_cancelled() {
            watermarks.mark_unchanged();
            let Some(heights) = self.next() else {
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    changed = watermarks.changed() => if changed.is_err() { return Ok(()) },
                    () = tokio::time::sleep(LOOK) => {}
                }
                continue;
            };
            let failure = match self.archive(heights.clone(), &shutdown).await {
                Ok(()) => {
                    back_off.succeeded();
                    self.state.send_modify(|state| state.failure = None);
                    continue;
                }
                Err(Failure::Upload(UploadError::Interrupted)) => return Ok(()),
                Err(failure) => failure.fatal()?,
            };
            let wait = back_off.failed(&mut rng);
            self.failed(&heights, &failure, back_off.failures(), wait);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.pause(wait) => {}
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<RangeInclusive<Height>> {
        let next = self.pending().next(self.config.heights_per_file);
        self.state.send_modify(|state| state.writing.clone_from(&next));
        next
    }

    /// What is to be archived; its number is told.
    fn pending(&self) -> Pending {
        let heights = self.store.unarchived();
        let pending = Pending { heights, gaps: self.store.gaps(), available: self.store.watermarks().available };
        let count = pending.heights.count();
        self.metrics.archiver.pending(count);
        self.state.send_modify(|state| state.pending = count);
        pending
    }

    /// Waits, and tells meanwhile how much there is to do.
    async fn pause(&self, wait: Duration) {
        let started = Instant::now();
        while let Some(left) = wait.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left.min(LOOK)).await;
            self.pending();
        }
    }

    fn failed(&self, heights: &RangeInclusive<Height>, failure: &Failure, failures: u32, wait: Duration) {
        self.metrics.archiver.failed();
        if let Failure::Upload(UploadError::Source(WriteError::Store(StoreError::Damaged(damage)))) = failure {
            self.repairs.report(*damage);
        }
        let reason = format!("heights {} to {}: {failure}", heights.start(), heights.end());
        tracing::warn!(
            first = heights.start(),
            last = heights.end(),
            error = failure as &dyn std::error::Error,
            ?wait,
            "not archived"
        );
        self.state.send_modify(|state| {
            state.writing = None;
            state.failure = Some((reason, failures));
        });
    }

    /// Writes one archive, reads it back, does the same with its index, and notes that its heights are archived: each step only
    /// after the one before it.
    async fn archive(&self, heights: RangeInclusive<Height>, shutdown: &CancellationToken) -> Result<(), Failure> {
        let started = Instant::now();
        let (first, last) = heights.into_inner();
        let name = ArchiveName { first, last, writer: self.writer };
        let Uploaded { outcome: index, checksum } = self.upload(&name, shutdown).await?;
        tokio::select! {
            () = shutdown.cancelled() => return Err(UploadError::Interrupted.into()),
            completed = self.complete(&name, &index, checksum) => completed?,
        }
        self.metrics.archiver.written(last + 1 - first, checksum.length, started.elapsed());
        tracing::info!(first, last, bytes = checksum.length, took = ?started.elapsed(), "archived");
        Ok(())
    }

    async fn upload(
        &self,
        name: &ArchiveName,
        shutdown: &CancellationToken,
    ) -> Result<Uploaded<Index>, UploadError<WriteError>> {
        let (store, chain, config) = (self.store.clone(), self.chain.clone(), self.config);
        let (first, last) = (name.first, name.last);
        self.archive
            .upload(name, shutdown, move |sink| {
                let header = Header::new(config.compression, first, last, chain.genesis().clone());
                let header = header.map_err(|error| WriteError::Io(io::Error::other(error)))?;
                let written = archive::write_indexed(&store, &header, sink, &mut |_| ControlFlow::Continue(()));
                written.map(|(_, index)| index)
            })
            .await
    }

    async fn complete(&self, name: &ArchiveName, index: &Index, written: Checksum) -> Result<(), Failure> {
        let found = self.archive.checksum(name).await?;
        if found != written {
            return Err(Failure::Mismatch { written, found });
        }
        let index = index.encode();
        self.archive.put_index(name, index.clone()).await?;
        if self.archive.index(name, index.len() as u64).await?.as_deref() != Some(&*index) {
            return Err(Failure::Index);
        }
        self.note(name.first..name.last + 1).await
    }

    async fn note(&self, heights: std::ops::Range<Height>) -> Result<(), Failure> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.mark_archived(heights)).await??;
        self.feed.refresh();
        Ok(())
    }
}
