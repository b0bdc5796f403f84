//! Asking one peer for blobs, without a store: what `lapis fetch` does.
//!
//! Everything that can be verified without the chain is: proofs, commitments against the decided values of their
//! heights, certificates against the sets that the values name, and how the values link to each other. What cannot be
//! told without the chain is whether those sets are its own: [`Anchor`] says how far that goes.

mod error;
mod session;

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc};

use lapis_p2p::Exchange;
use lapis_protocol_spec::{
    BlobSidecar, Bytes32, CertificateFault, DecidedValue, Genesis, Height, HeightRange, IdentifiedValue, Item, Kzg,
    MAX_REQUEST_HASHES, MAX_REQUEST_HEIGHTS, Matched, Request, ValidatorSet, Value, Verified,
    matching::{DecidedValues, RangeBlobs},
};

pub use self::{error::FetchError, session::Session};

/// Sidecars that are verified together, and so held in memory.
const BATCH: usize = 64;

/// What blobs are handed to, each once, as soon as it is verified.
pub type Sink<'a> = dyn FnMut(Verified<BlobSidecar>) -> Result<(), FetchError> + Send + 'a;

/// What ties the values of a range to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The range begins at the first height and its set is that of the genesis: every value is the chain's.
    Genesis,
    /// The peer named the set that signed the first value. Who knows it to be the chain's knows the rest to be.
    Set(Bytes32),
}

/// Asks for blobs and verifies them.
#[derive(Debug)]
pub struct Fetcher<'a> {
    session: &'a Session,
    genesis: &'a Genesis,
    genesis_id: Bytes32,
    kzg: Arc<Kzg>,
    batch: Vec<((), Matched<BlobSidecar>)>,
}

impl<'a> Fetcher<'a> {
    /// Asks the peer of `session`, a peer of the chain of `genesis`.
    pub fn new(session: &'a Session, genesis: &'a Genesis, kzg: Arc<Kzg>) -> Self {
        Self { session, genesis, genesis_id: genesis.id(), kzg, batch: Vec::with_capacity(BATCH) }
    }

    /// All blobs of `heights`, in order.
    ///
    /// # Errors
    /// [`FetchError`]; what was handed to `sink` before is verified.
    pub async fn heights(
        &mut self,
        heights: RangeInclusive<Height>,
        sink: &mut Sink<'_>,
    ) -> Result<Anchor, FetchError> {
        let (mut next, last) = heights.into_inner();
        let mut chain = Links { anchor: None, set: None, tip: None };
        while next <= last {
            let count = (last - next).saturating_add(1).min(MAX_REQUEST_HEIGHTS);
            let values = self.values(next, count, &mut chain).await?;
            let after = next.checked_add(values.len() as u64);
            self.blobs(values, sink).await?;
            let Some(after) = after else { break };
            next = after;
        }
        chain.anchor.ok_or(FetchError::NotHeld { height: last })
    }

    /// The blobs with these versioned hashes, in whatever order they come. Returns the hashes that the peer does not have.
    ///
    /// # Errors
    /// [`FetchError`]; what was handed to `sink` before is verified.
    pub async fn hashes(&mut self, hashes: &[Bytes32], sink: &mut Sink<'_>) -> Result<Vec<Bytes32>, FetchError> {
        let mut missing: HashSet<Bytes32> = hashes.iter().copied().collect();
        for hashes in hashes.chunks(MAX_REQUEST_HASHES) {
            let asked = hashes.to_vec().try_into().map_err(|_| FetchError::TooMany)?;
            let mut exchange = self.session.request(Request::BlobsByRoot(asked)).await?;
            while let Some(item) = exchange.next().await? {
                let Item::Blob(sidecar) = item else { return Err(FetchError::OtherItem) };
                let hash = sidecar.versioned_hash();
                if !missing.remove(&hash) {
                    return Err(FetchError::Unrequested(hash));
                }
                // The commitment is the one asked for: it stands for the value that nobody named.
                let value = Value { height: sidecar.height, blob_kzg_commitments: only(&sidecar)?, ..Value::default() };
                let matched = Matched::blob(sidecar, &IdentifiedValue::new(Arc::new(value)), 0)?;
                self.take(matched, sink).await?;
            }
        }
        self.verify(sink).await?;
        Ok(hashes.iter().copied().filter(|hash| missing.contains(hash)).collect())
    }

    /// Decided values from `first` on, each held against its certificate and the value before it.
    async fn values(&self, first: Height, count: u64, chain: &mut Links) -> Result<Vec<IdentifiedValue>, FetchError> {
        let range = HeightRange::new(first, count);
        let mut exchange = self.session.request(Request::DecidedValuesByRange(range)).await?;
        let mut matcher = DecidedValues::new(first..first.saturating_add(count));
        let mut received = Vec::new();
        while let Some(item) = exchange.next().await? {
            let Item::DecidedValue(decided) = item else { return Err(FetchError::OtherItem) };
            matcher.accept(&decided)?;
            received.push(*decided);
        }
        drop(exchange);
        if received.is_empty() {
            return Err(FetchError::NotHeld { height: first });
        }
        let mut values = Vec::with_capacity(received.len());
        for decided in received {
            values.push(self.certified(decided, chain).await?);
        }
        Ok(values)
    }

