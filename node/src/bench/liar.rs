//! A peer that lies: blobs and commitments are right, every proof is another point of the curve.

use std::collections::VecDeque;

use lapis_p2p::{ChunkBuffer, Encoded, ItemSource, Provider, ServeError};
use lapis_protocol_spec::{BlobSidecar, Height, MAX_REQUEST_HEIGHTS, MAX_REQUEST_SIDECARS, Request};
use lapis_storage::{Reader, Store, StoreError};
use libp2p::PeerId;

use crate::serve::StoreProvider;

/// Serves blobs with wrong proofs, and the rest as it is.
#[derive(Debug)]
pub(super) struct Liar {
    pub(super) store: Store,
    pub(super) honest: StoreProvider,
}

impl Provider for Liar {
    fn serve(&self, peer: PeerId, request: &Request) -> Result<Box<dyn ItemSource>, ServeError> {
        let reader = self.store.reader().map_err(local)?;
        let left = match request {
            Request::BlobsByRange(range) => {
                let heights = range.heights().map_err(|fault| ServeError::InvalidRequest(fault.to_string()))?;
                let last = heights.start.saturating_add(MAX_REQUEST_HEIGHTS).min(heights.end);
                in_range(&reader, heights.start..last).map_err(local)?
            }
            Request::BlobsByRoot(hashes) => {
                let places: Result<Vec<_>, _> = hashes.iter().map(|hash| reader.place_of(hash)).collect();
                places.map_err(local)?.into_iter().flatten().collect()
            }
            _ => return self.honest.serve(peer, request),
        };
        Ok(Box::new(Lies { reader, left }))
    }
}

/// Places of the blobs of whole heights, as many as one answer has.
fn in_range(reader: &Reader, heights: std::ops::Range<Height>) -> Result<VecDeque<(Height, u64)>, StoreError> {
    let mut places = VecDeque::new();
    for height in heights {
        let Some(value) = reader.identified_value(height)? else { break };
        let count = value.value().blob_count();
        if !places.is_empty() && places.len() + count > MAX_REQUEST_SIDECARS {
            break;
        }
        places.extend((0..count as u64).map(|index| (height, index)));
    }
    Ok(places)
}

struct Lies {
    reader: Reader,
    left: VecDeque<(Height, u64)>,
}

impl ItemSource for Lies {
    fn next_cost(&self) -> usize {
        if self.left.is_empty() { 0 } else { BlobSidecar::BYTES }
    }

    fn next(&mut self, out: &mut ChunkBuffer) -> Result<Option<Encoded>, ServeError> {
        let Some((height, index)) = self.left.pop_front() else { return Ok(None) };
        let Some(honest) = self.reader.sidecar(height, index).map_err(local)? else { return Ok(None) };
        let lie = BlobSidecar { kzg_proof: honest.kzg_commitment, ..honest };
        out.encode_item(&lie).map(Some)
    }
}

fn local(error: StoreError) -> ServeError {
    tracing::error!(%error, "cannot serve from the store");
    ServeError::Local("the store cannot be read".to_owned())
}
