//! Catching up and staying at the head: from what peers claim to what the store holds.
//!
//! ```text
//! scheduler (pure) --actions--> driver --exchange tasks--> Matched --> verify workers --> Verified --> writer --> store
//!        ^                        |                                        |                            |
//!        +------------------------+<------------- faulty (peer, item) -----+<------- stored (items) ----+
//! ```
//!
//! The driver never waits for a queue, so the flow cannot lock up: exchange tasks wait for the verification queue (and
//! with them the sockets), verification waits for the writer, the writer for the disk.

pub mod archive;
mod driver;
mod early;
mod fetch;
mod pipeline;
pub mod pool;
pub mod scheduler;
pub mod simulation;
pub mod trace;

pub use self::{
    driver::{SyncConfig, SyncEngine, SyncError, SyncParts, SyncView, WatchdogConfig},
    pipeline::{PipelineConfig, StageFailure},
};
