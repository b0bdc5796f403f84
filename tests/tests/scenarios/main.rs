//! Scenarios: whole nodes over real streams with real blobs and proofs. `README.md` in this crate says which line of
//! the checklist is covered where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod announcements;
mod archived;
mod archiving;
mod catching_up;
mod checkpoint;
mod claims;
mod damaged;
mod discovery;
mod engine_api;
mod faults;
mod fetching;
mod full_disk;
mod hedging;
mod hostile;
mod killed;
mod limits;
mod pruned;
mod serving;
mod undecided;
mod validator_sets;
mod validators;
