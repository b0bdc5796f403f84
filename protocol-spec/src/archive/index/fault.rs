//! What can be wrong with an index.

use super::{INDEX_VERSION, MAX_INDEX_BYTES, MAX_INDEX_HEIGHTS, MAX_RECORD_SETS};
use crate::{DecodeError, Height, archive::FrameKind};

/// An index cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}{}: {fault}", .height.map(|height| format!(", height {height}")).unwrap_or_default())]
pub struct IndexError {
    /// Where the piece begins that is wrong, in bytes.
    pub offset: usize,
    /// Height of the record it is in, `None` outside of records.
    pub height: Option<Height>,
    /// What is wrong.
    #[source]
    pub fault: IndexFault,
}

/// What is wrong with an index. The fault of whoever wrote, kept or carried it.
#[derive(Debug, thiserror::Error)]
pub enum IndexFault {
    /// Longer than any.
    #[error("an index of {0} bytes is longer than any, at most {MAX_INDEX_BYTES} can be")]
    TooLong(usize),
    /// Other first bytes.
    #[error("not an index")]
    NotAnIndex,
    /// A format that this program does not know.
    #[error("index version {0}, this program reads version {INDEX_VERSION}")]
    Version(u16),
    /// It ends before something that has to be there.
    #[error("the index is cut off")]
    Truncated,
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// A compression that this version does not have.
    #[error("unknown compression {0}")]
    Compression(u8),
    /// A byte that must be zero is not.
    #[error("reserved byte is {0}, it must be 0")]
    Reserved(u8),
    /// No range of heights.
    #[error("{first}..{last} is not a range of heights")]
    Range {
        /// First height.
        first: Height,
        /// Last height.
        last: Height,
    },
    /// More heights than an index can have.
    #[error("{0} heights, an index has at most {MAX_INDEX_HEIGHTS}")]
    Heights(u64),
    /// No header of an archive ends there.
    #[error("the first part cannot begin at byte {0} of an archive")]
    Start(u64),
    /// Another frame than one that may stand here.
    #[error("frame of kind {found}, due is {due}")]
    Frame {
        /// Kind in the index.
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
    /// The content is not the encoding of its type.
    #[error(transparent)]
    Ssz(#[from] DecodeError),
    /// Not the height that is due.
    #[error("the value is of height {found}, due is {due}")]
    Height {
        /// Height in the value.
        found: Height,
        /// Height that is due.
        due: Height,
    },
    /// More sets than a record has.
    #[error("{0} validator sets in one record, at most {MAX_RECORD_SETS} can be")]
    Sets(usize),
    /// Another number of parts than the value's blobs make.
    #[error("{found} parts, due are {due}")]
    Parts {
        /// Parts given.
        found: usize,
        /// Parts of such a record.
        due: usize,
    },
    /// A length that the part cannot have.
    #[error("part {part} cannot take {length} bytes")]
    PartLength {
        /// Position of the part in its record.
        part: usize,
        /// Bytes stated.
        length: u64,
    },
    /// A record above the last height.
    #[error("there is no record behind the last height, {0}")]
    Behind(Height),
    /// No record of a height.
    #[error("the record of height {0} is missing")]
    Missing(Height),
    /// Bytes behind the last record.
    #[error("there is something behind the last record")]
    AfterEnd,
}
