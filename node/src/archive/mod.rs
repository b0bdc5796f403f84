//! Archives on their way out of a store and into one.
//!
//! The format is `protocol-spec`'s; this module owns IO, compression, and what is done with what was read. It knows no
//! network and no async code; calls block.
//!
//! ```text
//! store --write--> archive --read--> events --import--> Matched --all cores--> Verified --> store
//!            |        |
//!          index    parts --read--> payload, sidecars: as from a peer
//! ```

mod import;
mod part;
mod read;
mod write;

pub use self::{
    import::{ImportError, ImportOutcome, Imported, ItemFault, import},
    part::{read_payload_part, read_sidecar_part},
    read::{ArchiveReader, ReadError},
    write::{Gap, WriteError, Written, first_gap, write, write_indexed},
};

#[cfg(test)]
mod tests;
