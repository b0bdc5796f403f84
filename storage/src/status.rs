//! What is counted: phases of the lifecycle, watermarks, tallies.

use lapis_protocol_spec::{BYTES_PER_BLOB, Height};

/// Where data that is or was held stands in its lifecycle: `Undecided -> Decided -> Archived -> Pruned`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Belongs to undecided values only.
    Undecided,
    /// Belongs to a decided value.
    Decided,
    /// Belongs to a decided value whose height is archived.
    Archived,
    /// No longer held.
    Pruned,
}

/// What the store knows of a versioned hash. A blob with several places has the status of its highest decided one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlobStatus {
    /// No value names it.
    Unknown,
    /// A value names it and it is not held yet.
    Awaited,
    /// Held, for undecided values only.
    Undecided,
    /// Held, for a decided value.
    Decided,
    /// Held, for a decided value that is archived.
    Archived,
    /// Only values below the blob floor name it: it is no longer held, or about to go.
    Pruned,
}

impl From<Phase> for BlobStatus {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Undecided => Self::Undecided,
            Phase::Decided => Self::Decided,
            Phase::Archived => Self::Archived,
            Phase::Pruned => Self::Pruned,
        }
    }
}

/// How far each stage has come. `pruned <= imported <= available <= decided` at every commit; 0 means "nothing".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// Highest decided value held.
    pub decided: Height,
    /// Up to here payloads and blobs at and above their floors are held without a gap. It only goes back when a damaged
    /// row above `imported` is discarded.
    pub available: Height,
    /// Highest height that the execution client has.
    pub imported: Height,
    /// Up to here, without a gap, heights are archived.
    pub archived: Height,
    /// Up to here blobs have been given up.
    pub pruned: Height,
    /// Lowest decided value held.
    pub earliest_value: Height,
    /// Lowest height whose payload is held.
    pub earliest_payload: Height,
    /// Lowest height whose blobs are held.
    pub earliest_blob: Height,
}

/// Things counted, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their bytes, as sent over the wire: neither keys nor padding.
    pub bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(crate) fn remove(&mut self, bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// A tally for each phase. `pruned` counts what was deleted by pruning since the store was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTallies {
    /// Held for undecided values only.
    pub undecided: Tally,
    /// Held for decided values that are not archived.
    pub decided: Tally,
    /// Held and archived.
    pub archived: Tally,
    /// Deleted by pruning.
    pub pruned: Tally,
}

impl PhaseTallies {
    pub(crate) fn of(&mut self, phase: Phase) -> &mut Tally {
        match phase {
            Phase::Undecided => &mut self.undecided,
            Phase::Decided => &mut self.decided,
            Phase::Archived => &mut self.archived,
            Phase::Pruned => &mut self.pruned,
        }
    }

    /// One item of `bytes` goes from phase to phase; `None` means that it comes into or goes out of being.
    pub(crate) fn shift(&mut self, from: Option<Phase>, to: Option<Phase>, bytes: u64) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.of(from).remove(bytes);
        }
        if let Some(to) = to {
            self.of(to).add(bytes);
        }
    }

    /// Items held.
    pub fn held(&self) -> Tally {
        Tally {
            count: self.undecided.count + self.decided.count + self.archived.count,
            bytes: self.undecided.bytes + self.decided.bytes + self.archived.bytes,
        }
    }
}

/// Counts kept in the store, in the same transactions as the rows they count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Decided values and their certificates; bytes are those of the values.
    pub values_decided: Tally,
    /// Undecided values with their rounds.
    pub values_undecided: Tally,
    /// Distinct blobs.
    pub blobs: PhaseTallies,
    /// Payload envelopes.
    pub payloads: PhaseTallies,
}

impl Tallies {
    /// Bytes of everything that belongs to undecided values only: what the cap is about.
    pub fn undecided_bytes(&self) -> u64 {
        self.values_undecided.bytes + self.payloads.undecided.bytes + self.blobs.undecided.bytes
    }
}

/// A look at the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Counts and bytes by phase.
    pub tallies: Tallies,
    /// Watermarks of the same moment.
    pub watermarks: Watermarks,
    /// Length of the database file; it grows in large sparse steps.
    pub file_bytes: u64,
    /// Bytes of disk that the file takes.
    pub allocated_bytes: u64,
}

/// Bytes of one blob, as counted.
pub(crate) const BLOB_BYTES: u64 = BYTES_PER_BLOB as u64;
