//! Serving: requests of peers answered from snapshots of the store, one item at a time.
//!
//! Never touches sync, import or consensus. What is not held whole is not served: a height with a missing blob or payload
//! is as good as absent, and a row that fails its check ends the answer.

use std::{ops::Range, vec};

use lapis_p2p::{ChunkBuffer, Encoded, ItemSource, Provider, ServeError};
use lapis_protocol_spec::{
    BlobSidecar, Bytes32, Height, HeightRange, MAX_REQUEST_HEIGHTS, MAX_REQUEST_SIDECARS, Request,
};
use lapis_storage::{Reader, Store, StoreError, Watermarks};
use libp2p::PeerId;

use crate::repair::RepairRequests;

/// Serves one store.
#[derive(Clone, Debug)]
pub struct StoreProvider {
    store: Store,
    repairs: RepairRequests,
}

impl StoreProvider {
    /// Serves `store`; damaged rows go to `repairs`.
    pub fn new(store: Store, repairs: RepairRequests) -> Self {
        Self { store, repairs }
    }
}

impl Provider for StoreProvider {
    fn serve(&self, _: PeerId, request: &Request) -> Result<Box<dyn ItemSource>, ServeError> {
        // Floors are read before the snapshot: what is pruned in between is found missing, never served by half.
        let marks = self.store.watermarks();
        let reader = self.store.reader().map_err(|error| local(&error))?;
        Ok(match request {
            Request::DecidedValuesByRange(range) => {
                let heights = held(*range, marks.earliest_value, marks.decided, "values")?;
                Box::new(Items { reader, plan: heights.map(Plan::Value).collect::<Vec<_>>().into_iter() })
            }
            Request::PayloadsByRange(range) => {
                let heights = held(*range, marks.earliest_payload, marks.decided, "payloads")?;
                let heights = whole_prefix(&reader, heights)?;
                Box::new(Items { reader, plan: heights.map(Plan::Payload).collect::<Vec<_>>().into_iter() })
            }
            Request::BlobsByRange(range) => {
                let plan = plan_blobs(&reader, *range, marks)?;
                Box::new(Items { reader, plan: plan.into_iter() })
            }
            Request::ValidatorSetByRoot(root) => by_root(reader, &[*root], Plan::ValidatorSet),
            Request::PayloadsByRoot(ids) => by_root(reader, ids, Plan::PayloadOf),
            Request::BlobsByRoot(hashes) => by_root(reader, hashes, Plan::Hash),
            Request::Status(_) | Request::Ping(_) | Request::Goodbye(_) => {
                return Err(ServeError::InvalidRequest("not a request for data".to_owned()));
            }
        })
    }
}

/// One item of an answer, not yet read.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Value(Height),
    Payload(Height),
    Blob(Height, u64),
    ValidatorSet(Bytes32),
    PayloadOf(Bytes32),
    Hash(Bytes32),
}

/// An answer: a snapshot and what to read from it. At most [`MAX_REQUEST_SIDECARS`] entries, or one height's.
struct Items {
    reader: Reader,
    plan: vec::IntoIter<Plan>,
}

impl ItemSource for Items {
    fn next_cost(&self) -> usize {
        match self.plan.as_slice().first() {
            Some(Plan::Blob(..) | Plan::Hash(_)) => BlobSidecar::BYTES,
            Some(_) | None => 0,
        }
    }

    fn next(&mut self, out: &mut ChunkBuffer) -> Result<Option<Encoded>, ServeError> {
        for plan in self.plan.by_ref() {
            if let Some(encoded) = read(&self.reader, plan, out)? {
                return Ok(Some(encoded));
            }
            // By root, what is not held is left out. By range, a hole ends the answer: nothing is skipped over.
            if matches!(plan, Plan::Value(_) | Plan::Payload(_) | Plan::Blob(..)) {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

/// Reads one item into the outgoing chunk; blobs straight from the store's pages.
fn read(reader: &Reader, plan: Plan, out: &mut ChunkBuffer) -> Result<Option<Encoded>, ServeError> {
    let encoded = match plan {
        Plan::Value(height) => {
            reader.decided_value(height).map_err(|e| local(&e))?.map(|value| out.encode_item(&value))
        }
        Plan::Payload(height) => reader.with_payload(height, |parts| out.encode(parts)).map_err(|e| local(&e))?,
        Plan::PayloadOf(id) => reader.payload_by_id(&id).map_err(|e| local(&e))?.map(|item| out.encode_item(&item)),
        Plan::ValidatorSet(root) => {
            reader.validator_set(&root).map_err(|e| local(&e))?.map(|item| out.encode_item(&item))
        }
        Plan::Blob(height, index) => {
            reader.with_sidecar(height, index, |parts| out.encode(parts)).map_err(|e| local(&e))?
        }
        Plan::Hash(hash) => {
            reader.with_sidecar_by_hash(&hash, |_, _, parts| out.encode(parts)).map_err(|e| local(&e))?
        }
    };
    encoded.transpose()
}

/// An answer by roots or hashes; one asked for twice is answered once.
fn by_root(reader: Reader, roots: &[Bytes32], plan: fn(Bytes32) -> Plan) -> Box<dyn ItemSource> {
    let mut seen = std::collections::HashSet::with_capacity(roots.len());
    let plan: Vec<Plan> = roots.iter().filter(|root| seen.insert(**root)).copied().map(plan).collect();
    Box::new(Items { reader, plan: plan.into_iter() })
}

/// The part of `range` that lies in `first..=last`, at most [`MAX_REQUEST_HEIGHTS`] of it.
///
/// A range that starts above `last` is answered empty, one that starts below `first` is refused with the floor.
fn held(range: HeightRange, first: Height, last: Height, what: &str) -> Result<Range<Height>, ServeError> {
    let heights = range.heights().map_err(|fault| ServeError::InvalidRequest(fault.to_string()))?;
    if heights.start > last {
        return Ok(heights.start..heights.start);
    }
    if heights.start < first {
        return Err(ServeError::Unavailable(format!("{what} are held from height {first}")));
    }
    let most = heights.start.saturating_add(MAX_REQUEST_HEIGHTS);
    Ok(heights.start..heights.end.min(most).min(last.saturating_add(1)))
}

/// The heights of the range up to the first one of which something is missing.
fn whole_prefix(reader: &Reader, heights: Range<Height>) -> Result<Range<Height>, ServeError> {
    for height in heights.clone() {
        if !reader.has_height_whole(height).map_err(|error| local(&error))? {
            return Ok(heights.start..height);
        }
    }
    Ok(heights)
}

/// All sidecars of the heights that fit into one answer: whole heights only, at least one.
fn plan_blobs(reader: &Reader, range: HeightRange, marks: Watermarks) -> Result<Vec<Plan>, ServeError> {
    let mut plan = Vec::new();
    for height in held(range, marks.earliest_blob, marks.decided, "blobs")? {
        if !reader.has_height_whole(height).map_err(|error| local(&error))? {
            break;
        }
        let Some(value) = reader.decided_value(height).map_err(|error| local(&error))? else { break };
        let count = value.value.blob_count();
        if !plan.is_empty() && plan.len() + count > MAX_REQUEST_SIDECARS {
            break;
        }
        plan.extend((0..count as u64).map(|index| Plan::Blob(height, index)));
    }
    Ok(plan)
}

/// The store's failures are ours; the log has the details, the peer only learns that.
fn local(error: &StoreError) -> ServeError {
    tracing::error!(%error, "cannot serve from the store");
    ServeError::Local("the store cannot be read".to_owned())
}
