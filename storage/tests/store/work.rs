//! The same work every time, call by call, with the state that each call leads to.

use std::{collections::BTreeSet, num::NonZeroU64, ops::RangeInclusive, sync::Arc};

use lapis_protocol_spec::{DecidedValue, Verified};
use lapis_storage::{PruneKind, PruneOptions, Store, StoreConfig, StoreError, Tallies, VerifyOptions, Watermarks};

use crate::{
    faulty::{Disk, Event},
    fixture::{Chain, KZG, Proposal, assert_in_order, at},
};

/// A call, and whether it is durable once it has returned.
#[derive(Debug)]
pub(crate) enum Call {
    Propose(u64, Proposal),
    VerifyAndStore(Proposal, Vec<usize>),
    DropRound(u64, u64),
    Decide(Box<Verified<DecidedValue>>),
    Insert(Proposal),
    Import(u64),
    Archive(u64),
    Waive(u64),
    Prune(u64, PruneKind),
}

impl Call {
    pub(crate) fn is_durable(&self) -> bool {
        !matches!(self, Self::DropRound(..) | Self::Import(_))
    }

    pub(crate) fn make(&self, store: &Store) -> Result<(), StoreError> {
        match self {
            Self::Propose(round, proposal) => store.insert_undecided(*round, &proposal.value, at(0)),
            Self::VerifyAndStore(proposal, indices) => {
                let blobs = indices.iter().map(|index| proposal.matched(*index)).collect();
                store.verify_and_store(&KZG, vec![proposal.matched_payload()], blobs).map(drop)
            }
            Self::DropRound(height, round) => store.drop_round(*height, *round).map(drop),
            Self::Decide(value) => store.mark_decided(&[Verified::clone(value)]).map(drop),
            Self::Insert(proposal) => store.insert(proposal.batch()).map(drop),
            Self::Import(height) => store.mark_imported(*height, Some(&height.to_le_bytes())).map(drop),
            Self::Archive(height) => store.mark_archived(*height..height + 1).map(drop),
            Self::Waive(floor) => store.waive_blobs_below(*floor).map(drop),
            Self::Prune(floor, kind) => {
                // Two of the three blobs of a height at a time.
                let max_blobs = NonZeroU64::new(2).unwrap();
                let options =
                    PruneOptions { kind: *kind, max_heights: NonZeroU64::MIN, max_blobs, ..PruneOptions::default() };
                store.prune_below(*floor, options).map(drop)
            }
        }
    }
}

/// Everything that a store says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    marks: Watermarks,
    tallies: Tallies,
    blob_floor: u64,
    gaps: Vec<std::ops::Range<u64>>,
    engine_head: Option<Vec<u8>>,
    /// Rounds of each value of the work, if it is undecided.
    rounds: Vec<Option<Vec<u64>>>,
}

/// The work, and what it is about.
pub(crate) struct Work {
    pub(crate) chain: Chain,
    pub(crate) decided: Vec<Proposal>,
    proposals: Vec<Proposal>,
    pub(crate) calls: Vec<Call>,
}

impl Work {
    pub(crate) fn new() -> Self {
        let chain = Chain::new();
        let mut work = Self { chain, decided: Vec::new(), proposals: Vec::new(), calls: Vec::new() };
        for height in 1..=9 {
            work.height(height);
        }
        work
    }

