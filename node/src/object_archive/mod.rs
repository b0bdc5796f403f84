//! Archives in an object store: a directory, or a bucket of an S3-compatible service.
//!
//! ```text
//! <location>/<first 8 bytes of the genesis id, hex>/<first>-<last>-<writer>.lapis    the archive
//! <location>/<first 8 bytes of the genesis id, hex>/<first>-<last>-<writer>.index    its index, written after it
//! ```
//!
//! Heights are written with 20 digits, so that names sort as heights do. An archive counts once its index is there: the
//! index is written last, and only after the archive has been read back; who wrote it counts on it once the index has
//! been, too. Writers do not share names, so two nodes that archive to one place cannot mix an index with an archive that
//! it does not describe.
//!
//! This module owns names, transfers and their time limits. What is read from here is trusted no more than what a peer
//! sends.

mod cache;
mod catalog;
mod download;
mod error;
mod index;
mod location;
mod name;
mod open;
mod presence;
mod source;
mod upload;

pub use self::{
    catalog::Catalog,
    error::{ObjectError, Operation},
    location::{Location, LocationError},
    name::{ArchiveName, WriterTag},
    open::{ObjectArchive, S3Options},
    source::ArchiveSource,
    upload::{Checksum, UploadError, Uploaded},
};

/// Bytes of one transfer. S3 wants parts of at least 5 MiB, and takes 10,000 of them: archives may have 78 GiB.
pub(crate) const TRANSFER_BYTES: usize = 8 * 1024 * 1024;

/// Most parts of one upload, S3's own limit.
pub(crate) const MAX_PARTS: u64 = 10_000;
