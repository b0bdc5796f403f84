//! Three ways to items: an exchange with a peer, reading from an archive, and a call of the execution client's pool. All
//! give them one by one, unchecked.

use std::{
    collections::{HashSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::Duration,
    vec,
};

use lapis_p2p::{Exchange, Handle};
use lapis_protocol_spec::{
    Bytes32, Height, HeightRange, Item as WireItem, PayloadEnvelope, Request, ValidatorSet, matching::IdentifiedValue,
    payload::requests_hash, versioned_hash,
};
use libp2p::PeerId;
use tokio::time::timeout;

use super::{MAX_VALUES_BYTES, error::FetchError, pool};
use crate::sync::{
    archive::{Archive, ArchiveFault, ArchiveId, ArchivedValue},
    pool::BlobPool,
    scheduler::{Fetch, SourceId},
};

/// Longest that one read from an archive may take: about what a payload of 32 MiB takes at 1 MiB/s.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Who is asked, and the way to it.
#[derive(Clone, Debug)]
pub(in crate::sync) enum Supplier {
    /// A peer, over the network.
    Peer(PeerId, Box<Handle>),
    /// An archive.
    Archive(ArchiveId, Arc<dyn Archive>),
    /// The execution client's pool.
    Pool(Arc<dyn BlobPool>),
}

impl Supplier {
    pub(super) fn id(&self) -> SourceId {
        match self {
            Self::Peer(peer, _) => SourceId::Peer(*peer),
            Self::Archive(archive, _) => SourceId::Archive(*archive),
            Self::Pool(_) => SourceId::Pool,
        }
    }

    /// Asks for what `fetch` names; `None` if that is nothing.
    pub(super) async fn open(&self, fetch: &Fetch) -> Result<Option<Answer>, FetchError> {
        match self {
            Self::Peer(peer, network) => {
                let Some(request) = request(fetch) else { return Ok(None) };
                let exchange = network.request(*peer, request).await?;
                Ok(Some(Answer::Exchange(Box::new(match fetch {
                    Fetch::Payloads(values) | Fetch::PayloadsByRoot(values) => {
                        exchange.with_item_limit(payload_limit(values))
                    }
                    _ => exchange,
                }))))
            }
            Self::Archive(_, archive) => Ok(Some(Answer::Archive(Reading::new(Arc::clone(archive), fetch)))),
            Self::Pool(pool) => Ok(Some(Answer::Pool(pool::ask(pool.as_ref(), fetch).await?.into_iter()))),
        }
    }
}

/// What a peer is asked; `None` if there is nothing to ask.
fn request(fetch: &Fetch) -> Option<Request> {
    Some(match fetch {
        Fetch::Values(heights) => {
            Request::DecidedValuesByRange(HeightRange::new(heights.start, heights.end.saturating_sub(heights.start)))
        }
        Fetch::ValidatorSet { root, .. } => Request::ValidatorSetByRoot(*root),
        Fetch::Payloads(values) => {
            Request::PayloadsByRange(HeightRange::new(values.first()?.value().height, values.len() as u64))
        }
        Fetch::PayloadsByRoot(values) => {
            let ids: Vec<Bytes32> = values.iter().map(|value| *value.id()).collect();
            Request::PayloadsByRoot(ids.try_into().ok()?)
        }
        Fetch::WholeHeights(values) => {
            let (first, last) = (values.first()?.value().height, values.last()?.value().height);
            Request::BlobsByRange(HeightRange::new(first, last.saturating_sub(first).saturating_add(1)))
        }
        Fetch::Blobs(wanted) => {
            let hashes: Vec<Bytes32> = wanted
                .iter()
                .flat_map(|(value, indices)| indices.iter().filter_map(|index| value.value().commitment(*index)))
                .map(versioned_hash)
                .collect();
            // The scheduler keeps within the bound of the list.
            Request::BlobsByRoot(hashes.try_into().ok()?)
        }
    })
}

/// The largest envelope that any of `values` can have: certified where there are no execution requests.
fn payload_limit(values: &[IdentifiedValue]) -> usize {
    let no_requests = requests_hash([]);
    let largest = |value: &IdentifiedValue| {
        let size = usize::try_from(value.value().payload_size).unwrap_or(usize::MAX);
        let certified = value.value().requests_hash == no_requests;
        if certified { size.saturating_add(PayloadEnvelope::FIXED_BYTES) } else { PayloadEnvelope::MAX_BYTES }
    };
    values.iter().map(largest).max().unwrap_or(PayloadEnvelope::MAX_BYTES)
}

/// Items as they come.
#[derive(Debug)]
pub(super) enum Answer {
    Exchange(Box<Exchange>),
    Archive(Reading),
    Pool(vec::IntoIter<WireItem>),
}

impl Answer {
    /// The next item, `None` at the end of the answer.
    pub(super) async fn next(&mut self) -> Result<Option<WireItem>, FetchError> {
        match self {
            Self::Exchange(exchange) => Ok(exchange.next().await?),
            Self::Archive(reading) => reading.next().await,
            Self::Pool(items) => Ok(items.next()),
        }
    }

    /// The height that was read last, where others of the answer are independent of it.
    pub(super) fn height(&self) -> Option<Height> {
        match self {
            Self::Exchange(_) | Self::Pool(_) => None,
            Self::Archive(reading) => Some(reading.height),
        }
    }

    /// Validator sets that came unasked for with decided values, none of them twice.
    pub(super) fn take_sets(&mut self) -> Vec<(Bytes32, ValidatorSet)> {
        match self {
            Self::Exchange(_) | Self::Pool(_) => Vec::new(),
            Self::Archive(reading) => std::mem::take(&mut reading.sets),
        }
    }
}

/// One call of the archive.
#[derive(Clone, Debug)]
enum Read {
    Values(Range<Height>),
    /// The set with this root from what was put away with the value of this height, if it is there.
    ValidatorSet(Bytes32, Height),
    /// The payload of this height, of at most so many bytes.
    Payload(Height, usize),
    Sidecars(Height, Vec<u64>),
}

/// An answer from an archive: calls that are still to be made, and items of the last one.
#[derive(Debug)]
pub(super) struct Reading {
    archive: Arc<dyn Archive>,
    reads: VecDeque<Read>,
    ready: vec::IntoIter<WireItem>,
    /// Sets that values of the answer name, by root: at most two for each value.
    sets: Vec<(Bytes32, ValidatorSet)>,
    height: Height,
}

impl Reading {
    fn new(archive: Arc<dyn Archive>, fetch: &Fetch) -> Self {
        let height = |value: &IdentifiedValue| value.value().height;
        let reads = match fetch {
            Fetch::Values(heights) => VecDeque::from([Read::Values(heights.clone())]),
            // It lies with the value before the height that it signs, or with that height at the beginning of a range.
            Fetch::ValidatorSet { root, height } => [height.saturating_sub(1), *height]
                .into_iter()
                .filter(|height| *height > 0)
                .map(|height| Read::ValidatorSet(*root, height))
                .collect(),
            Fetch::Payloads(values) | Fetch::PayloadsByRoot(values) => {
                let limit = |value| payload_limit(std::slice::from_ref(value));
                values.iter().map(|value| Read::Payload(height(value), limit(value))).collect()
            }
            Fetch::WholeHeights(values) => values
                .iter()
                .map(|value| Read::Sidecars(height(value), (0..value.value().blob_count() as u64).collect()))
                .collect(),
            Fetch::Blobs(wanted) => {
                wanted.iter().map(|(value, indices)| Read::Sidecars(height(value), indices.clone())).collect()
            }
        };
        Self { archive, reads, ready: Vec::new().into_iter(), sets: Vec::new(), height: 0 }
    }

    async fn next(&mut self) -> Result<Option<WireItem>, FetchError> {
        loop {
            if let Some(item) = self.ready.next() {
                return Ok(Some(item));
            }
            let Some(read) = self.reads.pop_front() else { return Ok(None) };
            let elapsed = |error| FetchError::Archive(ArchiveFault::Passing(Box::new(error)));
            let items = timeout(READ_TIMEOUT, self.read(read)).await.map_err(elapsed)??;
            self.ready = items.into_iter();
        }
    }

    async fn read(&mut self, read: Read) -> Result<Vec<WireItem>, ArchiveFault> {
        match read {
            Read::Values(heights) => self.values(heights).await,
            Read::ValidatorSet(root, height) => {
                self.height = height;
                let values = match self.archive.values(height..height.saturating_add(1), MAX_VALUES_BYTES).await {
                    Err(ArchiveFault::Unavailable(_)) => Vec::new(),
                    values => values?,
                };
                let set = values.into_iter().flat_map(|value| value.sets).find(|set| set.root() == root);
                if set.is_some() {
                    self.reads.clear();
                }
                Ok(set.map(WireItem::ValidatorSet).into_iter().collect())
            }
            Read::Payload(height, max_bytes) => {
                self.height = height;
                Ok(vec![WireItem::Payload(self.archive.payload(height, max_bytes).await?)])
            }
            Read::Sidecars(height, indices) => {
                self.height = height;
                let asked = indices.len();
                let sidecars = self.archive.sidecars(height, indices).await?;
                if sidecars.len() < asked {
                    // As from a peer: the answer ends here.
                    self.reads.clear();
                }
                Ok(sidecars.into_iter().map(WireItem::Blob).collect())
            }
        }
    }

    /// Values, and where the archive stopped before the end of the range the call for the rest of it.
    async fn values(&mut self, heights: Range<Height>) -> Result<Vec<WireItem>, ArchiveFault> {
        self.height = heights.start;
        let values = self.archive.values(heights.clone(), MAX_VALUES_BYTES).await?;
        let next = heights.start.saturating_add(values.len() as u64);
        if !values.is_empty() && next < heights.end {
            self.reads.push_back(Read::Values(next..heights.end));
        }
        let mut items = Vec::with_capacity(values.len());
        for ArchivedValue { decided, sets } in values {
            let named = [decided.value.validators_root, decided.value.next_validators_root];
            self.keep_sets(sets, &named);
            items.push(WireItem::DecidedValue(Box::new(decided)));
        }
        Ok(items)
    }

    /// Keeps those of `sets` whose roots are `named` and that are not kept yet.
    fn keep_sets(&mut self, sets: Vec<ValidatorSet>, named: &[Bytes32; 2]) {
        let known: HashSet<Bytes32> = self.sets.iter().map(|(root, _)| *root).collect();
        let mut wanted: HashSet<Bytes32> = named.iter().filter(|root| !known.contains(root)).copied().collect();
        // More than two cannot be of use.
        for set in sets.into_iter().take(named.len()) {
            let root = set.root();
            if wanted.remove(&root) {
                self.sets.push((root, set));
            }
        }
    }
}
