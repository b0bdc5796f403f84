//! What can be wrong with an archive.

use crate::{Bytes32, DecodeError, Height, archive::FrameKind, genesis::GenesisFault};

/// An archive cannot be read further.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}{}: {fault}", .height.map(|height| format!(", height {height}")).unwrap_or_default())]
pub struct ArchiveError {
    /// Where the piece begins that is wrong, in bytes: of the file for the header, of the uncompressed body, or of the
    /// uncompressed part, for the rest.
    pub offset: u64,
    /// Height of the record it is in, `None` outside of records.
    pub height: Option<Height>,
    /// What is wrong.
    #[source]
    pub fault: ArchiveFault,
}

/// What is wrong with the bytes of an archive. The fault of whoever wrote, kept or carried it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// Other first bytes.
    #[error("not an archive")]
    NotAnArchive,
    /// A format that this program does not know.
    #[error("format version {0}, this program reads version {version}", version = super::VERSION)]
    Version(u16),
    /// A compression that this version of the format does not have.
    #[error("unknown compression {0}")]
    Compression(u8),
    /// A byte that must be zero is not.
    #[error("reserved byte is {0}, it must be 0")]
    Reserved(u8),
    /// A genesis longer than any.
    #[error("a genesis of {0} bytes is longer than any")]
    GenesisLength(u32),
    /// The genesis makes no chain.
    #[error("the genesis is not one: {0}")]
    Genesis(#[from] GenesisFault),
    /// The genesis has another id than the one stated.
    #[error("the id of the genesis is {found}, stated is {stated}")]
    GenesisId {
        /// Id in the header.
        stated: Bytes32,
        /// Id of the genesis.
        found: Bytes32,
    },
    /// No range of heights.
    #[error("{first}..{last} is not a range of heights")]
    Range {
        /// First height.
        first: Height,
        /// Last height.
        last: Height,
    },
    /// The archive ends here.
    #[error("the archive is cut off")]
    Truncated,
    /// Another frame than one that may stand here.
    #[error("frame of kind {found}, due is {due}")]
    Frame {
        /// Kind in the archive.
        found: u8,
        /// What may stand here.
        due: &'static str,
    },
    /// A content that is shorter or longer than its type can be.
    #[error("a {kind} of {length} bytes is not one")]
    Length {
        /// Kind of the frame.
        kind: FrameKind,
        /// Bytes of content that it states.
        length: u32,
    },
    /// The frames of a record are not as long as it says.
    #[error("the record is not as long as it says")]
    RecordLength,
    /// Not the height that is due.
    #[error("the {kind} is of height {found}, due is {due}")]
    Height {
        /// Kind of the frame.
        kind: FrameKind,
        /// Height in it.
        found: Height,
        /// Height that is due.
        due: Height,
    },
    /// Not the blob that is due.
    #[error("the sidecar is of blob {found}, due is {due}")]
    Index {
        /// Index in the sidecar.
        found: u64,
        /// Index that is due.
        due: u64,
    },
    /// The content is not the encoding of its type.
    #[error(transparent)]
    Ssz(#[from] DecodeError),
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// The end states other heights than were read.
    #[error("the end does not fit what is before it")]
    Trailer,
    /// Bytes behind the end.
    #[error("there is something behind the end of the archive")]
    AfterEnd,
}
