//! Serving: requests of peers answered from snapshots of the store, one item at a time.
//!
//! Never touches sync, import or consensus. What is not held whole is not served: a height with a missing blob or payload
//! is as good as absent, and a row that fails its check ends the answer.

use std::{
    collections::HashSet,
    ops::Range,
    sync::OnceLock,
    time::{Duration, Instant},
    vec,
};

use lapis_p2p::{ChunkBuffer, Encoded, ItemSource, Provider, ServeError};
use lapis_protocol_spec::{
    BlobSidecar, Bytes32, Height, HeightRange, MAX_REQUEST_HEIGHTS, MAX_REQUEST_SIDECARS, Request,
};
use lapis_storage::{Reader, Store, StoreError};
use libp2p::PeerId;

use crate::repair::RepairRequests;

/// Longest that an answer reads from one snapshot. The store cannot use space again that was freed meanwhile, so a slow
/// reader must not decide how long that is.
const SNAPSHOT_AGE: Duration = Duration::from_secs(10);

/// Bytes that an item is expected to have of which nothing is known: no item takes less from the disk than a page.
const SMALL_ITEM: usize = 4096;

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
        let reader = self.store.reader().map_err(|error| failed(&self.repairs, error))?;
        let plan: Vec<Plan> = match request {
            Request::DecidedValuesByRange(range) => {
                held(*range, marks.earliest_value, marks.decided, "values")?.map(Plan::Value).collect()
            }
            Request::PayloadsByRange(range) => {
                held(*range, marks.earliest_payload, marks.decided, "payloads")?.map(Plan::Payload).collect()
            }
            Request::BlobsByRange(range) => {
                let heights = held(*range, marks.earliest_blob, marks.decided, "blobs")?;
                plan_blobs(&reader, heights).map_err(|error| failed(&self.repairs, error))?
            }
            Request::ValidatorSetByRoot(root) => vec![Plan::ValidatorSet(*root)],
            Request::PayloadsByRoot(ids) => distinct(ids, Plan::PayloadOf),
            Request::BlobsByRoot(hashes) => distinct(hashes, Plan::Hash),
            Request::Status(_) | Request::Ping(_) | Request::Goodbye(_) => {
                return Err(ServeError::InvalidRequest("not a request for data".to_owned()));
            }
        };
        let (store, repairs) = (self.store.clone(), self.repairs.clone());
        let (since, plan) = (Instant::now(), plan.into_iter());
        let mut items = Items { store, reader, since, plan, cost: 0, height: None, latest: SMALL_ITEM, repairs };
        items.look_ahead();
        Ok(Box::new(items))
    }
}

/// A provider for a network that is set up before its store is open. Until then requests are refused as our fault.
#[derive(Debug, Default)]
pub struct LateProvider(OnceLock<StoreProvider>);

impl LateProvider {
    /// Serves `provider` from now on. The first one stays.
    pub fn set(&self, provider: StoreProvider) {
        let _ = self.0.set(provider);
    }
}

