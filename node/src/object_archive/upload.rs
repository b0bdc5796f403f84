//! Writing objects from code that writes to a stream, and reading them back.

use std::{
    io::{self, Write},
    ops::Range,
    time::Duration,
};

use bytes::Bytes;
use lapis_protocol_spec::Bytes32;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart, path::Path};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, task::JoinError};
use tokio_util::sync::CancellationToken;

use super::{ArchiveName, ObjectArchive, ObjectError, Operation, TRANSFER_BYTES};

/// Parts of one upload that are sent at a time. With the one that waits and the one that is being filled, an upload takes
/// four times [`TRANSFER_BYTES`] at most.
const PARTS_IN_FLIGHT: usize = 2;

/// How long the object store may take to forget what was sent of an upload that is given up.
const ABORT_LIMIT: Duration = Duration::from_secs(5);

/// Length and SHA-256 of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Bytes.
    pub length: u64,
    /// SHA-256 of them.
    pub sha256: Bytes32,
}

/// An object that was written.
#[derive(Debug)]
pub struct Uploaded<T> {
    /// What the code that wrote it returned.
    pub outcome: T,
    /// What the object must read as.
    pub checksum: Checksum,
}

/// Why an object was not written.
#[derive(Debug, thiserror::Error)]
pub enum UploadError<E: std::error::Error + 'static> {
    /// The code that writes it failed.
    #[error(transparent)]
    Source(E),
    /// The object store failed.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The upload was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// A task panicked.
    #[error("a task of the upload failed: {0}")]
    Task(#[from] JoinError),
}

impl ObjectArchive {
    /// Uploads what `produce` writes as the archive `name`. The object appears as a whole or not at all. `produce` runs
    /// on a thread where it may block; when the upload fails or is stopped, its writes fail.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn upload<T, E>(
        &self,
        name: &ArchiveName,
        stop: &CancellationToken,
        produce: impl FnOnce(&mut dyn Write) -> Result<T, E> + Send + 'static,
    ) -> Result<Uploaded<T>, UploadError<E>>
    where
        T: Send + 'static,
        E: std::error::Error + From<io::Error> + Send + 'static,
    {
        let path = self.path(name.archive());
        let failed = |source| ObjectError { operation: Operation::Write, object: self.shown(&path), source };
        let upload = self.objects.put_multipart(&path).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, TRANSFER_BYTES);
        let (chunks, mut received) = mpsc::channel(1);
        let writer = tokio::task::spawn_blocking(move || {
            let mut sink = ChunkSink { chunks, buffer: Vec::new(), sha256: Sha256::new(), length: 0 };
            let outcome = produce(&mut sink)?;
            Ok(Uploaded { outcome, checksum: sink.finish()? })
        });
        let sent = send(&mut upload, &mut received, stop).await;
        // What still writes fails now, instead of waiting for room.
        drop(received);
        let written: Result<_, E> = writer.await?;
        let failure = match (sent, written) {
            (Ok(true), Ok(uploaded)) => return upload.finish().await.map(|_| uploaded).map_err(|e| failed(e).into()),
            (Ok(true), Err(error)) => UploadError::Source(error),
            // Whatever the writer says then: its pipe is broken.
            (Ok(false), _) => UploadError::Interrupted,
            (Err(error), _) => failed(error).into(),
        };
        let _ = tokio::time::timeout(ABORT_LIMIT, upload.abort()).await;
        Err(failure)
    }

    /// Writes the index of the archive `name`.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn put_index(&self, name: &ArchiveName, index: Vec<u8>) -> Result<(), ObjectError> {
        let path = self.path(name.index());
        let put = self.objects.put(&path, PutPayload::from(index)).await;
        put.map(drop).map_err(ObjectError::during(Operation::Write, self.shown(&path)))
    }

    /// Reads the whole archive `name` and returns what it reads as. Takes the memory of one transfer.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn checksum(&self, name: &ArchiveName) -> Result<Checksum, ObjectError> {
        let path = self.path(name.archive());
        let meta = self.objects.head(&path).await;
        let length = meta.map_err(ObjectError::during(Operation::Read, self.shown(&path)))?.size;
        let mut sha256 = Sha256::new();
        let mut from = 0;
        while from < length {
            let to = length.min(from.saturating_add(TRANSFER_BYTES as u64));
            sha256.update(self.read(&path, from..to).await?);
            from = to;
        }
        Ok(Checksum { length, sha256: Bytes32::from(<[u8; 32]>::from(sha256.finalize())) })
    }

    /// The index of the archive `name`; `None` if it is longer than `max_bytes`.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn index(&self, name: &ArchiveName, max_bytes: u64) -> Result<Option<Bytes>, ObjectError> {
        let path = self.path(name.index());
        let read = || ObjectError::during(Operation::Read, self.shown(&path));
        let object = self.objects.get(&path).await.map_err(read())?;
        // The service says how much it is going to send, and the client takes no more.
        if object.meta.size > max_bytes {
            return Ok(None);
        }
        object.bytes().await.map(Some).map_err(read())
    }

    /// Bytes of the archive `name`: all that were asked for, which are held in memory.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn part(&self, name: &ArchiveName, range: Range<u64>) -> Result<Bytes, ObjectError> {
        self.read(&self.path(name.archive()), range).await
    }

    /// Bytes of an object: all that were asked for.
    pub(super) async fn read(&self, path: &Path, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let read = self.objects.get_range(path, range).await;
        read.map_err(ObjectError::during(Operation::Read, self.shown(path)))
    }
}

/// Sends chunks until there are no more. `false` if it was stopped before.
async fn send(
    upload: &mut WriteMultipart,
    chunks: &mut mpsc::Receiver<Bytes>,
    stop: &CancellationToken,
) -> Result<bool, object_store::Error> {
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return Ok(false),
            chunk = chunks.recv() => chunk,
        };
        let Some(chunk) = next else { return Ok(true) };
        tokio::select! {
            () = stop.cancelled() => return Ok(false),
            ready = upload.wait_for_capacity(PARTS_IN_FLIGHT) => ready?,
        }
        upload.put(chunk);
    }
}

/// Collects what is written into chunks of [`TRANSFER_BYTES`] and hands them over, waiting while the other end is busy.
struct ChunkSink {
    chunks: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
    sha256: Sha256,
    length: u64,
}

impl ChunkSink {
    fn hand_over(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.buffer);
        self.sha256.update(&chunk);
        self.length += chunk.len() as u64;
        self.chunks.blocking_send(chunk.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn finish(mut self) -> io::Result<Checksum> {
        if !self.buffer.is_empty() {
            self.hand_over()?;
        }
        Ok(Checksum { length: self.length, sha256: Bytes32::from(<[u8; 32]>::from(self.sha256.finalize())) })
    }
}

impl Write for ChunkSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(TRANSFER_BYTES);
        }
        let room = TRANSFER_BYTES - self.buffer.len();
        let (taken, _) = bytes.split_at(room.min(bytes.len()));
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() == TRANSFER_BYTES {
            self.hand_over()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
