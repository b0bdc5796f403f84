//! The store against a plain model in memory: the same random operations, the same answers.

use std::{collections::BTreeSet, num::NonZeroU64, time::Duration};

use lapis_protocol_spec::Bytes32;
use lapis_storage::{Batch, PruneAllow, PruneKind, PruneOptions, StoreConfig};
use proptest::prelude::*;

use crate::{
    fixture::{Bench, Proposal, assert_in_order, at},
    plain::{BLOB, Model, Proposed, count, envelope_bytes, hashes},
};

const TTL: u64 = 100;

#[derive(Clone, Debug)]
enum Operation {
    /// Make a value for the next height and propose it.
    Propose {
        seeds: Vec<u64>,
        payload: usize,
        round: u64,
    },
    /// Store the payload of one of the known values.
    Payload {
        value: prop::sample::Index,
    },
    /// Store one blob of one of the known values.
    Blob {
        value: prop::sample::Index,
        index: prop::sample::Index,
    },
    /// Store all data of one of the known values.
    Whole {
        value: prop::sample::Index,
    },
    /// Decide one of the proposed values.
    DecideProposed {
        value: prop::sample::Index,
    },
    /// Decide a value that was never proposed here.
    DecideNew {
        seeds: Vec<u64>,
        payload: usize,
    },
    DropRound {
        round: u64,
    },
    Wait {
        seconds: u64,
    },
    Import,
    Archive {
        heights: u64,
    },
    ForgetArchived {
        heights: u64,
    },
    Prune {
        keep: u64,
        payloads: bool,
        archived: bool,
    },
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let seeds = || prop::collection::vec(0_u64..10, 0..5);
    let value = any::<prop::sample::Index>;
    let payload = || prop_oneof![Just(0_usize), Just(500), Just(5_000)];
    prop_oneof![
        4 => (seeds(), payload(), 0_u64..3).prop_map(|(seeds, payload, round)| Operation::Propose { seeds, payload, round }),
        2 => value().prop_map(|value| Operation::Payload { value }),
        6 => (value(), value()).prop_map(|(value, index)| Operation::Blob { value, index }),
        6 => value().prop_map(|value| Operation::Whole { value }),
        4 => value().prop_map(|value| Operation::DecideProposed { value }),
        2 => (seeds(), payload()).prop_map(|(seeds, payload)| Operation::DecideNew { seeds, payload }),
        1 => (0_u64..3).prop_map(|round| Operation::DropRound { round }),
        1 => (0_u64..80).prop_map(|seconds| Operation::Wait { seconds }),
        5 => Just(Operation::Import),
        2 => (1_u64..4).prop_map(|heights| Operation::Archive { heights }),
        1 => (1_u64..4).prop_map(|heights| Operation::ForgetArchived { heights }),
        3 => (0_u64..4, any::<bool>(), any::<bool>())
            .prop_map(|(keep, payloads, archived)| Operation::Prune { keep, payloads, archived }),
        1 => Just(Operation::Reopen),
    ]
}

