#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod damage;
mod forged;
mod part;
mod round_trip;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use lapis_protocol_spec::{
    BlobSidecar, DecidedValue, Height, Kzg, PayloadEnvelope, ValidatorSet,
    archive::{Compression, Encoder, Header},
    encode,
};
use lapis_storage::{Batch, Store, StoreConfig};
use tempfile::TempDir;

use super::*;
use crate::{
    chain::Chain,
    devnet::{
        chain_maker::{Block, ChainMaker},
        spec::DevnetParams,
    },
};

static KZG: LazyLock<Arc<Kzg>> = LazyLock::new(|| Arc::new(Kzg::mainnet().unwrap()));
const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// A chain with real signatures and proofs, whose validators change at height 3.
struct Made {
    maker: ChainMaker,
    chain: Chain,
    blocks: Vec<Block>,
}

impl Made {
    fn new(blobs: &[u64]) -> Self {
        let members_from = BTreeMap::from([(3, BTreeSet::from([0, 1, 2]))]);
        let params = DevnetParams { members_from, ..DevnetParams::new(4) };
        let mut maker = ChainMaker::new(&params, Arc::clone(&KZG)).unwrap();
        let blocks = blobs.iter().map(|blobs| maker.next(*blobs).unwrap()).collect();
        Self { chain: Chain::new(maker.spec().genesis().clone()), maker, blocks }
    }

    fn header(&self, first: Height, last: Height, compression: Compression) -> Header {
        Header::new(compression, first, last, self.chain.genesis().clone()).unwrap()
    }

    /// A store that holds the heights up to `height` whole.
    fn store(&self, height: usize) -> Stored {
        let stored = Stored::new(&self.chain);
        stored.decide(self, 0..height);
        for block in &self.blocks[..height] {
            stored.0.insert(Batch { payloads: vec![block.payload.clone()], blobs: block.blobs.clone() }).unwrap();
        }
        stored
    }

    /// An archive of the heights `first..=last`, out of a store that has them.
    fn archive(&self, first: Height, last: Height, compression: Compression) -> Vec<u8> {
        let mut bytes = Vec::new();
        let stored = self.store(self.blocks.len());
        write(&stored.0, &self.header(first, last, compression), &mut bytes, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        bytes
    }

    /// The parts of a height, for a forger to change.
    fn parts(&self, height: usize) -> Parts {
        let block = &self.blocks[height - 1];
        let spec = self.maker.spec();
        let set = |height| spec.validator_set(height).clone();
        let height = height as u64;
        Parts {
            sets: if height == 1 { vec![set(1)] } else { vec![set(height), set(height + 1)] },
            decided: block.decided.clone().into_inner(),
            payload: block.payload.clone().into_inner(),
            blobs: block.blobs.iter().cloned().map(lapis_protocol_spec::Verified::into_inner).collect(),
        }
    }

    /// Whatever `stored` holds is what the chain has; how many items that are.
    fn assert_true(&self, stored: &Stored) -> usize {
        let reader = stored.0.reader().unwrap();
        let mut items = 0;
        let decided = stored.0.watermarks().decided;
        assert!(decided <= self.blocks.len() as u64);
        for block in &self.blocks[..usize::try_from(decided).unwrap()] {
            let height = block.decided.height();
            assert_eq!(reader.identified_value(height).unwrap().unwrap().id(), block.value.id());
            if let Some(payload) = reader.payload(height).unwrap() {
                assert!(payload == *block.payload, "payload {height}");
                items += 1;
            }
            for blob in &block.blobs {
                if let Some(held) = reader.sidecar(height, blob.index).unwrap() {
                    assert!(held == **blob, "blob {height} {}", blob.index);
                    items += 1;
                }
            }
        }
        items
    }

    /// `stored` holds the whole chain, and no more than the chain.
    fn assert_whole(&self, stored: &Stored) {
        let blobs: usize = self.blocks.iter().map(|block| block.blobs.len()).sum();
        assert_eq!(self.assert_true(stored), self.blocks.len() + blobs);
        assert_eq!(stored.0.watermarks().available, self.blocks.len() as u64);
        for block in &self.blocks {
            let held = stored.0.get_decided(block.decided.height()).unwrap().unwrap();
            assert!(held == *block.decided);
        }
    }
}

/// What a record is made of.
#[derive(Clone)]
struct Parts {
    sets: Vec<ValidatorSet>,
    decided: DecidedValue,
    payload: PayloadEnvelope,
    blobs: Vec<BlobSidecar>,
}

/// An archive with right frames and checksums and whatever content.
fn forge(header: &Header, records: &[Parts]) -> Vec<u8> {
    let mut bytes = header.encode();
    let mut encoder = Encoder::new(header);
    for parts in records {
        let payload = encode(&parts.payload);
        encoder.height(&parts.sets, &parts.decided, payload.len(), &mut bytes).unwrap();
        encoder.payload(&[&payload], &mut bytes).unwrap();
        parts.blobs.iter().for_each(|blob| encoder.sidecar(&[&encode(blob)], &mut bytes).unwrap());
    }
    encoder.finish(&mut bytes).unwrap();
    bytes
}

/// A store in a directory of its own.
struct Stored(Store, #[expect(dead_code, reason = "removes the directory at the end")] TempDir);

impl Stored {
    fn new(chain: &Chain) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store.redb"), chain.genesis(), StoreConfig::default()).unwrap();
        Self(store, dir)
    }

    /// Decides heights, given by their positions, without their data.
    fn decide(&self, made: &Made, positions: std::ops::Range<usize>) {
        for position in positions.clone() {
            self.0.insert_validator_set(made.maker.spec().validator_set(position as u64 + 2)).unwrap();
        }
        let values: Vec<_> = made.blocks[positions].iter().map(|block| block.decided.clone()).collect();
        self.0.mark_decided(&values).unwrap();
    }

    fn import(&self, made: &Made, archive: impl Read + Send) -> ImportOutcome {
        match ArchiveReader::open(archive) {
            Ok(archive) => import(&self.0, &made.chain, &KZG, archive, THREADS, &mut |_| ControlFlow::Continue(())),
            Err(error) => ImportOutcome { imported: Imported::default(), error: Some(error.into()) },
        }
    }
}

/// Six heights of few blobs.
static SMALL: LazyLock<Made> = LazyLock::new(|| Made::new(&[2, 0, 3, 1, 2, 1]));
