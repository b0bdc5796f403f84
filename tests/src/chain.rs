//! Chains: whole blocks with real signatures, blobs and proofs, and how a store is filled with them.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use lapis_node::{
    chain::Chain,
    devnet::{
        chain_maker::{Block, ChainMaker},
        spec::{ChainSpec, DevnetParams},
    },
};
use lapis_protocol_spec::{BlobSidecar, Bytes32, Height, Kzg, ValidatorSet};
use lapis_storage::{Batch, Store};

/// Blobs in one transaction when a store is filled.
const BATCH: usize = 64;

static KZG: LazyLock<Arc<Kzg>> = LazyLock::new(|| Arc::new(Kzg::mainnet().unwrap()));

/// The trusted setup, loaded once per process.
pub fn kzg() -> Arc<Kzg> {
    Arc::clone(&KZG)
}

/// The first heights of a chain, and all that is needed to go on with it or to forge it.
#[derive(Debug)]
pub struct TestChain {
    maker: ChainMaker,
    blocks: Vec<Block>,
    /// Versioned hash -> (height, index).
    places: HashMap<Bytes32, (Height, u64)>,
}

impl TestChain {
    /// A chain with a height for each number of blobs in `counts`.
    pub fn new(params: &DevnetParams, counts: impl IntoIterator<Item = u64>) -> Self {
        let mut maker = ChainMaker::new(params, kzg()).unwrap();
        let blocks: Vec<Block> = counts.into_iter().map(|count| maker.next(count).unwrap()).collect();
        Self::of(maker, blocks)
    }

    /// A chain of these blocks, which `maker` has made from height 1 on.
    pub fn of(maker: ChainMaker, blocks: Vec<Block>) -> Self {
        let sidecars = blocks.iter().flat_map(|block| &block.blobs);
        let places = sidecars.map(|blob| (blob.versioned_hash(), (blob.height, blob.index))).collect();
        Self { maker, blocks, places }
    }

    /// The same with four validators of equal power.
    pub fn of_four(counts: impl IntoIterator<Item = u64>) -> Self {
        Self::new(&DevnetParams::new(4), counts)
    }

    /// Its definition, as a node takes it.
    pub fn chain(&self) -> Chain {
        Chain::new(self.spec().genesis().clone())
    }

    /// Its definition with all that a devnet knows of it.
    pub fn spec(&self) -> &Arc<ChainSpec> {
        self.maker.spec()
    }

    /// The keys of its validators, and the way to further heights. It stands at the last height.
    pub fn maker(&self) -> &ChainMaker {
        &self.maker
    }

    /// Its blocks from height 1 on.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The blocks up to `height`.
    pub fn up_to(&self, height: Height) -> &[Block] {
        &self.blocks[..usize::try_from(height).unwrap()]
    }

    /// The block at `height`.
    pub fn block(&self, height: Height) -> &Block {
        &self.blocks[usize::try_from(height - 1).unwrap()]
    }

    /// The highest height.
    pub fn last(&self) -> Height {
        self.blocks.len() as Height
    }

    /// Number of blobs of all heights.
    pub fn blob_count(&self) -> usize {
        self.blocks.iter().map(|block| block.blobs.len()).sum()
    }

    /// The blob with this versioned hash.
    pub fn sidecar_by_hash(&self, hash: &Bytes32) -> Option<&BlobSidecar> {
        let (height, index) = self.places.get(hash)?;
        Some(&self.block(*height).blobs[usize::try_from(*index).unwrap()])
    }

    /// The validator set with this root, if it signs any height of the chain or the one after it.
    pub fn validator_set(&self, root: &Bytes32) -> Option<&ValidatorSet> {
        let height = (1..=self.last() + 1).find(|height| self.spec().validators_root(*height) == *root)?;
        Some(self.spec().validator_set(height))
    }

    /// Stores `blocks`, which attach to what is held, with all that the chain certifies for them but the blobs that
    /// `without` names.
    pub fn fill(&self, store: &Store, blocks: &[Block], without: impl Fn(Height, u64) -> bool) {
        for block in blocks {
            // The set that signs the next height is needed by whoever asks for it.
            store.insert_validator_set(self.spec().validator_set(block.value.value().height + 1)).unwrap();
        }
        let decided: Vec<_> = blocks.iter().map(|block| block.decided.clone()).collect();
        store.mark_decided(&decided).unwrap();
        let payloads = blocks.iter().map(|block| block.payload.clone()).collect();
        store.insert(Batch { payloads, blobs: Vec::new() }).unwrap();
        let blobs = blocks.iter().flat_map(|block| &block.blobs).filter(|blob| !without(blob.height, blob.index));
        let blobs: Vec<_> = blobs.cloned().collect();
        for blobs in blobs.chunks(BATCH) {
            store.insert(Batch { payloads: Vec::new(), blobs: blobs.to_vec() }).unwrap();
        }
    }
}
