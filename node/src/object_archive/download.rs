//! Reading objects, whole or in parts.
//!
//! What a service says of lengths is not believed: no more is taken into memory than was asked for.

use std::{io, ops::Range};

use bytes::Bytes;
use futures::StreamExt;
use lapis_protocol_spec::Bytes32;
use object_store::{GetOptions, GetResult, GetResultPayload, ObjectStoreExt, path::Path};
use sha2::{Digest, Sha256};

use super::{ArchiveName, Checksum, ObjectArchive, ObjectError, Operation, TRANSFER_BYTES};

impl ObjectArchive {
    /// Reads the whole archive `name` and returns what it reads as. Takes the memory of one transfer.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn checksum(&self, name: &ArchiveName) -> Result<Checksum, ObjectError> {
        let path = self.path(name.archive());
        let length = self.length(&path).await?;
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
        let failed = || ObjectError::during(Operation::Read, self.shown(&path));
        let object = self.objects.get(&path).await.map_err(failed())?;
        if object.meta.size > max_bytes {
            return Ok(None);
        }
        content(object).await.map(Some).map_err(failed())
    }

    /// Bytes of the archive `name`, which are held in memory; `None` if it ends before `range` does.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn part(&self, name: &ArchiveName, range: Range<u64>) -> Result<Option<Bytes>, ObjectError> {
        let path = self.path(name.archive());
        let asked = range.end.saturating_sub(range.start);
        match self.read(&path, range.clone()).await {
            Ok(bytes) => Ok(Some(bytes).filter(|bytes| bytes.len() as u64 == asked)),
            Err(error) if error.is_missing() => Err(error),
            // Each service has its own words for a range behind the end.
            Err(error) => match self.length(&path).await {
                Ok(length) if length < range.end => Ok(None),
                Ok(_) | Err(_) => Err(error),
            },
        }
    }

    /// Bytes of the archive `name`.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn archive_length(&self, name: &ArchiveName) -> Result<u64, ObjectError> {
        self.length(&self.path(name.archive())).await
    }

    async fn length(&self, path: &Path) -> Result<u64, ObjectError> {
        let meta = self.objects.head(path).await;
        meta.map(|meta| meta.size).map_err(ObjectError::during(Operation::Read, self.shown(path)))
    }

    /// Bytes of an object: those of `range` that it has.
    async fn read(&self, path: &Path, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let failed = || ObjectError::during(Operation::Read, self.shown(path));
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let object = self.objects.get_opts(path, options).await.map_err(failed())?;
        content(object).await.map_err(failed())
    }
}

/// What an answer brings, if that is as much as it announced.
async fn content(object: GetResult) -> Result<Bytes, object_store::Error> {
    let length = object.range.end.saturating_sub(object.range.start);
    let GetResultPayload::Stream(mut chunks) = object.payload else { return object.bytes().await };
    let mut content = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if (content.len() + chunk.len()) as u64 > length {
            return Err(other_length("the service sends more than it announced"));
        }
        content.extend_from_slice(&chunk);
    }
    if (content.len() as u64) < length {
        return Err(other_length("the service sends less than it announced"));
    }
    Ok(content.into())
}

fn other_length(what: &'static str) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: io::Error::new(io::ErrorKind::InvalidData, what).into() }
}

#[cfg(test)]
mod tests;
