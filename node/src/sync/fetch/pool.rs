//! What the execution client's pool gives, as sidecars.

use lapis_protocol_spec::{BlobSidecar, Bytes32, Bytes48, Height, Item as WireItem, versioned_hash};

use super::error::FetchError;
use crate::{
    execution::engine_api::PoolBlob,
    sync::{pool::BlobPool, scheduler::Fetch},
};

/// A blob that is asked for, and where it belongs.
struct Place {
    height: Height,
    index: u64,
    kzg_commitment: Bytes48,
}

/// Asks `pool` for the blobs that `fetch` names; the commitments are those of the certified values. Those that it has, in
/// the order in which they are named.
pub(super) async fn ask(pool: &dyn BlobPool, fetch: &Fetch) -> Result<Vec<WireItem>, FetchError> {
    let places = places(fetch);
    let hashes: Vec<Bytes32> = places.iter().map(|place| versioned_hash(&place.kzg_commitment)).collect();
    let found = pool.blobs(hashes).await?;
    let sidecar = |(Place { height, index, kzg_commitment }, found): (Place, Option<_>)| {
        let PoolBlob { blob, kzg_proof } = found?;
        Some(WireItem::Blob(BlobSidecar { height, index, kzg_commitment, kzg_proof, blob }))
    };
    Ok(places.into_iter().zip(found).filter_map(sidecar).collect())
}

/// Nothing but single blobs can be asked of a pool.
fn places(fetch: &Fetch) -> Vec<Place> {
    let Fetch::Blobs(wanted) = fetch else { return Vec::new() };
    let places = wanted.iter().flat_map(|(value, indices)| {
        indices.iter().filter_map(|index| {
            let kzg_commitment = *value.value().commitment(*index)?;
            Some(Place { height: value.value().height, index: *index, kzg_commitment })
        })
    });
    places.collect()
}
