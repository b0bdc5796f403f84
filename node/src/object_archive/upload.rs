//! Writing objects from code that writes to a stream.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;
use lapis_protocol_spec::Bytes32;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, task::JoinError};
use tokio_util::sync::CancellationToken;

use super::{ArchiveName, Location, ObjectArchive, ObjectError, Operation, TRANSFER_BYTES};

/// Parts of one upload that are sent at a time. With the one that waits and the one that is being filled, an upload takes
/// four times [`TRANSFER_BYTES`] at most.
const PARTS_IN_FLIGHT: usize = 2;

/// How long the object store may take, once an upload is to stop, to make an object of what was sent or to forget it.
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
        tokio::select! {
            () = stop.cancelled() => return Err(UploadError::Interrupted),
            cleared = self.make_way(name) => cleared?,
        }
        let upload = tokio::select! {
            () = stop.cancelled() => return Err(UploadError::Interrupted),
            upload = self.objects.put_multipart(&path) => upload.map_err(failed)?,
        };
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
            (Ok(true), Ok(uploaded)) => {
                return match finish(upload, stop).await {
                    Some(finished) => finished.map(|()| uploaded).map_err(|error| failed(error).into()),
                    None => Err(UploadError::Interrupted),
                };
            }
            (Ok(true), Err(error)) => UploadError::Source(error),
            // Whatever the writer says then: its pipe is broken.
            (Ok(false), _) => UploadError::Interrupted,
            (Err(error), _) => failed(error).into(),
        };
        let _ = tokio::time::timeout(ABORT_LIMIT, upload.abort()).await;
        Err(failure)
    }

    /// Before an archive is written again that an earlier run wrote: its index goes, since it would describe another one,
    /// and what a kill has left in a directory of an upload. A directory that has gone (a file system that is not mounted)
    /// is not made anew.
    async fn make_way(&self, name: &ArchiveName) -> Result<(), ObjectError> {
        if let Location::Directory(directory) = self.location() {
            let (directory, base, archive) = (directory.clone(), self.base.to_string(), name.archive());
            let cleared = tokio::task::spawn_blocking(move || clear(&directory, &directory.join(base), &archive)).await;
            let cleared = cleared.unwrap_or_else(|error| Err(io::Error::other(error)));
            let failed = |source| object_store::Error::Generic { store: "directory", source: Box::new(source) };
            cleared.map_err(failed).map_err(ObjectError::during(Operation::Write, self.location()))?;
        }
        let index = self.path(name.index());
        match self.objects.delete(&index).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(ObjectError::during(Operation::Write, self.shown(&index))(source)),
        }
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
}

/// Removes what uploads of `archive` that were cut off have left in `base`, below `directory`, which must be there.
fn clear(directory: &std::path::Path, base: &std::path::Path, archive: &str) -> io::Result<()> {
    std::fs::metadata(directory)?;
    let entries = match std::fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        // What the object store's client calls a file whose upload is not complete.
        let is_left_over = name.to_str().and_then(|name| name.strip_prefix(archive)?.strip_prefix('#')).is_some();
        if is_left_over {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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

/// Makes an object of what was sent. `None` if that is not done soon after `stop`.
async fn finish(upload: WriteMultipart, stop: &CancellationToken) -> Option<Result<(), object_store::Error>> {
    let limit = async {
        stop.cancelled().await;
        tokio::time::sleep(ABORT_LIMIT).await;
    };
    tokio::select! {
        finished = upload.finish() => Some(finished.map(drop)),
        () = limit => None,
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
