//! What an operator may choose about a store.

use std::time::Duration;

/// Limits of one store. The defaults suit a node of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes of memory for the database's page cache; at most half of it holds pages that wait to be written.
    pub cache_bytes: usize,
    /// Most bytes of values, payloads and blobs that belong to undecided values only. More is refused.
    pub undecided_bytes: u64,
    /// How long an undecided value is kept.
    pub undecided_ttl: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            // Two rounds of the largest height: 4096 blobs and a 32 MiB payload, twice.
            undecided_bytes: 2 * (4096 * 131_072 + 32 * 1024 * 1024),
            undecided_ttl: Duration::from_secs(600),
        }
    }
}
