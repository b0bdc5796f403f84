//! An archive in memory: heights of a chain, a record of what was asked for, and faults to order.

use std::{ops::Range, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use lapis_node::sync::archive::{Archive, ArchiveFault, ArchivedValue};
use lapis_protocol_spec::{
    BlobSidecar, DecidedValue, Height, HeightRanges, Item, Method, PayloadEnvelope, ValidatorSet,
};
use tokio::sync::watch;

use crate::{
    TestChain, patiently,
    peer::{fault::Fault, spoil::spoil_items},
};

/// What an archive is ordered to do wrong, whenever it has the occasion.
#[derive(Clone, Copy, Debug)]
pub enum ArchiveDisorder {
    /// What a peer with this fault would send, in place of what lies there.
    Items(Fault),
    /// Everything of these heights is damaged, and it knows.
    Damaged(Height, Height),
    /// It claims everything and has nothing.
    Empty,
    /// It cannot be reached.
    Unreachable,
    /// It never answers.
    Silent,
}

/// What was asked of an archive: heights, by kind of data, in the order of the calls.
#[derive(Clone, Debug, Default)]
pub struct ArchiveLog {
    /// Decided values given.
    pub values: Vec<Height>,
    /// Payloads asked for.
    pub payloads: Vec<Height>,
    /// Sidecars asked for, as height and index.
    pub sidecars: Vec<(Height, u64)>,
    /// Calls that were answered wrongly, or not at all.
    pub disorders: usize,
}

/// An archive of a chain, in ranges of heights, each of them as if it had been written on its own.
#[derive(Debug)]
pub struct MemoryArchive {
    chain: Arc<TestChain>,
    covered: watch::Sender<HeightRanges>,
    log: watch::Sender<ArchiveLog>,
    disorder: Option<ArchiveDisorder>,
    /// Values that one call gives at most.
    stride: u64,
}

impl MemoryArchive {
    /// An archive that holds `heights` of the chain.
    pub fn honest(chain: &Arc<TestChain>, heights: impl IntoIterator<Item = Range<Height>>) -> Arc<Self> {
        Self::start(chain, heights, None)
    }

    /// An archive that claims to hold `heights` and is not in order.
    pub fn with(
        chain: &Arc<TestChain>,
        heights: impl IntoIterator<Item = Range<Height>>,
        disorder: ArchiveDisorder,
    ) -> Arc<Self> {
        Self::start(chain, heights, Some(disorder))
    }

    fn start(
        chain: &Arc<TestChain>,
        heights: impl IntoIterator<Item = Range<Height>>,
        disorder: Option<ArchiveDisorder>,
    ) -> Arc<Self> {
        let covered = watch::Sender::new(heights.into_iter().collect());
        Arc::new(Self { chain: Arc::clone(chain), covered, log: watch::Sender::default(), disorder, stride: 3 })
    }

    /// Covers these heights from now on.
    pub fn cover(&self, heights: impl IntoIterator<Item = Range<Height>>) {
        self.covered.send_replace(heights.into_iter().collect());
    }

    /// What was asked so far.
    pub fn log(&self) -> ArchiveLog {
        self.log.borrow().clone()
    }

    /// Waits until it has done something wrong.
    pub async fn misbehaved(&self) {
        let mut log = self.log.subscribe();
        patiently("an archive misbehaves", log.wait_for(|log| log.disorders > 0)).await.unwrap();
    }

    fn note(&self, note: impl FnOnce(&mut ArchiveLog)) {
        self.log.send_modify(note);
    }

    /// Never returns if that is its disorder.
    async fn answer(&self) {
        if matches!(self.disorder, Some(ArchiveDisorder::Silent)) {
            self.note(|log| log.disorders += 1);
            std::future::pending().await
        }
    }

    /// Whether `height` can be given.
    fn look_up(&self, height: Height) -> Result<(), ArchiveFault> {
        let failure = match self.disorder {
            Some(ArchiveDisorder::Damaged(first, last)) if (first..=last).contains(&height) => {
                ArchiveFault::Damaged(format!("height {height}").into())
            }
            Some(ArchiveDisorder::Empty) => ArchiveFault::Unavailable("nothing is there".into()),
            Some(ArchiveDisorder::Unreachable) => ArchiveFault::Passing("no route".into()),
            _ if !self.covered.borrow().contains(height) || height > self.chain.last() => {
                return Err(ArchiveFault::Unavailable(format!("height {height}").into()));
            }
            _ => return Ok(()),
        };
        self.note(|log| log.disorders += 1);
        Err(failure)
    }

    /// `items`, or what stands in their place.
    fn spoilt(&self, method: Method, items: Vec<Item>) -> Vec<Item> {
        let Some(ArchiveDisorder::Items(fault)) = self.disorder else { return items };
        match spoil_items(fault, &self.chain, method, &items) {
            Some(spoilt) => {
                self.note(|log| log.disorders += 1);
                spoilt
            }
            None => items,
        }
    }

    /// The sets that an archive of the range has with `height`.
    fn sets(&self, height: Height, is_first: bool) -> Vec<ValidatorSet> {
        let spec = self.chain.spec();
        let changes = spec.validators_root(height) != spec.validators_root(height + 1);
        let wanted = [(is_first, height), (changes, height + 1)];
        let set = |(_, height)| Item::ValidatorSet(spec.validator_set(height).clone());
        let sets = wanted.into_iter().filter(|(wanted, _)| *wanted).map(set);
        let spoilt = sets.flat_map(|set| self.spoilt(Method::ValidatorSetByRoot, vec![set]));
        spoilt
            .map(|item| into(item, |item| if let Item::ValidatorSet(set) = item { Some(set) } else { None }))
            .collect()
    }

    fn values_now(&self, heights: Range<Height>) -> Result<Vec<ArchivedValue>, ArchiveFault> {
        self.look_up(heights.start)?;
        let range = self.covered.borrow().range_of(heights.start).unwrap();
        let end = heights.end.min(range.end).min(self.chain.last() + 1).min(heights.start + self.stride);
        let heights = heights.start..end;
        self.note(|log| log.values.extend(heights.clone()));
        let honest =
            heights.clone().map(|height| Item::DecidedValue(Box::new((*self.chain.block(height).decided).clone())));
        let spoilt = self.spoilt(Method::DecidedValuesByRange, honest.collect());
        let decided = |item| -> DecidedValue {
            into(item, |item| if let Item::DecidedValue(decided) = item { Some(*decided) } else { None })
        };
        let with_sets =
            |(item, height)| ArchivedValue { decided: decided(item), sets: self.sets(height, height == range.start) };
        Ok(spoilt.into_iter().zip(heights.start..).map(with_sets).collect())
    }

    fn payload_now(&self, height: Height) -> Result<PayloadEnvelope, ArchiveFault> {
        self.note(|log| log.payloads.push(height));
        self.look_up(height)?;
        let honest = Item::Payload((*self.chain.block(height).payload).clone());
        let spoilt = self.spoilt(Method::PayloadsByRange, vec![honest]);
        let item = spoilt.into_iter().next().unwrap();
        Ok(into(item, |item| if let Item::Payload(envelope) = item { Some(envelope) } else { None }))
    }

    fn sidecars_now(&self, height: Height, indices: Vec<u64>) -> Result<Vec<BlobSidecar>, ArchiveFault> {
        self.note(|log| log.sidecars.extend(indices.iter().map(|index| (height, *index))));
        self.look_up(height)?;
        let blobs = &self.chain.block(height).blobs;
        let honest = indices.iter().map(|index| Item::Blob((*blobs[usize::try_from(*index).unwrap()]).clone()));
        let spoilt = self.spoilt(Method::BlobsByRange, honest.collect());
        let sidecar = |item| into(item, |item| if let Item::Blob(sidecar) = item { Some(sidecar) } else { None });
        Ok(spoilt.into_iter().map(sidecar).collect())
    }
}

/// What is in `item`: disorders change items, not their kind.
fn into<T>(item: Item, take: impl FnOnce(Item) -> Option<T>) -> T {
    take(item).expect("an item of the same kind")
}

impl Archive for MemoryArchive {
    fn coverage(&self) -> watch::Receiver<HeightRanges> {
        self.covered.subscribe()
    }

    fn values(&self, heights: Range<Height>, _: u64) -> BoxFuture<'_, Result<Vec<ArchivedValue>, ArchiveFault>> {
        async move {
            self.answer().await;
            self.values_now(heights)
        }
        .boxed()
    }

    fn payload(&self, height: Height, _: usize) -> BoxFuture<'_, Result<PayloadEnvelope, ArchiveFault>> {
        async move {
            self.answer().await;
            self.payload_now(height)
        }
        .boxed()
    }

    fn sidecars(&self, height: Height, indices: Vec<u64>) -> BoxFuture<'_, Result<Vec<BlobSidecar>, ArchiveFault>> {
        async move {
            self.answer().await;
            self.sidecars_now(height, indices)
        }
        .boxed()
    }
}