/// Store and model, side by side.
struct Pair {
    bench: Bench,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        let config = StoreConfig { undecided_ttl: Duration::from_secs(TTL), ..StoreConfig::default() };
        Self { bench: Bench::with(config), model: Model::new() }
    }

    fn pick(&self, value: prop::sample::Index) -> Option<Proposal> {
        let known = self.model.known();
        (!known.is_empty()).then(|| Proposal::clone(known[value.index(known.len())]))
    }

    fn apply(mut self, operation: Operation) -> Self {
        match operation {
            Operation::Propose { seeds, payload, round } => self.propose(&seeds, payload, round),
            Operation::Payload { value } => {
                if let Some(proposal) = self.pick(value) {
                    self.insert(&proposal, Batch { payloads: vec![proposal.payload()], ..Batch::default() });
                }
            }
            Operation::Blob { value, index } => {
                if let Some(proposal) = self.pick(value).filter(|proposal| !proposal.sidecars.is_empty()) {
                    let index = index.index(proposal.sidecars.len());
                    self.insert(&proposal, Batch { blobs: vec![proposal.blob(index)], ..Batch::default() });
                }
            }
            Operation::Whole { value } => {
                if let Some(proposal) = self.pick(value) {
                    self.insert(&proposal, proposal.batch());
                }
            }
            Operation::DecideProposed { value } => {
                let proposed: Vec<&Proposed> = self.model.proposed.values().collect();
                if !proposed.is_empty() {
                    let proposal = proposed[value.index(proposed.len())].proposal.clone();
                    self.decide(proposal);
                }
            }
            Operation::DecideNew { seeds, payload } => self.decide(self.bench.chain.propose(&seeds, payload)),
            Operation::DropRound { round } => self.drop_round(round),
            Operation::Wait { seconds } => self.wait(seconds),
            Operation::Import => self.import(),
            Operation::Archive { heights } => self.archive(heights),
            Operation::ForgetArchived { heights } => self.forget_archived(heights),
            Operation::Prune { keep, payloads, archived } => self.prune(keep, payloads, archived),
            Operation::Reopen => {
                self.bench.store.flush().unwrap();
                self.bench = self.bench.reopen_after(|_| ());
            }
        }
        self
    }

    fn propose(&mut self, seeds: &[u64], payload: usize, round: u64) {
        let proposal = self.bench.chain.propose(seeds, payload);
        let model = &mut self.model;
        self.bench.store.insert_undecided(round, &proposal.value, at(model.now)).unwrap();
        let new = Proposed { proposal: proposal.clone(), rounds: BTreeSet::new(), since: 0 };
        let proposed = model.proposed.entry(*proposal.value.id()).or_insert(new);
        proposed.rounds.insert(round);
        proposed.since = model.now;
    }

    fn insert(&mut self, proposal: &Proposal, batch: Batch) {
        let model = &mut self.model;
        if !batch.payloads.is_empty() && proposal.height() >= model.payload_floor {
            model.payloads.insert(*proposal.value.id());
        }
        let wanted: BTreeSet<Bytes32> = model.live().iter().flat_map(|proposal| hashes(proposal)).collect();
        let hashes = batch.blobs.iter().map(|blob| blob.versioned_hash());
        model.blobs.extend(hashes.filter(|hash| wanted.contains(hash)));
        let before = self.bench.store.watermarks().available;
        let inserted = self.bench.store.insert(batch).unwrap();
        let after = self.model.available();
        let expected = if after > before { before + 1..after + 1 } else { 0..0 };
        assert_eq!(inserted.newly_available, expected);
    }

    fn decide(&mut self, proposal: Proposal) {
        let decided = self.bench.chain.decide(&proposal);
        self.bench.store.mark_decided(&[decided]).unwrap();
        self.model.decide(proposal);
    }

    fn drop_round(&mut self, round: u64) {
        let height = self.model.decided.len() as u64 + 1;
        self.bench.store.drop_round(height, round).unwrap();
        self.model.proposed.values_mut().for_each(|proposed| proposed.rounds.retain(|other| *other != round));
        let gone = self.model.proposed.iter().filter(|(_, proposed)| proposed.rounds.is_empty());
        let gone: Vec<Bytes32> = gone.map(|(id, _)| *id).collect();
        gone.iter().for_each(|id| self.model.forget(id));
    }

    fn wait(&mut self, seconds: u64) {
        self.model.now += seconds;
        let now = self.model.now;
        let gone = self.model.proposed.iter().filter(|(_, proposed)| proposed.since + TTL <= now);
        let gone: Vec<Bytes32> = gone.map(|(id, _)| *id).collect();
        self.bench.store.expire_undecided(at(now)).unwrap();
        gone.iter().for_each(|id| self.model.forget(id));
    }

    fn import(&mut self) {
        let next = self.model.imported + 1;
        let result = self.bench.store.mark_imported(next, None);
        if next <= self.model.available() {
            assert_eq!(result.unwrap().imported, next);
            self.model.imported = next;
        } else {
            assert!(result.is_err());
        }
    }

    fn archive(&mut self, heights: u64) {
        let start = self.model.archived.last().map_or(1, |last| last + 1);
        let end = (start + heights).min(self.model.available() + 1);
        if start < end {
            self.bench.store.mark_archived(start..end).unwrap();
            self.model.archived.extend(start..end);
        }
    }

    fn forget_archived(&mut self, heights: u64) {
        let end = self.model.archived.last().map_or(1, |last| last + 1);
        let start = end.saturating_sub(heights).max(1);
        self.bench.store.forget_archived(start..end).unwrap();
        let floor = self.model.blob_floor;
        self.model.archived.retain(|height| *height < start.max(floor));
    }

    fn prune(&mut self, keep: u64, payloads: bool, archived: bool) {
        let floor = self.model.imported.saturating_sub(keep) + 1;
        let options = PruneOptions {
            kind: if payloads { PruneKind::BlobsAndPayloads } else { PruneKind::Blobs },
            allow: if archived { PruneAllow::Archived } else { PruneAllow::Imported },
            max_heights: NonZeroU64::new(2).unwrap(),
            ..PruneOptions::default()
        };
        while !self.bench.store.prune_below(floor, options).unwrap().done {}
        let model = &mut self.model;
        let archived_to = model.archived.last().map_or(1, |last| last + 1);
        let floor = if archived { floor.min(archived_to) } else { floor };
        model.blob_floor = model.blob_floor.max(floor);
        let pruned = model.collect();
        model.pruned_blobs.count += pruned;
        model.pruned_blobs.bytes += pruned * BLOB;
        if payloads {
            model.payload_floor = model.payload_floor.max(floor);
        }
        for proposal in model.decided.iter().filter(|proposal| proposal.height() < model.payload_floor) {
            if model.payloads.remove(proposal.value.id()) {
                count(&mut model.pruned_payloads, envelope_bytes(proposal));
            }
        }
    }

    fn compare(&self, seen: &BTreeSet<Bytes32>) {
        let (store, model) = (&self.bench.store, &self.model);
        assert_in_order(store);
        let marks = store.watermarks();
        assert_eq!((marks.decided, marks.available), (model.decided.len() as u64, model.available()));
        assert_eq!((marks.imported, marks.pruned), (model.imported, model.blob_floor - 1));
        assert_eq!(marks.archived, model.archived.len() as u64);
        assert_eq!(store.gaps(), model.gaps());
        assert_eq!(store.stats().unwrap().tallies, model.tallies());
        for hash in seen {
            assert_eq!(store.blob_status(hash).unwrap(), model.status(hash));
        }
        self.compare_heights();
    }

    fn compare_heights(&self) {
        let (store, model) = (&self.bench.store, &self.model);
        let reader = store.reader().unwrap();
        let missing = store.missing(0..u64::MAX, usize::MAX).unwrap();
        let mut missing = missing.iter().peekable();
        for proposal in &model.decided {
            let (height, id) = (proposal.height(), proposal.value.id());
            assert_eq!(reader.identified_value(height).unwrap().as_ref(), Some(&proposal.value));
            let payload = model.payloads.contains(id).then_some(&proposal.envelope);
            assert_eq!(reader.payload(height).unwrap().as_ref(), payload);
            let mut lacking = Vec::new();
            for (index, hash) in (0..).zip(hashes(proposal)) {
                let held = height >= model.blob_floor && model.blobs.contains(&hash);
                let found = reader.sidecar(height, index).unwrap();
                assert_eq!(found.is_some(), held);
                assert!(found.is_none_or(|found| found == proposal.sidecars[usize::try_from(index).unwrap()]));
                if height >= model.blob_floor && !held {
                    lacking.push(index);
                }
            }
            if !model.is_complete(proposal) {
                let report = missing.next().unwrap();
                assert_eq!((report.height, &report.value, &report.blobs), (height, &proposal.value, &lacking));
                assert_eq!(report.payload, payload.is_none() && height >= model.payload_floor);
            }
            assert_eq!(store.get_for_import(height).unwrap().is_some(), payload.is_some() && lacking.is_empty());
        }
        assert!(missing.next().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(operations in prop::collection::vec(operation(), 1..40)) {
        let mut pair = Pair::new();
        let mut seen = BTreeSet::new();
        for operation in operations {
            pair = pair.apply(operation);
            seen.extend(pair.model.known().iter().flat_map(|proposal| hashes(proposal)));
            pair.compare(&seen);
        }
    }
}