impl Provider for LateProvider {
    fn serve(&self, peer: PeerId, request: &Request) -> Result<Box<dyn ItemSource>, ServeError> {
        match self.0.get() {
            Some(provider) => provider.serve(peer, request),
            None => Err(ServeError::Local("starting".to_owned())),
        }
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

/// An answer: a snapshot, renewed now and then, and what to read from it. At most [`MAX_REQUEST_SIDECARS`] entries, or
/// one height's.
struct Items {
    store: Store,
    reader: Reader,
    since: Instant,
    plan: vec::IntoIter<Plan>,
    /// Bytes of the next item, as far as they are known without reading it.
    cost: usize,
    /// Height of the next item, if it is decided.
    height: Option<Height>,
    /// Bytes of the latest item: what the next one of a kind without fixed size is expected to have.
    latest: usize,
    repairs: RepairRequests,
}

impl Items {
    /// What the next item will cost, and where it belongs; looks at one small row at most.
    fn look_ahead(&mut self) {
        let height_of = |found: Result<Option<Height>, StoreError>| found.ok().flatten();
        (self.cost, self.height) = match self.plan.as_slice().first() {
            Some(Plan::Blob(height, _)) => (BlobSidecar::BYTES, Some(*height)),
            Some(Plan::Hash(hash)) => {
                (BlobSidecar::BYTES, height_of(self.reader.place_of(hash).map(|place| place.map(|(height, _)| height))))
            }
            Some(Plan::Payload(height)) => (self.payload_bytes(*height), Some(*height)),
            Some(Plan::PayloadOf(id)) => {
                let height = height_of(self.reader.value_height(id));
                (height.map_or(self.latest, |height| self.payload_bytes(height)), height)
            }
            Some(Plan::Value(height)) => (self.latest, Some(*height)),
            Some(Plan::ValidatorSet(_)) => (SMALL_ITEM, None),
            None => (0, None),
        };
    }

    fn payload_bytes(&self, height: Height) -> usize {
        let size = self.reader.payload_size(height).ok().flatten();
        size.and_then(|size| usize::try_from(size).ok()).unwrap_or(SMALL_ITEM)
    }
}

impl ItemSource for Items {
    fn next_cost(&self) -> usize {
        self.cost
    }

    fn next_height(&self) -> Option<Height> {
        self.height
    }

    fn next(&mut self, out: &mut ChunkBuffer) -> Result<Option<Encoded>, ServeError> {
        if self.since.elapsed() >= SNAPSHOT_AGE {
            self.reader = self.store.reader().map_err(|error| failed(&self.repairs, error))?;
            self.since = Instant::now();
        }
        while let Some(plan) = self.plan.next() {
            let found = read(&self.reader, plan, out).map_err(|error| match (plan, error) {
                // The damage itself does not say which set it is.
                (Plan::ValidatorSet(root), StoreError::Damaged(_)) => {
                    self.repairs.report_validator_set(root);
                    unreadable()
                }
                (_, error) => failed(&self.repairs, error),
            })?;
            if let Some(encoded) = found {
                self.latest = out.bytes().len();
                self.look_ahead();
                return encoded.map(Some);
            }
            // By root, what is not held is left out. By range, a hole ends the answer: nothing is skipped over.
            match plan {
                Plan::Value(_) | Plan::Payload(_) | Plan::Blob(_, 0) => return Ok(None),
                // Pruned since the answer began: an error chunk says so, the end of the answer would be half a height.
                Plan::Blob(height, _) => return Err(ServeError::Unavailable(format!("height {height} was pruned"))),
                Plan::ValidatorSet(_) | Plan::PayloadOf(_) | Plan::Hash(_) => {}
            }
        }
        Ok(None)
    }
}

/// Reads one item into the outgoing chunk; blobs and payloads straight from the store's pages.
///
/// The outer error is the store's, the inner one that of encoding.
fn read(reader: &Reader, plan: Plan, out: &mut ChunkBuffer) -> Result<Option<Result<Encoded, ServeError>>, StoreError> {
    Ok(match plan {
        Plan::Value(height) => reader.decided_value(height)?.map(|value| out.encode_item(&value)),
        Plan::Payload(height) => reader.with_payload(height, |parts| out.encode(parts))?,
        Plan::PayloadOf(id) => reader.payload_by_id(&id)?.map(|item| out.encode_item(&item)),
        Plan::ValidatorSet(root) => reader.validator_set(&root)?.map(|item| out.encode_item(&item)),
        Plan::Blob(height, index) => reader.with_sidecar(height, index, |parts| out.encode(parts))?,
        Plan::Hash(hash) => reader.with_sidecar_by_hash(&hash, |_, _, parts| out.encode(parts))?,
    })
}

/// An answer by roots or hashes; one asked for twice is answered once.
fn distinct(roots: &[Bytes32], plan: fn(Bytes32) -> Plan) -> Vec<Plan> {
    let mut seen = HashSet::with_capacity(roots.len());
    roots.iter().filter(|root| seen.insert(**root)).copied().map(plan).collect()
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

/// All sidecars of the heights that fit into one answer: whole heights only, at least one.
fn plan_blobs(reader: &Reader, heights: Range<Height>) -> Result<Vec<Plan>, StoreError> {
    let mut plan = Vec::new();
    for height in heights {
        if !reader.has_blobs_whole(height)? {
            break;
        }
        let Some(value) = reader.identified_value(height)? else { break };
        let count = value.value().blob_count();
        if !plan.is_empty() && plan.len() + count > MAX_REQUEST_SIDECARS {
            break;
        }
        plan.extend((0..count as u64).map(|index| Plan::Blob(height, index)));
    }
    Ok(plan)
}

/// The store's failures are ours; the log has the details, the peer only learns that. Damaged rows are to be mended.
fn failed(repairs: &RepairRequests, error: StoreError) -> ServeError {
    match error {
        StoreError::Damaged(damage) => repairs.report(damage),
        error => tracing::error!(%error, "cannot serve from the store"),
    }
    unreadable()
}

fn unreadable() -> ServeError {
    ServeError::Local("the store cannot be read".to_owned())
}

#[cfg(test)]
mod tests;