    async fn certified(&self, decided: DecidedValue, chain: &mut Links) -> Result<IdentifiedValue, FetchError> {
        let height = decided.value.height;
        let root = decided.value.validators_root;
        // What can be signed is for the signers to choose, and who they are may be the peer's word.
        let (found, limit) = (decided.value.blob_count() as u64, self.genesis.max_blobs_per_block);
        if found > limit {
            return Err(FetchError::Certificate { height, fault: CertificateFault::TooManyBlobs { found, limit } });
        }
        if chain.set.as_ref().is_none_or(|(known, _)| *known != root) {
            chain.set = Some((root, self.session.validator_set(root).await?));
        }
        if let Some((_, set)) = &chain.set {
            let checked = decided.check_certificate(&self.genesis_id, set);
            checked.map_err(|fault| FetchError::Certificate { height, fault })?;
        }
        let value = IdentifiedValue::new(Arc::new(decided.value));
        chain.append(&value, self.genesis)?;
        Ok(value)
    }

    /// The blobs of `values`, which follow each other. A peer may answer a part of the heights.
    async fn blobs(&mut self, values: Vec<IdentifiedValue>, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        let mut rest: Vec<_> = values.into_iter().filter(|value| value.value().blob_count() > 0).collect();
        while let (Some(first), Some(last)) = (rest.first(), rest.last()) {
            let (first, last) = (first.value().height, last.value().height);
            let request = Request::BlobsByRange(HeightRange::new(first, last - first + 1));
            let mut exchange = self.session.request(request).await?;
            let reached = self.range_of_blobs(&mut exchange, &rest, sink).await?;
            let before = rest.len();
            rest.retain(|value| value.value().height > reached);
            if rest.len() == before {
                return Err(FetchError::NotHeld { height: first });
            }
        }
        self.verify(sink).await
    }

    /// Reads one response; the last height of which everything came.
    async fn range_of_blobs(
        &mut self,
        exchange: &mut Exchange,
        values: &[IdentifiedValue],
        sink: &mut Sink<'_>,
    ) -> Result<Height, FetchError> {
        let mut matcher = RangeBlobs::new(values.iter().cloned());
        let mut reached = 0;
        while let Some(item) = exchange.next().await? {
            let Item::Blob(sidecar) = item else { return Err(FetchError::OtherItem) };
            let height = sidecar.height;
            let matched = matcher.accept(sidecar)?;
            if matcher.at_height_boundary() {
                reached = height;
            }
            self.take(matched, sink).await?;
        }
        if matcher.at_height_boundary() { Ok(reached) } else { Err(FetchError::HalfHeight) }
    }

    async fn take(&mut self, sidecar: Matched<BlobSidecar>, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        self.batch.push(((), sidecar));
        if self.batch.len() >= BATCH { self.verify(sink).await } else { Ok(()) }
    }

    async fn verify(&mut self, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        let (kzg, batch) = (Arc::clone(&self.kzg), std::mem::take(&mut self.batch));
        let outcome = tokio::task::spawn_blocking(move || kzg.verify_batch(batch)).await?;
        outcome.verified.into_iter().try_for_each(|((), sidecar)| sink(sidecar))?;
        match outcome.faulty.first().or(outcome.unchecked.first()) {
            Some((_, sidecar)) => Err(FetchError::Proof { height: sidecar.height, index: sidecar.index }),
            None => Ok(()),
        }
    }
}

/// The list of the commitment of `sidecar` alone.
fn only<const N: usize>(sidecar: &BlobSidecar) -> Result<ssz_rs::List<lapis_protocol_spec::Bytes48, N>, FetchError> {
    vec![sidecar.kzg_commitment].try_into().map_err(|_| FetchError::TooMany)
}

/// How the values of a range hang together.
#[derive(Debug)]
struct Links {
    anchor: Option<Anchor>,
    /// The set that signed last, with its root.
    set: Option<(Bytes32, ValidatorSet)>,
    /// Id of the last value, and the root of the set that signs the next one.
    tip: Option<(Bytes32, Bytes32)>,
}

impl Links {
    fn append(&mut self, value: &IdentifiedValue, genesis: &Genesis) -> Result<(), FetchError> {
        let (id, next) = (*value.id(), value.value().next_validators_root);
        let value = value.value();
        match self.tip {
            Some((parent, signers)) if value.parent_value_id != parent || value.validators_root != signers => {
                return Err(FetchError::Link { height: value.height });
            }
            Some(_) => {}
            None if value.height == 1 && value.validators_root == genesis.validators.root() => {
                self.anchor = Some(Anchor::Genesis);
            }
            None if value.height == 1 => return Err(FetchError::Link { height: 1 }),
            None => self.anchor = Some(Anchor::Set(value.validators_root)),
        }
        self.tip = Some((id, next));
        Ok(())
    }
}
