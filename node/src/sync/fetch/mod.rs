//! Exchange tasks: one per request, item by item from a peer's socket, an archive or the execution client's
//! pool into the pipeline.
//!
//! Each item is matched before the next one is taken; a full pipeline stops the taking. Whoever answers, the rules are
//! the same: [`answer`] knows how to ask, nothing else does. Dropping a task resets its stream, or stops the reading.

mod answer;
mod error;
mod pool;

use std::{collections::BTreeMap, ops::Range};

use lapis_p2p::Offence;
use lapis_protocol_spec::{
    BlobSidecar, Bytes32, DecidedValue, Height, Item as WireItem, Matched, PayloadEnvelope, PayloadFault, ValidatorSet,
    matching::{DecidedValues, IdentifiedValue, Payloads, RangeBlobs, RootBlobs},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) use self::answer::Supplier;
use self::{answer::Answer, error::FetchError};
use super::{
    pipeline::{Entered, Entrance, Received, ReceivedData},
    scheduler::{Fetch, Item, Outcome, Report, RequestId, SIDECAR_BYTES, SourceId},
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
    pub(super) source: SourceId,
    pub(super) report: Report,
    /// Decided values in order, not yet verified.
    pub(super) values: Vec<DecidedValue>,
    /// Validator sets that came with the values and that these name, by root.
    pub(super) sets: BTreeMap<Bytes32, ValidatorSet>,
    /// A validator set whose root is the one asked for.
    pub(super) validator_set: Option<ValidatorSet>,
    /// What the source is to be blamed for.
    pub(super) offence: Option<(Offence, String)>,
}

/// Something of an answer has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) id: RequestId,
    /// A payload or blob, which is in the pipeline.
    pub(super) item: Option<Item>,
    pub(super) bytes: u64,
}

/// Where exchanges bring what they get.
#[derive(Clone, Debug)]
pub(super) struct Outlets {
    pub(super) entrance: Entrance,
    /// Told of everything that comes; bounded, and emptied by a loop that waits for no exchange.
    pub(super) arrivals: mpsc::Sender<Arrival>,
}

/// Carries out one action.
pub(super) struct FetchTask {
    supplier: Supplier,
    outlets: Outlets,
    cancel: CancellationToken,
    fetched: Fetched,
}

impl FetchTask {
    /// `cancel` ends the exchange where it is; what it has brought by then counts.
    pub(super) fn new(supplier: Supplier, outlets: Outlets, cancel: CancellationToken, id: RequestId) -> Self {
        let fetched = Fetched {
            id,
            source: supplier.id(),
            report: Report::empty(Outcome::Answered),
            values: Vec::new(),
            sets: BTreeMap::new(),
            validator_set: None,
            offence: None,
        };
        Self { supplier, outlets, cancel, fetched }
    }

    /// Runs the exchange to its end.
    pub(super) async fn run(mut self, fetch: Fetch) -> Fetched {
        let cancel = self.cancel.clone();
        match cancel.run_until_cancelled(self.exchange(fetch)).await {
            Some(Err(error)) => self.failed(&error),
            Some(Ok(())) if self.fetched.report.bytes == 0 => self.fetched.report.outcome = Outcome::Unavailable,
            Some(Ok(())) => {}
            None => self.fetched.report.outcome = Outcome::Local,
        }
        self.fetched
    }

    fn failed(&mut self, error: &FetchError) {
        let fault = error.fault();
        self.fetched.report.outcome = error.outcome();
        self.fetched.offence = fault.offence().map(|offence| (offence, error.to_string()));
        tracing::debug!(source = %self.fetched.source, %error, ?fault, "exchange failed");
    }

