//! What a store holds, compared with the chain it should hold, byte by byte.

use std::collections::HashSet;

use lapis_node::devnet::chain_maker::Block;
use lapis_protocol_spec::Height;
use lapis_storage::Store;

/// Holds `store` against `blocks`: all of them with all their data, and nothing else.
pub fn assert_holds(store: &Store, blocks: &[Block]) {
    let reader = store.reader().unwrap();
    for block in blocks {
        let height = block.value.value().height;
        assert_eq!(reader.decided_value(height).unwrap().as_ref(), Some(&*block.decided), "value {height}");
        assert_eq!(reader.payload(height).unwrap().as_ref(), Some(&*block.payload), "payload {height}");
        for blob in &block.blobs {
            let held = reader.sidecar(height, blob.index).unwrap();
            assert!(held.as_ref() == Some(&**blob), "blob {} of height {height} is not the certified one", blob.index);
        }
    }
    let tallies = store.stats().unwrap().tallies;
    let distinct: HashSet<_> = blocks.iter().flat_map(|block| &block.blobs).map(|blob| blob.versioned_hash()).collect();
    assert_eq!(tallies.values_decided.count, blocks.len() as u64, "decided values");
    assert_eq!(tallies.payloads.held().count, blocks.len() as u64, "payloads");
    assert_eq!(tallies.blobs.held().count, distinct.len() as u64, "blobs");
    assert_eq!(tallies.undecided_bytes(), 0, "undecided data");
}

/// The places, as (height, index), of those blobs of `blocks` that `store` holds.
pub fn held_blobs(store: &Store, blocks: &[Block]) -> HashSet<(Height, u64)> {
    let reader = store.reader().unwrap();
    let blobs = blocks.iter().flat_map(|block| &block.blobs);
    blobs
        .map(|blob| (blob.height, blob.index))
        .filter(|(height, index)| reader.sidecar(*height, *index).unwrap().is_some())
        .collect()
}