    fn height(&mut self, height: u64) {
        // The last blob of each height is also the first of the next, and the loser shares one with the winner.
        let winner = self.chain.propose(&[2 * height, 2 * height + 1, 2 * height + 2], 70_000);
        let loser = self.chain.propose(&[2 * height + 1, 100 + height], 300);
        let calls = &mut self.calls;
        if height != 5 {
            calls.push(Call::Propose(0, loser.clone()));
            calls.push(Call::VerifyAndStore(loser.clone(), vec![0, 1]));
            calls.push(Call::Propose(1, winner.clone()));
            calls.push(Call::Propose(2, winner.clone()));
            calls.push(Call::VerifyAndStore(
                winner.clone(),
                if height.is_multiple_of(2) { vec![0, 1, 2] } else { vec![1] },
            ));
        }
        if height.is_multiple_of(3) {
            calls.push(Call::DropRound(height, 0));
        }
        calls.push(Call::Decide(Box::new(self.chain.decide(&winner))));
        if height == 4 {
            calls.push(Call::Waive(3));
        }
        calls.push(Call::Insert(winner.clone()));
        calls.push(Call::Import(height));
        if height > 2 {
            calls.push(Call::Archive(height - 2));
        }
        if height > 4 {
            let kind = if height == 7 { PruneKind::BlobsAndPayloads } else { PruneKind::Blobs };
            calls.extend([0; 3].map(|_| Call::Prune(height - 3, kind)));
        }
        self.proposals.extend([winner.clone(), loser]);
        self.decided.push(winner);
    }

    pub(crate) fn open(&self, disk: &Disk) -> Store {
        // So small a cache that pages are written before their transaction commits.
        let config = StoreConfig { cache_bytes: 1024 * 1024, ..StoreConfig::default() };
        Store::open_on(Arc::new(disk.clone()), &self.chain.genesis, config).unwrap()
    }

    pub(crate) fn summary(&self, store: &Store) -> Summary {
        let rounds = self.proposals.iter().map(|p| store.get_undecided(p.value.id()).unwrap().map(|u| u.rounds));
        Summary {
            marks: store.watermarks(),
            tallies: store.stats().unwrap().tallies,
            blob_floor: store.blob_floor(),
            gaps: store.gaps().iter().collect(),
            engine_head: store.engine_head().unwrap(),
            rounds: rounds.collect(),
        }
    }

    /// Does the work on `disk`; returns the states, of which the first is that of an empty store.
    pub(crate) fn run(&self, disk: &Disk) -> Vec<Summary> {
        let store = self.open(disk);
        let mut states = vec![self.summary(&store)];
        for (number, call) in (1..).zip(&self.calls) {
            disk.note(Event::Begun(number));
            call.make(&store).unwrap();
            if call.is_durable() {
                disk.note(Event::Ended(number));
            }
            states.push(self.summary(&store));
        }
        states
    }

    /// Which of `allowed` the store is in. What it holds must be whole and right, and what it counts be there.
    pub(crate) fn examine(&self, store: &Store, states: &[Summary], allowed: RangeInclusive<usize>) -> usize {
        assert_in_order(store);
        let summary = self.summary(store);
        let Some(state) = allowed.clone().rev().find(|state| states[*state] == summary) else {
            panic!("the store is in none of the states {allowed:?}: {summary:#?}");
        };
        // All rows agree with each other and with the counts.
        store.verify(VerifyOptions::default(), |_| (), |damage| panic!("{damage}")).unwrap();
        let held = self.read_all(store);
        assert!(held.len() as u64 <= summary.tallies.blobs.decided.count + summary.tallies.blobs.archived.count);
        state
    }

    /// Reads everything that is served; returns which blobs are.
    pub(crate) fn read_all(&self, store: &Store) -> BTreeSet<Vec<u8>> {
        let reader = store.reader().unwrap();
        let marks = store.watermarks();
        let mut held = BTreeSet::new();
        for proposal in self.decided.iter().take(usize::try_from(marks.decided).unwrap()) {
            let height = proposal.height();
            assert_eq!(reader.identified_value(height).unwrap().as_ref(), Some(&proposal.value));
            let payload = reader.payload(height).unwrap();
            assert!(payload.is_some() || height > marks.available || height < marks.earliest_payload, "{height}");
            assert!(payload.is_none_or(|payload| payload == proposal.envelope));
            for (index, sidecar) in (0..).zip(&proposal.sidecars) {
                let found = reader.sidecar(height, index).unwrap();
                assert!(found.is_some() || height > marks.available || height < store.blob_floor(), "{height} {index}");
                if let Some(found) = found {
                    assert_eq!(&found, sidecar);
                    held.insert(sidecar.kzg_commitment.0.to_vec());
                }
            }
        }
        held
    }
}
