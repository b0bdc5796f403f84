//! From an archive into a store, through the gates that everything goes through.
//!
//! Three stages on threads of their own, so that disk and cores work at the same time: *intake* reads, follows the
//! chain and matches; *check* verifies digests and proofs on all cores; the caller's thread *writes*. Between two of them
//! waits at most one group, so that in all five groups are in memory.

mod check;
mod intake;

use std::{
    io::Read,
    num::NonZeroUsize,
    ops::ControlFlow,
    panic,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use lapis_protocol_spec::{
    BlobSidecar, Bytes32, CertificateFault, DecidedValue, Height, Kzg, Matched, PayloadEnvelope, PayloadFault,
    ValidatorSet, Verified, gates::MatchFault,
};
use lapis_storage::{Batch, Store, StoreError};

use self::intake::Intake;
use super::{ArchiveReader, ReadError};
use crate::chain::Chain;

/// Blobs per core in one group: as many as a batch needs to be cheap.
const GROUP_BLOBS_PER_CORE: usize = 16;
/// Bounds of a group's bytes. An item that is larger by itself makes a group of its own.
const GROUP_BYTES: std::ops::RangeInclusive<usize> = 8 * 1024 * 1024..=64 * 1024 * 1024;

/// What an import has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records of the archive that were read to their end.
    pub heights: u64,
    /// Decided values that were new.
    pub values: u64,
    /// Values and certificates whose rows were damaged, written again.
    pub mended: u64,
    /// Payloads that were missing.
    pub payloads: u64,
    /// Blobs that were missing.
    pub blobs: u64,
    /// Bytes of those payloads and blobs.
    pub bytes: u64,
}

/// How an import ended.
#[derive(Debug)]
pub struct ImportOutcome {
    /// What is in the store by it, durable, however it ended.
    pub imported: Imported,
    /// Why it did not come to the archive's end.
    pub error: Option<ImportError>,
}

/// Why an import did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The archive is of another chain. Nothing was changed.
    #[error("the archive is of the chain with genesis {found}, the store is of {expected}")]
    OtherChain {
        /// Genesis id of the archive.
        found: Bytes32,
        /// Genesis id of the store.
        expected: Bytes32,
    },
    /// There are heights between the store and the archive. Nothing was changed.
    #[error("the archive begins at height {first}, the store's tip is {tip}: the heights between come first")]
    Detached {
        /// First height of the archive.
        first: Height,
        /// Height of the store's tip.
        tip: Height,
    },
    /// The archive cannot be read further.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The archive holds what is not true.
    #[error("height {height}: {fault}")]
    Untrue {
        /// Height of the item.
        height: Height,
        /// What is wrong with it.
        fault: ItemFault,
    },
    /// This machine could not check a proof.
    #[error("height {height}: blob {index} could not be checked, is there too little memory?")]
    Unchecked {
        /// Height of the blob.
        height: Height,
        /// Index of the blob.
        index: u64,
    },
    /// The observer asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How an item of an archive is not what the chain decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemFault {
    /// The store holds another decided value there.
    #[error("the store holds another value, {held}")]
    OtherValue {
        /// Id of the value that the store holds.
        held: Bytes32,
    },
    /// Nobody has shown the set that signs.
    #[error("the validator set {0} that signs it is neither in the store nor in the archive")]
    UnknownSet(Bytes32),
    /// The value is not decided by those who may.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// Payload or blob of another value.
    #[error(transparent)]
    Match(#[from] MatchFault),
    /// Not the payload that is certified.
    #[error(transparent)]
    Payload(#[from] PayloadFault),
    /// The proof does not verify.
    #[error("the proof of blob {index} does not verify")]
    Proof {
        /// Index of the blob.
        index: u64,
    },
}

/// What is read, matched, and waits to be verified.
#[derive(Debug, Default)]
struct Group {
    sets: Vec<ValidatorSet>,
    values: Vec<Verified<DecidedValue>>,
    payloads: Vec<Matched<PayloadEnvelope>>,
    blobs: Vec<Matched<BlobSidecar>>,
    /// Records that end in this group.
    heights: u64,
    /// Values that were written again meanwhile.
    mended: u64,
    bytes: usize,
}

/// What is true and waits to be written.
#[derive(Debug, Default)]
struct Checked {
    sets: Vec<ValidatorSet>,
    values: Vec<Verified<DecidedValue>>,
    batch: Batch,
    heights: u64,
    mended: u64,
}

/// Imports `archive` into `store`, which is of `chain`, verifying on `threads` threads.
///
/// What the store has is skipped, what it misses is filled in, at heights that it knows and at heights that follow;
/// damaged values are written again (damaged data is first to be dropped, see [`Store::repair`]).
/// Each group is durable when `observe` is told of it, which may stop the import there; after an interruption the same
/// call goes on where it was. If the archive is damaged, what is true up to there is kept.
///
/// Memory: some five groups, of 8 to 64 MiB each by the number of threads.
pub fn import<R: Read + Send>(
    store: &Store,
    chain: &Chain,
    kzg: &Kzg,
    archive: ArchiveReader<R>,
    threads: NonZeroUsize,
    observe: &mut dyn FnMut(&Imported) -> ControlFlow<()>,
) -> ImportOutcome {
    let mut imported = Imported::default();
    let error = run(store, chain, kzg, archive, threads, &mut |group| {
        group.write(store, &mut imported)?;
        match observe(&imported) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ImportError::Interrupted),
        }
    });
    ImportOutcome { error: error.err(), imported }
}

fn run<R: Read + Send>(
    store: &Store,
    chain: &Chain,
    kzg: &Kzg,
    archive: ArchiveReader<R>,
    threads: NonZeroUsize,
    write: &mut dyn FnMut(Checked) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let intake = Intake::new(store, chain, archive.header(), group_bytes(threads))?;
    let (to_check, groups) = sync_channel(1);
    let (to_write, checked) = sync_channel(1);
    thread::scope(|scope| {
        let reading = scope.spawn(move || intake.run(archive, &to_check));
        let checking = scope.spawn(move || check::run(kzg, threads, &groups, &to_write));
        // A stage that stops closes its queue, which stops the one before it. What stopped first came first in the
        // archive, too: a group that is being written was read before the one that is being checked.
        let written = write_all(checked, write);
        let checked = join(checking);
        let read = join(reading);
        written.and(checked).and(read)
    })
}

fn write_all(
    groups: Receiver<Checked>,
    write: &mut dyn FnMut(Checked) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    groups.into_iter().try_for_each(write)
}

fn join<T>(stage: thread::ScopedJoinHandle<'_, T>) -> T {
    stage.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}

fn group_bytes(threads: NonZeroUsize) -> usize {
    let wanted = threads.get().saturating_mul(GROUP_BLOBS_PER_CORE * BlobSidecar::BYTES);
    wanted.clamp(*GROUP_BYTES.start(), *GROUP_BYTES.end())
}

impl Checked {
    /// Values before their data, sets before the values that name them: after a crash anywhere in between, the store is
    /// whole and the next import goes on.
    fn write(self, store: &Store, imported: &mut Imported) -> Result<(), StoreError> {
        for set in &self.sets {
            store.insert_validator_set(set)?;
        }
        store.mark_decided(&self.values)?;
        imported.values += self.values.len() as u64;
        if !self.batch.payloads.is_empty() || !self.batch.blobs.is_empty() {
            let inserted = store.insert(self.batch)?;
            imported.payloads += inserted.payloads;
            imported.blobs += inserted.blobs;
            imported.bytes += inserted.bytes;
        }
        imported.heights += self.heights;
        imported.mended += self.mended;
        Ok(())
    }
}
