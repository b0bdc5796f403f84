//! Exchange tasks: one per request, chunk by chunk from the socket into the pipeline.
//!
//! Each chunk is matched before the next one is read; a full pipeline stops the reading. Dropping a task resets its
//! stream.

use std::collections::HashSet;

use lapis_p2p::{Exchange, ExchangeError, Fault, Handle, Offence, RequestError};
use lapis_protocol_spec::{
    BlobSidecar, Bytes32, DecidedValue, Height, HeightRange, Item as WireItem, Matched, PayloadEnvelope, PayloadFault,
    Request, ValidatorSet,
    framing::ErrorCode,
    gates::MatchFault,
    matching::{DecidedValues, IdentifiedValue, Payloads, RangeBlobs, RootBlobs},
    payload::requests_hash,
};
use libp2p::PeerId;

use super::{
    pipeline::{Entrance, PipelineClosed, Received, ReceivedData},
    scheduler::{Action, Fetch, Item, Outcome, Report, RequestId, SIDECAR_BYTES},
};

/// Decided values are read up to this many bytes per exchange. More is left for the next one: their size is not known
/// before they are read, and they wait in memory for their turn.
const MAX_VALUES_BYTES: u64 = 4 * 1024 * 1024;

/// Execution requests of a payload are not certified by size. What is over this is checked before it takes room in the
/// queue.
const MAX_UNRESERVED_BYTES: u64 = 64 * 1024;

/// What an exchange brought beside the items that went into the pipeline.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) id: RequestId,
    pub(super) peer: PeerId,
    pub(super) report: Report,
    /// Decided values in order, not yet verified.
    pub(super) values: Vec<DecidedValue>,
    /// A validator set whose root is the one asked for.
    pub(super) validator_set: Option<ValidatorSet>,
    /// What the peer is to be reported for.
    pub(super) offence: Option<(Offence, String)>,
}

