//! The Lapis store: decided and undecided values, their payloads and blobs, in one redb file.
//!
//! This crate owns what is on the disk and how far each stage has come. It takes only [`Verified`] data, so it never has
//! to clean up; it hands back only what passes its checksum. It knows neither clock nor network, and calls block.
//!
//! ```text
//!            insert_undecided, verify_and_store          insert
//!                        |                                  |
//!                        v                                  v
//!   proposed -------> Undecided ----- mark_decided ----> Decided -- mark_archived --> Archived
//!                        |                                  |                            |
//!              drop_round, expire_undecided                 +------- prune_below --------+--> Pruned
//!                        v
//!                       gone
//! ```
//!
//! Stages hand on by watermarks, moved in the same transaction as the rows they are about:
//! `pruned <= imported <= available <= decided` at every commit. A restart reads them and goes on; what is missing is
//! [`Store::gaps`] and, height by height, [`Store::missing`].
//!
//! A blob is held once, whatever number of places in the chain name it. It takes 1.005 times its bytes on the disk.
//!
//! [`Verified`]: lapis_protocol_spec::Verified

mod check;
mod config;
mod connection;
mod creation;
mod damage;
mod decide;
mod error;
mod insert;
mod lifecycle;
mod medium;
mod migrate;
mod missing;
mod open;
mod orphans;
mod overlay;
mod pieces;
mod ranges;
mod read;
mod recount;
mod repair;
mod rows;
mod state;
mod status;
mod store;
mod tables;
mod undecided;
mod upkeep;
mod values;
mod verify;

pub use redb::StorageBackend;

pub use crate::{
    config::StoreConfig,
    decide::Decided,
    error::{Conflict, Damage, OpenError, StoreError},
    insert::{Batch, Inserted, VerifyOutcome},
    lifecycle::{PruneAllow, PruneKind, PruneOptions, Pruned},
    medium::{DiskFile, Medium, MediumSize},
    missing::MissingData,
    read::{ForImport, Reader, Undecided},
    repair::{Fate, Repaired},
    status::{BlobStatus, Phase, PhaseTallies, StoreStats, Tallies, Tally, Watermarks},
    store::Store,
    tables::TableName,
    upkeep::{PageUse, TableDetail, TableSize},
    values::Dropped,
    verify::{VerifyOptions, VerifyProgress},
};
