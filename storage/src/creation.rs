//! Creations that were cut off.
//!
//! redb makes a new file long, writes its header without the first bytes, syncs, and then writes them. A process that is
//! killed before leaves a file that redb takes for somebody else's. It is told from one by holding nothing else, and is
//! emptied, so that it is created anew.

use std::{io, ops::Bound};

use redb::{BackendError, StorageBackend};

use crate::OpenError;

/// The first bytes of a redb file; zero until its creation is complete.
const MAGIC_BYTES: usize = 9;
/// What redb may have written by then.
const HEADER_BYTES: u64 = 4096;
/// More than redb makes a new file long.
const LONGEST: u64 = 16 * 1024 * 1024;
/// What is read at a time.
const CHUNK: usize = 64 * 1024;

/// Empties a file that was being created when its process ended; leaves every other one as it is.
///
/// # Errors
/// [`OpenError::Locked`] if a process has it; [`OpenError::Io`].
pub(crate) fn undo_unfinished(backend: &impl StorageBackend) -> Result<(), OpenError> {
    if !looks_unfinished(backend)? {
        return Ok(());
    }
    // Not while another process is about to finish it.
    let locks = match backend.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(true) => true,
        Ok(false) => return Err(OpenError::Locked),
        Err(BackendError::Io(error)) => return Err(OpenError::Io(error)),
        // A medium without locks has one process.
        Err(_) => false,
    };
    let emptied = if looks_unfinished(backend)? { backend.set_len(0) } else { Ok(()) };
    if locks && let Err(BackendError::Io(error)) = backend.unlock_range(Bound::Unbounded, Bound::Unbounded) {
        return Err(OpenError::Io(error));
    }
    emptied.map_err(OpenError::Io)
}

fn looks_unfinished(backend: &impl StorageBackend) -> Result<bool, OpenError> {
    let length = backend.len().map_err(OpenError::Io)?;
    if !(HEADER_BYTES..=LONGEST).contains(&length) {
        return Ok(false);
    }
    let is_zero = |from, to| is_zero(backend, from, to).map_err(OpenError::Io);
    Ok(is_zero(0, MAGIC_BYTES as u64)? && is_zero(HEADER_BYTES, length)?)
}

fn is_zero(backend: &impl StorageBackend, mut from: u64, to: u64) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK];
    while from < to {
        let length = usize::try_from(to - from).unwrap_or(CHUNK).min(CHUNK);
        chunk.truncate(length);
        backend.read(from, &mut chunk)?;
        if chunk.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        from += length as u64;
    }
    Ok(true)
}