/// Why an exchange ended before its response did.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    #[error("{0}")]
    Match(#[from] MatchFault),
    #[error("{0}")]
    Payload(#[from] PayloadFault),
    #[error("not the validator set with root {0}")]
    ValidatorSet(Bytes32),
    #[error("an item of another method")]
    OtherItem,
    #[error("half a height")]
    HalfHeight,
    #[error("the pipeline has stopped")]
    Closed,
}

impl From<PipelineClosed> for FetchError {
    fn from(_: PipelineClosed) -> Self {
        Self::Closed
    }
}

impl FetchError {
    fn fault(&self) -> Fault {
        match self {
            Self::Request(error) => error.fault(),
            Self::Exchange(error) => error.fault(),
            Self::Match(_) => Fault::Peer(Offence::Unrequested),
            Self::Payload(_) => Fault::Peer(Offence::InvalidData),
            Self::ValidatorSet(_) | Self::OtherItem => Fault::Peer(Offence::Malformed),
            Self::HalfHeight => Fault::Unclear(Offence::Truncated),
            Self::Closed => Fault::Local,
        }
    }
}

impl FetchError {
    /// Whether the peer could not answer, rather than that it does not have what was asked for.
    fn is_passing(&self) -> bool {
        match self {
            Self::Request(error) => matches!(error, RequestError::NotConnected(_)),
            Self::Exchange(ExchangeError::Refused { code, .. }) => *code != ErrorCode::ResourceUnavailable,
            _ => false,
        }
    }
}

/// Carries out one action.
pub(super) struct FetchTask {
    network: Handle,
    entrance: Entrance,
    fetched: Fetched,
}

impl FetchTask {
    pub(super) fn new(network: Handle, entrance: Entrance, action: &Action) -> Self {
        let report = Report { outcome: Outcome::Answered, received: HashSet::new(), values: 0, bytes: 0 };
        let (id, peer) = (action.id, action.peer);
        let fetched = Fetched { id, peer, report, values: Vec::new(), validator_set: None, offence: None };
        Self { network, entrance, fetched }
    }

    /// Runs the exchange to its end.
    pub(super) async fn run(mut self, fetch: Fetch) -> Fetched {
        let result = match fetch {
            Fetch::Values(heights) => self.values(heights).await,
            Fetch::ValidatorSet(root) => self.validator_set(root).await,
            Fetch::Payloads(values) => self.payloads(values).await,
            Fetch::WholeHeights(values) => self.whole_heights(values).await,
            Fetch::Blobs(wanted) => self.blobs(wanted).await,
        };
        if let Err(error) = result {
            self.failed(&error);
        } else if self.fetched.report.bytes == 0 {
            self.fetched.report.outcome = Outcome::Unavailable;
        }
        self.fetched
    }

    fn failed(&mut self, error: &FetchError) {
        let fault = error.fault();
        self.fetched.report.outcome = match fault {
            Fault::Peer(_) => Outcome::Faulty,
            Fault::Unclear(_) => Outcome::Broken,
            // Says nothing of what the peer holds: it may serve the same a moment later.
            Fault::Unavailable if error.is_passing() => Outcome::Broken,
            Fault::Unavailable => Outcome::Unavailable,
            Fault::Busy => Outcome::RateLimited,
            Fault::Local => Outcome::Local,
        };
        self.fetched.offence = fault.offence().map(|offence| (offence, error.to_string()));
        tracing::debug!(peer = %self.fetched.peer, %error, ?fault, "exchange failed");
    }

    async fn open(&self, request: Request) -> Result<Exchange, RequestError> {
        self.network.request(self.fetched.peer, request).await
    }

    async fn values(&mut self, heights: std::ops::Range<Height>) -> Result<(), FetchError> {
        let range = HeightRange::new(heights.start, heights.end - heights.start);
        let mut exchange = self.open(Request::DecidedValuesByRange(range)).await?;
        let mut matcher = DecidedValues::new(heights);
        while let Some(item) = exchange.next().await? {
            let WireItem::DecidedValue(decided) = item else { return Err(FetchError::OtherItem) };
            matcher.accept(&decided)?;
            self.fetched.report.values += 1;
            self.fetched.report.bytes += decided.encoded_len() as u64;
            self.fetched.values.push(*decided);
            if self.fetched.report.bytes >= MAX_VALUES_BYTES {
                // We stop; that says nothing of what the peer holds.
                self.fetched.report.outcome = Outcome::Local;
                break;
            }
        }
        Ok(())
    }

    async fn validator_set(&mut self, root: Bytes32) -> Result<(), FetchError> {
        let mut exchange = self.open(Request::ValidatorSetByRoot(root)).await?;
        let Some(item) = exchange.next().await? else { return Ok(()) };
        let WireItem::ValidatorSet(set) = item else { return Err(FetchError::OtherItem) };
        set.check_root(&root).map_err(|_| FetchError::ValidatorSet(root))?;
        self.fetched.report.bytes = set.validators.len() as u64 * 40;
        self.fetched.validator_set = Some(set);
        Ok(())
    }

    async fn payloads(&mut self, values: Vec<IdentifiedValue>) -> Result<(), FetchError> {
        let Some(first) = values.first() else { return Ok(()) };
        let range = HeightRange::new(first.value().height, values.len() as u64);
        let limit = payload_limit(&values);
        let mut exchange = self.open(Request::PayloadsByRange(range)).await?.with_item_limit(limit);
        let mut matcher = Payloads::by_range(values);
        while let Some(item) = exchange.next().await? {
            let WireItem::Payload(envelope) = item else { return Err(FetchError::OtherItem) };
            self.payload(matcher.accept(envelope)?).await?;
        }
        Ok(())
    }

    async fn whole_heights(&mut self, values: Vec<IdentifiedValue>) -> Result<(), FetchError> {
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return Ok(()) };
        let (first, last) = (first.value().height, last.value().height);
        let range = HeightRange::new(first, last.saturating_sub(first).saturating_add(1));
        let mut exchange = self.open(Request::BlobsByRange(range)).await?;
        let mut matcher = RangeBlobs::new(values);
        while let Some(item) = exchange.next().await? {
            let WireItem::Blob(sidecar) = item else { return Err(FetchError::OtherItem) };
            self.blob(matcher.accept(sidecar)?).await?;
        }
        if matcher.at_height_boundary() { Ok(()) } else { Err(FetchError::HalfHeight) }
    }

    async fn blobs(&mut self, wanted: Vec<(IdentifiedValue, Vec<u64>)>) -> Result<(), FetchError> {
        let mut matcher = RootBlobs::new();
        let hashes: Vec<Bytes32> = wanted
            .iter()
            .flat_map(|(value, indices)| indices.iter().map(move |index| (value, *index)))
            .filter_map(|(value, index)| matcher.want(value, index))
            .collect();
        // The scheduler keeps within the bound of the list.
        let Ok(hashes) = hashes.try_into() else { return Ok(()) };
        let mut exchange = self.open(Request::BlobsByRoot(hashes)).await?;
        while let Some(item) = exchange.next().await? {
            let WireItem::Blob(sidecar) = item else { return Err(FetchError::OtherItem) };
            self.blob(matcher.accept(sidecar)?).await?;
        }
        Ok(())
    }

    async fn blob(&mut self, sidecar: Matched<BlobSidecar>) -> Result<(), FetchError> {
        let item = Item::Blob(sidecar.height, sidecar.index);
        self.hand_over(item, ReceivedData::Blob(sidecar), SIDECAR_BYTES).await
    }

    async fn payload(&mut self, envelope: Matched<PayloadEnvelope>) -> Result<(), FetchError> {
        // Before it takes room in the queue: the one size that is certified, and that room was reserved for.
        let (found, expected) = (envelope.payload.len() as u64, envelope.value().value().payload_size);
        if found != expected {
            return Err(PayloadFault::Size { found, expected }.into());
        }
        let requests: u64 = envelope.execution_requests.iter().map(|request| request.len() as u64).sum();
        let bytes = found + PayloadEnvelope::FIXED_BYTES as u64 + requests;
        let item = Item::Payload(envelope.height);
        if requests > MAX_UNRESERVED_BYTES {
            let checked =
                tokio::task::spawn_blocking(move || envelope.check(envelope.value().value()).map(|()| envelope));
            let envelope = checked.await.map_err(|_| FetchError::Closed)??;
            return self.hand_over(item, ReceivedData::Payload(envelope), bytes).await;
        }
        self.hand_over(item, ReceivedData::Payload(envelope), bytes).await
    }

    async fn hand_over(&mut self, item: Item, data: ReceivedData, bytes: u64) -> Result<(), FetchError> {
        self.entrance.send(Received { peer: self.fetched.peer, item, data }).await?;
        self.fetched.report.received.insert(item);
        self.fetched.report.bytes += bytes;
        Ok(())
    }
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
