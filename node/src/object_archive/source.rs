//! Archives in an object store as a source for sync.
//!
//! Of an archive only its index is read whole; payloads and blobs are fetched by the ranges of bytes that the index names.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use lapis_protocol_spec::{
    BlobSidecar, Bytes32, Height, HeightRanges, PayloadEnvelope,
    archive::{Index, IndexError, IndexRecord, SidecarPart},
    encode,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{ArchiveName, Catalog, ObjectArchive, ObjectError, cache::IndexCache, index::NoIndex};
use crate::{
    archive::{ReadError, read_payload_part, read_sidecar_part},
    sync::archive::{Archive, ArchiveFault, ArchivedValue},
};

/// After so many looks for newer archives, everything is listed again: archives of lower heights are found then.
const FULL_LIST_EVERY: u32 = 60;

/// More than the frames of a part take beside their contents.
const FRAMES_BYTES: usize = 1024;

/// Archives of one height that are tried for one answer.
const MAX_ATTEMPTS: u32 = 4;

/// Reads archives at one location.
#[derive(Debug)]
pub struct ArchiveSource {
    archive: ObjectArchive,
    genesis_id: Bytes32,
    catalog: Mutex<Catalog>,
    coverage: watch::Sender<HeightRanges>,
    indices: Mutex<IndexCache>,
    /// Held while an index is fetched, so that those who want the same one fetch it once.
    fetching: Semaphore,
}

/// Why something cannot be read from an archive.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("no archive has height {0}")]
    NoArchive(Height),
    #[error("{source}")]
    Object { name: ArchiveName, source: ObjectError },
    #[error("{0} ends before a part that its index names")]
    Short(ArchiveName),
    #[error("index of {name}: {source}")]
    Index { name: ArchiveName, source: IndexError },
    #[error("the index of {0} is of another chain or of other heights")]
    OtherIndex(ArchiveName),
    #[error("the index of {0} is larger than one may be")]
    LongIndex(ArchiveName),
    #[error("the payload of height {height} takes more room in {name} than it has bytes")]
    LongPayload { name: ArchiveName, height: Height },
    #[error("height {height} of {name} has no blob {index}")]
    NoBlob { name: ArchiveName, height: Height, index: u64 },
    #[error("{name}: {source}")]
    Part { name: ArchiveName, source: ReadError },
    #[error("a task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl SourceError {
    fn fault(self) -> ArchiveFault {
        let cause = |error: Self| Box::new(error);
        match &self {
            Self::NoArchive(_) => ArchiveFault::Unavailable(cause(self)),
            Self::Object { source, .. } if source.is_missing() => ArchiveFault::Unavailable(cause(self)),
            Self::Object { .. } | Self::Task(_) => ArchiveFault::Passing(cause(self)),
            // No memory to decompress it, here.
            Self::Part { source: ReadError::Io(_), .. } => ArchiveFault::Passing(cause(self)),
            Self::Index { .. }
            | Self::OtherIndex(_)
            | Self::LongIndex(_)
            | Self::Short(_)
            | Self::LongPayload { .. }
            | Self::NoBlob { .. }
            | Self::Part { source: ReadError::Archive(_) | ReadError::Compression { .. }, .. } => {
                ArchiveFault::Damaged(cause(self))
            }
        }
    }

    /// The archive that is to be avoided: something is wrong in it, or it is gone.
    fn avoids(&self) -> Option<ArchiveName> {
        match self {
            Self::Part { source: ReadError::Io(_), .. } | Self::NoArchive(_) | Self::Task(_) => None,
            Self::Object { name, source } => source.is_missing().then_some(*name),
            Self::Index { name, .. }
            | Self::OtherIndex(name)
            | Self::LongIndex(name)
            | Self::Short(name)
            | Self::LongPayload { name, .. }
            | Self::NoBlob { name, .. }
            | Self::Part { name, .. } => Some(*name),
        }
    }
}

impl ArchiveSource {
    /// A source of the archives of the chain `genesis_id`; it knows of none until [`ArchiveSource::run`] has looked.
    pub fn new(archive: ObjectArchive, genesis_id: Bytes32) -> Self {
        Self {
            archive,
            genesis_id,
            catalog: Mutex::default(),
            coverage: watch::Sender::default(),
            indices: Mutex::default(),
            fetching: Semaphore::new(1),
        }
    }

