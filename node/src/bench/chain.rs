//! The data of a bench: one chain with distinct valid blobs, in a store from which all runs are served.

use std::{
    num::NonZeroU64,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{BYTES_PER_BLOB, BlobSidecar, Genesis, Kzg, Matched};
use lapis_storage::{Batch, Store, StoreConfig};

use super::error::BenchError;
use crate::devnet::{
    chain_maker::{Block, ChainMaker},
    proposal::{ProposeError, Tip},
    spec::DevnetParams,
};

/// Validators of the chain: certificates of an ordinary size.
const VALIDATORS: usize = 4;
/// Blobs of one transaction, as many as the sync's writer takes.
const TRANSACTION: usize = 64;
/// Blobs of the sample: a full batch.
const SAMPLE: u64 = 64;

/// What was made.
pub(super) struct Made {
    pub(super) genesis: Genesis,
    /// Blobs for measurements without a network.
    pub(super) sample: Vec<Matched<BlobSidecar>>,
    /// Bytes of blobs per second that went into the store, making them not counted.
    pub(super) written_per_second: f64,
}

/// Makes a chain of `heights` heights of `blobs` blobs in a new store at `path`. Blocks; about 2 ms of one core per blob.
pub(super) fn make(
    path: &Path,
    (heights, blobs): (NonZeroU64, NonZeroU64),
    kzg: &Arc<Kzg>,
) -> Result<Made, BenchError> {
    let params = DevnetParams { max_blobs_per_block: blobs.get().max(SAMPLE), ..DevnetParams::new(VALIDATORS) };
    let mut maker = ChainMaker::new(&params, Arc::clone(kzg))?;
    let genesis = maker.spec().genesis().clone();
    let sample = sample(&maker)?;
    let store = Store::open(path, &genesis, StoreConfig::default())?;
    store.insert_validator_set(maker.spec().validator_set(1))?;
    let mut filling = Filling { store, batch: Batch::default(), spent: Duration::ZERO };
    for _ in 0..heights.get() {
        filling.push(maker.next(blobs.get())?)?;
    }
    filling.flush()?;
    filling.store.flush()?;
    let bytes = heights.get().saturating_mul(blobs.get()).saturating_mul(BYTES_PER_BLOB as u64);
    let written_per_second = bytes as f64 / filling.spent.as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(Made { genesis, sample, written_per_second })
}

/// Blobs of a proposal that is never decided, as if they had just been received.
fn sample(maker: &ChainMaker) -> Result<Vec<Matched<BlobSidecar>>, BenchError> {
    let built = maker.proposer().build(&Tip::genesis(maker.spec()), 0, SAMPLE)?;
    let value = &built.proposal.value;
    let blobs = (0_u64..).zip(built.proposal.blobs);
    let matched: Result<Vec<_>, _> =
        blobs.map(|(index, blob)| Matched::blob(blob.into_inner(), value, index)).collect();
    Ok(matched.map_err(ProposeError::from)?)
}

/// A store that is being filled, and the time that its transactions took.
struct Filling {
    store: Store,
    batch: Batch,
    spent: Duration,
}

impl Filling {
    fn push(&mut self, block: Block) -> Result<(), BenchError> {
        let Block { decided, payload, blobs, .. } = block;
        self.store.mark_decided(&[decided])?;
        self.batch.payloads.push(payload);
        for blob in blobs {
            self.batch.blobs.push(blob);
            if self.batch.blobs.len() >= TRANSACTION {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        let batch = std::mem::take(&mut self.batch);
        let started = Instant::now();
        self.store.insert(batch)?;
        self.spent += started.elapsed();
        Ok(())
    }
}
