//! A provider that makes its items up, and counts how often it is asked.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use lapis_p2p::{ChunkBuffer, Encoded, ItemSource, NoItems, Provider, ServeError};
use lapis_protocol_spec::{
    BYTES_PER_BLOB, BlobSidecar, Bytes32, Bytes48, CommitCertificate, DecidedValue, Height, HeightRange,
    PayloadEnvelope, Request, ValidatorSet, Value,
};
use libp2p::PeerId;
use rand::{RngCore, SeedableRng, rngs::StdRng};

/// Ranges that start here are answered specially.
pub(crate) const NOT_HELD: Height = 404;
pub(crate) const DISK_ERROR_AFTER_ONE: Height = 500;
pub(crate) const PANIC: Height = 666;

/// Items that were asked for, by the height at which the range starts.
#[derive(Debug, Default)]
pub(crate) struct TestProvider {
    calls: std::sync::Arc<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    by_start: Mutex<HashMap<Height, usize>>,
    /// Answers that exist now, and the most that ever did. Each holds one item at most.
    alive: AtomicUsize,
    most_alive: AtomicUsize,
}

impl TestProvider {
    pub(crate) fn calls(&self, start: Height) -> usize {
        self.calls.by_start.lock().unwrap_or_else(PoisonError::into_inner).get(&start).copied().unwrap_or(0)
    }

    pub(crate) fn alive(&self) -> usize {
        self.calls.alive.load(Ordering::SeqCst)
    }

    pub(crate) fn most_alive(&self) -> usize {
        self.calls.most_alive.load(Ordering::SeqCst)
    }
}

pub(crate) fn decided(height: Height) -> DecidedValue {
    DecidedValue {
        value: Value { height, timestamp: 1_700_000_000 + height, ..Value::default() },
        certificate: CommitCertificate { height, ..CommitCertificate::default() },
    }
}

/// Incompressible, and another one at each height.
pub(crate) fn blob(height: Height) -> Vec<u8> {
    let mut bytes = vec![0; BYTES_PER_BLOB];
    StdRng::seed_from_u64(height).fill_bytes(&mut bytes);
    bytes
}

impl Provider for TestProvider {
    fn serve(&self, _: PeerId, request: &Request) -> Result<Box<dyn ItemSource>, ServeError> {
        let items = |kind, range: &HeightRange| -> Result<Box<dyn ItemSource>, ServeError> {
            match range.start_height {
                NOT_HELD => Err(ServeError::Unavailable("earliest height is 500".into())),
                PANIC => panic!("a provider that panics"),
                start => {
                    let left = range.start_height..range.start_height + range.count.min(128);
                    Ok(Box::new(Items::new(kind, start, left, self.calls.clone())))
                }
            }
        };
        match request {
            Request::DecidedValuesByRange(range) => items(Kind::Decided, range),
            Request::PayloadsByRange(range) => items(Kind::Payload, range),
            Request::BlobsByRange(range) => items(Kind::Blob, range),
            Request::PayloadsByRoot(ids) => items(Kind::Payload, &HeightRange::new(1, ids.len() as u64)),
            Request::BlobsByRoot(hashes) => items(Kind::Blob, &HeightRange::new(1, hashes.len() as u64)),
            Request::ValidatorSetByRoot(root) if *root == Bytes32::ZERO => Ok(Box::new(NoItems)),
            Request::ValidatorSetByRoot(_) => items(Kind::Validators, &HeightRange::new(1, 1)),
            Request::Status(_) | Request::Ping(_) | Request::Goodbye(_) => Err(ServeError::Local("not mine".into())),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Decided,
    Payload,
    Blob,
    Validators,
}

struct Items {
    kind: Kind,
    start: Height,
    left: std::ops::Range<Height>,
    calls: std::sync::Arc<Calls>,
}

impl Items {
    fn new(kind: Kind, start: Height, left: std::ops::Range<Height>, calls: std::sync::Arc<Calls>) -> Self {
        let alive = calls.alive.fetch_add(1, Ordering::SeqCst) + 1;
        calls.most_alive.fetch_max(alive, Ordering::SeqCst);
        Self { kind, start, left, calls }
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        self.calls.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ItemSource for Items {
    fn next_height(&self) -> Option<Height> {
        Some(self.left.start)
    }

    fn next_cost(&self) -> usize {
        if matches!(self.kind, Kind::Blob) && !self.left.is_empty() { BlobSidecar::BYTES } else { 0 }
    }

    fn next(&mut self, out: &mut ChunkBuffer) -> Result<Option<Encoded>, ServeError> {
        let Some(height) = self.left.next() else { return Ok(None) };
        *self.calls.by_start.lock().unwrap_or_else(PoisonError::into_inner).entry(self.start).or_default() += 1;
        if self.start == DISK_ERROR_AFTER_ONE && height > self.start {
            return Err(ServeError::Local("disk".into()));
        }
        match self.kind {
            Kind::Decided => out.encode_item(&decided(height)),
            Kind::Payload => out.encode_item(&PayloadEnvelope { height, ..PayloadEnvelope::default() }),
            Kind::Validators => out.encode_item(&ValidatorSet::default()),
            Kind::Blob => {
                let header = BlobSidecar::header(height, 0, &Bytes48::ZERO, &Bytes48::ZERO);
                let blob = blob(height);
                let (first, second) = blob.split_at(65_500);
                out.encode(&[&header, first, second])
            }
        }
        .map(Some)
    }
}