    /// Looks for archives now and every `interval`, until `shutdown`. An object store that cannot be listed is asked
    /// again at the next turn.
    pub async fn run(&self, interval: Duration, shutdown: CancellationToken) {
        let mut turns = 0_u32;
        loop {
            let everything = turns.is_multiple_of(FULL_LIST_EVERY);
            tokio::select! {
                () = shutdown.cancelled() => return,
                looked = self.refresh(everything) => match looked {
                    Ok(()) => turns = turns.wrapping_add(1),
                    Err(error) => tracing::warn!(%error, "cannot look for archives"),
                },
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    /// Looks for archives: for all, or only for those of greater heights than the highest that is known.
    ///
    /// # Errors
    /// [`ObjectError`]; what was known before is known still.
    pub async fn refresh(&self, everything: bool) -> Result<(), ObjectError> {
        let known = lock(&self.catalog).clone();
        let mut catalog = if everything { Catalog::default() } else { known };
        let after = catalog.last().copied();
        self.archive.list(&mut catalog, after.as_ref()).await?;
        let coverage = catalog.coverage();
        *lock(&self.catalog) = catalog;
        self.coverage.send_if_modified(|known| {
            let is_news = *known != coverage;
            *known = coverage;
            is_news
        });
        Ok(())
    }

    /// The archive with `height` and its index.
    async fn index(&self, height: Height) -> Result<(ArchiveName, Arc<Index>), SourceError> {
        let name = lock(&self.catalog).with(height).ok_or(SourceError::NoArchive(height))?;
        if let Some(index) = lock(&self.indices).get(&name) {
            return Ok((name, index));
        }
        // The semaphore is never closed.
        let _permit = self.fetching.acquire().await;
        if let Some(index) = lock(&self.indices).get(&name) {
            return Ok((name, index));
        }
        let index = self.fetch_index(name).await?;
        Ok((name, index))
    }

    async fn fetch_index(&self, name: ArchiveName) -> Result<Arc<Index>, SourceError> {
        let fetched = self.archive.fetch_index(&name, &self.genesis_id).await;
        let (index, length) = fetched.map_err(|fault| match fault {
            NoIndex::Object(source) => SourceError::Object { name, source },
            NoIndex::Long => SourceError::LongIndex(name),
            NoIndex::Undecodable(source) => SourceError::Index { name, source },
            NoIndex::Other => SourceError::OtherIndex(name),
        })?;
        let index = Arc::new(index);
        lock(&self.indices).insert(name, length, Arc::clone(&index));
        Ok(index)
    }

    async fn read_values(&self, heights: Range<Height>, max_bytes: u64) -> Result<Vec<ArchivedValue>, SourceError> {
        let mut values = Vec::new();
        let mut bytes = 0;
        let mut height = heights.start;
        while height < heights.end && bytes < max_bytes {
            let index = match self.index(height).await {
                Ok((_, index)) => index,
                // What comes before is an answer too.
                Err(_) if !values.is_empty() => break,
                Err(error) => return Err(error),
            };
            let from = height;
            let records = index.records().iter().skip_while(|record| record.height() < from);
            for record in records.take_while(|record| record.height() < heights.end) {
                if bytes >= max_bytes {
                    break;
                }
                let sets = record.sets().to_vec();
                bytes += sets.iter().map(|set| set.validators.len() as u64 * 40).sum::<u64>();
                bytes += record.decided().encoded_len() as u64;
                height = record.height() + 1;
                values.push(ArchivedValue { decided: record.decided().clone(), sets });
            }
        }
        Ok(values)
    }

    async fn read_payload(&self, height: Height, max_bytes: usize) -> Result<PayloadEnvelope, SourceError> {
        let (name, index) = self.index(height).await?;
        let record = index.record(height).ok_or(SourceError::OtherIndex(name))?;
        let range = record.payload_part();
        if range.end.saturating_sub(range.start) > longest_payload_part(record, max_bytes) {
            return Err(SourceError::LongPayload { name, height });
        }
        let compression = index.compression();
        self.read_part(name, range, move |bytes| read_payload_part(&bytes, compression, height, max_bytes)).await
    }

    async fn read_sidecars(&self, height: Height, indices: Vec<u64>) -> Result<Vec<BlobSidecar>, SourceError> {
        let (name, index) = self.index(height).await?;
        let mut parts: BTreeMap<u64, (Range<u64>, SidecarPart)> = BTreeMap::new();
        for blob in &indices {
            let part = index.sidecar_part(height, *blob);
            let (range, part) = part.ok_or(SourceError::NoBlob { name, height, index: *blob })?;
            parts.insert(part.first_index(), (range, part));
        }
        let mut sidecars = Vec::with_capacity(indices.len());
        for (range, part) in parts.into_values() {
            let compression = index.compression();
            let read = move |bytes: Bytes| read_sidecar_part(&bytes, compression, height, part);
            let found: Vec<BlobSidecar> = self.read_part(name, range, read).await?;
            sidecars.extend(found.into_iter().filter(|sidecar| indices.contains(&sidecar.index)));
        }
        Ok(sidecars)
    }

    async fn read_part<T: Send + 'static>(
        &self,
        name: ArchiveName,
        range: Range<u64>,
        decode: impl FnOnce(Bytes) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let part = self.archive.part(&name, range).await;
        let bytes = part.map_err(|source| SourceError::Object { name, source })?.ok_or(SourceError::Short(name))?;
        let decoded = tokio::task::spawn_blocking(move || decode(bytes)).await?;
        decoded.map_err(|source| SourceError::Part { name, source })
    }

    /// Reads what an archive with `height` has. Where one turns out to be of no use another one is tried, before anything
    /// is said against this place.
    async fn read_any<T, F: Future<Output = Result<T, SourceError>>>(
        &self,
        height: Height,
        read: impl Fn() -> F + Send,
    ) -> Result<T, ArchiveFault> {
        let mut attempts = 1;
        loop {
            let error = match read().await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let Some(name) = error.avoids() else { return Err(error.fault()) };
            if !self.avoid(name, height, &error) || attempts >= MAX_ATTEMPTS {
                return Err(error.fault());
            }
            attempts += 1;
        }
    }

    /// Remembers to avoid `name`. `true` if another archive, that is not to be avoided, has `height`.
    fn avoid(&self, name: ArchiveName, height: Height, why: &SourceError) -> bool {
        lock(&self.indices).remove(&name);
        let mut catalog = lock(&self.catalog);
        if catalog.avoid(name) {
            let location = self.archive.location();
            tracing::warn!(%location, %name, error = %why, "an archive cannot be used");
        }
        catalog.with(height).is_some_and(|other| !catalog.avoids(&other))
    }
}

impl Archive for ArchiveSource {
    fn coverage(&self) -> watch::Receiver<HeightRanges> {
        self.coverage.subscribe()
    }

    fn values(
        &self,
        heights: Range<Height>,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<Vec<ArchivedValue>, ArchiveFault>> {
        let height = heights.start;
        self.read_any(height, move || self.read_values(heights.clone(), max_bytes)).boxed()
    }

    fn payload(&self, height: Height, max_bytes: usize) -> BoxFuture<'_, Result<PayloadEnvelope, ArchiveFault>> {
        self.read_any(height, move || self.read_payload(height, max_bytes)).boxed()
    }

    fn sidecars(&self, height: Height, indices: Vec<u64>) -> BoxFuture<'_, Result<Vec<BlobSidecar>, ArchiveFault>> {
        self.read_any(height, move || self.read_sidecars(height, indices.clone())).boxed()
    }
}

/// Bytes that the payload part of a record can take as it is stored, if the payload's envelope takes at most `max_bytes`:
/// with the frames around it, and what a compressor adds that finds nothing to compress.
fn longest_payload_part(record: &IndexRecord, max_bytes: usize) -> u64 {
    let sets: usize = record.sets().iter().map(|set| encode(set).len()).sum();
    let plain = (sets + record.decided().encoded_len()).saturating_add(max_bytes).saturating_add(FRAMES_BYTES) as u64;
    plain.saturating_add(plain / 64).saturating_add(FRAMES_BYTES as u64)
}

/// No lock here is held while anything can fail or wait.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
