#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::{Arc, LazyLock};

use lapis_protocol_spec::{
    Item, Kzg, Method, encode,
    framing::{ResponseChunk, ResponseDecoder},
};
use lapis_storage::{Batch, PruneOptions, StoreConfig};
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::*;
use crate::{
    devnet::{
        chain_maker::{Block, ChainMaker},
        spec::DevnetParams,
    },
    feed::WatermarkFeed,
    metrics::Metrics,
    repair::Repairer,
};

/// Four heights with real signatures and proofs.
static CHAIN: LazyLock<(ChainMaker, Vec<Block>)> = LazyLock::new(|| {
    let mut maker = ChainMaker::new(&DevnetParams::new(4), Arc::new(Kzg::mainnet().unwrap())).unwrap();
    let blocks = [2, 0, 3, 1].iter().map(|blobs| maker.next(*blobs).unwrap()).collect();
    (maker, blocks)
});

struct Served {
    store: Store,
    provider: StoreProvider,
    _dir: TempDir,
}

/// A store that holds the chain whole, and what serves it.
fn served() -> Served {
    let (maker, blocks) = &*CHAIN;
    let dir = tempfile::tempdir().unwrap();
    let genesis = maker.spec().genesis();
    let store = Store::open(&dir.path().join("store.redb"), genesis, StoreConfig::default()).unwrap();
    for height in 2..=5 {
        store.insert_validator_set(maker.spec().validator_set(height)).unwrap();
    }
    let decided: Vec<_> = blocks.iter().map(|block| block.decided.clone()).collect();
    store.mark_decided(&decided).unwrap();
    for block in blocks {
        store.insert(Batch { payloads: vec![block.payload.clone()], blobs: block.blobs.clone() }).unwrap();
    }
    let metrics = Metrics::register(&mut Registry::default());
    let (_, repairs, _) = Repairer::new(store.clone(), WatermarkFeed::new(store.clone()), metrics);
    Served { provider: StoreProvider::new(store.clone(), repairs), store, _dir: dir }
}

impl Served {
    fn serve(&self, request: &Request) -> Result<Box<dyn ItemSource>, ServeError> {
        self.provider.serve(PeerId::random(), request)
    }
}

/// The item that `bytes` are the chunk of.
fn item(method: Method, bytes: &[u8]) -> Item {
    let chunk = ResponseDecoder::new(method.response_bounds()).push(bytes).unwrap().chunk;
    let Some(ResponseChunk::Success(body)) = chunk else { panic!("{chunk:?}") };
    Item::decode(method, &body).unwrap()
}

/// What was said of each item before it was read, and the bytes it turned out to have on the wire.
fn priced(mut source: Box<dyn ItemSource>, method: Method) -> Vec<(usize, Option<Height>, usize)> {
    let (mut out, mut prices) = (ChunkBuffer::new(method), Vec::new());
    loop {
        let (cost, height) = (source.next_cost(), source.next_height());
        match source.next(&mut out).unwrap() {
            Some(_) => prices.push((cost, height, out.bytes().len())),
            None => return prices,
        }
    }
}

#[test]
fn what_an_item_costs_and_where_it_belongs_is_known_before_it_is_read() {
    let served = served();
    let range = HeightRange::new(1, 10);
    let blobs = priced(served.serve(&Request::BlobsByRange(range)).unwrap(), Method::BlobsByRange);
    let heights: Vec<_> = blobs.iter().map(|(_, height, _)| height.unwrap()).collect();
    assert_eq!(heights, [1, 1, 3, 3, 3, 4]);
    assert!(blobs.iter().all(|(cost, _, _)| *cost == BlobSidecar::BYTES));
    let payloads = priced(served.serve(&Request::PayloadsByRange(range)).unwrap(), Method::PayloadsByRange);
    for (position, (cost, height, bytes)) in payloads.into_iter().enumerate() {
        let size = encode(&*CHAIN.1[position].payload).len();
        assert_eq!((cost, height), (size, Some(position as u64 + 1)), "{bytes} on the wire");
    }
    let values = priced(served.serve(&Request::DecidedValuesByRange(range)).unwrap(), Method::DecidedValuesByRange);
    assert_eq!(values[0].0, SMALL_ITEM);
    assert!(values.windows(2).all(|pair| pair[1].0 == pair[0].2), "as much as the one before: {values:?}");
}

#[test]
fn by_root_the_height_is_looked_up_and_what_is_unknown_costs_nothing_more() {
    let served = served();
    let hash = |height: usize, index: usize| CHAIN.1[height - 1].blobs[index].versioned_hash();
    let unknown = Bytes32::from([1; 32]);
    let hashes = vec![hash(4, 0), unknown, hash(1, 1), unknown];
    let blobs = priced(served.serve(&Request::BlobsByRoot(hashes.try_into().unwrap())).unwrap(), Method::BlobsByRoot);
    assert_eq!(blobs.len(), 2);
    assert_eq!((blobs[0].0, blobs[0].1), (BlobSidecar::BYTES, Some(4)));
    let ids = vec![*CHAIN.1[2].value.id()];
    let payloads =
        priced(served.serve(&Request::PayloadsByRoot(ids.try_into().unwrap())).unwrap(), Method::PayloadsByRoot);
    assert_eq!(payloads[0].1, Some(3));
}

#[test]
fn pruning_while_streaming_leaves_no_half_height() {
    let served = served();
    let range = Request::BlobsByRange(HeightRange::new(1, 4));
    let mut source = served.serve(&range).unwrap();
    let mut out = ChunkBuffer::new(Method::BlobsByRange);
    assert!(source.next(&mut out).unwrap().is_some());
    for height in 1..=4 {
        served.store.mark_imported(height, None).unwrap();
    }
    while !served.store.prune_below(4, PruneOptions::default()).unwrap().done {}
    let mut places = Vec::new();
    while source.next(&mut out).unwrap().is_some() {
        let Item::Blob(sidecar) = item(Method::BlobsByRange, out.bytes()) else { panic!() };
        assert!(
            sidecar.blob
                == CHAIN.1[usize::try_from(sidecar.height).unwrap() - 1].blobs[usize::try_from(sidecar.index).unwrap()]
                    .blob
        );
        places.push((sidecar.height, sidecar.index));
    }
    assert_eq!(places, [(1, 1), (3, 0), (3, 1), (3, 2), (4, 0)], "what was begun is served from its snapshot");
    assert!(matches!(served.serve(&range), Err(ServeError::Unavailable(text)) if text.contains('4')));
}