    async fn exchange(&mut self, fetch: Fetch) -> Result<(), FetchError> {
        let Some(mut answer) = self.supplier.open(&fetch).await? else { return Ok(()) };
        let result = match fetch {
            Fetch::Values(heights) => self.values(&mut answer, heights).await,
            Fetch::ValidatorSet { root, .. } => self.validator_set(&mut answer, root).await,
            Fetch::Payloads(values) => self.payloads(&mut answer, Payloads::by_range(values)).await,
            Fetch::PayloadsByRoot(values) => self.payloads(&mut answer, Payloads::by_root(values)).await,
            Fetch::WholeHeights(values) => self.whole_heights(&mut answer, values).await,
            Fetch::Blobs(wanted) => self.blobs(&mut answer, wanted).await,
        };
        if result.is_err() {
            self.fetched.report.broke_at = answer.height();
        }
        result
    }

    async fn values(&mut self, answer: &mut Answer, heights: Range<Height>) -> Result<(), FetchError> {
        let mut matcher = DecidedValues::new(heights);
        while let Some(item) = answer.next().await? {
            let WireItem::DecidedValue(decided) = item else { return Err(FetchError::OtherItem) };
            matcher.accept(&decided)?;
            let bytes = decided.encoded_len() as u64;
            self.fetched.report.values += 1;
            self.fetched.report.bytes += bytes;
            self.fetched.values.push(*decided);
            self.fetched.sets.extend(answer.take_sets());
            self.arrived(None, bytes).await?;
            if self.fetched.report.bytes >= MAX_VALUES_BYTES {
                // We stop; that says nothing of what the source holds.
                self.fetched.report.outcome = Outcome::Local;
                break;
            }
        }
        Ok(())
    }

    async fn validator_set(&mut self, answer: &mut Answer, root: Bytes32) -> Result<(), FetchError> {
        let Some(item) = answer.next().await? else { return Ok(()) };
        let WireItem::ValidatorSet(set) = item else { return Err(FetchError::OtherItem) };
        set.check_root(&root).map_err(|_| FetchError::ValidatorSet(root))?;
        self.fetched.report.bytes = set.validators.len() as u64 * 40;
        self.fetched.validator_set = Some(set);
        Ok(())
    }

    async fn payloads(&mut self, answer: &mut Answer, mut matcher: Payloads) -> Result<(), FetchError> {
        while let Some(item) = answer.next().await? {
            let WireItem::Payload(envelope) = item else { return Err(FetchError::OtherItem) };
            self.payload(matcher.accept(envelope)?).await?;
        }
        Ok(())
    }

    async fn whole_heights(&mut self, answer: &mut Answer, values: Vec<IdentifiedValue>) -> Result<(), FetchError> {
        let mut matcher = RangeBlobs::new(values);
        while let Some(item) = answer.next().await? {
            let WireItem::Blob(sidecar) = item else { return Err(FetchError::OtherItem) };
            self.blob(matcher.accept(sidecar)?).await?;
        }
        if matcher.at_height_boundary() { Ok(()) } else { Err(FetchError::HalfHeight) }
    }

    async fn blobs(&mut self, answer: &mut Answer, wanted: Vec<(IdentifiedValue, Vec<u64>)>) -> Result<(), FetchError> {
        let mut matcher = RootBlobs::new();
        for (value, indices) in &wanted {
            for index in indices {
                matcher.want(value, *index);
            }
        }
        while let Some(item) = answer.next().await? {
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
        self.fetched.report.bytes += bytes;
        match self.outlets.entrance.send(Received { source: self.fetched.source, item, data }).await? {
            Entered::First => {
                self.fetched.report.received.insert(item);
                self.arrived(Some(item), bytes).await
            }
            Entered::Twice => {
                self.fetched.report.duplicates.insert(item);
                self.fetched.report.duplicate_bytes += bytes;
                self.arrived(None, bytes).await
            }
        }
    }

    /// Tells of what came, after it is where it belongs.
    async fn arrived(&self, item: Option<Item>, bytes: u64) -> Result<(), FetchError> {
        let arrival = Arrival { id: self.fetched.id, item, bytes };
        self.outlets.arrivals.send(arrival).await.map_err(|_| FetchError::Closed)
    }
}
