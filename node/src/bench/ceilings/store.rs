//! Reading a store from end to end, as serving does.

use std::{hint::black_box, path::Path, time::Instant};

use lapis_protocol_spec::{BlobSidecar, Genesis};
use lapis_storage::{Store, StoreConfig};

use crate::bench::error::BenchError;

/// Bytes of sidecars per second that come from a store that has just been opened, checksums verified. Blocks.
pub(in crate::bench) fn read(path: &Path, genesis: &Genesis) -> Result<f64, BenchError> {
    let store = Store::open(path, genesis, StoreConfig::default())?;
    let (reader, decided) = (store.reader()?, store.watermarks().decided);
    let (started, mut bytes) = (Instant::now(), 0_usize);
    for height in 1..=decided {
        let mut index = 0;
        while let Some(length) = reader.with_sidecar(height, index, touch)? {
            bytes += length;
            index += 1;
        }
    }
    if bytes < BlobSidecar::BYTES {
        return Err(BenchError::Nothing("reading the store"));
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

fn touch(pieces: &[&[u8]]) -> usize {
    pieces.iter().map(|piece| black_box(piece).len()).sum()
}
