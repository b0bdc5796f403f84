//! Archives on their way out of a store and into one.
//!
//! The format is `protocol-spec`'s; this module owns IO, compression, and what is done with what was read. It knows no
//! network and no async code; calls block.
//!
//! ```text
//! store --write--> archive --read--> events --import--> Matched --all cores--> Verified --> store
//! ```

mod import;
mod read;
mod write;

pub use self::{
    import::{ImportError, ImportOutcome, Imported, ItemFault, import},
    read::{ArchiveReader, ReadError},
    write::{Gap, WriteError, Written, first_gap, write},
};

#[cfg(test)]
mod tests;
