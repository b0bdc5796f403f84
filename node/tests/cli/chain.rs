//! A chain with real proofs, and directories of nodes that hold it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::{Arc, LazyLock},
};

use lapis_node::{
    devnet::{
        chain_maker::{Block, ChainMaker},
        spec::DevnetParams,
    },
    genesis_file,
};
use lapis_protocol_spec::{Genesis, Kzg};
use lapis_storage::{Batch, Store, StoreConfig};

use crate::place::{Place, lapis};

/// Five heights, whose validators change at the third.
pub(crate) static CHAIN: LazyLock<Chain> = LazyLock::new(|| Chain::new(0, &[2, 1, 0, 3, 2]));
/// Another chain.
pub(crate) static OTHER: LazyLock<Chain> = LazyLock::new(|| Chain::new(1, &[1]));

static KZG: LazyLock<Arc<Kzg>> = LazyLock::new(|| Arc::new(Kzg::mainnet().unwrap()));

pub(crate) struct Chain {
    maker: ChainMaker,
    pub(crate) blocks: Vec<Block>,
}

impl Chain {
    fn new(seed: u8, blobs: &[u64]) -> Self {
        let members_from = BTreeMap::from([(3, BTreeSet::from([0, 1, 2]))]);
        let params = DevnetParams { seed: [seed; 32], members_from, ..DevnetParams::new(4) };
        let mut maker = ChainMaker::new(&params, Arc::clone(&KZG)).unwrap();
        let blocks = blobs.iter().map(|blobs| maker.next(*blobs).unwrap()).collect();
        Self { maker, blocks }
    }

    pub(crate) fn genesis(&self) -> &Genesis {
        self.maker.spec().genesis()
    }

    /// Makes the directory of a node of this chain; its path.
    pub(crate) fn init(&self, place: &Place, name: &str) -> String {
        let genesis = place.path(&format!("{name}.json"));
        fs::write(&genesis, genesis_file::to_json(self.genesis()).unwrap()).unwrap();
        let dir = place.path(name);
        place.succeed(&["init", "--dir", &dir, "--genesis", &genesis]);
        dir
    }

    /// The store in `dir`.
    pub(crate) fn store(&self, dir: &str) -> Store {
        Store::open(format!("{dir}/store.redb").as_ref(), self.genesis(), StoreConfig::default()).unwrap()
    }

    /// A directory whose store has values up to `decided` and their data up to `whole`.
    pub(crate) fn filled(&self, place: &Place, name: &str, decided: usize, whole: usize) -> String {
        let dir = self.init(place, name);
        let store = self.store(&dir);
        for block in &self.blocks[..decided] {
            store.insert_validator_set(self.maker.spec().validator_set(block.decided.height() + 1)).unwrap();
            store.mark_decided(std::slice::from_ref(&block.decided)).unwrap();
        }
        for block in &self.blocks[..whole] {
            store.insert(Batch { payloads: vec![block.payload.clone()], blobs: block.blobs.clone() }).unwrap();
        }
        dir
    }

    /// Asserts that the store in `dir` holds the heights up to `height`, each byte of them, and nothing above.
    pub(crate) fn assert_held(&self, dir: &str, height: usize) {
        let store = self.store(dir);
        assert_eq!(store.watermarks().available, height as u64);
        let reader = store.reader().unwrap();
        for block in &self.blocks[..height] {
            let at = block.decided.height();
            assert!(reader.decided_value(at).unwrap().unwrap() == *block.decided, "value {at}");
            assert!(reader.payload(at).unwrap().unwrap() == *block.payload, "payload {at}");
            for blob in &block.blobs {
                assert!(reader.sidecar(at, blob.index).unwrap().unwrap() == **blob, "blob {at} {}", blob.index);
            }
        }
    }
}

/// The line with which the program refuses or fails with `code`. Unlike [`Place::fails_with`] it may have opened a store.
pub(crate) fn line_of(words: &[&str], code: i32) -> String {
    let mut command: Command = lapis(words);
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {err}");
    assert_eq!(err.lines().count(), 1, "{words:?}: {err}");
    err
}
